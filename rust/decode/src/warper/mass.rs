//! Probability mass as fixed point, so that sums over the vocabulary do not depend on their order: a term is
//! exp(z) times 2^40, rounded to nearest even, for z <= 0. With at most 2^20 tokens a sum stays below 2^61.

use tokenmill_core::noise::exp;

use crate::row::CHUNK;

/// The mass of the best token.
pub(crate) const ONE: u64 = 1 << 40;

/// Scores below this have mass 0: exp(-28.5) 2^40 < 1/2.
pub(crate) const SCORE_MIN: f32 = -28.5;

/// Moments of scores below this are 0: 32.5 exp(-32.5) 2^40 < 1/2.
pub(crate) const MOMENT_MIN: f32 = -32.5;

/// 2^52: added to a smaller f64 it rounds that to an integer and leaves it in the low bits.
const ROUNDER: f64 = 4_503_599_627_370_496.0;

/// The mass of a score <= 0.
#[inline(always)]
pub(crate) fn of(score: f32) -> u64 {
    (f64::from(exp(score)) * ONE as f64 + ROUNDER).to_bits() - ROUNDER.to_bits()
}

/// x exp(-x) for x = -score, rounded as a mass is; 0 where it is too small to count, so for a ban too.
#[inline(always)]
pub(crate) fn moment(score: f32) -> u64 {
    if score < MOMENT_MIN {
        return 0;
    }
    let product = f64::from(exp(score)) * f64::from(-score) * ONE as f64;
    (product + ROUNDER).to_bits() - ROUNDER.to_bits()
}

/// The sum of the moments of a chunk of scores: the same terms without a branch, so several at a time.
#[inline(always)]
pub(crate) fn sum_chunk_moments(scores: &[f32; CHUNK]) -> u64 {
    let mut sum = 0;
    for &score in scores {
        // A ban has no product, and what is too small to count has none either; the best score's moment is 0.
        let counted = if score >= MOMENT_MIN { score } else { 0.0 };
        let product = f64::from(exp(counted)) * f64::from(-counted) * ONE as f64;
        sum += (product + ROUNDER).to_bits() - ROUNDER.to_bits();
    }
    sum
}

/// A mass in two halves, `high` 2^20 + `low`: what f32 arithmetic can do exactly, four or more at a time.
/// `high` is the nearest multiple, so `low` may be negative.
#[inline(always)]
fn halves(score: f32) -> (i32, i32) {
    const HALF: f32 = 1_048_576.0;
    // 1.5 * 2^23: rounds to the nearest even integer, of either sign, and leaves it in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
    let scaled = exp(score) * HALF;
    let high = scaled + ROUNDER;
    // Exact: the difference has no more bits than `scaled`.
    let rest = scaled - (high - ROUNDER);
    let low = rest * HALF + ROUNDER;
    let bits = |float: f32| float.to_bits().wrapping_sub(ROUNDER.to_bits()) as i32;
    (bits(high), bits(low))
}

/// The masses of a chunk of scores.
#[inline(always)]
pub(crate) fn of_chunk(scores: &[f32; CHUNK]) -> [u64; CHUNK] {
    let mut masses = [0; CHUNK];
    for (mass, &score) in masses.iter_mut().zip(scores) {
        let (high, low) = halves(score);
        *mass = ((i64::from(high) << 20) + i64::from(low)) as u64;
    }
    masses
}

/// The sum of the masses of a chunk of scores. Sums of 64 halves stay inside 32 bits.
#[inline(always)]
pub(crate) fn sum_chunk(scores: &[f32; CHUNK]) -> u64 {
    let (mut high_sum, mut low_sum) = (0, 0);
    for &score in scores {
        let (high, low) = halves(score);
        high_sum += high;
        low_sum += low;
    }
    ((i64::from(high_sum) << 20) + i64::from(low_sum)) as u64
}

/// A sum of masses as its natural logarithm; `ONE` is 0.
pub(crate) fn ln(sum: u64) -> f64 {
    (sum as f64 / ONE as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mass_is_the_rounded_product() {
        assert_eq!(of(0.0), ONE);
        assert_eq!(of(f32::NEG_INFINITY), 0);
        assert_eq!(of(SCORE_MIN), 0);
        assert!(of(-28.0) > 0);
        for step in 0..40_000_u32 {
            let score = step as f32 * -7e-4;
            let exact = (f64::from(exp(score)) * ONE as f64).round_ties_even();
            assert_eq!(of(score) as f64, exact);
        }
    }

    #[test]
    fn a_moment_is_the_rounded_product_and_a_ban_has_none() {
        assert_eq!(moment(0.0), 0);
        assert_eq!(moment(-0.0), 0);
        assert_eq!(moment(f32::NEG_INFINITY), 0);
        assert_eq!(moment(MOMENT_MIN), 0);
        assert!(moment(-31.0) > 0);
        for step in 0..40_000_u32 {
            let score = step as f32 * -8e-4;
            let exact = f64::from(exp(score)) * f64::from(-score) * ONE as f64;
            assert_eq!(moment(score) as f64, exact.round_ties_even());
        }
    }

    #[test]
    fn a_chunk_of_masses_is_what_its_scores_have_one_by_one() {
        for first in 0..20_000_u32 {
            let mut scores = std::array::from_fn(|i| (first * 64 + i as u32) as f32 * -2.4e-5);
            scores[(first % 64) as usize] = f32::NEG_INFINITY;
            assert_eq!(of_chunk(&scores), scores.map(of));
            assert_eq!(sum_chunk(&scores), scores.map(of).iter().sum());
            let deep = scores.map(|score| score * 1.2);
            assert_eq!(sum_chunk_moments(&deep), deep.map(moment).iter().sum());
        }
        assert_eq!(sum_chunk(&[0.0; CHUNK]), 64 * ONE);
    }

    #[test]
    fn ln_of_a_sum_is_within_five_in_a_hundred_million() {
        let scores: Vec<f32> = (0..49_152_u32)
            .map(|i| -((i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6))
            .collect();
        let exact = scores.iter().map(|&z| f64::from(z).exp()).sum::<f64>().ln();
        let sum = scores.iter().map(|&z| of(z)).sum();
        assert!((ln(sum) - exact).abs() < 5e-8);
        let backwards = scores.iter().rev().map(|&z| of(z)).sum();
        assert_eq!(sum, backwards, "sums do not depend on order");
    }
}
