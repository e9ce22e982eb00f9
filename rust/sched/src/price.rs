//! What a group could need at its longest, against what the pool and a step can ever give it. Refuses, with the
//! numbers, what could never run. Changes nothing.

use crate::error::{Error, Result};
use crate::scheduler::Scheduler;

/// The size of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Tokens of the prompt.
    pub prompt_len: usize,
    /// Tokens of the second source's prompt, if there is one.
    pub second_len: Option<usize>,
    /// Most branches, >= 1.
    pub width: usize,
    /// Most tokens of output; absent: the rest of the context.
    pub max_new: Option<usize>,
}

impl Extent {
    /// One sequence.
    pub fn plain(prompt_len: usize, max_new: Option<usize>) -> Self {
        Self {
            prompt_len,
            second_len: None,
            width: 1,
            max_new,
        }
    }

    /// Most sequences of the group.
    pub fn sequences(&self) -> usize {
        let lanes = 1 + usize::from(self.second_len.is_some());
        self.width.saturating_mul(lanes)
    }
}

/// What a group would need at its longest, against what the pool can ever give one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Blocks of prompts and outputs, as if its sequences shared none.
    pub blocks_needed: usize,
    /// Blocks of the pool less its reserve.
    pub blocks_total: usize,
}

impl Scheduler {
    /// What prompts and outputs cost. With no `max_new` the rest of the context is the price, so that
    /// a plain request always fits.
    pub fn price(&self, extent: &Extent) -> Price {
        let blocks = |prompt_len: usize| {
            let max_new = extent.max_new;
            let tokens = max_new.map_or(self.context_len, |new| prompt_len.saturating_add(new));
            self.blocks.needed(tokens)
        };
        let branch = blocks(extent.prompt_len).saturating_add(extent.second_len.map_or(0, blocks));
        Price {
            blocks_needed: branch.saturating_mul(extent.width),
            blocks_total: self.config.blocks_admissible(),
        }
    }

    /// Refuses what could never run.
    pub fn check_extent(&self, extent: &Extent) -> Result<()> {
        let context_len = self.context_len;
        for prompt_len in [Some(extent.prompt_len), extent.second_len]
            .into_iter()
            .flatten()
        {
            if prompt_len == 0 {
                return Err(Error::EmptyPrompt);
            }
            if prompt_len > context_len {
                return Err(Error::PromptTooLong {
                    prompt_len,
                    context_len,
                });
            }
        }
        let sequences = extent.sequences();
        let bounds = [
            ("sequences run at once", self.config.running_max),
            ("rows of a step", self.config.tokens_per_step),
            ("rows with logits of a step", self.config.logits_rows_max),
        ];
        for (what, most) in bounds {
            if sequences > most || sequences == 0 {
                return Err(Error::TooWide {
                    sequences,
                    what,
                    most,
                });
            }
        }
        let Price {
            blocks_needed,
            blocks_total,
        } = self.price(extent);
        if blocks_needed <= blocks_total {
            return Ok(());
        }
        Err(Error::TooLarge {
            prompt_len: extent.prompt_len,
            max_new: extent.max_new.unwrap_or(0),
            sequences,
            blocks_needed,
            blocks_total,
            block_size: self.config.block_size,
        })
    }
}
