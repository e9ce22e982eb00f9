//! Rounding of one row of activations: to int8 per group with scale and sums, or to bf16.
//! Ordinary loops, instantiated per level; all levels give the same bits (test: `levels_agree_bit_for_bit`).
//!
//! scale = max|x| / 127, code = x * (127 / max|x|) to nearest, ties to even. A group that holds an infinity or
//! NaN gets the scale NaN and codes 0, so that the outputs of its row are NaN and no integer is undefined.
//! A group below 1e-36 counts as zero: 127 / max|x| would overflow.

use crate::isa::Level;

/// What a kernel needs to know of a group of activations besides the codes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(crate) struct GroupMeta {
    /// Activation = scale * code.
    pub(crate) scale: f32,
    /// Minus the sum of the codes: what a zero point is multiplied with.
    pub(crate) minus_sum: i32,
    /// scale * sum of the codes: what a minimum is multiplied with.
    pub(crate) scaled_sum: f32,
    /// To 16 bytes.
    pub(crate) unused: u32,
}

/// Adding and subtracting 1.5 * 2^23 rounds to integers; its low byte is then the code in two's complement.
const ROUNDER: f32 = 12_582_912.0;
/// Smaller groups are zero.
const MAX_ABS_MIN: f32 = 1e-36;

#[inline(always)]
fn quantise(values: &[f32], groups: (usize, usize), codes: &mut [i8], meta: &mut [GroupMeta]) {
    let (group, sums) = groups;
    let chunks = values.chunks(group).zip(codes.chunks_mut(group));
    for ((values, codes), meta) in chunks.zip(meta.chunks_mut(group / sums)) {
        let max_bits = values
            .iter()
            .fold(0, |max: u32, value| max.max(value.abs().to_bits()));
        let max_abs = f32::from_bits(max_bits);
        let (scale, inverse) = if !max_abs.is_finite() {
            (f32::NAN, 0.0)
        } else if max_abs < MAX_ABS_MIN {
            (0.0, 0.0)
        } else {
            (max_abs / 127.0, 127.0 / max_abs)
        };
        if inverse == 0.0 {
            codes.fill(0);
        } else {
            for (code, value) in codes.iter_mut().zip(values) {
                *code = (value * inverse + ROUNDER).to_bits() as u8 as i8;
            }
        }
        for (codes, meta) in codes.chunks(sums).zip(meta) {
            let sum: i32 = codes.iter().map(|code| i32::from(*code)).sum();
            *meta = GroupMeta {
                scale,
                minus_sum: -sum,
                scaled_sum: scale * sum as f32,
                unused: 0,
            };
        }
    }
}

#[inline(always)]
fn narrow(values: &[f32], out: &mut [u16]) {
    for (out, value) in out.iter_mut().zip(values) {
        let bits = value.to_bits();
        let rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
        // A NaN stays one: rounding could carry its mantissa away.
        *out = if value.is_nan() {
            bits >> 16 | 0x40
        } else {
            rounded
        } as u16;
    }
}

/// One module per level, each compiling the same loops for its features.
macro_rules! levels {
    ($($name:ident $features:literal),*) => {$(
        #[cfg(target_arch = "x86_64")]
        mod $name {
            use super::GroupMeta;
            #[target_feature(enable = $features)]
            pub(super) fn quantise(x: &[f32], groups: (usize, usize), codes: &mut [i8], meta: &mut [GroupMeta]) {
                if groups == (32, 32) {
                    // The commonest width as a constant, so that a group is straight-line code.
                    super::quantise(x, (32, 32), codes, meta);
                } else {
                    super::quantise(x, groups, codes, meta);
                }
            }
            #[target_feature(enable = $features)]
            pub(super) fn narrow(x: &[f32], out: &mut [u16]) {
                super::narrow(x, out);
            }
        }
    )*};
}
levels!(avx2 "avx2,fma", avx512 "avx512f,avx512bw,avx512dq,avx512vl");

/// Quantises `values` into `codes` (as long) with `groups` = (inputs under a scale, inputs under a sum), one
/// `meta` entry per sum. This machine runs `level`.
pub(super) fn quantise_row(
    level: Level,
    values: &[f32],
    groups: (usize, usize),
    codes: &mut [i8],
    meta: &mut [GroupMeta],
) {
    debug_assert_eq!(values.len(), codes.len());
    debug_assert_eq!(meta.len(), values.len().div_ceil(groups.1));
    match level {
        // SAFETY: a level is handed out only where the machine has its features (`isa`).
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::quantise(values, groups, codes, meta) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 => unsafe {
            avx512::quantise(values, groups, codes, meta);
        },
        _ => quantise(values, groups, codes, meta),
    }
}

/// Rounds `values` to bf16, nearest even. This machine runs `level`.
pub(super) fn narrow_row(level: Level, values: &[f32], out: &mut [u16]) {
    match level {
        // SAFETY: as in `quantise_row`.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::narrow(values, out) },
        // SAFETY: as in `quantise_row`.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 => unsafe {
            avx512::narrow(values, out);
        },
        _ => narrow(values, out),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{GroupMeta, narrow_row, quantise_row};
    use crate::isa::Level;

    fn quantised(
        level: Level,
        values: &[f32],
        groups: (usize, usize),
    ) -> (Vec<i8>, Vec<GroupMeta>) {
        let mut codes = vec![99; values.len()];
        let mut meta = vec![GroupMeta::default(); values.len().div_ceil(groups.1)];
        quantise_row(level, values, groups, &mut codes, &mut meta);
        (codes, meta)
    }

    #[test]
    fn codes_are_the_nearest_and_ties_go_to_even() {
        // max 127: codes are the values themselves, rounded.
        let values = [127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127.0, 3.49, -3.51];
        let (codes, meta) = quantised(Level::Scalar, &values, (32, 32));
        assert_eq!(codes, [127, 0, 2, 2, 0, -2, -2, -127, 3, -4]);
        assert_eq!(meta[0].scale, 1.0);
        assert_eq!(meta[0].minus_sum, 1);
    }

    #[test]
    fn a_group_that_is_not_finite_poisons_its_scale_and_no_other() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = vec![1.0; 96];
            values[40] = bad;
            for level in Level::available() {
                let (codes, meta) = quantised(level, &values, (32, 16));
                assert!(codes[32..64].iter().all(|code| *code == 0));
                assert!(meta[2].scale.is_nan() && meta[3].scaled_sum.is_nan());
                assert_eq!(meta[1].scale, 1.0 / 127.0);
                assert_eq!(meta[4].minus_sum, -16 * 127);
            }
        }
    }

    #[test]
    fn vanishing_groups_are_zero() {
        for tiny in [0.0, -0.0, 1e-45, 9e-37] {
            let (codes, meta) = quantised(Level::Scalar, &[tiny; 5], (32, 32));
            assert_eq!((codes, meta[0].scale), (vec![0; 5], 0.0));
        }
        let (codes, meta) = quantised(Level::Scalar, &[2e-36; 5], (32, 32));
        assert_eq!(codes, [127; 5]);
        assert!(meta[0].scale > 0.0);
    }

    #[test]
    fn bf16_agrees_with_the_half_crate_on_every_level() {
        let mut values: Vec<f32> = (0..5000_u32)
            .map(|i| f32::from_bits(i.wrapping_mul(0x9E37_79B9)))
            .collect();
        values.extend([
            0.0,
            -0.0,
            f32::INFINITY,
            f32::MAX,
            f32::NAN,
            f32::from_bits(0x7F80_0001),
            1e-45,
        ]);
        for level in Level::available() {
            let mut out = vec![0; values.len()];
            narrow_row(level, &values, &mut out);
            for (value, got) in values.iter().zip(out) {
                assert_eq!(
                    got,
                    half::bf16::from_f32(*value).to_bits(),
                    "{value:e} at {level}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn levels_agree_bit_for_bit(
            values in proptest::collection::vec(
                prop_oneof![-4.0_f32..4.0, -1e30_f32..1e30, -1e-30_f32..1e-30, Just(f32::MAX)], 1..200),
            groups in prop_oneof![Just((32, 32)), Just((32, 16)), Just((48, 24)), Just((128, 128))],
        ) {
            let expected = quantised(Level::Scalar, &values, groups);
            for level in Level::available() {
                prop_assert_eq!(&quantised(level, &values, groups), &expected);
            }
            for ((chunk, codes), meta) in values.chunks(groups.1).zip(expected.0.chunks(groups.1)).zip(&expected.1) {
                prop_assert_eq!(codes.iter().map(|c| i32::from(*c)).sum::<i32>(), -meta.minus_sum);
                for (value, code) in chunk.iter().zip(codes) {
                    let error = (f64::from(*value) - f64::from(meta.scale) * f64::from(*code)).abs();
                    prop_assert!(error <= f64::from(meta.scale) * 0.50002 + 1e-36, "{value} {code} {meta:?}");
                }
            }
        }
    }
}
