//! The work of a region: phases of units, one phase after another. A worker takes the units of its own share,
//! then those that others have not got to. A phase is over when all its units are done, whoever did them: a
//! worker that has lost its core holds up the others by the one unit it is at, not by its share.
//!
//! Invariants: no unit of a phase starts before all of the phase before are done; every unit is done once; what
//! a unit wrote is seen by all units of later phases. Knows nothing of what a unit is.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::signal::{Patience, Signal};

/// A worker of this region panicked; leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poisoned;

/// Added to the count of a poisoned region, so that all waits end.
const POISON: u32 = 1 << 30;

/// Per worker and phase: units taken from that worker's share. A worker's counters share cache lines with each
/// other and with nobody else's.
#[repr(align(128))]
struct Queue(Box<[AtomicU32]>);

/// Progress of a region.
pub(super) struct Board {
    queues: Box<[Queue]>,
    /// Units done in this region.
    done: Signal,
    is_poisoned: AtomicBool,
    /// Text of the first panic; touched outside the fast path only.
    failure: Mutex<Option<String>>,
    patience: Patience,
}

impl Board {
    pub(super) fn new(threads: usize, phases: usize, patience: Patience) -> Self {
        // Whole lines of 128 bytes, so that no two queues meet on one.
        let len = phases.next_multiple_of(32);
        let queue = |_| Queue((0..len).map(|_| AtomicU32::new(0)).collect());
        Self {
            queues: (0..threads).map(queue).collect(),
            done: Signal::default(),
            is_poisoned: AtomicBool::new(false),
            failure: Mutex::new(None),
            patience,
        }
    }

    /// How long waits spin.
    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// Before a region, while no worker is inside.
    pub(super) fn reset(&mut self) {
        self.done.reset();
        *self.is_poisoned.get_mut() = false;
        for queue in &mut self.queues {
            queue.0.iter_mut().for_each(|taken| *taken.get_mut() = 0);
        }
    }

    /// Marks the region as failed and ends all waits.
    pub(super) fn poison(&self, text: String) {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(text);
        // Once: the fourth would wrap the count.
        if !self.is_poisoned.swap(true, Ordering::AcqRel) {
            self.done.add(POISON);
        }
    }

    /// The first panic of the region. After it, when no worker is inside.
    pub(super) fn take_failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// A worker inside a region. All workers go through the same phases in the same order.
pub(crate) struct Worker<'a> {
    /// 0 (the caller) to `threads - 1`.
    pub(crate) index: usize,
    board: &'a Board,
    /// The phase under way.
    phase: usize,
    /// Units of all phases before it, tails included.
    before: u32,
    /// Its units, and whether a tail follows.
    units: u32,
    has_tail: bool,
    /// Whose share is being taken, as a distance from `index`.
    victim: usize,
    /// Units done by this worker and not yet counted.
    taken: u32,
    /// Whether this worker counted the last unit of the phase.
    is_last: bool,
}

impl<'a> Worker<'a> {
    pub(super) fn new(board: &'a Board, index: usize) -> Self {
        Self {
            index,
            board,
            phase: 0,
            before: 0,
            units: 0,
            has_tail: false,
            victim: 0,
            taken: 0,
            is_last: false,
        }
    }

    /// Waits for the end of the phase before, and starts the next one of `units` units. `has_tail`: whoever does
    /// the last unit then has a tail to do, before the phase is over.
    #[inline]
    pub(crate) fn begin(&mut self, units: usize, has_tail: bool) -> Result<(), Poisoned> {
        (self.units, self.has_tail) = (units as u32, has_tail);
        (self.victim, self.taken, self.is_last) = (0, 0, false);
        let before = self.before;
        self.board
            .done
            .wait(self.board.patience, |done| done >= before);
        if self.board.is_poisoned.load(Ordering::Relaxed) {
            return Err(Poisoned);
        }
        if self.board.done.get() >= before + self.units {
            // Over already: this worker is late, and must not disturb the queues of the others.
            self.victim = self.board.queues.len();
        }
        Ok(())
    }

    /// The next unit to do, if one is left.
    #[inline]
    pub(crate) fn claim(&mut self) -> Option<usize> {
        let threads = self.board.queues.len();
        while self.victim < threads {
            let whose = (self.index + self.victim) % threads;
            let border = |i: usize| self.units as usize * i / threads;
            let queue = &self.board.queues[whose].0[self.phase];
            let unit = border(whose) + queue.fetch_add(1, Ordering::Relaxed) as usize;
            if unit < border(whose + 1) {
                self.taken += 1;
                return Some(unit);
            }
            if self.victim == 0 && self.is_over_soon() {
                break;
            }
            self.victim += 1;
        }
        None
    }

    /// Counts what was done and gives the others a moment to end the phase by themselves: a look into their
    /// queues would cost them more than it helps, unless one of them is away.
    fn is_over_soon(&mut self) -> bool {
        self.count();
        let end = self.before + self.units;
        for _ in 0..self.board.patience.grace {
            if self.board.done.get() >= end {
                return true;
            }
            std::hint::spin_loop();
        }
        self.board.done.get() >= end
    }

    /// Counts the units done since the last count.
    #[inline]
    fn count(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            self.is_last |= self.board.done.add(taken) + taken == self.before + self.units;
        }
    }

    /// Ends the phase for this worker. Whether it must do the tail now, and then call `end_tail`.
    #[inline]
    pub(crate) fn end(&mut self) -> bool {
        self.count();
        // A phase without units has nobody to do its last one: the caller does its tail.
        let is_last = self.is_last || (self.units == 0 && self.index == 0);
        self.phase += 1;
        self.before += self.units + u32::from(self.has_tail);
        is_last && self.has_tail
    }

    /// The tail is done.
    #[inline]
    pub(crate) fn end_tail(&mut self) {
        self.board.done.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{Board, POISON, Patience, Worker};

    #[test]
    fn panics_of_many_workers_end_all_waits_and_keep_the_first_text() {
        let patience = Patience {
            spins: 0,
            yields: 0,
            grace: 0,
        };
        let board = Board::new(8, 2, patience);
        for count in 1..=8 {
            board.poison(format!("panic {count}"));
            assert!(board.done.get() >= POISON, "{count} panics");
        }
        assert!(Worker::new(&board, 0).begin(1, false).is_err());
        assert_eq!(board.take_failure().as_deref(), Some("panic 1"));
    }
}
