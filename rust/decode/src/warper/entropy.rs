//! Entropy of the survivors from sums that do not depend on their order, and the temperature that follows it.
//! S is the sum of exp(-x), A that of x exp(-x), x = -z; then H = ln S + A / S. Reference: float64 in the tests.

use tokenmill_core::SamplingParams;

use super::{Scores, mass};

/// The two sums, in fixed point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) total: u64,
    moment: u64,
}

impl Spread {
    pub(super) fn of(scores: &Scores<'_, '_>) -> Self {
        let mut spread = Self::default();
        if scores.kept().is_none() {
            scores.for_each_chunk(mass::MOMENT_MIN, |chunk| {
                spread.total += mass::sum_chunk(chunk);
                spread.moment += mass::sum_chunk_moments(chunk);
            });
            return spread;
        }
        scores.for_each(mass::MOMENT_MIN, |candidate| {
            spread.total += mass::of(candidate.score);
            spread.moment += mass::moment(candidate.score);
        });
        spread
    }

    pub(super) fn ln_sum(self) -> f64 {
        mass::ln(self.total)
    }

    /// Expected distance from the best score.
    pub(super) fn depth(self) -> f64 {
        self.moment as f64 / self.total as f64
    }

    /// In nats.
    pub(super) fn entropy(self) -> f64 {
        self.ln_sum() + self.depth()
    }
}

/// Divides by a temperature between the two ends of its range: low where one token leads, high where many are even.
pub(super) fn divide_dynamically(scores: &mut Scores<'_, '_>, params: &SamplingParams) {
    let mut candidates = 0_u32;
    scores.for_each(f32::MIN, |_| candidates += 1);
    if candidates <= 1 {
        return;
    }
    let (middle, range) = (
        f64::from(params.temperature),
        f64::from(params.dynatemp_range),
    );
    let (low, high) = ((middle - range).max(0.0), middle + range);
    let share = Spread::of(scores).entropy() / f64::from(candidates).ln();
    let temperature = low + (high - low) * share.powf(f64::from(params.dynatemp_exponent));
    if temperature < 1e-5 {
        scores.keep_best(1);
    } else {
        scores.divide(temperature as f32);
    }
}
