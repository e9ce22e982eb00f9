//! exp and ln in f32, the same bits everywhere: additions, multiplications, divisions and bit moves only,
//! in a fixed order and never contracted, so that a device compiled without contraction repeats them.
//! Knows nothing of probabilities. Reference: f64 `exp` and `ln`; the tests state the error in ulp.

use std::f32::consts::LOG2_E;

/// ln 2 in two parts; the first has nine trailing zero bits, so a small integer times it is exact.
const LN2_HI: f32 = 0.693_145_75;
const LN2_LO: f32 = 1.428_606_8e-6;

/// Adding this rounds to the nearest integer and leaves it in the low mantissa bits.
const ROUNDER: f32 = 12_582_912.0;

/// Below this `exp` is 0: the last value with a normal result.
const EXP_MIN: f32 = -87.0;

/// (e^r - 1 - r) / r^2 on abs(r) <= ln 2 / 2: interpolated at Chebyshev nodes, relative error of e^r 1.1e-8.
const EXP_Q: [f32; 5] = [
    0.5,
    0.166_665_77,
    0.041_666_556,
    0.008_363_179,
    0.001_392_618_4,
];

/// (atanh(s) / s - 1) / s^2 in powers of s^2, abs(s) <= 0.1716: the same construction, error 2.8e-9.
const ATANH_P: [f32; 3] = [0.333_333_43, 0.199_943_8, 0.147_904_93];

/// e^x for x <= 0, within 2 ulp; 0 below -87 and for -inf. Branch-free, so loops over it vectorise.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let clamped = if x > EXP_MIN { x } else { EXP_MIN };
    let shifted = clamped * LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (clamped - n * LN2_HI) - n * LN2_LO;
    let [q0, q1, q2, q3, q4] = EXP_Q;
    let q = q0 + r * (q1 + r * (q2 + r * (q3 + r * q4)));
    let power = 1.0 + (r + (r * r) * q);
    // The low bits of `shifted` hold n in two's complement; the exponent field takes n + 127.
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let value = power * scale;
    if x > EXP_MIN { value } else { 0.0 }
}

/// ln(1 + f) + k ln 2 for f in [sqrt(1/2) - 1, sqrt(2) - 1].
#[inline(always)]
fn ln_1p_scaled(f: f32, k: f32) -> f32 {
    let s = f / (2.0 + f);
    let z = s * s;
    let [p0, p1, p2] = ATANH_P;
    let r = (2.0 * z) * (p0 + z * (p1 + z * p2));
    // 2 atanh(s) = f - s f + s r: the quotient's rounding error is scaled by f.
    let correction = s * (f - r);
    if k == 0.0 {
        return f - correction;
    }
    k * LN2_HI + (f - (correction - k * LN2_LO))
}

/// ln x for a normal positive x, within 2 ulp.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    // The split at sqrt(1/2): subtracting its bits makes the exponent field of the difference k.
    const HALF_SQRT2_BITS: u32 = 0x3f35_04f3;
    let offset = x.to_bits().wrapping_sub(HALF_SQRT2_BITS);
    let k = (offset as i32) >> 23;
    let mantissa = f32::from_bits(x.to_bits().wrapping_sub((k as u32) << 23));
    ln_1p_scaled(mantissa - 1.0, k as f32)
}

/// -ln(1 - v) for v = (word + 0.5) / 2^32, within 2 ulp over all words.
#[inline(always)]
pub(super) fn minus_ln_complement(word: u32) -> f32 {
    const SCALE: f32 = 1.0 / 4_294_967_296.0;
    // Below this v is under 1 - sqrt(1/2): the logarithm of 1 - v is taken around 1, from v itself, so
    // that a tiny v keeps its relative precision.
    const NEAR_ONE: u32 = 1_257_966_796;
    if word <= NEAR_ONE {
        let v = (word as f32 + 0.5) * SCALE;
        return -ln_1p_scaled(-v, 0.0);
    }
    if word < 1 << 31 {
        // 1 - v is in (1/2, sqrt(1/2)): 2 (1 - v) - 1 from the integer, where it is exact before rounding.
        return -ln_1p_scaled((!word - word) as f32 * SCALE, -1.0);
    }
    -ln((!word as f32 + 0.5) * SCALE)
}

#[cfg(test)]
mod tests {
    use super::{exp, ln};

    fn ulp_error(got: f32, exact: f64) -> f64 {
        let ulp = f64::from(f32::from_bits((exact.abs() as f32).to_bits() + 1))
            - f64::from(exact.abs() as f32);
        (f64::from(got) - exact).abs() / ulp
    }

    #[test]
    fn exp_is_within_two_ulp_and_monotone_at_the_ends() {
        let mut worst: f64 = 0.0;
        for step in 0..2_000_000_u32 {
            let x = -(step as f32) * 4.3e-5;
            worst = worst.max(ulp_error(exp(x), f64::from(x).exp()));
        }
        assert!(worst <= 2.0, "worst {worst} ulp");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert!(exp(-86.9) > 0.0);
    }

    #[test]
    fn ln_is_within_two_ulp_over_every_exponent() {
        let mut worst: f64 = 0.0;
        for bits in (0x0080_0000..0x7f80_0000_u32).step_by(997) {
            let x = f32::from_bits(bits);
            let exact = f64::from(x).ln();
            if exact != 0.0 {
                worst = worst.max(ulp_error(ln(x), exact));
            }
        }
        for bits in 0x3f70_0000..0x3f90_0000_u32 {
            let x = f32::from_bits(bits);
            if x != 1.0 {
                worst = worst.max(ulp_error(ln(x), f64::from(x).ln()));
            }
        }
        assert!(worst <= 2.0, "worst {worst} ulp");
        assert_eq!(ln(1.0), 0.0);
    }
}
