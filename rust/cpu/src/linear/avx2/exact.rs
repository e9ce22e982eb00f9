//! f32 activations by integer weights, expanded to f32 in registers: `s * (u - z)` or `fma(s, u, min)`, then one
//! FMA per input, ascending: the bits of decoding first. Twin: `scalar::tile_f32`, bit-equal.

use std::arch::x86_64::*;

use super::super::tile::{Tile, TileFn, TileSet};
use super::header::{minima, scales, zeros};
use super::lines::{Halves, fma_input, load, store};
use crate::pack::{Layout, Zero};

/// 4-bit codes.
pub(in crate::linear) const EXACT4: TileSet = set::<true>();
/// 8-bit codes.
pub(in crate::linear) const EXACT8: TileSet = set::<false>();

const fn set<const FOUR: bool>() -> TileSet {
    TileSet {
        tiles: &[&[
            tile::<1, FOUR> as TileFn,
            tile::<2, FOUR>,
            tile::<3, FOUR>,
            tile::<4, FOUR>,
        ]],
        gemv_blocks: [1; 4],
        gemm_blocks: 1,
    }
}

/// # Safety
/// See `TileFn`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const R: usize, const FOUR: bool>(tile: &Tile<'_>) {
    let Layout::Int(grouped) = tile.shape.layout else {
        unreachable!("expanded weights are planned for integer layouts only");
    };
    let shifts: &[i32] = if FOUR {
        &[0, 8, 16, 24, 4, 12, 20, 28]
    } else {
        &[0, 8, 16, 24]
    };
    let mut acc = [[_mm256_setzero_ps(); 2]; R];
    for group in 0..tile.shape.groups {
        let place = tile.shape.place(grouped, group);
        // SAFETY: the group lies in the block.
        let expand = unsafe {
            Expand {
                scales: scales(tile.weights, grouped, &place),
                seconds: if grouped.zero == Zero::Minima {
                    minima(tile.weights, grouped, &place)
                } else {
                    let zeros = zeros(tile.weights, grouped, &place);
                    [_mm256_cvtepi32_ps(zeros[0]), _mm256_cvtepi32_ps(zeros[1])]
                },
                has_minima: grouped.zero == Zero::Minima,
            }
        };
        for line in 0..place.lines {
            // SAFETY: the line lies in the block.
            let words = unsafe { load(tile, place.codes + line * 64) };
            let k = group * grouped.group + line * shifts.len();
            for (input, shift) in shifts.iter().enumerate() {
                let weights = [
                    expand.half::<FOUR>(0, words[0], *shift),
                    expand.half::<FOUR>(1, words[1], *shift),
                ];
                // SAFETY: rows are padded to whole lines.
                unsafe { fma_input(tile, k + input, &weights, &mut acc) };
            }
        }
    }
    // SAFETY: by the caller.
    unsafe { store(tile, &acc) };
}

/// What turns the codes of a group into weights.
struct Expand {
    scales: Halves,
    /// Minima, or zeros as floats.
    seconds: Halves,
    has_minima: bool,
}

impl Expand {
    /// The weights of the codes at bit `shift` of each lane of a half.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn half<const FOUR: bool>(&self, half: usize, words: __m256i, shift: i32) -> __m256 {
        let mask = _mm256_set1_epi32(if FOUR { 0x0F } else { 0xFF });
        let word = _mm256_srl_epi32(words, _mm_cvtsi32_si128(shift));
        let code = _mm256_cvtepi32_ps(_mm256_and_si256(word, mask));
        let (scale, second) = (self.scales[half], self.seconds[half]);
        if self.has_minima {
            _mm256_fmadd_ps(scale, code, second)
        } else {
            _mm256_mul_ps(scale, _mm256_sub_ps(code, second))
        }
    }
}
