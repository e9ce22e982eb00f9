//! Who runs in a step, in this order: decodes, so that none waits for budget; chunks of admitted prompts;
//! then the waiting, unless somebody was preempted. Knows budgets and blocks, not policies.

use super::{Ask, Budget, Plan};
use crate::scheduler::Scheduler;
use crate::sequence::{GroupIx, Sequence};

impl Scheduler {
    /// Decides the next step. Cancels of running sequences take effect here. The plan must be ended by
    /// `commit` or `abort_step` before the next, unless it is empty.
    // hop 3.1: which sequences, how many tokens, which blocks
    pub fn plan(&mut self) -> &Plan {
        assert!(
            !self.in_flight,
            "a step was planned before the last one ended"
        );
        self.steps += 1;
        self.plan.clear();
        self.order.clear();
        self.drop_cancelled();
        let mut left = Budget {
            rows: self.config.tokens_per_step,
            logits: self.config.logits_rows_max,
        };
        self.schedule_decodes(&mut left);
        self.schedule_chunks(&mut left);
        if self.plan.preempted.is_empty() {
            self.admit(&mut left);
        }
        self.settle();
        if self.order.is_empty() && !self.running.is_empty() {
            // Groups that were seated, or whose last member was looked up, with all but their last rows in the cache:
            // they sample only once all members have come so far. A plan without rows would let the engine sleep.
            self.schedule_chunks(&mut left);
            self.schedule_decodes(&mut left);
            self.settle();
        }
        if self.order.is_empty() && self.evict_paused() {
            self.admit(&mut left);
            self.settle();
        }
        self.build_plan();
        self.in_flight = !self.plan.is_empty();
        &self.plan
    }

    /// The plan last made.
    pub fn planned(&self) -> &Plan {
        &self.plan
    }

    /// Groups whose members are all one row short of their next token.
    fn schedule_decodes(&mut self, left: &mut Budget) {
        for at in 0..self.running.len() {
            let ix = self.running[at];
            let group = &self.arena[ix];
            if group.is_runnable() && group.is_decoding() {
                self.schedule_decode(ix, left);
            }
        }
    }

    /// One row of every member, or of none: they sample together.
    fn schedule_decode(&mut self, ix: GroupIx, left: &mut Budget) {
        let members = self.arena[ix].members.len();
        if left.rows < members || left.logits < members {
            return;
        }
        let is_whole = |member: &Sequence| member.runnable(self.context_len) > 0;
        if !self.arena[ix].members.iter().all(is_whole) {
            return;
        }
        if (0..members).all(|at| self.grow(ix, at, 1, left)) {
            self.arena[ix].looked_up = members;
            for at in 0..members {
                self.enter(ix, at, 1, left);
            }
        }
    }

    /// Prompts under way, and whatever else is more than one row short.
    fn schedule_chunks(&mut self, left: &mut Budget) {
        let open = self.open_prompts();
        if open == 0 {
            return;
        }
        let has_rival = open > 1 || (self.plan.preempted.is_empty() && self.head_fits(0));
        let cap = self.chunk_cap(has_rival);
        for at in 0..self.running.len() {
            let ix = self.running[at];
            if self.is_open(ix) {
                self.schedule_members(ix, cap, left);
            }
        }
    }

    /// Prompts that at least two more rows must complete.
    pub(crate) fn open_prompts(&self) -> usize {
        self.running.iter().filter(|&&ix| self.is_open(ix)).count()
    }

    fn is_open(&self, ix: GroupIx) -> bool {
        let group = &self.arena[ix];
        let is_short = group.members.iter().any(|member| member.missing() > 1);
        group.is_runnable() && is_short
    }

    /// Gives the members of a group up to `cap` rows together, one after another: a later one starts when those
    /// before it lack their last row alone, so that it finds in the cache what they have in common.
    fn schedule_members(&mut self, ix: GroupIx, cap: usize, left: &mut Budget) {
        let mut cap = cap;
        for at in 0..self.arena[ix].members.len() {
            let group = &self.arena[ix];
            let before = &group.members[..at];
            if !group.is_running || before.iter().any(|member| member.missing() > 1) {
                return;
            }
            if at >= group.looked_up {
                self.begin_late(ix, at);
            }
            let ask = self.arena[ix].members[at].ask();
            let budget = self.logits_share(ask, *left);
            let wanted = self.arena[ix].chunk_len(at, self.context_len);
            let rows = budget.fit(cap.min(wanted), ask);
            if rows > 0 && self.grow(ix, at, rows, left) {
                self.enter(ix, at, rows, left);
                cap -= rows;
            }
        }
    }

    /// Most rows of one prompt in this step.
    pub(crate) fn chunk_cap(&self, has_rival: bool) -> usize {
        let share = if has_rival {
            self.config.share_rows()
        } else {
            usize::MAX
        };
        self.config.chunk_max.map_or(share, |most| most.min(share))
    }

    /// A prompt that is scored leaves half of the logits to others: each of its rows wants some, and a prompt
    /// behind it may lack no more than those of its last row.
    pub(crate) fn logits_share(&self, ask: Ask, left: Budget) -> Budget {
        let is_alone = self.running.len() <= 1 && self.waiting.len() == 0;
        if is_alone || !ask.is_scoring() {
            return left;
        }
        Budget {
            logits: left.logits.div_ceil(2),
            ..left
        }
    }

    /// Books rows of a member whose blocks are there.
    pub(crate) fn enter(&mut self, ix: GroupIx, at: usize, rows: usize, left: &mut Budget) {
        if rows == 0 {
            return;
        }
        let member = &mut self.arena[ix].members[at];
        left.take(rows, member.ask());
        member.scheduled = rows;
        self.order.push((ix, at));
    }

    /// Drops from the lists whoever lost its seat in this plan.
    pub(crate) fn settle(&mut self) {
        if !self.plan.preempted.is_empty() {
            let arena = &self.arena;
            self.running.retain(|&ix| arena[ix].is_running);
            self.order
                .retain(|&(ix, at)| arena[ix].members[at].scheduled > 0);
        }
    }
}
