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
    /// Whom `needy` makes give way: the paused first, then the last come by policy; itself if nobody else
    /// may.
    pub(crate) fn victim(&self, needy: SeqIx) -> SeqIx {
        let resident = || {
            self.running
                .iter()
                .rev()
                .filter(|&&ix| self.arena[ix].is_running)
        };
        if let Some(&paused) = resident().find(|&&ix| self.arena[ix].is_paused) {
            return paused;
        }
        let mut open = resident()
            .copied()
            .filter(|&ix| !self.arena[ix].is_protected);
        let victim = match self.config.policy {
            Policy::Fcfs => open.next(),
            Policy::Priority => {
                let own = self.arena[needy].priority;
                open.filter(|&ix| self.arena[ix].priority > own)
                    .max_by_key(|&ix| rank(&self.arena[ix]))
            }
        };
        let victim = victim.unwrap_or(needy);
        assert!(
            !self.arena[victim].is_protected,
            "a protected sequence found no block"
        );
        victim
    }

    /// Takes a running sequence's blocks and rows of this plan away.
    pub(crate) fn preempt(&mut self, ix: SeqIx, left: &mut Budget) {
        let sequence = &self.arena[ix];
        left.refund(sequence.scheduled, sequence.missing());
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
