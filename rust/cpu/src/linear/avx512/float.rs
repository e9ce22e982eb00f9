//! f32 activations by f32 or bf16 weights: one FMA per input, ascending. Twin: `scalar::tile_f32`, bit-equal.

use std::arch::x86_64::*;

use super::super::tile::{Tile, TileFn, TileSet};
use super::lines::{fma_input, load, store};

/// f32 weights.
pub(in crate::linear) const F32: TileSet = set::<false>();
/// bf16 weights.
pub(in crate::linear) const BF16_F32: TileSet = set::<true>();

const fn set<const HALF: bool>() -> TileSet {
    TileSet {
        tiles: &[
            &[
                tile::<1, 1, HALF> as TileFn,
                tile::<1, 2, HALF>,
                tile::<1, 3, HALF>,
                tile::<1, 4, HALF>,
                tile::<1, 5, HALF>,
                tile::<1, 6, HALF>,
            ],
            &[
                tile::<2, 1, HALF> as TileFn,
                tile::<2, 2, HALF>,
                tile::<2, 3, HALF>,
                tile::<2, 4, HALF>,
                tile::<2, 5, HALF>,
                tile::<2, 6, HALF>,
            ],
            &[
                tile::<4, 1, HALF> as TileFn,
                tile::<4, 2, HALF>,
                tile::<4, 3, HALF>,
                tile::<4, 4, HALF>,
                tile::<4, 5, HALF>,
                tile::<4, 6, HALF>,
            ],
        ],
        gemv_blocks: [1; 4],
        gemm_blocks: 4,
    }
}

/// # Safety
/// See `TileFn`.
#[target_feature(enable = "avx512f")]
unsafe fn tile<const B: usize, const R: usize, const HALF: bool>(tile: &Tile<'_>) {
    let mut acc = [[_mm512_setzero_ps(); B]; R];
    let upper = _mm512_set1_epi32(0xFFFF_0000_u32 as i32);
    for line in 0..tile.shape.lines {
        // SAFETY: the line lies in the blocks, its inputs in the rows.
        unsafe {
            let words = load::<B>(tile, line * 64);
            let mut weights = [_mm512_setzero_ps(); B];
            if HALF {
                // A line holds two inputs per row; a bf16 is the upper half of its f32.
                for block in 0..B {
                    weights[block] = _mm512_castsi512_ps(_mm512_slli_epi32(words[block], 16));
                }
                fma_input(tile, 2 * line, &weights, &mut acc);
                for block in 0..B {
                    weights[block] = _mm512_castsi512_ps(_mm512_and_si512(words[block], upper));
                }
                fma_input(tile, 2 * line + 1, &weights, &mut acc);
            } else {
                for block in 0..B {
                    weights[block] = _mm512_castsi512_ps(words[block]);
                }
                fma_input(tile, line, &weights, &mut acc);
            }
        }
    }
    // SAFETY: by the caller.
    unsafe { store(tile, &acc) };
}
