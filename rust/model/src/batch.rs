//! One step's work as plain data: a flat, ragged batch. A prefill chunk, a decode row, a draft row and a
//! beam row are all the same row type. Identical for every backend.

use tokenmill_core::{BlockId, TokenId};

use crate::backend::MemoryPlan;
use crate::program::ModelShape;

/// `slots` entry of a row that only reads the cache (a prompt wholly found in it).
pub const NO_SLOT: u32 = u32::MAX;

/// The rows of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepBatch {
    /// One token per row.
    pub tokens: Vec<TokenId>,
    /// Its index in its sequence.
    pub positions: Vec<u32>,
    /// Where its K and V go: block * block_size + offset, or `NO_SLOT`.
    pub slots: Vec<u32>,
    /// One run of rows per sequence, in row order, covering all rows.
    pub spans: Vec<Span>,
    /// The block tables of the spans, one after another.
    pub tables: Vec<BlockId>,
    /// Rows that want logits, ascending.
    pub logits_rows: Vec<u32>,
    /// Rows whose hidden state after the final norm is wanted, ascending; they need not want logits.
    pub hidden_rows: Vec<u32>,
    /// Rows whose logits at early layers are wanted, ascending.
    pub exit_rows: Vec<ExitRow>,
}

/// A row that leaves early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExitRow {
    /// Which row.
    pub row: u32,
    /// After how many layers; 0 is the embedding.
    pub layer: u32,
}

/// The rows of one sequence: consecutive positions, ending where the sequence's known tokens or its chunk end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First row.
    pub row: u32,
    /// Number of rows.
    pub rows: u32,
    /// First entry of its table in `tables`.
    pub table: u32,
    /// Entries of its table; block i holds positions i * block_size .. (i + 1) * block_size.
    pub table_len: u32,
    /// Identity of the cache scope (salt). Only the simulator reads it.
    pub scope: u64,
}

impl StepBatch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Empties the batch, keeping its memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.slots.clear();
        self.spans.clear();
        self.tables.clear();
        self.logits_rows.clear();
        self.hidden_rows.clear();
        self.exit_rows.clear();
    }

    /// Checks that the batch is one that a backend loaded with `plan` can run; the error says what is not.
    /// Backends that index without looking rely on it.
    pub fn check(&self, shape: &ModelShape, plan: &MemoryPlan) -> Result<(), String> {
        let rows = self.rows();
        if rows > plan.rows_max || self.logits_rows.len() > plan.logits_rows_max {
            let logits = self.logits_rows.len();
            return Err(format!(
                "{rows} rows, {logits} with logits, exceed the plan"
            ));
        }
        if self.positions.len() != rows || self.slots.len() != rows {
            return Err("tokens, positions and slots differ in number".to_owned());
        }
        let has_bad_token = self
            .tokens
            .iter()
            .any(|&token| token as usize >= shape.vocab_len);
        let has_bad_position = self
            .positions
            .iter()
            .any(|&position| position as usize >= plan.context_len);
        if has_bad_token || has_bad_position {
            return Err("a token or a position is out of range".to_owned());
        }
        let slots = plan.blocks * plan.block_size;
        let has_bad_slot = self
            .slots
            .iter()
            .any(|&slot| slot != NO_SLOT && slot as usize >= slots);
        if has_bad_slot
            || self
                .tables
                .iter()
                .any(|block| block.0 as usize >= plan.blocks)
        {
            return Err("a slot or a block is out of range".to_owned());
        }
        if !self.logits_rows.is_sorted_by(|a, b| a < b)
            || self
                .logits_rows
                .last()
                .is_some_and(|&row| row as usize >= rows)
        {
            return Err("logits rows are not ascending rows".to_owned());
        }
        self.check_hidden(plan)?;
        self.check_spans(plan)
    }

    /// Checks what is asked beside the logits; which layers there are, the backend knows.
    pub fn check_hidden(&self, plan: &MemoryPlan) -> Result<(), String> {
        let rows = self.rows();
        let is_inside = |row: Option<u32>| row.is_none_or(|row| (row as usize) < rows);
        let hidden = &self.hidden_rows;
        let exits = &self.exit_rows;
        if exits.len() > plan.exit_rows_max {
            return Err(format!("{} early exits exceed the plan", exits.len()));
        }
        let is_ascending = hidden.is_sorted_by(|a, b| a < b) && exits.is_sorted_by(|a, b| a < b);
        let last_exit = exits.last().map(|exit| exit.row);
        if is_ascending && is_inside(hidden.last().copied()) && is_inside(last_exit) {
            Ok(())
        } else {
            Err("hidden or exit rows are not ascending rows".to_owned())
        }
    }

    fn check_spans(&self, plan: &MemoryPlan) -> Result<(), String> {
        let mut next = 0;
        for span in &self.spans {
            let first = span.row as usize;
            let end = first + span.rows as usize;
            let table_end = span.table as usize + span.table_len as usize;
            if first != next || span.rows == 0 || end > self.rows() || table_end > self.tables.len()
            {
                return Err("spans do not cover the rows in order".to_owned());
            }
            let seen = self.positions[end - 1] as usize + 1;
            let is_consecutive = self.positions[first..end].is_sorted_by(|a, b| a + 1 == *b);
            if !is_consecutive || seen > span.table_len as usize * plan.block_size {
                return Err("a span's positions have gaps or leave its table".to_owned());
            }
            next = end;
        }
        if next == self.rows() {
            Ok(())
        } else {
            Err("spans do not cover the rows in order".to_owned())
        }
    }

    /// The block table of a span.
    pub fn table(&self, span: &Span) -> &[BlockId] {
        &self.tables[span.table as usize..(span.table + span.table_len) as usize]
    }
}

/// Copy of the K and V of `len` slots of every layer, from one block to another or within one, before the step.
/// Slots may overlap: all are read before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCopy {
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
