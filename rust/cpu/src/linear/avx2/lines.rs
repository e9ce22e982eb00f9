//! What every AVX2 tile does with lines and outputs: load a line, multiply one input into all accumulators,
//! store them.

use std::arch::x86_64::*;

use super::super::tile::Tile;

/// A block's 16 lanes.
pub(super) type Halves = [__m256; 2];

/// The line at byte `start` of the block; asks for a later one on the way.
///
/// # Safety
/// The tile's block holds that line.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn load(tile: &Tile<'_>, start: usize) -> [__m256i; 2] {
    let at = tile.weights.wrapping_add(start);
    _mm_prefetch(
        tile.ahead.wrapping_add(start >> tile.ahead_shift).cast(),
        _MM_HINT_T0,
    );
    // SAFETY: by the caller.
    unsafe {
        [
            _mm256_loadu_si256(at.cast()),
            _mm256_loadu_si256(at.wrapping_add(32).cast()),
        ]
    }
}

/// `acc[row] = fma(weights, x[row][k], acc[row])` with f32 activations.
///
/// # Safety
/// The tile's rows are f32 and hold input `k`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn fma_input<const R: usize>(
    tile: &Tile<'_>,
    k: usize,
    weights: &Halves,
    acc: &mut [Halves; R],
) {
    for (row, acc) in acc.iter_mut().enumerate() {
        let at = tile.acts.wrapping_add(row * tile.act_stride + k * 4);
        // SAFETY: by the caller.
        let x = _mm256_set1_ps(f32::from_ne_bytes(unsafe { at.cast::<[u8; 4]>().read() }));
        for half in 0..2 {
            acc[half] = _mm256_fmadd_ps(weights[half], x, acc[half]);
        }
    }
}

/// Four bytes of each row at byte `start`, in every lane: four int8 or two bf16 inputs.
///
/// # Safety
/// The tile's rows hold those bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn broadcast(tile: &Tile<'_>, row: usize, start: usize) -> __m256i {
    let at = tile.acts.wrapping_add(row * tile.act_stride + start);
    // SAFETY: by the caller.
    _mm256_set1_epi32(i32::from_ne_bytes(unsafe { at.cast::<[u8; 4]>().read() }))
}

/// The even and odd bf16 of each lane as f32.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn widen(pairs: __m256i) -> (__m256, __m256) {
    let upper = _mm256_set1_epi32(0xFFFF_0000_u32 as i32);
    let even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
    (even, _mm256_castsi256_ps(_mm256_and_si256(pairs, upper)))
}

/// Writes the outputs of the tile's width.
///
/// # Safety
/// The tile's outputs are writable.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store<const R: usize>(tile: &Tile<'_>, acc: &[Halves; R]) {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (row, halves) in acc.iter().enumerate() {
        let out = tile.out.wrapping_add(row * tile.out_stride);
        for (half, value) in halves.iter().enumerate() {
            let width = tile.width.saturating_sub(half * 8).min(8) as i32;
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(width), lanes);
            // SAFETY: masked lanes are not written; the others are the tile's.
            unsafe { _mm256_maskstore_ps(out.wrapping_add(half * 8), mask, *value) };
        }
    }
}
