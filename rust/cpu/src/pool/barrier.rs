//! The meeting point of a region's workers: one sequence number per worker. A worker raises its own, then
//! waits for each of the others to reach it; there is no shared counter to fight for, and a wait for a late
//! worker sleeps on that worker's own number.
//!
//! Invariants: nobody passes meeting n before all have raised n; a poisoned barrier lets everybody out with
//! an error; the caller leaves a region last, and leaves all numbers equal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::signal::{Patience, Signal};

/// A worker of this region panicked; leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poisoned;

#[derive(Debug)]
pub(super) struct Barrier {
    /// Meetings each worker has come to, modulo 2^32. Equal for all between regions.
    arrived: Box<[Signal]>,
    /// Regions each worker has left, modulo 2^32.
    left: Box<[Signal]>,
    is_poisoned: AtomicBool,
    /// Text of the first panic; touched outside the fast path only.
    failure: Mutex<Option<String>>,
    patience: Patience,
}

impl Barrier {
    pub(super) fn new(threads: usize, patience: Patience) -> Self {
        let signals = || (0..threads).map(|_| Signal::default()).collect();
        Self {
            arrived: signals(),
            left: signals(),
            is_poisoned: AtomicBool::new(false),
            failure: Mutex::new(None),
            patience,
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.arrived.len()
    }

    /// Worker `index` comes to its next meeting and waits for the others.
    #[inline]
    pub(super) fn meet(&self, index: usize) -> Result<(), Poisoned> {
        let number = self.come(index);
        let is_poisoned = || self.is_poisoned.load(Ordering::Relaxed);
        for other in (0..self.threads()).filter(|other| *other != index) {
            self.arrived[other].wait(self.patience, |arrived| {
                (arrived.wrapping_sub(number) as i32) >= 0 || is_poisoned()
            });
        }
        if is_poisoned() { Err(Poisoned) } else { Ok(()) }
    }

    /// Worker `index` is done with the region. The caller, worker 0, waits for the others and cleans up.
    pub(super) fn leave(&self, index: usize) {
        if self.is_poisoned.load(Ordering::Relaxed) {
            // Whoever sleeps on our number must look at the poison: a number that changes wakes them.
            self.come(index);
        }
        let region = self.left[index].get().wrapping_add(1);
        self.left[index].raise(region);
        if index != 0 {
            return;
        }
        for other in &self.left[1..] {
            other.wait(self.patience, |left| left == region);
        }
        if self.is_poisoned.swap(false, Ordering::Relaxed) {
            for signal in &self.arrived {
                signal.raise(0);
            }
        }
    }

    /// Marks the region as failed. The caller of this must then leave it.
    pub(super) fn poison(&self, text: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
        self.is_poisoned.store(true, Ordering::Relaxed);
    }

    /// The first panic since the last call. Worker 0 only, outside a region.
    pub(super) fn take_failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn come(&self, index: usize) -> u32 {
        let number = self.arrived[index].get().wrapping_add(1);
        self.arrived[index].raise(number);
        number
    }
}
