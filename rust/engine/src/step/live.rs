//! One accepted request inside the engine: what its samples share.

use std::sync::Arc;

use tokenmill_core::{Failure, FinishReason, HasKind, SamplingParams, TokenId};

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
}

impl Live {
    /// Ends a request that never ran.
    pub fn fail(mut self, error: &(impl HasKind + std::fmt::Display)) {
        let failure = Failure::of(error);
        self.outbox.end(FinishReason::Error, Some(&failure));
    }
}
