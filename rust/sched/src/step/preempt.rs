//! Who gives way when the pool is empty, and how: by recompute. The victim's blocks are released (full
//! ones stay cached while nobody needs them) and it goes to the front of the queue with its outputs kept.
//!
//! Guards against livelock: nobody is admitted in a plan that preempted; after `preempt_max` preemptions
//! a sequence comes back only with all the blocks it can ever need, which nobody else may then take.

use super::Budget;
use crate::config::Policy;
use crate::scheduler::Scheduler;
use crate::sequence::{SeqIx, Sequence};

impl Scheduler {
    /// Who gives way when a sequence finds no block: the paused first, then the last in the order of the
    /// policy, which may be that sequence itself. None if all are protected.
    pub(crate) fn victim(&self) -> Option<SeqIx> {
        let seats = self.running.iter().rev().copied();
        let resident = seats.filter(|&ix| self.arena[ix].is_running);
        if let Some(paused) = resident.clone().find(|&ix| self.arena[ix].is_paused) {
            return Some(paused);
        }
        let mut open = resident.filter(|&ix| !self.arena[ix].is_protected);
        match self.config.policy {
            Policy::Fcfs => open.next(),
            Policy::Priority => open.max_by_key(|&ix| rank(&self.arena[ix])),
        }
    }

    /// Takes a running sequence's blocks and rows of this plan away.
    pub(crate) fn preempt(&mut self, ix: SeqIx, left: &mut Budget) {
        let sequence = &self.arena[ix];
        left.refund(sequence.scheduled, sequence.ask());
        if sequence.is_copied {
            let table = &sequence.table;
            self.plan.copies.retain(|copy| !table.contains(&copy.to));
        }
        self.plan.preempted.push(sequence.id());
        self.stats.preemptions += 1;
        self.vacate(ix);
        let preempt_max = self.config.preempt_max;
        let sequence = &mut self.arena[ix];
        // A paused sequence gave up nothing that it was using, so it is not counted against it.
        sequence.preemptions += u32::from(!sequence.is_paused);
        sequence.is_protected = sequence.preemptions >= preempt_max;
        self.enqueue(ix);
    }

    /// Releases a running sequence's table; the caller removes it from `running`.
    pub(crate) fn vacate(&mut self, ix: SeqIx) {
        let sequence = &mut self.arena[ix];
        self.entries -= sequence.table.len();
        let (keys, has_duplicates) = (&sequence.keys[..], sequence.has_duplicates);
        self.blocks
            .release_table(&mut sequence.table, keys, has_duplicates);
        sequence.leave();
        self.protected.retain(|&other| other != ix);
    }

    /// When nothing runs and the waiting find no blocks, the paused lose theirs; true if there were any.
    pub(crate) fn evict_paused(&mut self) -> bool {
        if self.waiting.iter().all(|ix| self.arena[ix].is_paused) {
            return false;
        }
        let mut budget = Budget { rows: 0, logits: 0 };
        let before = self.plan.preempted.len();
        for at in 0..self.running.len() {
            let ix = self.running[at];
            if self.arena[ix].is_paused {
                self.preempt(ix, &mut budget);
            }
        }
        self.settle();
        self.plan.preempted.len() > before
    }
}

/// Under `priority` the largest of these gives way.
fn rank(sequence: &Sequence) -> (i32, u64, u32) {
    (
        sequence.priority,
        sequence.place.arrival,
        sequence.place.fork,
    )
}
