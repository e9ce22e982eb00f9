//! f32 activations by integer weights, expanded to f32 in registers: `s * (u - z)` or `fma(s, u, min)`, then one
//! FMA per input, ascending: the bits of decoding first. Twin: `scalar::tile_f32`, bit-equal.

use std::arch::x86_64::*;

use super::super::tile::{Tile, TileFn, TileSet};
use super::header::{minima, scales, zeros};
use super::lines::{fma_input, load, store};
use crate::pack::{Layout, Zero};

/// 4-bit codes.
pub(in crate::linear) const EXACT4: TileSet = set::<true>();
/// 8-bit codes.
pub(in crate::linear) const EXACT8: TileSet = set::<false>();

const fn set<const FOUR: bool>() -> TileSet {
    TileSet {
        tiles: &[
            &[
                tile::<1, 1, FOUR> as TileFn,
                tile::<1, 2, FOUR>,
                tile::<1, 3, FOUR>,
                tile::<1, 4, FOUR>,
                tile::<1, 5, FOUR>,
                tile::<1, 6, FOUR>,
                tile::<1, 7, FOUR>,
                tile::<1, 8, FOUR>,
            ],
            &[
                tile::<2, 1, FOUR> as TileFn,
                tile::<2, 2, FOUR>,
                tile::<2, 3, FOUR>,
                tile::<2, 4, FOUR>,
                tile::<2, 5, FOUR>,
                tile::<2, 6, FOUR>,
                tile::<2, 7, FOUR>,
                tile::<2, 8, FOUR>,
            ],
            &[
                tile::<4, 1, FOUR> as TileFn,
                tile::<4, 2, FOUR>,
                tile::<4, 3, FOUR>,
                tile::<4, 4, FOUR>,
            ],
        ],
        gemv_blocks: [4, 4, 2, 2],
        gemm_blocks: 2,
    }
}

/// # Safety
/// See `TileFn`.
#[target_feature(enable = "avx512f")]
unsafe fn tile<const B: usize, const R: usize, const FOUR: bool>(tile: &Tile<'_>) {
    let Layout::Int(grouped) = tile.shape.layout else {
        unreachable!("expanded weights are planned for integer layouts only");
    };
    let mut acc = [[_mm512_setzero_ps(); B]; R];
    for group in 0..tile.shape.groups {
        let place = tile.shape.place(grouped, group);
        let mut expand = Expand {
            scales: [_mm512_setzero_ps(); B],
            seconds: [_mm512_setzero_ps(); B],
            has_minima: grouped.zero == Zero::Minima,
        };
        for block in 0..B {
            let bytes = tile.weights.wrapping_add(block * tile.shape.block_bytes);
            // SAFETY: the group lies in the block.
            unsafe {
                expand.scales[block] = scales(bytes, grouped, &place);
                expand.seconds[block] = match grouped.zero {
                    Zero::Minima => minima(bytes, grouped, &place),
                    _ => _mm512_cvtepi32_ps(zeros(bytes, grouped, &place)),
                };
            }
        }
        for line in 0..place.lines {
            let per_line = if FOUR { 8 } else { 4 };
            let k = group * grouped.group + line * per_line;
            // SAFETY: the line lies in the blocks, its inputs in the rows.
            unsafe { expand.line::<R, FOUR>(tile, place.codes + line * 64, k, &mut acc) };
        }
    }
    // SAFETY: by the caller.
    unsafe { store(tile, &acc) };
}

/// What turns the codes of a group into weights.
struct Expand<const B: usize> {
    scales: [__m512; B],
    /// Minima, or zeros as floats.
    seconds: [__m512; B],
    has_minima: bool,
}

impl<const B: usize> Expand<B> {
    /// Multiplies one line, whose first input is `k`.
    ///
    /// # Safety
    /// The tile's blocks hold the line at `start`, its rows the line's inputs.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn line<const R: usize, const FOUR: bool>(
        &self,
        tile: &Tile<'_>,
        start: usize,
        k: usize,
        acc: &mut [[__m512; B]; R],
    ) {
        // SAFETY: by the caller.
        let words = unsafe { load::<B>(tile, start) };
        let mut upper = words;
        for block in 0..B {
            upper[block] = _mm512_srli_epi32(words[block], 16);
        }
        // Inputs k .. k + 3 are the low nibbles of the four bytes, k + 4 .. k + 7 the high ones.
        let bits: &[u32] = if FOUR {
            &[0, 8, 16, 24, 4, 12, 20, 28]
        } else {
            &[0, 8, 16, 24]
        };
        for (input, bit) in bits.iter().enumerate() {
            let (words, bit) = if *bit < 16 {
                (&words, *bit)
            } else {
                (&upper, *bit - 16)
            };
            // SAFETY: by the caller.
            unsafe { fma_input(tile, k + input, &self.weights::<FOUR>(words, bit), acc) };
        }
    }

    /// The weights of the codes at bits `bit ..` of each lane, below bit 16. A code there, under the exponent of
    /// 2^(23 - bit), is the float 2^(23 - bit) + code: no shift and no conversion.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn weights<const FOUR: bool>(&self, words: &[__m512i; B], bit: u32) -> [__m512; B] {
        /// `(a & b) | c`.
        const AND_OR: i32 = 0xEA;
        let mask = _mm512_set1_epi32(if FOUR { 0x0F } else { 0xFF } << bit);
        let base = _mm512_set1_ps((1_u32 << (23 - bit)) as f32);
        let mut weights = [_mm512_setzero_ps(); B];
        for block in 0..B {
            let word =
                _mm512_ternarylogic_epi32(words[block], mask, _mm512_castps_si512(base), AND_OR);
            let code = _mm512_sub_ps(_mm512_castsi512_ps(word), base);
            weights[block] = if self.has_minima {
                _mm512_fmadd_ps(self.scales[block], code, self.seconds[block])
            } else {
                _mm512_mul_ps(self.scales[block], _mm512_sub_ps(code, self.seconds[block]))
            };
        }
        weights
    }
}
