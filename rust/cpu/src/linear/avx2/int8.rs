//! int8 activations by 4- or 8-bit codes. Per group: an exact integer sum that starts at minus zero * sum(a),
//! then one FMA with s_w * s_a, then one with the minimum where there are minima. `vpmaddubsw` saturates on
//! 8-bit codes (255 * 127 * 2), so those go through 16 bits; 4-bit codes are safe, also two products together
//! (15 * 127 * 4 < 2^15). Twin: `scalar::tile_int8`, bit-equal.

use std::arch::x86_64::*;

use super::super::quantise::GroupMeta;
use super::super::tile::{Tile, TileFn, TileSet};
use super::header::{minima, scales, zeros};
use super::lines::{Halves, broadcast, load, store};
use crate::pack::{GroupPlace, Grouped, Layout, Zero};

/// 4-bit codes.
pub(in crate::linear) const FOUR: TileSet = set::<true>();
/// 8-bit codes.
pub(in crate::linear) const EIGHT: TileSet = set::<false>();

const fn set<const FOUR: bool>() -> TileSet {
    TileSet {
        tiles: &[&[tile::<1, FOUR> as TileFn, tile::<2, FOUR>, tile::<3, FOUR>]],
        gemv_blocks: [1; 4],
        gemm_blocks: 1,
    }
}

/// # Safety
/// See `TileFn`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const R: usize, const FOUR: bool>(tile: &Tile<'_>) {
    let Layout::Int(grouped) = tile.shape.layout else {
        unreachable!("int8 arithmetic is planned for integer layouts only");
    };
    let mut acc = [[_mm256_setzero_ps(); 2]; R];
    for group in 0..tile.shape.groups {
        let place = tile.shape.place(grouped, group);
        // SAFETY: by the caller, for each group of the tile.
        unsafe {
            let sums = sum_group::<R, FOUR>(tile, grouped, &place, group);
            add_group(tile, grouped, (&place, group), &sums, &mut acc);
        }
    }
    // SAFETY: by the caller.
    unsafe { store(tile, &acc) };
}

/// Integer sums of one group, zero points included.
///
/// # Safety
/// The tile has the group.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sum_group<const R: usize, const FOUR: bool>(
    tile: &Tile<'_>,
    grouped: Grouped,
    place: &GroupPlace,
    group: usize,
) -> [[__m256i; 2]; R] {
    let mut sums = [[_mm256_setzero_si256(); 2]; R];
    if grouped.zero != Zero::Minima {
        // SAFETY: the block has the group.
        let zeros = unsafe { zeros(tile.weights, grouped, place) };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the entry of this row and group exists.
            let minus = unsafe { _mm256_set1_epi32((*meta(tile, row, group)).minus_sum) };
            *sums = [
                _mm256_mullo_epi32(zeros[0], minus),
                _mm256_mullo_epi32(zeros[1], minus),
            ];
        }
    }
    for line in 0..place.lines {
        let k = group * grouped.group + line * if FOUR { 8 } else { 4 };
        // SAFETY: the line lies in the block, its inputs in the rows, which are padded to whole lines.
        unsafe {
            let codes = load(tile, place.codes + line * 64);
            if FOUR {
                add_nibbles(tile, k, &codes, &mut sums);
            } else {
                add_bytes(tile, k, &codes, &mut sums);
            }
        }
    }
    sums
}

/// Adds the products of eight inputs with 4-bit codes.
///
/// # Safety
/// The tile's rows hold inputs `k .. k + 8`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_nibbles<const R: usize>(
    tile: &Tile<'_>,
    k: usize,
    codes: &[__m256i; 2],
    sums: &mut [[__m256i; 2]; R],
) {
    let nibble = _mm256_set1_epi8(0x0F);
    let ones = _mm256_set1_epi16(1);
    for half in 0..2 {
        let low = _mm256_and_si256(codes[half], nibble);
        let high = _mm256_and_si256(_mm256_srli_epi16(codes[half], 4), nibble);
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: by the caller.
            let (first, second) = unsafe { (broadcast(tile, row, k), broadcast(tile, row, k + 4)) };
            let pairs = _mm256_add_epi16(
                _mm256_maddubs_epi16(low, first),
                _mm256_maddubs_epi16(high, second),
            );
            sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(pairs, ones));
        }
    }
}

/// Adds the products of four inputs with 8-bit codes.
///
/// # Safety
/// The tile's rows hold inputs `k .. k + 4`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add_bytes<const R: usize>(
    tile: &Tile<'_>,
    k: usize,
    codes: &[__m256i; 2],
    sums: &mut [[__m256i; 2]; R],
) {
    let low_byte = _mm256_set1_epi16(0x00FF);
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: by the caller.
        let acts = unsafe { broadcast(tile, row, k) };
        let even_acts = _mm256_srai_epi16(_mm256_slli_epi16(acts, 8), 8);
        let odd_acts = _mm256_srai_epi16(acts, 8);
        for half in 0..2 {
            let even = _mm256_madd_epi16(_mm256_and_si256(codes[half], low_byte), even_acts);
            let odd = _mm256_madd_epi16(_mm256_srli_epi16(codes[half], 8), odd_acts);
            sums[half] = _mm256_add_epi32(sums[half], _mm256_add_epi32(even, odd));
        }
    }
}

/// Adds a group to the accumulators.
///
/// # Safety
/// The tile has the group.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_group<const R: usize>(
    tile: &Tile<'_>,
    grouped: Grouped,
    (place, group): (&GroupPlace, usize),
    sums: &[[__m256i; 2]; R],
    acc: &mut [Halves; R],
) {
    // SAFETY: the group lies in the block.
    let scales = unsafe { scales(tile.weights, grouped, place) };
    for (row, (acc, sums)) in acc.iter_mut().zip(sums).enumerate() {
        // SAFETY: the entry of this row and group exists.
        let scale = _mm256_set1_ps(unsafe { (*meta(tile, row, group)).scale });
        for half in 0..2 {
            let sum = _mm256_cvtepi32_ps(sums[half]);
            acc[half] = _mm256_fmadd_ps(sum, _mm256_mul_ps(scales[half], scale), acc[half]);
        }
    }
    if grouped.zero == Zero::Minima {
        // SAFETY: the block has minima.
        let minima = unsafe { minima(tile.weights, grouped, place) };
        for (row, acc) in acc.iter_mut().enumerate() {
            // SAFETY: as above.
            let sum = _mm256_set1_ps(unsafe { (*meta(tile, row, group)).scaled_sum });
            for half in 0..2 {
                acc[half] = _mm256_fmadd_ps(minima[half], sum, acc[half]);
            }
        }
    }
}

#[inline]
fn meta(tile: &Tile<'_>, row: usize, group: usize) -> *const GroupMeta {
    tile.meta.wrapping_add(row * tile.meta_stride + group)
}
