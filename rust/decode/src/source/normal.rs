//! A row of logits as logarithms of probabilities. The sum is the fixed-point one of `mass`, so it does not depend on
//! the order of its terms. Reference: f64 log-softmax in the tests.

use tokenmill_core::noise::exp;

use crate::row::{CHUNK, NotAScore, largest};
use crate::warper::mass;

/// What turns a logit into ln of its token's probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Normal {
    max: f32,
    temperature: f32,
    ln_sum: f64,
    /// 1 over the sum of exp.
    share: f64,
}

impl Normal {
    /// Of a row whose logits are divided by `temperature`.
    pub(super) fn of(row: &[f32], temperature: f32) -> Result<Self, NotAScore> {
        let max = largest(row);
        if max == f32::INFINITY || row.iter().any(|value| value.is_nan()) {
            return Err(NotAScore);
        }
        // A row of bans has no sum; `ln_p` is -inf for each of its tokens all the same.
        let sum = if max == f32::NEG_INFINITY {
            mass::ONE
        } else {
            sum(row, max, temperature)
        };
        Ok(Self {
            max,
            temperature,
            ln_sum: mass::ln(sum),
            share: mass::ONE as f64 / sum as f64,
        })
    }

    #[inline(always)]
    fn scaled(&self, logit: f32) -> f64 {
        (f64::from(logit) - f64::from(self.max)) / f64::from(self.temperature)
    }

    /// The probability of a token with this logit, by the f32 exponential of the sums: within 2e-7 of itself.
    #[inline(always)]
    pub(super) fn p(&self, logit: f32) -> f64 {
        if logit == f32::NEG_INFINITY {
            return 0.0;
        }
        f64::from(exp((logit - self.max) / self.temperature)) * self.share
    }

    /// ln of the probability of a token with this logit.
    #[inline(always)]
    pub(super) fn ln_p(&self, logit: f32) -> f64 {
        if logit == f32::NEG_INFINITY {
            return f64::NEG_INFINITY;
        }
        self.scaled(logit) - self.ln_sum
    }

    /// Whether a token has at least the share e^`ln_share` of the best one's probability.
    #[inline(always)]
    pub(super) fn is_plausible(&self, logit: f32, ln_share: f64) -> bool {
        self.scaled(logit) >= ln_share && logit > f32::NEG_INFINITY
    }
}

fn sum(row: &[f32], max: f32, temperature: f32) -> u64 {
    let (chunks, rest) = row.as_chunks::<CHUNK>();
    let scaled = |value: f32| (value - max) / temperature;
    let chunks = chunks
        .iter()
        .map(|chunk| mass::sum_chunk(&chunk.map(scaled)));
    let rest = rest.iter().map(|&value| mass::of(scaled(value)));
    chunks.sum::<u64>() + rest.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_p_is_within_five_in_a_hundred_million_of_float64() {
        for (temperature, seed) in [(1.0_f32, 1_u32), (0.5, 7), (3.0, 11)] {
            let row: Vec<f32> = (0..49_152_u32)
                .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_mul(seed) >> 8) as f32 / 1.2e6)
                .collect();
            let normal = Normal::of(&row, temperature).unwrap();
            let scaled = row.iter().map(|&z| f64::from(z) / f64::from(temperature));
            let max = scaled.clone().fold(f64::MIN, f64::max);
            let ln_sum = scaled.map(|z| (z - max).exp()).sum::<f64>().ln() + max;
            for &logit in row.iter().step_by(997) {
                let exact = f64::from(logit) / f64::from(temperature) - ln_sum;
                let error = (normal.ln_p(logit) - exact).abs();
                assert!(error < 2e-6, "{error} at {logit}");
            }
        }
    }

    #[test]
    fn bans_stay_and_broken_rows_are_told() {
        let normal = Normal::of(&[0.0, f32::NEG_INFINITY, 0.0], 1.0).unwrap();
        assert!((normal.ln_p(0.0) + 2_f64.ln()).abs() < 1e-11);
        assert_eq!(normal.ln_p(f32::NEG_INFINITY), f64::NEG_INFINITY);
        assert!(!normal.is_plausible(f32::NEG_INFINITY, f64::NEG_INFINITY));
        let banned = Normal::of(&[f32::NEG_INFINITY; 3], 1.0).unwrap();
        assert_eq!(banned.ln_p(f32::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(Normal::of(&[0.0, f32::NAN], 1.0), Err(NotAScore));
        assert_eq!(Normal::of(&[0.0, f32::INFINITY], 1.0), Err(NotAScore));
    }
}
