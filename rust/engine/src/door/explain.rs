//! What may be explained, and what the explanations of a request hold if nobody reads them before the end.

use tokenmill_core::explain::{BeamCandidate, Racer, Shown, Stage};
use tokenmill_core::{Explanation, SamplingParams, Step};

use crate::door::Door;
use crate::door::seat::{Asked, held_bytes, list_bytes};
use crate::error::{Error, Result};

impl Door {
    /// The memory that a request's reports and lists may come to take. `sizes`: tokens of the prompt, and most of an
    /// output.
    pub(super) fn asked(
        &self,
        explain: Option<u32>,
        sizes: (usize, usize),
        params: &SamplingParams,
    ) -> Result<Asked> {
        let (prompt_len, output_len_max) = sizes;
        let capacity = &self.shared.capacity;
        let mut logprobs = held_bytes(params, prompt_len, output_len_max, capacity);
        if let Some(top) = explain {
            self.check_explained(top, output_len_max, params)?;
            let bytes = explained_bytes(params, output_len_max, top);
            logprobs = ("top", logprobs.1 + bytes);
        }
        let lists = list_bytes(params);
        Ok(Asked { logprobs, lists })
    }

    /// Bounds what a request wants explained.
    fn check_explained(
        &self,
        top: u32,
        output_len_max: usize,
        params: &SamplingParams,
    ) -> Result<()> {
        let limits = &self.shared.limits;
        let refused = |param, fault| Err(Error::Field { param, fault });
        let top_max = limits.explain_top_max;
        if top == 0 || top > top_max {
            let fault = format!("must be from 1 to {top_max}, got {top}");
            return refused("top", fault);
        }
        if !params.beams.is_on() && params.samples() > 1 {
            let name = if params.n > 1 { "n" } else { "best_of" };
            let fault = format!(
                "must be 1 where tokens are explained, got {}",
                params.samples()
            );
            return refused(name, fault);
        }
        let tokens_max = limits.explain_tokens_max as usize;
        if output_len_max > tokens_max {
            let fault = format!(
                "must be at most {tokens_max} where tokens are explained, got {output_len_max}"
            );
            return refused("max_tokens", fault);
        }
        Ok(())
    }
}

/// Bytes of the explanations of a whole output.
fn explained_bytes(params: &SamplingParams, output_len_max: usize, top: u32) -> u64 {
    let active = Step::ALL
        .iter()
        .filter(|step| step.is_active(params))
        .count();
    let top = top as usize;
    // Besides the steps: the logits and a second row. The dropped tokens of a stage are fewer bytes than its best ones,
    // and the value of an option is cut to 64 characters.
    let stage = size_of::<Stage>() + 64 * 4 + top * (size_of::<Shown>() + 4);
    let racers = (top + 2) * size_of::<Racer>();
    let branches = params.branches() as usize;
    // A group has as many candidates as beams for every end there is; what is told of them is bounded so.
    let candidates = (2 * branches + top) * size_of::<BeamCandidate>();
    let each = size_of::<Explanation>() + (active + 2) * stage + racers + candidates;
    (each * output_len_max) as u64
}
