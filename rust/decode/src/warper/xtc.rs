//! Leaving out the likeliest tokens now and then: of those above a threshold only the least likely stays. The coin
//! is keyed by the position, so it is the same in any company.

use tokenmill_core::Xtc;
use tokenmill_core::noise::{Noise, uniform};

use super::order::Candidate;
use super::{Scores, mass, narrowed, order};

/// The token whose word is the coin.
const COIN: u32 = 0;

/// Drops all tokens at least as likely as the threshold but the last of them, where there are two and the coin says so.
pub(super) fn leave_out(scores: &mut Scores<'_, '_>, xtc: Xtc, coins: &Noise) {
    let is_heads = uniform(coins.word(COIN)) <= f64::from(xtc.probability);
    // Two tokens cannot both have more than half.
    if !is_heads || xtc.threshold > 0.5 {
        return;
    }
    let bound = f64::from(xtc.threshold).ln() + mass::ln(scores.total_mass());
    if bound > 0.0 {
        return;
    }
    let bound = narrowed(bound);
    let mut count = 0_u32;
    let mut last: Option<Candidate> = None;
    scores.for_each(bound, |candidate| {
        if candidate.score < bound {
            return;
        }
        count += 1;
        let is_later = |last: Candidate| order::compare(last, candidate).is_lt();
        if last.is_none_or(is_later) {
            last = Some(candidate);
        }
    });
    let Some(last) = last.filter(|_| count >= 2) else {
        return;
    };
    let is_kept = |&candidate: &Candidate| order::compare(candidate, last).is_ge();
    let kept_min = scores.cut.kept_min;
    let kept = scores.list(f32::MIN);
    if kept.iter().filter(|candidate| is_kept(candidate)).count() < kept_min {
        return;
    }
    kept.retain(is_kept);
    scores.settle();
}
