//! The best tokens up to a share of the entropy of the hundred best. Source: Baghaei Potraghloo et al., "Top-H
//! decoding" (2025). Reference: float64 in the tests.

use super::{Scores, mass, order};

/// Tokens whose entropy is shared out.
const BEST: usize = 100;

/// Keeps the prefix of the order whose summed -p ln p is at most `share` of all, the first token in any case.
pub(super) fn keep_share(scores: &mut Scores<'_, '_>, share: f64) {
    scores.keep_best(BEST);
    let kept = scores.list(f32::MIN);
    let mut ranked = kept.clone();
    ranked.sort_unstable_by(|a, b| order::compare(*a, *b));
    let masses = ranked.iter().map(|candidate| mass::of(candidate.score));
    let masses: Vec<u64> = masses.collect();
    let total = masses.iter().sum::<u64>() as f64;
    let mut reached = 0.0;
    let sums: Vec<f64> = masses
        .iter()
        .map(|&mass| {
            let p = mass as f64 / total;
            // A mass of nothing adds nothing.
            reached -= if mass == 0 { 0.0 } else { p * p.ln() };
            reached
        })
        .collect();
    let count = sums.partition_point(|&sum| sum <= share * reached);
    let last = ranked[count.max(1) - 1];
    kept.retain(|&candidate| order::compare(candidate, last).is_le());
}
