//! Cuts at a bound that the distribution sets: a probability, one that sinks with the entropy, and a number of
//! standard deviations. None of them drops the best token. Reference: float64 in the tests.

use super::entropy::Spread;
use super::{Scores, Turn, mass};
use crate::pipeline::Step;

/// Ids whose terms are summed before the sums are, so that no batch or thread has a say in the order.
const BLOCK: u32 = 1024;

/// Whether a step leaves the first of the order, as many as it says.
pub(super) fn is_prefix(step: Step) -> bool {
    use Step::{EpsilonCutoff, EtaCutoff, MinP, TopNSigma, TopP};
    matches!(step, TopP | MinP | TopNSigma | EpsilonCutoff | EtaCutoff)
}

/// Runs such a step, and leaves the first of what was there where it would leave fewer than there must be.
pub(super) fn leave_enough(scores: &mut Scores<'_, '_>, step: Step, turn: &Turn<'_>) {
    let was_whole = scores.is_whole;
    if !was_whole {
        let buffers = &mut *scores.buffers;
        buffers.before.clone_from(&buffers.kept);
    }
    scores.run(step, turn);
    let kept_min = scores.cut.kept_min;
    if scores.kept().is_none_or(|kept| kept.len() >= kept_min) {
        return;
    }
    scores.is_whole = was_whole;
    if !was_whole {
        let buffers = &mut *scores.buffers;
        std::mem::swap(&mut buffers.before, &mut buffers.kept);
    }
    scores.keep_best(kept_min);
}

/// Drops what is less likely than `cutoff`.
pub(super) fn drop_below(scores: &mut Scores<'_, '_>, cutoff: f64) {
    let bound = cutoff.ln() + mass::ln(scores.total_mass());
    scores.keep_reaching(bound);
}

/// Drops what is less likely than the smaller of `cutoff` and its root times exp(-H).
pub(super) fn drop_by_entropy(scores: &mut Scores<'_, '_>, cutoff: f64) {
    let spread = Spread::of(scores);
    let ln_cutoff = cutoff.ln();
    let bound = ln_cutoff.min(0.5 * ln_cutoff - spread.entropy()) + spread.ln_sum();
    scores.keep_reaching(bound);
}

/// Drops what lies more than so many standard deviations below the best.
pub(super) fn keep_within(scores: &mut Scores<'_, '_>, deviations: f64) {
    let count = sum(scores, |_| 1.0);
    let mean = sum(scores, |score| score) / count;
    let variance = sum(scores, |score| (score - mean) * (score - mean)) / count;
    scores.keep_reaching(-deviations * variance.sqrt());
}

/// The sum of a term over the survivors, in blocks of ids.
fn sum(scores: &Scores<'_, '_>, term: impl Fn(f64) -> f64) -> f64 {
    let (mut whole, mut part, mut block) = (0.0, 0.0, 0);
    scores.for_each(f32::MIN, |candidate| {
        let own = candidate.token / BLOCK;
        if own != block {
            whole += part;
            (part, block) = (0.0, own);
        }
        part += term(f64::from(candidate.score));
    });
    whole + part
}
