//! A counter that threads raise and others wait for: spin, then yield, then sleep.
//!
//! Invariants: a waiter that saw a value also sees everything written before it was raised to that value
//! (release and acquire); a raise costs no system call unless someone sleeps. Knows nothing of jobs.

use std::sync::atomic::{AtomicU32, Ordering, fence};

use super::futex;

/// How long a wait spins and yields before it sleeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Rounds of `spin_loop`.
    pub(super) spins: u32,
    /// Yields after that.
    pub(super) yields: u32,
    /// Rounds of `spin_loop` for which a worker without work leaves that of the others alone.
    pub(super) grace: u32,
}

/// The counter, alone on its cache lines (the prefetcher takes lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Signal {
    value: AtomicU32,
    sleepers: AtomicU32,
}

impl Signal {
    /// The value.
    #[inline]
    pub(super) fn get(&self) -> u32 {
        self.value.load(Ordering::Acquire)
    }

    /// Sets the value while nobody waits.
    pub(super) fn reset(&self) {
        self.value.store(0, Ordering::Release);
    }

    /// Adds to the value and wakes the sleepers; gives the value before.
    #[inline]
    pub(super) fn add(&self, count: u32) -> u32 {
        let before = self.value.fetch_add(count, Ordering::AcqRel);
        // A sleeper counts itself, then looks at the value; we change the value, then look at the count. With
        // a fence between the two on each side, at least one of us sees the other.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            futex::wake_all(&self.value);
        }
        before
    }

    /// Waits until `is_done` of the value holds.
    #[inline]
    pub(super) fn wait(&self, patience: Patience, is_done: impl Fn(u32) -> bool) {
        for _ in 0..patience.spins {
            if is_done(self.get()) {
                return;
            }
            std::hint::spin_loop();
        }
        self.wait_long(patience, is_done);
    }

    #[cold]
    fn wait_long(&self, patience: Patience, is_done: impl Fn(u32) -> bool) {
        for _ in 0..patience.yields {
            if is_done(self.get()) {
                return;
            }
            std::thread::yield_now();
        }
        while !is_done(self.get()) {
            self.sleepers.fetch_add(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let value = self.get();
            if !is_done(value) {
                futex::wait(&self.value, value);
            }
            self.sleepers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
