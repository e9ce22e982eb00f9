//! Matrix products over packed weights: activations made ready, tiles per level, and the loop that drives them.

mod acts;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod matmul;
mod quantise;
mod scalar;
mod table;
#[cfg(test)]
mod tests;
mod tile;

pub(crate) use acts::{
    ActBuffer, ActForm, ActView, RowsIn, copy_row, prepare_part, prepare_row, prepare_rows,
};
pub(crate) use matmul::{OutView, STREAM_AHEAD_BYTES, matmul};
