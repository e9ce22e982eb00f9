//! Who gives way when the pool is empty, and how: by recompute. The victim's blocks are released (full
//! ones stay cached while nobody needs them) and it goes to the front of the queue with its outputs kept.
//!
//! Guards against livelock: nobody is admitted in a plan that preempted; after `preempt_max` preemptions
//! a sequence comes back only with all the blocks it can ever need, which nobody else may then take.

use super::Budget;
use crate::config::Policy;
use crate::scheduler::Scheduler;
use crate::sequence::{Group, GroupIx};

impl Scheduler {
    /// Who gives way when a sequence finds no block: the paused first, then the last in the order of the
    /// policy, which may be that sequence itself. None if all are protected.
    pub(crate) fn victim(&self) -> Option<GroupIx> {
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

    /// Takes a running group's blocks and rows of this plan away.
    pub(crate) fn preempt(&mut self, ix: GroupIx, left: &mut Budget) {
        let group = &self.arena[ix];
        for member in &group.members {
            left.refund(member.scheduled, member.ask());
            if member.is_copied {
                let table = &member.table;
                self.plan.copies.retain(|copy| !table.contains(&copy.to));
            }
        }
        self.plan.preempted.push(group.id());
        self.stats.preemptions += 1;
        self.vacate(ix);
        let preempt_max = self.config.preempt_max;
        let group = &mut self.arena[ix];
        // A paused group gave up nothing that it was using, so it is not counted against it.
        group.preemptions += u32::from(!group.is_paused);
        group.is_protected = group.preemptions >= preempt_max;
        self.enqueue(ix);
    }

    /// Releases a running group's tables and seats; the caller removes it from `running`.
    pub(crate) fn vacate(&mut self, ix: GroupIx) {
        let mut members = std::mem::take(&mut self.arena[ix].members);
        for member in &mut members {
            self.release_table(member);
        }
        let group = &mut self.arena[ix];
        group.members = members;
        group.leave();
        self.seats -= group.seats();
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
fn rank(group: &Group) -> (i32, u64, u32) {
    (group.priority, group.place.arrival, group.place.fork)
}
