//! Outputs of queries over tiles of V: per tile a rescale, then `o += p_j * v_j` token by token, ascending.
//! Several queries share each loaded row of V; that and the cut of the width change no bits.
//! Reference and test: the scalar level, and `attend::tests`.

#![expect(
    clippy::cast_ptr_alignment,
    reason = "tiles and rows start on lines of 64 bytes"
)]
#![allow(clippy::needless_range_loop)] // register tiles: fixed bounds, several arrays by one index

use std::ops::Range;

use super::score::{QUERIES_PREFETCHED, Tiles};
use super::scratch::{Arrays, TILES_AT_ONCE};
use crate::lanes::{LANES, Lanes};
use crate::memory::TILE;

/// What is added to which queries.
#[derive(Clone)]
pub(super) struct Part {
    /// The queries.
    pub(super) queries: Range<usize>,
    /// The tiles, by their place among those at hand.
    pub(super) tiles: Range<usize>,
    /// Their tokens that all of the queries see; the others may never have been written.
    pub(super) lanes: Range<usize>,
}

/// Adds the tokens of a part.
///
/// # Safety
/// The arrays hold the queries with their weights and factors; each of `v.now` points at a tile in the format
/// that `BF16` says, in which the tokens of the part are written; the processor has the level of `V`.
#[inline(always)]
pub(super) unsafe fn mix<V: Lanes, const BF16: bool>(arrays: &Arrays, v: &Tiles, part: &Part) {
    let (mut query, end) = (part.queries.start, part.queries.end);
    // SAFETY: passed on from the caller; `query` stays below `end`.
    unsafe {
        while V::REGISTERS > 8 && query + 6 <= end {
            by_width::<V, BF16, 6>(arrays, query, v, part);
            query += 6;
        }
        if V::REGISTERS > 8 && query + 3 <= end {
            by_width::<V, BF16, 3>(arrays, query, v, part);
            query += 3;
        }
        while V::REGISTERS > 1 && query + 2 <= end {
            by_width::<V, BF16, 2>(arrays, query, v, part);
            query += 2;
        }
        while query < end {
            by_width::<V, BF16, 1>(arrays, query, v, part);
            query += 1;
        }
    }
}

/// # Safety
/// As `mix`, for `Q` queries from `query`.
#[inline(always)]
unsafe fn by_width<V: Lanes, const BF16: bool, const Q: usize>(
    arrays: &Arrays,
    query: usize,
    v: &Tiles,
    part: &Part,
) {
    let mut column = 0;
    // SAFETY: passed on from the caller; columns stay below the width, a multiple of 16.
    unsafe {
        while V::REGISTERS > 8 && column + 4 * LANES <= arrays.width {
            block::<V, BF16, Q, 4>(arrays, query, v, (column, part));
            column += 4 * LANES;
        }
        while V::REGISTERS > 1 && column + 2 * LANES <= arrays.width {
            block::<V, BF16, Q, 2>(arrays, query, v, (column, part));
            column += 2 * LANES;
        }
        while column < arrays.width {
            block::<V, BF16, Q, 1>(arrays, query, v, (column, part));
            column += LANES;
        }
    }
}

/// `Q` queries by `16 * D` columns, all in registers.
///
/// # Safety
/// As `mix`.
#[inline(always)]
unsafe fn block<V: Lanes, const BF16: bool, const Q: usize, const D: usize>(
    arrays: &Arrays,
    query: usize,
    v: &Tiles,
    (column, part): (usize, &Part),
) {
    let (width, stride) = (arrays.width, arrays.state_len());
    // SAFETY: passed on from the caller.
    unsafe {
        let o = arrays.state(query).add(column);
        let weights = arrays.s.add(query * TILES_AT_ONCE * TILE);
        let alpha = arrays.alpha.add(query * TILES_AT_ONCE);
        let mut sums = [[V::splat(0.0); D]; Q];
        for q in 0..Q {
            for d in 0..D {
                sums[q][d] = V::load(o.add(q * stride + d * LANES));
            }
        }
        for tile in part.tiles.start..part.tiles.end {
            for q in 0..Q {
                let factor = V::splat(*alpha.add(q * TILES_AT_ONCE + tile));
                for d in 0..D {
                    sums[q][d] = sums[q][d].mul(factor);
                }
            }
            let (now, next) = (v.now[tile], v.next[tile]);
            for j in part.lanes.start..part.lanes.end {
                let mut row = [V::splat(0.0); D];
                for d in 0..D {
                    let at = j * width + column + d * LANES;
                    row[d] = if BF16 {
                        V::load_bf16(now.cast::<u16>().add(at))
                    } else {
                        V::load(now.cast::<f32>().add(at))
                    };
                    // 16 bf16 are half a line.
                    if Q <= QUERIES_PREFETCHED && (!BF16 || d % 2 == 0) {
                        V::prefetch(next.wrapping_add(at * if BF16 { 2 } else { 4 }));
                    }
                }
                for q in 0..Q {
                    let weight = V::splat(*weights.add(q * TILES_AT_ONCE * TILE + tile * TILE + j));
                    for d in 0..D {
                        sums[q][d] = weight.fma(row[d], sums[q][d]);
                    }
                }
            }
        }
        for q in 0..Q {
            for d in 0..D {
                sums[q][d].store(o.add(q * stride + d * LANES));
            }
        }
    }
}
