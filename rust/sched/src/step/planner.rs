//! Who runs in a step, in this order: decodes, so that none waits for budget; chunks of admitted prompts;
//! then the waiting, unless somebody was preempted. Knows budgets and blocks, not policies.

use super::{Ask, Budget, Plan};
use crate::scheduler::Scheduler;
use crate::sequence::SeqIx;

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

    /// Sequences one row short of their next token.
    fn schedule_decodes(&mut self, left: &mut Budget) {
        for at in 0..self.running.len() {
            let ix = self.running[at];
            let sequence = &self.arena[ix];
            if sequence.is_running && sequence.missing() == 1 {
                self.schedule(ix, 1, left);
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
                self.schedule(ix, cap, left);
            }
        }
    }

    /// Prompts that at least two more rows must complete.
    pub(crate) fn open_prompts(&self) -> usize {
        self.running.iter().filter(|&&ix| self.is_open(ix)).count()
    }

    fn is_open(&self, ix: SeqIx) -> bool {
        let sequence = &self.arena[ix];
        sequence.is_running && sequence.missing() > 1 && !sequence.is_paused
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

    /// Gives a running sequence up to `cap` rows and the blocks for them.
    fn schedule(&mut self, ix: SeqIx, cap: usize, left: &mut Budget) {
        let sequence = &self.arena[ix];
        let ask = sequence.ask();
        let budget = self.logits_share(ask, *left);
        let rows = budget.fit(cap.min(sequence.runnable(self.context_len)), ask);
        if rows > 0 && self.grow(ix, rows, left) {
            self.enter(ix, rows, left);
        }
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

    /// Books rows whose blocks are there.
    pub(crate) fn enter(&mut self, ix: SeqIx, rows: usize, left: &mut Budget) {
        if rows == 0 {
            return;
        }
        let sequence = &mut self.arena[ix];
        left.take(rows, sequence.ask());
        sequence.scheduled = rows;
        self.order.push(ix);
    }

    /// Drops from the lists whoever lost its seat in this plan.
    pub(crate) fn settle(&mut self) {
        if !self.plan.preempted.is_empty() {
            let arena = &self.arena;
            self.running.retain(|&ix| arena[ix].is_running);
            self.order.retain(|&ix| arena[ix].scheduled > 0);
        }
    }
}
