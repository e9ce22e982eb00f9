//! The softmax of one tile for one query: soft cap, mask, running maximum, weights and their sum; and the
//! merging of splits. Everything is f32; the sum stays in 16 lanes until its split ends, then folds by the
//! fixed tree. A state is `width` outputs, then the maximum, then the sum.
//! Reference and test: the scalar level, and `attend::tests`.

use std::ops::Range;

use super::scratch::{Arrays, TILES_AT_ONCE};
use crate::lanes::math::{exp, tanh};
use crate::lanes::{LANES, Lanes, store_partial};
use crate::memory::TILE;

/// Starts a split for a query.
///
/// # Safety
/// The arrays hold query `query`; the processor has the level of `V`.
#[inline(always)]
pub(super) unsafe fn begin<V: Lanes>(arrays: &Arrays, query: usize) {
    let state = arrays.state(query);
    // SAFETY: passed on from the caller.
    unsafe {
        *state.add(arrays.width) = f32::NEG_INFINITY;
        V::splat(0.0).store(arrays.l.add(query * TILE));
        for column in (0..arrays.width).step_by(LANES) {
            V::splat(0.0).store(state.add(column));
        }
    }
}

/// Turns the scores of a tile into weights; tokens outside `seen` (not empty) get none.
///
/// # Safety
/// As `begin`; scores of the tile are there.
#[inline(always)]
pub(super) unsafe fn soften<V: Lanes>(
    arrays: &Arrays,
    query: usize,
    tile: usize,
    seen: &Range<usize>,
    soft_cap: Option<f32>,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        let at = arrays.s.add(query * TILES_AT_ONCE * TILE + tile * TILE);
        let mut score = V::load(at);
        if let Some(cap) = soft_cap {
            score = tanh(score.div(V::splat(cap))).mul(V::splat(cap));
        }
        if *seen != (0..TILE) {
            score = score.keep_lanes(seen.start, seen.end, V::splat(f32::NEG_INFINITY));
        }
        let max_at = arrays.state(query).add(arrays.width);
        let (before, highest) = (*max_at, score.reduce_max());
        let mut alpha = 1.0;
        let mut m = before;
        if highest > before {
            m = highest;
            *max_at = m;
            alpha = exp(V::splat(before - m)).first();
        }
        *arrays.alpha.add(query * TILES_AT_ONCE + tile) = alpha;
        let weight = exp(score.sub(V::splat(m)));
        weight.store(at);
        let l = arrays.l.add(query * TILE);
        V::load(l).fma(V::splat(alpha), weight).store(l);
    }
}

/// Ends a split: its sum joins the state.
///
/// # Safety
/// As `begin`.
#[inline(always)]
pub(super) unsafe fn end<V: Lanes>(arrays: &Arrays, query: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        *arrays.state(query).add(arrays.width + 1) =
            V::load(arrays.l.add(query * TILE)).reduce_add();
    }
}

/// Adds the state `next` of the following split to `merged`.
///
/// # Safety
/// Both are valid states of width `width`; the processor has the level of `V`.
#[inline(always)]
pub(super) unsafe fn merge<V: Lanes>(merged: *mut f32, next: *const f32, width: usize) {
    // SAFETY: passed on from the caller.
    unsafe {
        let (m_a, m_b) = (*merged.add(width), *next.add(width));
        let m = if m_a > m_b { m_a } else { m_b };
        let (a, b) = (exp(V::splat(m_a - m)), exp(V::splat(m_b - m)));
        for column in (0..width).step_by(LANES) {
            let o = V::load(next.add(column)).mul(b);
            V::load(merged.add(column))
                .fma(a, o)
                .store(merged.add(column));
        }
        let (sum_a, sum_b) = (
            V::splat(*merged.add(width + 1)),
            V::splat(*next.add(width + 1)),
        );
        *merged.add(width) = m;
        *merged.add(width + 1) = sum_a.fma(a, sum_b.mul(b)).first();
    }
}

/// Writes the `head_dim` outputs of a merged state.
///
/// # Safety
/// `merged` is a valid state of width `width` >= `head_dim`; `out` is valid for `head_dim` values.
#[inline(always)]
pub(super) unsafe fn finish<V: Lanes>(
    merged: *const f32,
    width: usize,
    out: *mut f32,
    head_dim: usize,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        let sum = V::splat(*merged.add(width + 1));
        let mut column = 0;
        while column + LANES <= head_dim {
            V::load(merged.add(column)).div(sum).store(out.add(column));
            column += LANES;
        }
        if column < head_dim {
            let value = V::load(merged.add(column)).div(sum);
            store_partial(value, out.add(column), head_dim - column);
        }
    }
}
