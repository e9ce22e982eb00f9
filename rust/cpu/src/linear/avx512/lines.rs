//! What every AVX-512 tile does with lines and outputs: load one line of each block, multiply one input into
//! all accumulators, store them.

use std::arch::x86_64::*;

use super::super::tile::Tile;
use crate::pack::ROWS;

/// The line at byte `start` of each block; asks for later ones on the way.
///
/// # Safety
/// The tile's blocks hold that line.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn load<const B: usize>(tile: &Tile<'_>, start: usize) -> [__m512i; B] {
    let mut words = [_mm512_setzero_si512(); B];
    for (block, word) in words.iter_mut().enumerate() {
        let offset = block * tile.shape.block_bytes + start;
        _mm_prefetch(
            tile.ahead.wrapping_add(offset >> tile.ahead_shift).cast(),
            _MM_HINT_T0,
        );
        let at = tile.weights.wrapping_add(offset);
        // SAFETY: by the caller.
        *word = unsafe { _mm512_loadu_si512(at.cast()) };
    }
    words
}

/// `acc[row][block] = fma(weights[block], x[row][k], acc[row][block])` with f32 activations.
///
/// # Safety
/// The tile's rows are f32 and hold input `k`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn fma_input<const B: usize, const R: usize>(
    tile: &Tile<'_>,
    k: usize,
    weights: &[__m512; B],
    acc: &mut [[__m512; B]; R],
) {
    for (row, acc) in acc.iter_mut().enumerate() {
        let at = tile.acts.wrapping_add(row * tile.act_stride + k * 4);
        // SAFETY: by the caller.
        let x = _mm512_set1_ps(f32::from_ne_bytes(unsafe { at.cast::<[u8; 4]>().read() }));
        for (acc, weight) in acc.iter_mut().zip(weights) {
            *acc = _mm512_fmadd_ps(*weight, x, *acc);
        }
    }
}

/// Four bytes of each row at byte `start`, in every lane: four int8 or two bf16 inputs.
///
/// # Safety
/// The tile's rows hold those bytes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn broadcast(tile: &Tile<'_>, row: usize, start: usize) -> __m512i {
    let at = tile.acts.wrapping_add(row * tile.act_stride + start);
    // SAFETY: by the caller.
    _mm512_set1_epi32(i32::from_ne_bytes(unsafe { at.cast::<[u8; 4]>().read() }))
}

/// Writes the outputs of the tile's width from `acc[row][block]`.
///
/// # Safety
/// The tile's outputs are writable.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn store<const B: usize, const R: usize>(
    tile: &Tile<'_>,
    acc: &[[__m512; B]; R],
) {
    for (row, blocks) in acc.iter().enumerate() {
        let out = tile.out.wrapping_add(row * tile.out_stride);
        for (block, value) in blocks.iter().enumerate() {
            let lanes = tile.width.saturating_sub(block * ROWS).min(ROWS);
            let mask = ((1_u32 << lanes) - 1) as __mmask16;
            // SAFETY: masked lanes are not written; the others are the tile's.
            unsafe { _mm512_mask_storeu_ps(out.wrapping_add(block * ROWS), mask, *value) };
        }
    }
}
