//! The loop around the tiles: `out[r][n] = sum over k of activation[r][k] * weight[n][k]`.
//! Owns the walk over blocks and rows; the arithmetic is in the tile functions.
//!
//! Invariant: the walk decides who computes an output and when, never how.

use std::ops::Range;

use super::acts::ActView;
use super::table::tile_set;
use super::tile::{Tile, TileSet};
use crate::isa::Level;
use crate::pack::{PackedMatrix, ROWS};

/// How far ahead of its use a single stream of weights asks for a line. Measured on two Zen 5 cores out of cache:
/// 3 KiB reach 65-75 GB/s, 8 KiB 80-97, 16 KiB no more.
pub(crate) const STREAM_AHEAD_BYTES: usize = 8192;
/// Up to this size, several blocks walked at once ask for the same line of the next blocks: short streams would
/// otherwise start cold every time. Longer ones need not, and would push each other out of the first cache.
const PANEL_BYTES_MAX: usize = 32 << 10;

/// A matrix of f32 to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutView {
    /// Output 0 of row 0.
    pub(crate) ptr: *mut f32,
    /// Elements between rows.
    pub(crate) ld: usize,
}

// SAFETY: an address; `matmul` states who may write where.
unsafe impl Send for OutView {}
// SAFETY: as above.
unsafe impl Sync for OutView {}

/// Computes `rows` by the outputs of `blocks`: `out[row * ld + n]` for every n of those blocks below `weights.n()`.
///
/// # Safety
/// `acts` is alive, and `rows` of it were prepared in the form and width of `weights`; `out` is writable at those
/// places and nobody else touches them meanwhile. This machine runs `level`.
pub(crate) unsafe fn matmul(
    level: Level,
    weights: &PackedMatrix,
    acts: &ActView,
    (rows, blocks): (Range<usize>, Range<usize>),
    out: OutView,
) {
    assert_eq!(
        (acts.form, acts.k),
        (weights.act_form(), weights.k()),
        "activations of another matrix"
    );
    assert!(rows.end <= acts.rows_max && blocks.end <= weights.blocks());
    if rows.is_empty() || blocks.is_empty() {
        return;
    }
    let set = tile_set(level, weights);
    let few = set.gemv_blocks.get(rows.len() - 1);
    let per_tile = few.copied().unwrap_or(set.gemm_blocks);
    let mut first = blocks.start;
    while first < blocks.end {
        // The largest power of two that is left.
        let count = 1 << per_tile.min(blocks.end - first).ilog2();
        let panel = Tile {
            shape: weights.shape(),
            weights: weights.block_ptr(first),
            ahead: std::ptr::null(),
            ahead_shift: 0,
            blocks: count,
            acts: acts.data,
            act_stride: acts.stride,
            meta: acts.meta,
            meta_stride: acts.metas,
            rows: 0,
            out: out.ptr.wrapping_add(first * ROWS),
            out_stride: out.ld,
            width: (count * ROWS).min(weights.n() - first * ROWS),
        };
        // SAFETY: the panel's blocks exist (asserted), the rest is the caller's promise.
        unsafe { walk_rows(set, &panel, rows.clone()) };
        first += count;
    }
}

/// Cuts the rows of a panel into tiles of nearly equal height: 16 rows in tiles of at most 6 are 6 + 5 + 5.
///
/// # Safety
/// As for `matmul`, for the panel's blocks.
unsafe fn walk_rows(set: &TileSet, panel: &Tile<'_>, rows: Range<usize>) {
    let tiles = set.tiles[panel.blocks.ilog2() as usize];
    let count = rows.len().div_ceil(tiles.len());
    let panel_bytes = panel.blocks * panel.shape.block_bytes;
    let next = if panel.blocks == 1 || panel_bytes > PANEL_BYTES_MAX && count == 1 {
        panel.weights.wrapping_add(STREAM_AHEAD_BYTES)
    } else {
        panel.weights.wrapping_add(panel_bytes)
    };
    // The first 2^shift tiles together ask for the next panel, each for its share.
    let ahead_shift = count.ilog2();
    let mut start = rows.start;
    for index in 0..count {
        let height = (rows.end - start).div_ceil(count - index);
        let tile = Tile {
            ahead: next.wrapping_add((index * panel_bytes) >> ahead_shift),
            ahead_shift,
            acts: panel.acts.wrapping_add(start * panel.act_stride),
            meta: panel.meta.wrapping_add(start * panel.meta_stride),
            rows: height,
            out: panel.out.wrapping_add(start * panel.out_stride),
            ..*panel
        };
        // SAFETY: by the caller; the table holds functions of a level that this machine runs.
        unsafe { tiles[height - 1](&tile) };
        start += height;
    }
}
