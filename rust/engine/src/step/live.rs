//! One accepted request inside the engine: what its samples share.

use std::sync::Arc;

use tokenmill_core::{Failure, FinishReason, HasKind, SamplingParams, TokenId, TokenLogprobs};
use tokenmill_decode::{Sampler, Vocabulary};

use crate::constraint::Compiled;
use crate::door::outbox::Outbox;
use crate::step::source::Source;

/// A request being served.
#[derive(Debug)]
pub(crate) struct Live {
    pub outbox: Outbox,
    pub params: Arc<SamplingParams>,
    /// Where its scores come from.
    pub source: Source,
    pub seed: i64,
    pub prompt: Arc<[TokenId]>,
    /// Most output tokens of a sample.
    pub output_len_max: usize,
    /// Output tokens of a sample for which ends wait.
    pub output_len_min: usize,
    /// When its time is over, on the engine's clock.
    pub deadline_ns: Option<u64>,
    /// What its samples must be as texts.
    pub compiled: Compiled,
    /// How many tokens of each stage are explained.
    pub explain: Option<u32>,
    /// Log-probs of the prompt so far; they leave with the first event of sample 0.
    pub prompt_logprobs: Vec<TokenLogprobs>,
}

impl Live {
    /// The sampler of sample `index`, before its first token.
    pub fn sampler(
        &self,
        index: u32,
        vocabulary: &Vocabulary,
    ) -> tokenmill_decode::Result<Sampler> {
        Sampler::new(&self.params, self.seed, index, vocabulary, &self.prompt)
            .map(|sampler| sampler.with_output_len_max(self.output_len_max as u32))
    }

    /// Ends a request that never ran.
    pub fn fail(mut self, error: &(impl HasKind + std::fmt::Display)) {
        let failure = Failure::of(error);
        self.outbox.end(FinishReason::Error, Some(&failure));
    }
}
