//! The unit of work of every kernel: a few blocks of 16 outputs by a few rows of activations, over all inputs.
//! A tile function is fixed at compile time to its number of blocks and rows; `matmul` chooses among them.
//!
//! Invariant, for every tile function: an output's value is one accumulator chain over ascending inputs, and
//! depends on its weights and its row of activations alone, never on the size of the tile it was computed in.

use super::quantise::GroupMeta;
use crate::pack::Shape;

/// Rows up to which a product counts as a `gemv`: weights stream once and bound the time.
pub(super) const GEMV_ROWS_MAX: usize = 4;

/// Operands of one tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile<'a> {
    /// Sizes of a block.
    pub(super) shape: &'a Shape,
    /// The first block; the next ones follow.
    pub(super) weights: *const u8,
    /// What to ask the caches for while walking: at byte `b` of the tile's blocks, the line at
    /// `ahead + (b >> ahead_shift)`. Any address is allowed.
    pub(super) ahead: *const u8,
    /// See `ahead`.
    pub(super) ahead_shift: u32,
    /// Blocks, for functions that are not fixed to a number.
    pub(super) blocks: usize,
    /// The first row of activations.
    pub(super) acts: *const u8,
    /// Bytes between rows.
    pub(super) act_stride: usize,
    /// The first row's group entries; unread by float kernels.
    pub(super) meta: *const GroupMeta,
    /// Entries between rows.
    pub(super) meta_stride: usize,
    /// Rows, for functions that are not fixed to a number.
    pub(super) rows: usize,
    /// Where output 0 of row 0 goes.
    pub(super) out: *mut f32,
    /// Elements between rows.
    pub(super) out_stride: usize,
    /// Outputs to write, at most 16 per block; lanes beyond are computed and dropped.
    pub(super) width: usize,
}

/// Computes a tile.
///
/// Safety: the pointers cover the blocks, rows and outputs that the tile names, and the machine has the
/// features of the function's level.
pub(super) type TileFn = unsafe fn(&Tile<'_>);

/// The tile functions of one storage and arithmetic at one level.
#[derive(Clone, Copy, Debug)]
pub(super) struct TileSet {
    /// `[log2 of blocks][rows - 1]`.
    pub(super) tiles: &'static [&'static [TileFn]],
    /// Blocks per tile of a `gemv` of 1, 2, 3 and 4 rows, powers of two: one stream where memory bounds the time,
    /// more where the latency of one block's chains would.
    pub(super) gemv_blocks: [usize; GEMV_ROWS_MAX],
    /// Blocks per tile of a `gemm`, a power of two.
    pub(super) gemm_blocks: usize,
}
