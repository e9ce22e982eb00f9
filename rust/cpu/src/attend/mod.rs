//! Attention over the block-paged cache: items (rows of a sequence, a KV head, splits), their kernels, and
//! the list of items of a step. The order of every sum is fixed by positions alone (see `item`).

mod item;
mod mix;
mod score;
mod scratch;
mod soften;

pub(crate) use item::{Rows, Rule, SPLIT, attend, merge_splits};
pub(crate) use scratch::{Scratch, rows_per_item, state_len};

#[cfg(test)]
mod tests;
