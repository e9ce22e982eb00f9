//! int8 activations by 4- or 8-bit codes. Per group: an exact integer sum that starts at minus zero * sum(a),
//! then one FMA with s_w * s_a, then one with the minimum where there are minima. Once with `vpdpbusd`, once
//! with AVX-512BW alone. Twin: `scalar::tile_int8`, bit-equal.

/// The tiles for one way of multiplying bytes. `$dot(sum, codes, activations)` adds four products per lane.
macro_rules! int8_tiles {
    ($name:ident, $features:literal, $dot:ident) => {
        pub(in crate::linear) mod $name {
            use std::arch::x86_64::*;

            use super::super::super::quantise::GroupMeta;
            use super::super::super::tile::{Tile, TileFn, TileSet};
            use super::super::header;
            use super::super::lines::{broadcast, load, store};
            use super::$dot;
            use crate::pack::{GroupPlace, Grouped, Layout, Zero};

            /// 4-bit codes.
            pub(in crate::linear) const FOUR: TileSet = set::<true>();
            /// 8-bit codes.
            pub(in crate::linear) const EIGHT: TileSet = set::<false>();

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
                        ],
                        &[
                            tile::<2, 1, FOUR> as TileFn,
                            tile::<2, 2, FOUR>,
                            tile::<2, 3, FOUR>,
                            tile::<2, 4, FOUR>,
                            tile::<2, 5, FOUR>,
                            tile::<2, 6, FOUR>,
                        ],
                    ],
                    gemv_blocks: if FOUR { [1, 1, 2, 2] } else { [1; 4] },
                    gemm_blocks: 2,
                }
            }

            /// # Safety
            /// See `TileFn`.
            #[target_feature(enable = $features)]
            unsafe fn tile<const B: usize, const R: usize, const FOUR: bool>(tile: &Tile<'_>) {
                let Layout::Int(grouped) = tile.shape.layout else {
                    unreachable!("int8 arithmetic is planned for integer layouts only");
                };
                let mut acc = [[_mm512_setzero_ps(); B]; R];
                for group in 0..tile.shape.groups {
                    let place = tile.shape.place(grouped, group);
                    // SAFETY: by the caller, for each group of the tile.
                    unsafe {
                        let sums = sum_group::<B, R, FOUR>(tile, grouped, &place, group);
                        add_group::<B, R, FOUR>(tile, grouped, (&place, group), &sums, &mut acc);
                    }
                }
                // SAFETY: by the caller.
                unsafe { store(tile, &acc) };
            }

            /// Integer sums of one group, zero points included.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn sum_group<const B: usize, const R: usize, const FOUR: bool>(
                tile: &Tile<'_>,
                grouped: Grouped,
                place: &GroupPlace,
                group: usize,
            ) -> [[__m512i; B]; R] {
                let mut sums = [[_mm512_setzero_si512(); B]; R];
                if grouped.zero != Zero::Minima {
                    // SAFETY: by the caller.
                    unsafe { start_sums::<B, R, FOUR>(tile, grouped, (place, group), &mut sums) };
                }
                let nibble = _mm512_set1_epi8(0x0F);
                for line in 0..place.lines {
                    // SAFETY: the line lies in the blocks.
                    let codes = unsafe { load::<B>(tile, place.codes + line * 64) };
                    let k = group * grouped.group + line * if FOUR { 8 } else { 4 };
                    if FOUR {
                        let (mut low, mut high) = (codes, codes);
                        for block in 0..B {
                            low[block] = _mm512_and_si512(codes[block], nibble);
                            high[block] =
                                _mm512_and_si512(_mm512_srli_epi16(codes[block], 4), nibble);
                        }
                        // SAFETY: rows are padded to whole lines.
                        unsafe {
                            add_inputs(tile, k, &low, &mut sums);
                            add_inputs(tile, k + 4, &high, &mut sums);
                        }
                    } else {
                        // SAFETY: as above.
                        unsafe { add_inputs(tile, k, &codes, &mut sums) };
                    }
                }
                sums
            }

            /// Minus zero * sum(a).
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn start_sums<const B: usize, const R: usize, const FOUR: bool>(
                tile: &Tile<'_>,
                grouped: Grouped,
                (place, group): (&GroupPlace, usize),
                sums: &mut [[__m512i; B]; R],
            ) {
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: the entry of this row and group exists.
                    let minus = unsafe { _mm512_set1_epi32((*meta(tile, row, group)).minus_sum) };
                    if grouped.zero == Zero::Fixed {
                        // The fixed zeros are 2^3 and 2^7.
                        *sums = [if FOUR {
                            _mm512_slli_epi32(minus, 3)
                        } else {
                            _mm512_slli_epi32(minus, 7)
                        }; B];
                        continue;
                    }
                    for (block, sum) in sums.iter_mut().enumerate() {
                        let bytes = tile.weights.wrapping_add(block * tile.shape.block_bytes);
                        // SAFETY: the block has zeros.
                        let zeros = unsafe { header::zeros(bytes, grouped, place) };
                        *sum = _mm512_mullo_epi32(zeros, minus);
                    }
                }
            }

            /// Adds the products of four inputs.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn add_inputs<const B: usize, const R: usize>(
                tile: &Tile<'_>,
                k: usize,
                codes: &[__m512i; B],
                sums: &mut [[__m512i; B]; R],
            ) {
                for (row, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: by the caller.
                    let acts = unsafe { broadcast(tile, row, k) };
                    for (sum, codes) in sums.iter_mut().zip(codes) {
                        *sum = $dot(*sum, *codes, acts);
                    }
                }
            }

            /// Adds a group to the accumulators. `FOUR` changes nothing here: it makes the caller the only one, and
            /// the compiler then inlines it, which is worth a fifth of the speed.
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn add_group<const B: usize, const R: usize, const FOUR: bool>(
                tile: &Tile<'_>,
                grouped: Grouped,
                (place, group): (&GroupPlace, usize),
                sums: &[[__m512i; B]; R],
                acc: &mut [[__m512; B]; R],
            ) {
                for block in 0..B {
                    let bytes = tile.weights.wrapping_add(block * tile.shape.block_bytes);
                    // SAFETY: the group lies in the block.
                    let scales = unsafe { header::scales(bytes, grouped, place) };
                    for row in 0..R {
                        // SAFETY: the entry of this row and group exists.
                        let scale = unsafe { _mm512_set1_ps((*meta(tile, row, group)).scale) };
                        let sum = _mm512_cvtepi32_ps(sums[row][block]);
                        acc[row][block] =
                            _mm512_fmadd_ps(sum, _mm512_mul_ps(scales, scale), acc[row][block]);
                    }
                    if grouped.zero != Zero::Minima {
                        continue;
                    }
                    // SAFETY: the block has minima.
                    let minima = unsafe { header::minima(bytes, grouped, place) };
                    for row in 0..R {
                        // SAFETY: as above.
                        let sum = unsafe { _mm512_set1_ps((*meta(tile, row, group)).scaled_sum) };
                        acc[row][block] = _mm512_fmadd_ps(minima, sum, acc[row][block]);
                    }
                }
            }

            #[inline]
            fn meta(tile: &Tile<'_>, row: usize, group: usize) -> *const GroupMeta {
                tile.meta.wrapping_add(row * tile.meta_stride + group)
            }
        }
    };
}

use std::arch::x86_64::*;

/// Four products per lane by `vpdpbusd`, which does not saturate.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_vnni(sum: __m512i, codes: __m512i, acts: __m512i) -> __m512i {
    _mm512_dpbusd_epi32(sum, codes, acts)
}

/// The same through 16 bits: `vpmaddubsw` would saturate on 8-bit codes, so even and odd bytes go apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn dot_bw(sum: __m512i, codes: __m512i, acts: __m512i) -> __m512i {
    let even = _mm512_madd_epi16(
        _mm512_and_si512(codes, _mm512_set1_epi16(0x00FF)),
        _mm512_srai_epi16(_mm512_slli_epi16(acts, 8), 8),
    );
    let odd = _mm512_madd_epi16(_mm512_srli_epi16(codes, 8), _mm512_srai_epi16(acts, 8));
    _mm512_add_epi32(sum, _mm512_add_epi32(even, odd))
}

int8_tiles!(
    vnni,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    dot_vnni
);
int8_tiles!(bw, "avx512f,avx512bw,avx512dq,avx512vl", dot_bw);
