//! Elementary functions of sixteen lanes: exp, tanh, erf and the activations made of them.
//!
//! Each is a chain of multiply-adds that is the same at every level, so the bits are the same too. Errors
//! are measured by the tests below against f64. NaN goes through.
//! Kernels have no closures: a closure is compiled without the level's instructions, and may stay a call.

use super::Lanes;

/// 1.5 * 2^23: adding it rounds to an integer, which then sits in the low mantissa bits.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2, cut so that its product with any exponent is exact, and the rest.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Below this `exp` is zero; the true value is under 1.7e-38, the last normal numbers.
const EXP_MIN: f32 = -87.0;
/// Above this `exp` stays at 2.2e38.
const EXP_MAX: f32 = 88.3;
/// (e^r - 1) / r for |r| <= 0.35: the Taylor series, ascending.
const EXPM1: [f32; 7] = [
    1.0,
    0.5,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5040.0,
];
/// erf(z) / z as a polynomial in z^2 on 0..1: least squares on Chebyshev nodes, error 1.2e-9. The first is 2 /
/// sqrt pi.
const ERF_SMALL: [f32; 7] = [
    std::f32::consts::FRAC_2_SQRT_PI,
    -0.376_126_26,
    0.112_835_97,
    -0.026_854_33,
    0.005_189_312,
    -0.000_801_885_5,
    7.882_497_4e-5,
];
/// erfc(a) * exp(a^2) as a polynomial in 1 / (1 + a / 2) for a in 1..9: fitted likewise, error 1.2e-7 of the value.
const ERFC_LARGE: [f32; 8] = [
    -4.374_301e-5,
    0.283_111_13,
    0.272_101_9,
    0.300_975_3,
    0.000_779_064_9,
    0.425_733_2,
    -0.372_014_67,
    0.089_132_52,
];

/// The polynomial with coefficients ascending, by Horner's rule.
///
/// # Safety
/// As `Lanes::splat`.
#[inline(always)]
unsafe fn polynomial<V: Lanes, const N: usize>(coefficients: [f32; N], x: V) -> V {
    // SAFETY: the caller vouches for the level.
    unsafe {
        let mut sum = V::splat(coefficients[N - 1]);
        let mut i = N - 1;
        while i > 0 {
            i -= 1;
            sum = sum.fma(x, V::splat(coefficients[i]));
        }
        sum
    }
}

/// -x.
///
/// # Safety
/// As `Lanes::splat`.
#[inline(always)]
unsafe fn negate<V: Lanes>(x: V) -> V {
    // SAFETY: the caller vouches for the level.
    unsafe { V::splat(0.0).sub(x) }
}

/// e^x within 2 ulp; exactly 1 at 0, exactly 0 below -87 (the softmax of a masked lane), 2.2e38 above 88.3.
///
/// # Safety
/// As `Lanes::splat`.
#[inline(always)]
pub(crate) unsafe fn exp<V: Lanes>(x: V) -> V {
    // SAFETY: the caller vouches for the level.
    unsafe {
        let clamped = V::splat(EXP_MAX).min(V::splat(EXP_MIN).max(x));
        let rounded = clamped.fma(V::splat(std::f32::consts::LOG2_E), V::splat(ROUNDER));
        let n = rounded.sub(V::splat(ROUNDER));
        let r = n.fma(V::splat(-LN2_HIGH), clamped);
        let r = n.fma(V::splat(-LN2_LOW), r);
        let value = polynomial(EXPM1, r)
            .fma(r, V::splat(1.0))
            .scale_by_low_bits(rounded);
        x.select_lt(V::splat(EXP_MIN), V::splat(0.0), value)
    }
}

/// tanh x within 4 ulp.
///
/// # Safety
/// As `Lanes::splat`.
#[inline(always)]
pub(crate) unsafe fn tanh<V: Lanes>(x: V) -> V {
    // SAFETY: the caller vouches for the level.
    unsafe {
        let y = x.max(negate(x));
        let y = y.add(y);
        // e^y - 1: by its series where the difference would cancel.
        let small = polynomial(EXPM1, y).mul(y);
        let large = exp(y).sub(V::splat(1.0));
        let e = y.select_lt(V::splat(0.34), small, large);
        let t = e.div(e.add(V::splat(2.0)));
        x.select_lt(V::splat(0.0), negate(t), t)
    }
}

/// erf z, absolute error below 2e-7.
///
/// # Safety
/// As `Lanes::splat`.
#[inline(always)]
pub(crate) unsafe fn erf<V: Lanes>(z: V) -> V {
    // SAFETY: the caller vouches for the level.
    unsafe {
        let one = V::splat(1.0);
        let a = z.max(negate(z));
        let small = polynomial(ERF_SMALL, z.mul(z)).mul(z);
        let t = one.div(a.fma(V::splat(0.5), one));
        let tail = polynomial(ERFC_LARGE, t).mul(exp(negate(a.mul(a))));
        let large = one.sub(tail);
        let large = z.select_lt(V::splat(0.0), negate(large), large);
        a.select_lt(one, small, large)
    }
}

/// x * sigmoid(x).
///
/// # Safety
/// As `Lanes::splat`.
#[inline(always)]
pub(crate) unsafe fn silu<V: Lanes>(x: V) -> V {
    // SAFETY: the caller vouches for the level.
    unsafe { x.div(exp(negate(x)).add(V::splat(1.0))) }
}

/// The tanh approximation of GELU.
///
/// # Safety
/// As `Lanes::splat`.
#[inline(always)]
pub(crate) unsafe fn gelu_tanh<V: Lanes>(x: V) -> V {
    /// sqrt(2 / pi).
    const SCALE: f32 = 0.797_884_6;
    // SAFETY: the caller vouches for the level.
    unsafe {
        let cubed = x.mul(x).mul(x);
        let inner = cubed.fma(V::splat(0.044_715), x).mul(V::splat(SCALE));
        x.mul(V::splat(0.5)).mul(tanh(inner).add(V::splat(1.0)))
    }
}

/// The exact GELU, x * (1 + erf(x / sqrt 2)) / 2.
///
/// # Safety
/// As `Lanes::splat`.
#[inline(always)]
pub(crate) unsafe fn gelu<V: Lanes>(x: V) -> V {
    // SAFETY: the caller vouches for the level.
    unsafe {
        let erf = erf(x.mul(V::splat(std::f32::consts::FRAC_1_SQRT_2)));
        x.mul(V::splat(0.5)).mul(erf.add(V::splat(1.0)))
    }
}

/// max(x, 0).
///
/// # Safety
/// As `Lanes::splat`.
#[inline(always)]
pub(crate) unsafe fn relu<V: Lanes>(x: V) -> V {
    // SAFETY: the caller vouches for the level.
    unsafe { V::splat(0.0).max(x) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Level;
    use crate::lanes::{LANES, per_level};

    #[inline(always)]
    unsafe fn apply<V: Lanes>(x: &mut [f32], which: usize) {
        for chunk in x.chunks_exact_mut(LANES) {
            // SAFETY: the chunk holds 16 values; the test runs available levels only.
            unsafe {
                let v = V::load(chunk.as_ptr());
                let y = match which {
                    0 => exp(v),
                    1 => tanh(v),
                    2 => silu(v),
                    3 => gelu_tanh(v),
                    4 => gelu(v),
                    5 => erf(v),
                    _ => relu(v),
                };
                y.store(chunk.as_mut_ptr());
            }
        }
    }

    per_level! {
        /// The functions under test.
        fn applied = apply(x: &mut [f32], which: usize);
    }

    fn run(level: Level, which: usize, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        // SAFETY: the level is available.
        unsafe { applied(level, &mut y, which) };
        y
    }

    fn grid() -> Vec<f32> {
        let mut x: Vec<f32> = (0..64_000)
            .map(|i| (i as f32 - 32_000.0) * 0.003_1)
            .collect();
        x.extend(
            (0..16_000).map(|i| 1.5f32.powi(i % 200 - 100) * if i % 2 == 0 { 1.0 } else { -1.0 }),
        );
        x
    }

    /// erf by its all-positive series, in f64.
    fn erf_f64(x: f64) -> f64 {
        if x.abs() > 6.0 {
            return x.signum();
        }
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
    }

    fn ulps(got: f32, expected: f64) -> f64 {
        let nearest = expected as f32;
        let ulp = f64::from(f32::from_bits(nearest.abs().to_bits() + 1)) - f64::from(nearest.abs());
        (f64::from(got) - expected).abs() / ulp
    }

    #[test]
    fn exp_is_within_two_ulps_and_exact_at_zero_and_below_its_range() {
        let x = grid();
        for (x, y) in x.iter().zip(run(Level::Scalar, 0, &x)) {
            if *x < -87.0 {
                assert_eq!(y, 0.0);
            } else if *x <= 88.3 {
                let error = ulps(y, f64::from(*x).exp());
                assert!(error <= 2.0, "exp({x}) = {y} is {error} ulp off");
            }
        }
        let mut special = [0.0; LANES];
        special[1] = f32::NEG_INFINITY;
        special[2] = f32::NAN;
        let y = run(Level::Scalar, 0, &special);
        assert_eq!(y[0].to_bits(), 1.0f32.to_bits());
        assert_eq!(y[1].to_bits(), 0);
        assert!(y[2].is_nan());
    }

    #[test]
    fn activations_are_near_their_f64_values() {
        let x = grid();
        let expected: [fn(f64) -> f64; 6] = [
            f64::tanh,
            |x| x / (1.0 + (-x).exp()),
            |x| {
                0.5 * x
                    * (1.0
                        + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
            },
            |x| 0.5 * x * (1.0 + erf_f64(x / 2f64.sqrt())),
            erf_f64,
            |x| x.max(0.0),
        ];
        for (which, expected) in expected.iter().enumerate() {
            for (x, y) in x.iter().zip(run(Level::Scalar, which + 1, &x)) {
                if x.abs() > 80.0 {
                    continue;
                }
                let want = expected(f64::from(*x));
                let bound = if which == 0 {
                    4e-7 * want.abs()
                } else {
                    3e-7 * (1.0 + f64::from(*x).abs())
                };
                assert!(
                    (f64::from(y) - want).abs() <= bound,
                    "function {which} of {x} is {y}, not {want}"
                );
            }
        }
    }

    #[test]
    fn every_level_gives_the_bits_of_the_scalar_one() {
        let mut x = grid();
        x[5] = f32::INFINITY;
        x[6] = f32::NEG_INFINITY;
        for level in Level::available() {
            for which in 0..7 {
                let expected = run(Level::Scalar, which, &x);
                let got = run(level, which, &x);
                let same = expected
                    .iter()
                    .zip(&got)
                    .all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "function {which} at {level}");
            }
        }
    }
}
