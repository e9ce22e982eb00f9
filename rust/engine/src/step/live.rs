//! One accepted request inside the engine: what its samples share.

use std::sync::Arc;

use tokenmill_core::{Failure, FinishReason, HasKind, SamplingParams, TokenId, TokenLogprobs};

use crate::door::outbox::Outbox;

/// A request being served.
#[derive(Debug)]
pub(crate) struct Live {
    pub outbox: Outbox,
    pub params: Arc<SamplingParams>,
    pub seed: i64,
    pub prompt: Arc<[TokenId]>,
    /// Most output tokens of a sample.
    pub output_len_max: usize,
    /// Output tokens of a sample for which ends wait.
    pub output_len_min: usize,
    /// When its time is over, on the engine's clock.
    pub deadline_ns: Option<u64>,
    /// Log-probs of the prompt so far; they leave with the first event of sample 0.
    pub prompt_logprobs: Vec<TokenLogprobs>,
}

impl Live {
    /// Ends a request that never ran.
    pub fn fail(mut self, error: &(impl HasKind + std::fmt::Display)) {
        let failure = Failure::of(error);
        self.outbox.end(FinishReason::Error, Some(&failure));
    }
}
