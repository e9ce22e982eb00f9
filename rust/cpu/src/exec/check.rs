//! The check of a step before it runs. The scheduler promises all of this; the kernels index memory by it, so
//! a broken promise must be an error and not a stray write.

use tokenmill_model::{BlockCopy, NO_SLOT, Result, Span, StepBatch};

use super::internal;
use super::memory::Memory;

/// Checks every index of a batch, and that no two rows write one slot. `step` is unique to the step.
pub(crate) fn check_batch(batch: &StepBatch, memory: &mut Memory, step: u64) -> Result<()> {
    let (sizes, rows) = (memory.sizes, batch.rows());
    if rows == 0
        || rows > sizes.rows_max
        || batch.positions.len() != rows
        || batch.slots.len() != rows
    {
        return Err(internal(format!(
            "a step of {rows} rows, at most {} planned",
            sizes.rows_max
        )));
    }
    if batch.logits_rows.len() > sizes.logits_rows_max {
        return Err(internal(format!(
            "{} rows with logits planned, {} asked",
            sizes.logits_rows_max,
            batch.logits_rows.len()
        )));
    }
    if !batch.logits_rows.is_sorted_by(|a, b| a < b)
        || batch
            .logits_rows
            .last()
            .is_some_and(|row| *row as usize >= rows)
    {
        return Err(internal(
            "rows with logits are not ascending rows of the step",
        ));
    }
    if batch
        .tokens
        .iter()
        .any(|token| *token as usize >= sizes.vocab_len)
    {
        return Err(internal("a token outside the vocabulary"));
    }
    let mut next = 0;
    for span in &batch.spans {
        check_span(batch, span, next, memory)?;
        next += span.rows as usize;
    }
    if next != rows {
        return Err(internal("spans do not cover the rows of the step"));
    }
    check_slots(batch, memory, step)
}

fn check_span(batch: &StepBatch, span: &Span, first: usize, memory: &Memory) -> Result<()> {
    let (row, rows) = (span.row as usize, span.rows as usize);
    if row != first || rows == 0 || row + rows > batch.rows() {
        return Err(internal("spans are not in row order"));
    }
    let (from, len) = (span.table as usize, span.table_len as usize);
    let table = from
        .checked_add(len)
        .and_then(|end| batch.tables.get(from..end));
    let table = table.ok_or_else(|| internal("a block table outside the step's"))?;
    let positions = &batch.positions[row..row + rows];
    let start = positions[0] as usize;
    if positions
        .iter()
        .enumerate()
        .any(|(i, position)| *position as usize != start + i)
    {
        return Err(internal("positions of a span are not consecutive"));
    }
    let block_size = memory.cache.block_size();
    let end = start + rows;
    if end > memory.sizes.context_len || end > len * block_size {
        return Err(internal("a position beyond the context or the block table"));
    }
    let blocks = memory.cache.slots() / block_size;
    let used = &table[..end.div_ceil(block_size)];
    if used.iter().any(|block| block.0 as usize >= blocks) {
        return Err(internal("a block outside the cache"));
    }
    Ok(())
}

fn check_slots(batch: &StepBatch, memory: &mut Memory, step: u64) -> Result<()> {
    for slot in batch.slots.iter().filter(|slot| **slot != NO_SLOT) {
        let written = memory
            .written
            .get_mut(*slot as usize)
            .ok_or_else(|| internal("a slot outside the cache"))?;
        if std::mem::replace(written, step) == step {
            return Err(internal("two rows of a step write one slot"));
        }
    }
    Ok(())
}

/// Checks the bounds of copies.
pub(crate) fn check_copies(copies: &[BlockCopy], memory: &Memory) -> Result<()> {
    if copies.iter().all(|copy| memory.cache.is_inside(copy)) {
        return Ok(());
    }
    Err(internal("a copy outside its blocks"))
}
