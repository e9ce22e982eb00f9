//! AVX-512 tiles: a block's line is one register, so a tile of B blocks by R rows keeps B * R accumulators.
//! Twin of every function: `scalar`; test: `linear::tests`.

mod bf16;
mod exact;
mod float;
mod header;
mod int8;
mod lines;

pub(super) use bf16::{native, widened};
pub(super) use exact::{EXACT4, EXACT8};
pub(super) use float::{BF16_F32, F32};
pub(super) use int8::{bw, vnni};
