//! Where a step's time goes, by kind of phase, on the caller's thread. Off unless asked for: a reading of the
//! clock at each phase costs more than some phases.

use std::time::{Duration, Instant};

use crate::plan::Phase;

/// Time of the caller's thread since profiling was enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Steps counted.
    pub steps: u64,
    /// Checking the batch, listing attention items, entering and leaving the pool.
    pub around: Duration,
    /// Norms, residual adds, embedding, making activations ready.
    pub rows: Duration,
    /// Q, K and V with rotation and cache writes.
    pub qkv: Duration,
    /// Attention.
    pub attention: Duration,
    /// Single products: attention output, down, other linears.
    pub linear: Duration,
    /// Gate and up with the activation.
    pub gate: Duration,
    /// The output head.
    pub head: Duration,
    /// Waiting for the other workers, and for row work that one of them does for all.
    pub waiting: Duration,
}

impl Profile {
    /// The field of a phase's kind.
    pub(crate) fn of(&mut self, phase: &Phase) -> &mut Duration {
        match phase {
            Phase::Rows(_) => &mut self.rows,
            Phase::Project(_) | Phase::Finish(_) => &mut self.qkv,
            Phase::Attend(_) => &mut self.attention,
            Phase::Products(_) => &mut self.linear,
            Phase::Gate(_) => &mut self.gate,
            Phase::Head(_) => &mut self.head,
        }
    }

    /// Sum of all parts.
    pub fn total(&self) -> Duration {
        let parts = [
            self.around,
            self.rows,
            self.qkv,
            self.attention,
            self.linear,
            self.gate,
            self.head,
            self.waiting,
        ];
        parts.into_iter().sum()
    }

    /// Adds the time since `last` to a field, and starts anew.
    pub(crate) fn lap(last: &mut Instant, field: &mut Duration) {
        let now = Instant::now();
        *field += now - *last;
        *last = now;
    }
}
