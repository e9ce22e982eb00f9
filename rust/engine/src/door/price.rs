//! The price of a request in tokens and blocks, for all its sequences at once.

use tokenmill_core::SamplingParams;

use crate::door::Door;
use crate::error::{Error, Result};

impl Door {
    /// Output tokens that fit, or a refusal with the numbers. `second_len`: tokens of the other prompt of a guided
    /// request, which gets the same output.
    pub(super) fn price(
        &self,
        prompt_len: usize,
        second_len: Option<usize>,
        params: &SamplingParams,
    ) -> Result<usize> {
        let capacity = &self.shared.capacity;
        let (blocks, block_size) = (capacity.blocks, capacity.block_size);
        let context_len = capacity.context_len_of(params);
        let branches = params.branches() as usize;
        self.check_width(branches, second_len.is_some(), params)?;
        let asked = params.max_tokens.map_or(1, |tokens| tokens as usize);
        let longest = prompt_len.max(second_len.unwrap_or(0));
        if longest.saturating_add(asked) > context_len {
            return Err(Error::ContextLen {
                context_len,
                prompt_len: longest,
                max_tokens: asked,
            });
        }
        let output_len_max = params
            .max_tokens
            .map_or(context_len - longest, |tokens| tokens as usize);
        // As the scheduler counts: branches may come to share nothing.
        let of = |len: usize| (len + output_len_max).div_ceil(block_size);
        let needed = branches * (of(prompt_len) + second_len.map_or(0, of));
        if needed > blocks {
            return Err(Error::Blocks {
                needed,
                total: blocks,
                block_size,
            });
        }
        Ok(output_len_max)
    }

    /// All sequences of a request run in one step, or none.
    fn check_width(&self, branches: usize, is_guided: bool, params: &SamplingParams) -> Result<()> {
        let most = self.shared.capacity.group_max;
        let sequences = branches * (1 + usize::from(is_guided));
        if sequences <= most {
            return Ok(());
        }
        let param = if params.beams.is_on() {
            "beam_width"
        } else if params.is_contrastive_search() {
            "top_k"
        } else {
            "guidance_scale"
        };
        let fault = format!("means {sequences} sequences at once; at most {most} run in one step");
        Err(Error::Field { param, fault })
    }
}
