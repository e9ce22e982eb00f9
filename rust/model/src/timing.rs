//! Where a step's time goes, by kind of operation. Counted only when somebody asks: a reading of the clock
//! at each operation costs more than some operations.

use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of operation, or of work around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedPart {
    /// Norms, residual adds, embedding, making activations ready.
    Rows,
    /// Q, K and V with rotation and cache writes.
    Qkv,
    /// Attention.
    Attention,
    /// Single products: attention output, down, other linears.
    Linear,
    /// Gate and up with the activation.
    Gate,
    /// The output head.
    Head,
    /// Waiting for other workers, and for row work that one of them does for all.
    Waiting,
    /// Checking the batch, listing attention items, entering and leaving the pool.
    Around,
}

impl TimedPart {
    /// Every part, with the name of its figure.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Rows, "model_rows_ns"),
        (Self::Qkv, "model_qkv_ns"),
        (Self::Attention, "model_attention_ns"),
        (Self::Linear, "model_linear_ns"),
        (Self::Gate, "model_gate_ns"),
        (Self::Head, "model_head_ns"),
        (Self::Waiting, "model_waiting_ns"),
        (Self::Around, "model_around_ns"),
    ];
}

/// Nanoseconds by part, on the thread that runs a step; only growing. Written by a backend, read by anyone.
#[derive(Debug, Default)]
pub struct OpTimes([AtomicU64; TimedPart::ALL.len()]);

impl OpTimes {
    /// Adds to a part.
    pub fn add(&self, part: TimedPart, ns: u64) {
        self.0[part as usize].fetch_add(ns, Ordering::Relaxed);
    }

    /// Every part's figure by name.
    pub fn snapshot(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        TimedPart::ALL
            .iter()
            .map(|(part, name)| (*name, self.0[*part as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::{OpTimes, TimedPart};

    #[test]
    fn a_part_is_read_under_its_own_name() {
        let times = OpTimes::default();
        for (index, (part, _)) in TimedPart::ALL.into_iter().enumerate() {
            times.add(part, index as u64 + 1);
        }
        let read: Vec<_> = times.snapshot().collect();
        for (index, (_, name)) in TimedPart::ALL.into_iter().enumerate() {
            assert_eq!(read[index], (name, index as u64 + 1));
        }
    }
}
