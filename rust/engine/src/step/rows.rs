//! Whose the rows with logits of a batch are: the members of a group one after another, and rows that score a
//! prompt one by one. Reads plan and batch, changes neither.

use std::ops::Range;

use tokenmill_core::SequenceId;
use tokenmill_sched::Plan;

/// What one or more neighbouring rows with logits are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// All members of a group sample: the indices of their rows among the batch's rows with logits.
    Sample(SequenceId, Range<usize>),
    /// The row at `index` scores the prompt's token behind `position`.
    Score {
        id: SequenceId,
        index: usize,
        position: u32,
    },
}

/// Walks along the rows with logits; those of the plan that are sampled and those that are scored are both ascending.
pub(super) struct Turns {
    /// First row of the batch, in the plan.
    first_row: u32,
    /// Next entry of the batch's rows with logits.
    index: usize,
    /// Next entry of the plan's `sampled`.
    sampled: usize,
    /// Next entry of its `scored_rows`.
    scored: usize,
}

impl Turns {
    /// Those of the spans from `span` on.
    pub(super) fn new(plan: &Plan, span: usize) -> Self {
        let first_row = plan.spans[span].row;
        Self {
            first_row,
            index: 0,
            sampled: plan.logits_rows.partition_point(|&row| row < first_row),
            scored: plan.scored_rows.partition_point(|&row| row < first_row),
        }
    }

    /// The next turn; `rows`: the batch's rows with logits.
    pub(super) fn next(&mut self, plan: &Plan, rows: &[u32]) -> Option<Turn> {
        let start = self.index;
        let row = self.first_row + rows.get(start)?;
        self.index += 1;
        if plan.scored_rows.get(self.scored) == Some(&row) {
            self.scored += 1;
            let span = plan
                .spans
                .partition_point(|span| span.row + span.rows <= row);
            return Some(Turn::Score {
                id: plan.spans[span].id,
                index: start,
                position: plan.positions[row as usize],
            });
        }
        let id = plan.sampled[self.sampled];
        self.sampled += 1;
        while plan.sampled.get(self.sampled) == Some(&id) {
            self.sampled += 1;
            self.index += 1;
        }
        Some(Turn::Sample(id, start..self.index))
    }
}

/// The spans of the group that span `span` belongs to, from there on.
pub(super) fn group_spans(plan: &Plan, span: usize) -> Range<usize> {
    let id = plan.spans[span].id;
    let members = plan.spans[span..].iter();
    span..span + members.take_while(|other| other.id == id).count()
}
