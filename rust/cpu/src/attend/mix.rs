//! Outputs of queries over tiles of V: per tile a rescale, then `o += p_j * v_j` token by token, ascending.
//! Several queries share each loaded row of V; that and the cut of the width change no bits.
//! Reference and test: the scalar level, and `attend::tests`.

#![expect(
    clippy::cast_ptr_alignment,
    reason = "tiles and rows start on lines of 64 bytes"
)]
#![allow(clippy::needless_range_loop)] // register tiles: fixed bounds, several arrays by one index

use std::ops::Range;

use super::score::Tiles;
use super::scratch::{Arrays, TILES_AT_ONCE};
use crate::lanes::{LANES, Lanes};
use crate::memory::TILE;

/// Adds the first `tiles` of `v`, of which every query sees every token.
///
/// # Safety
/// The arrays hold `queries` queries with their weights and factors; each of `v` points at a tile of written
/// tokens in the format that `BF16` says; the processor has the level of `V`.
#[inline(always)]
pub(super) unsafe fn mix<V: Lanes, const BF16: bool>(
    arrays: &Arrays,
    queries: usize,
    v: &Tiles,
    tiles: usize,
) {
    let mut query = 0;
    // SAFETY: passed on from the caller; `query` stays below `queries`.
    unsafe {
        while V::REGISTERS > 8 && query + 6 <= queries {
            by_width::<V, BF16, 6>(arrays, query, v, 0..tiles, 0..TILE);
            query += 6;
        }
        if V::REGISTERS > 8 && query + 3 <= queries {
            by_width::<V, BF16, 3>(arrays, query, v, 0..tiles, 0..TILE);
            query += 3;
        }
        while V::REGISTERS > 1 && query + 2 <= queries {
            by_width::<V, BF16, 2>(arrays, query, v, 0..tiles, 0..TILE);
            query += 2;
        }
        while query < queries {
            by_width::<V, BF16, 1>(arrays, query, v, 0..tiles, 0..TILE);
            query += 1;
        }
    }
}

/// Adds the tokens `lanes` of one tile to one query; the others may never have been written.
///
/// # Safety
/// As `mix`, for the tokens `lanes` of tile `tile`.
#[inline(always)]
pub(super) unsafe fn mix_part<V: Lanes, const BF16: bool>(
    arrays: &Arrays,
    query: usize,
    v: &Tiles,
    tile: usize,
    lanes: Range<usize>,
) {
    // SAFETY: passed on from the caller.
    unsafe { by_width::<V, BF16, 1>(arrays, query, v, tile..tile + 1, lanes) }
}

/// # Safety
/// As `mix`, for `Q` queries from `query`.
#[inline(always)]
unsafe fn by_width<V: Lanes, const BF16: bool, const Q: usize>(
    arrays: &Arrays,
    query: usize,
    v: &Tiles,
    tiles: Range<usize>,
    lanes: Range<usize>,
) {
    let mut column = 0;
    // SAFETY: passed on from the caller; columns stay below the width, a multiple of 16.
    unsafe {
        while V::REGISTERS > 8 && column + 4 * LANES <= arrays.width {
            block::<V, BF16, Q, 4>(arrays, query, v, (column, tiles.clone(), lanes.clone()));
            column += 4 * LANES;
        }
        while V::REGISTERS > 1 && column + 2 * LANES <= arrays.width {
            block::<V, BF16, Q, 2>(arrays, query, v, (column, tiles.clone(), lanes.clone()));
            column += 2 * LANES;
        }
        while column < arrays.width {
            block::<V, BF16, Q, 1>(arrays, query, v, (column, tiles.clone(), lanes.clone()));
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
    (column, tiles, lanes): (usize, Range<usize>, Range<usize>),
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
        for tile in tiles {
            for q in 0..Q {
                let factor = V::splat(*alpha.add(q * TILES_AT_ONCE + tile));
                for d in 0..D {
                    sums[q][d] = sums[q][d].mul(factor);
                }
            }
            for j in lanes.start..lanes.end {
                let mut row = [V::splat(0.0); D];
                for d in 0..D {
                    let at = j * width + column + d * LANES;
                    row[d] = if BF16 {
                        V::load_bf16(v[tile].cast::<u16>().add(at))
                    } else {
                        V::load(v[tile].cast::<f32>().add(at))
                    };
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
