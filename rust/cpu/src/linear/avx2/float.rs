//! f32 activations by f32 or bf16 weights, one FMA per input, ascending (twin: `scalar::tile_f32`), and bf16 by
//! bf16, the odd input of a pair first (twin: `scalar::tile_bf16`). Bit-equal to their twins.

use std::arch::x86_64::*;

use super::super::tile::{Tile, TileFn, TileSet};
use super::lines::{Halves, broadcast, fma_input, load, store, widen};

/// f32 weights.
pub(in crate::linear) const F32: TileSet = set::<false>();
/// bf16 weights, f32 activations.
pub(in crate::linear) const BF16_F32: TileSet = set::<true>();
/// bf16 weights and activations.
pub(in crate::linear) const BF16: TileSet = TileSet {
    tiles: &[&[
        tile_bf16::<1> as TileFn,
        tile_bf16::<2>,
        tile_bf16::<3>,
        tile_bf16::<4>,
    ]],
    gemv_blocks: [1; 4],
    gemm_blocks: 1,
};

const fn set<const HALF: bool>() -> TileSet {
    TileSet {
        tiles: &[&[
            tile::<1, HALF> as TileFn,
            tile::<2, HALF>,
            tile::<3, HALF>,
            tile::<4, HALF>,
            tile::<5, HALF>,
            tile::<6, HALF>,
        ]],
        gemv_blocks: [1; 4],
        gemm_blocks: 1,
    }
}

/// # Safety
/// See `TileFn`.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const R: usize, const HALF: bool>(tile: &Tile<'_>) {
    let mut acc = [[_mm256_setzero_ps(); 2]; R];
    for line in 0..tile.shape.lines {
        // SAFETY: the line lies in the block, its inputs in the rows.
        unsafe {
            let words = load(tile, line * 64);
            if HALF {
                let ((even0, odd0), (even1, odd1)) = (widen(words[0]), widen(words[1]));
                fma_input(tile, 2 * line, &[even0, even1], &mut acc);
                fma_input(tile, 2 * line + 1, &[odd0, odd1], &mut acc);
            } else {
                let weights = [_mm256_castsi256_ps(words[0]), _mm256_castsi256_ps(words[1])];
                fma_input(tile, line, &weights, &mut acc);
            }
        }
    }
    // SAFETY: by the caller.
    unsafe { store(tile, &acc) };
}

/// # Safety
/// See `TileFn`.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_bf16<const R: usize>(tile: &Tile<'_>) {
    let mut acc: [Halves; R] = [[_mm256_setzero_ps(); 2]; R];
    for line in 0..tile.shape.lines {
        // SAFETY: the line lies in the block.
        let words = unsafe { load(tile, line * 64) };
        let weights = [widen(words[0]), widen(words[1])];
        for (row, acc) in acc.iter_mut().enumerate() {
            // SAFETY: the row holds the line's pair.
            let (even, odd) = widen(unsafe { broadcast(tile, row, line * 4) });
            for half in 0..2 {
                acc[half] = _mm256_fmadd_ps(weights[half].1, odd, acc[half]);
                acc[half] = _mm256_fmadd_ps(weights[half].0, even, acc[half]);
            }
        }
    }
    // SAFETY: by the caller.
    unsafe { store(tile, &acc) };
}
