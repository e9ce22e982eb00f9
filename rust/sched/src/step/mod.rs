//! The turns of one step: plan (decodes, chunks, admissions, each with its preemptions), build, commit.

mod admit;
mod build;
mod commit;
mod grow;
mod plan;
mod planner;
mod preempt;

pub use plan::{Copy, NO_SLOT, Plan, PlanSpan};

/// What is left of a step's budgets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Rows.
    pub(crate) rows: usize,
    /// Rows with logits.
    pub(crate) logits: usize,
}

impl Budget {
    /// The largest run of rows within the budget, for a sequence with `missing` rows to its next token:
    /// the row that completes it wants logits.
    pub(crate) fn fit(self, wanted: usize, missing: usize) -> usize {
        let rows = wanted.min(self.rows);
        if rows == missing && self.logits == 0 {
            rows.saturating_sub(1)
        } else {
            rows
        }
    }

    pub(crate) fn take(&mut self, rows: usize, missing: usize) {
        self.rows -= rows;
        self.logits -= usize::from(rows == missing);
    }

    pub(crate) fn refund(&mut self, rows: usize, missing: usize) {
        self.rows += rows;
        self.logits += usize::from(rows > 0 && rows == missing);
    }
}
