//! AVX2 tiles: a block's line is two registers ("halves"), so a tile is one block by R rows with 2 R
//! accumulators. Twin of every function: `scalar`; test: `linear::tests`.

mod exact;
mod float;
mod header;
mod int8;
mod lines;

pub(super) use exact::{EXACT4, EXACT8};
pub(super) use float::{BF16, BF16_F32, F32};
pub(super) use int8::{EIGHT, FOUR};
