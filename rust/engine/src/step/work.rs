//! The middle of a step: plan to batch, batch to logits, logits to tokens, tokens to the scheduler and the
//! callers. When a step fails it is run again sequence by sequence: rows do not depend on their company,
//! so the innocent lose nothing and the guilty one is found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenmill_core::{Failure, Kind};
use tokenmill_model::{BlockCopy, Span, StepBatch};
use tokenmill_sched::Plan;

use crate::stats::Stats;
use crate::step::engine::Engine;
use crate::step::growth::Outcome;
use crate::step::meter::Part;
use crate::step::rows::{Turns, group_spans};

impl Engine {
    /// Plans and runs a step; false if there was nothing to run.
    pub(crate) fn run_plan(&mut self) -> bool {
        self.meter.start();
        self.scheduler.plan();
        self.meter.end(Part::Plan, &self.shared.stats);
        if self.scheduler.planned().is_empty() {
            return false;
        }
        self.outcomes.clear();
        self.copy_blocks();
        let spans = self.scheduler.planned().spans.len();
        if self.execute(0, spans).is_err() {
            Stats::add(&self.shared.stats.steps_isolated, 1);
            self.outcomes.clear();
            self.isolate(spans);
        }
        self.settle();
        true
    }

    fn copy_blocks(&mut self) {
        let plan = self.scheduler.planned();
        if plan.copies.is_empty() {
            return;
        }
        let copies: Vec<BlockCopy> = plan
            .copies
            .iter()
            .map(|copy| BlockCopy {
                from: copy.from,
                to: copy.to,
                from_slot: copy.from_slot,
                to_slot: copy.to_slot,
                len: copy.len,
            })
            .collect();
        if let Err(error) = self.backend.copy_blocks(&copies) {
            panic!("the backend could not copy blocks: {error}");
        }
        self.sources.copy_blocks(&copies);
    }

    /// Runs every group of the plan alone.
    fn isolate(&mut self, spans: usize) {
        let mut span = 0;
        while span < spans {
            let group = group_spans(self.scheduler.planned(), span);
            if let Err(failure) = self.execute(group.start, group.end) {
                let id = self.scheduler.planned().spans[span].id;
                self.outcomes.push(Outcome::Failed(id, failure));
            }
            span = group.end;
        }
    }

    /// Runs spans `from..to` of the plan and samples their tokens.
    // hop 4.1: the plan becomes one ragged batch; its rows come back as logits and are sampled
    fn execute(&mut self, from: usize, to: usize) -> Result<(), Failure> {
        self.meter.start();
        fill(&mut self.batch, self.scheduler.planned(), from, to);
        self.ask_beside(from);
        let ran = catch_unwind(AssertUnwindSafe(|| self.backend.run(&self.batch)));
        let ticket = match ran {
            Ok(Ok(ticket)) => ticket,
            Ok(Err(error)) => return Err(Failure::of(&error)),
            Err(_) => {
                let message = "the backend panicked on this request";
                return Err(Failure::new(Kind::Internal, message));
            }
        };
        self.run_amateur()?;
        self.meter.end(Part::Model, &self.shared.stats);
        self.meter.count(&self.batch, &self.shared.stats);
        self.learn_states(ticket, from)?;
        let mut turns = Turns::new(self.scheduler.planned(), from);
        while let Some(turn) = turns.next(self.scheduler.planned(), &self.batch.logits_rows) {
            self.take_turn(ticket, turn);
        }
        self.meter.end(Part::Sample, &self.shared.stats);
        Ok(())
    }
}

/// Copies spans `from..to` of a plan into a batch whose rows start at 0.
fn fill(batch: &mut StepBatch, plan: &Plan, from: usize, to: usize) {
    batch.clear();
    let (first, last) = (&plan.spans[from], &plan.spans[to - 1]);
    let rows = first.row as usize..(last.row + last.rows) as usize;
    let tables = first.table as usize..(last.table + last.table_len) as usize;
    batch.tokens.extend_from_slice(&plan.tokens[rows.clone()]);
    batch
        .positions
        .extend_from_slice(&plan.positions[rows.clone()]);
    batch.slots.extend_from_slice(&plan.slots[rows.clone()]);
    batch.tables.extend_from_slice(&plan.tables[tables.clone()]);
    batch
        .spans
        .extend(plan.spans[from..to].iter().map(|span| Span {
            row: span.row - first.row,
            rows: span.rows,
            table: span.table - first.table,
            table_len: span.table_len,
            scope: span.scope,
        }));
    let wanted = plan
        .logits_rows
        .iter()
        .filter(|row| rows.contains(&(**row as usize)));
    batch.logits_rows.extend(wanted.map(|row| row - first.row));
    if !plan.scored_rows.is_empty() {
        let scored = plan.scored_rows.iter();
        let wanted = scored.filter(|row| rows.contains(&(**row as usize)));
        batch.logits_rows.extend(wanted.map(|row| row - first.row));
        batch.logits_rows.sort_unstable();
    }
}
