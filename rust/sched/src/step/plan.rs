//! The decision for one step as plain data: the fields of the backend's `StepBatch`, the copies to run
//! before it, and whose token each row with logits yields. Holds no state; its memory is reused.

use tokenmill_core::{BlockId, SequenceId, TokenId};

/// `slots` entry of a row that reads the cache and writes nothing.
pub const NO_SLOT: u32 = u32::MAX;

/// One step. Rows: decodes first, then chunks, both in order of admission; the order must not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One token per row.
    pub tokens: Vec<TokenId>,
    /// Its index in its sequence.
    pub positions: Vec<u32>,
    /// Where its K and V go: block * block_size + offset, or `NO_SLOT`.
    pub slots: Vec<u32>,
    /// One run of rows per sequence, in row order, covering all rows.
    pub spans: Vec<PlanSpan>,
    /// The block tables of the spans, one after another.
    pub tables: Vec<BlockId>,
    /// Rows from which a token is sampled, ascending.
    pub logits_rows: Vec<u32>,
    /// Copies to run before the step, in this order.
    pub copies: Vec<Copy>,
    /// The sequence of each entry of `logits_rows`: it is sampled when the step is done. The members of a group
    /// stand one after another under its id, all of them in one step.
    pub sampled: Vec<SequenceId>,
    /// More rows that want logits, ascending, none of them in `logits_rows`: each scores the next token of its
    /// sequence's prompt.
    pub scored_rows: Vec<u32>,
    /// Sequences that lost their blocks and wait again.
    pub preempted: Vec<SequenceId>,
    /// Sequences that got a seat.
    pub admitted: Vec<SequenceId>,
}

/// The rows of one sequence: consecutive positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanSpan {
    /// Whose rows.
    pub id: SequenceId,
    /// Which member of its group.
    pub member: u32,
    /// First row.
    pub row: u32,
    /// Number of rows, >= 1.
    pub rows: u32,
    /// First entry of its table in `tables`.
    pub table: u32,
    /// Entries of its table; block i holds positions i * block_size .. (i + 1) * block_size.
    pub table_len: u32,
    /// Its cache scope as a number.
    pub scope: u64,
}

/// Copy of the K and V of `len` slots of every layer from one block to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Source block.
    pub from: BlockId,
    /// Destination block.
    pub to: BlockId,
    /// First slot in the source.
    pub from_slot: u32,
    /// First slot in the destination.
    pub to_slot: u32,
    /// Number of slots.
    pub len: u32,
}

impl Plan {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The block table of a span.
    pub fn table(&self, span: &PlanSpan) -> &[BlockId] {
        &self.tables[span.table as usize..(span.table + span.table_len) as usize]
    }

    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.slots.clear();
        self.spans.clear();
        self.tables.clear();
        self.logits_rows.clear();
        self.copies.clear();
        self.sampled.clear();
        self.scored_rows.clear();
        self.preempted.clear();
        self.admitted.clear();
    }
}
