//! Scores of queries against tiles of K: the linear kernel with 16 tokens as outputs. Each score is one chain
//! over the head's dimensions, ascending; latency is hidden with several queries and tiles, which therefore
//! change no bits. Reference and test: the scalar level, and `attend::tests`.

#![expect(
    clippy::cast_ptr_alignment,
    reason = "tiles and rows start on lines of 64 bytes"
)]
#![allow(clippy::needless_range_loop)] // register tiles: fixed bounds, several arrays by one index

use super::scratch::{Arrays, TILES_AT_ONCE};
use crate::arena::LINE_BYTES;
use crate::lanes::Lanes;
use crate::memory::TILE;

/// Queries up to which the next tiles are asked for: with more, work hides the memory's latency by itself.
pub(super) const QUERIES_PREFETCHED: usize = 3;

/// Up to four tiles of K or V that are worked on together, and those that come next.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    /// The tiles; those beyond their number repeat the last.
    pub(super) now: [*const u8; TILES_AT_ONCE],
    /// To be asked for meanwhile; any address will do.
    pub(super) next: [*const u8; TILES_AT_ONCE],
}

/// `s[q][t] = q . K_t` for all queries and the first `tiles` of `k`.
///
/// # Safety
/// The arrays hold `queries` queries, each of `k.now` points at a tile of `dims` elements per token, in the
/// format that `BF16` says; the processor has the level of `V`.
#[inline(always)]
pub(super) unsafe fn scores<V: Lanes, const BF16: bool>(
    arrays: &Arrays,
    queries: usize,
    k: &Tiles,
    tiles: usize,
    dims: usize,
) {
    // Three tiles of few queries take longer in two parts than four at once.
    let tiles = if tiles == 3 && queries <= QUERIES_PREFETCHED {
        4
    } else {
        tiles
    };
    let mut tile = 0;
    // SAFETY: passed on from the caller.
    unsafe {
        while V::REGISTERS > 8 && tile + 4 <= tiles {
            by_queries::<V, BF16, 4>(arrays, queries, k, tile, dims);
            tile += 4;
        }
        while V::REGISTERS > 1 && tile + 2 <= tiles {
            by_queries::<V, BF16, 2>(arrays, queries, k, tile, dims);
            tile += 2;
        }
        while tile < tiles {
            by_queries::<V, BF16, 1>(arrays, queries, k, tile, dims);
            tile += 1;
        }
    }
}

/// # Safety
/// As `scores`.
#[inline(always)]
unsafe fn by_queries<V: Lanes, const BF16: bool, const T: usize>(
    arrays: &Arrays,
    queries: usize,
    k: &Tiles,
    tile: usize,
    dims: usize,
) {
    let mut query = 0;
    // SAFETY: passed on from the caller; `query` stays below `queries`.
    unsafe {
        while V::REGISTERS > 8 && query + 6 <= queries {
            block::<V, BF16, 6, T>(arrays, query, k, tile, dims);
            query += 6;
        }
        if V::REGISTERS > 8 && query + 3 <= queries {
            block::<V, BF16, 3, T>(arrays, query, k, tile, dims);
            query += 3;
        }
        while V::REGISTERS > 1 && query + 2 <= queries {
            block::<V, BF16, 2, T>(arrays, query, k, tile, dims);
            query += 2;
        }
        while query < queries {
            block::<V, BF16, 1, T>(arrays, query, k, tile, dims);
            query += 1;
        }
    }
}

/// `Q` queries by `T` tiles, all in registers.
///
/// # Safety
/// As `scores`.
#[inline(always)]
unsafe fn block<V: Lanes, const BF16: bool, const Q: usize, const T: usize>(
    arrays: &Arrays,
    query: usize,
    k: &Tiles,
    tile: usize,
    dims: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        let q = arrays.q.add(query * arrays.width).cast_const();
        let (mut k_now, mut k_next) = ([k.now[0]; T], [k.next[0]; T]);
        for t in 0..T {
            (k_now[t], k_next[t]) = (k.now[tile + t], k.next[tile + t]);
        }
        let mut sums = [[V::splat(0.0); T]; Q];
        if BF16 {
            for pair in 0..dims.div_ceil(2) {
                let mut lines = [(V::splat(0.0), V::splat(0.0)); T];
                for t in 0..T {
                    lines[t] = V::load_bf16_pairs(k_now[t].cast::<u16>().add(pair * 2 * TILE));
                    if Q <= QUERIES_PREFETCHED {
                        V::prefetch(k_next[t].wrapping_add(pair * LINE_BYTES));
                    }
                }
                for i in 0..Q {
                    let first = V::splat(*q.add(i * arrays.width + 2 * pair));
                    // Where head_dim is odd, both the query's and the tile's padding are zero.
                    let second = V::splat(*q.add(i * arrays.width + 2 * pair + 1));
                    for t in 0..T {
                        sums[i][t] = second.fma(lines[t].1, first.fma(lines[t].0, sums[i][t]));
                    }
                }
            }
        } else {
            for dim in 0..dims {
                let mut lines = [V::splat(0.0); T];
                for t in 0..T {
                    lines[t] = V::load(k_now[t].cast::<f32>().add(dim * TILE));
                    if Q <= QUERIES_PREFETCHED {
                        V::prefetch(k_next[t].wrapping_add(dim * LINE_BYTES));
                    }
                }
                for i in 0..Q {
                    let value = V::splat(*q.add(i * arrays.width + dim));
                    for t in 0..T {
                        sums[i][t] = value.fma(lines[t], sums[i][t]);
                    }
                }
            }
        }
        for i in 0..Q {
            for t in 0..T {
                let s = arrays.s.add((query + i) * TILES_AT_ONCE * TILE);
                sums[i][t].store(s.add((tile + t) * TILE));
            }
        }
    }
}
