//! bf16 activations by bf16 weights: `vdpbf16ps`, which adds the odd input of a pair first and flushes denormals.
//! Once with it, once with two FMAs in the same order. Twin: `scalar::tile_bf16`, bit-equal on normal numbers.

macro_rules! bf16_tiles {
    ($name:ident, $features:literal, $dot:ident) => {
        /// See the file.
        pub(in crate::linear) mod $name {
            use std::arch::x86_64::*;

            use super::super::super::tile::{Tile, TileFn, TileSet};
            use super::super::lines::{broadcast, load, store};
            use super::$dot;

            /// bf16 weights.
            pub(in crate::linear) const BF16: TileSet = TileSet {
                tiles: &[
                    &[
                        tile::<1, 1> as TileFn,
                        tile::<1, 2>,
                        tile::<1, 3>,
                        tile::<1, 4>,
                        tile::<1, 5>,
                        tile::<1, 6>,
                    ],
                    &[
                        tile::<2, 1> as TileFn,
                        tile::<2, 2>,
                        tile::<2, 3>,
                        tile::<2, 4>,
                        tile::<2, 5>,
                        tile::<2, 6>,
                    ],
                    &[
                        tile::<4, 1> as TileFn,
                        tile::<4, 2>,
                        tile::<4, 3>,
                        tile::<4, 4>,
                        tile::<4, 5>,
                        tile::<4, 6>,
                    ],
                ],
                gemv_blocks: [1; 4],
                gemm_blocks: 4,
            };

            /// # Safety
            /// See `TileFn`.
            #[target_feature(enable = $features)]
            unsafe fn tile<const B: usize, const R: usize>(tile: &Tile<'_>) {
                let mut acc = [[_mm512_setzero_ps(); B]; R];
                for line in 0..tile.shape.lines {
                    // SAFETY: the line lies in the blocks.
                    let weights = unsafe { load::<B>(tile, line * 64) };
                    for (row, acc) in acc.iter_mut().enumerate() {
                        // SAFETY: the row holds the line's pair.
                        let pair = unsafe { broadcast(tile, row, line * 4) };
                        for (acc, weight) in acc.iter_mut().zip(&weights) {
                            *acc = $dot(*acc, *weight, pair);
                        }
                    }
                }
                // SAFETY: by the caller.
                unsafe { store(tile, &acc) };
            }
        }
    };
}

use std::arch::x86_64::*;
use std::mem::transmute;

/// The instruction.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn dot_bf16(acc: __m512, weights: __m512i, acts: __m512i) -> __m512 {
    // SAFETY: `__m512bh` is the same 512 bits.
    let (weights, acts) = unsafe {
        (
            transmute::<__m512i, __m512bh>(weights),
            transmute::<__m512i, __m512bh>(acts),
        )
    };
    _mm512_dpbf16_ps(acc, weights, acts)
}

/// The same by f32 FMAs.
#[inline]
#[target_feature(enable = "avx512f")]
fn dot_f32(acc: __m512, weights: __m512i, acts: __m512i) -> __m512 {
    let upper = _mm512_set1_epi32(0xFFFF_0000_u32 as i32);
    let odd = |pair| _mm512_castsi512_ps(_mm512_and_si512(pair, upper));
    let even = |pair| _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16));
    let acc = _mm512_fmadd_ps(odd(weights), odd(acts), acc);
    _mm512_fmadd_ps(even(weights), even(acts), acc)
}

bf16_tiles!(
    native,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16",
    dot_bf16
);
bf16_tiles!(widened, "avx512f,avx512bw,avx512dq,avx512vl", dot_f32);
