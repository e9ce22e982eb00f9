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

/// Which of a sequence's next rows want logits: the one that completes it, and those of a prompt that is
/// scored.
///
/// ```text
/// 0 .. scored_from .. scored_end .. missing - 1
///      [ logits each )              logits
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Rows to its next token.
    pub(crate) missing: usize,
    pub(crate) scored_from: usize,
    pub(crate) scored_end: usize,
}

impl Ask {
    /// Rows with logits among its next `rows`.
    fn logits(self, rows: usize) -> usize {
        let scored = rows.min(self.scored_end).saturating_sub(self.scored_from);
        scored + usize::from(rows > 0 && rows == self.missing)
    }

    /// Whether any but the completing row wants logits.
    pub(crate) fn is_scoring(self) -> bool {
        self.scored_end > self.scored_from
    }
}

impl Budget {
    /// The largest run of rows within the budget.
    pub(crate) fn fit(self, wanted: usize, ask: Ask) -> usize {
        let mut rows = wanted.min(self.rows);
        if ask.logits(rows) > self.logits && rows == ask.missing {
            rows -= 1;
        }
        if ask.logits(rows) > self.logits {
            rows = rows.min(ask.scored_from + self.logits);
        }
        rows
    }

    pub(crate) fn take(&mut self, rows: usize, ask: Ask) {
        self.rows -= rows;
        self.logits -= ask.logits(rows);
    }

    pub(crate) fn refund(&mut self, rows: usize, ask: Ask) {
        self.rows += rows;
        self.logits += ask.logits(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, Budget};

    #[test]
    fn a_run_of_rows_is_the_longest_that_both_budgets_pay() {
        for code in 0..20_000_usize {
            let digit = |place: u32| code / 7_usize.pow(place) % 7;
            let (from, end) = (digit(0).min(digit(1)), digit(1));
            let missing = end + 1 + digit(2);
            let ask = Ask {
                missing,
                scored_from: from,
                scored_end: end,
            };
            let budget = Budget {
                rows: digit(3),
                logits: digit(4),
            };
            let wants = |row: usize| (from..end).contains(&row) || row + 1 == missing;
            let logits = |rows: usize| (0..rows).filter(|&row| wants(row)).count();
            let longest = (0..=budget.rows.min(missing))
                .rev()
                .find(|&rows| logits(rows) <= budget.logits);
            assert_eq!(
                Some(budget.fit(missing, ask)),
                longest,
                "{ask:?} {budget:?}"
            );
        }
    }
}
