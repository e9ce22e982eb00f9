//! One step's work as plain data: a flat, ragged batch. A prefill chunk, a decode row, a draft row and a
//! beam row are all the same row type. Identical for every backend.

use tokenmill_core::{BlockId, TokenId};

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
    }

    /// The block table of a span.
    pub fn table(&self, span: &Span) -> &[BlockId] {
        &self.tables[span.table as usize..(span.table + span.table_len) as usize]
    }
}

/// Copy of the K and V of `len` slots of every layer, from one block to another, before the step.
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
