//! Adaptive p: tokens near a probability are preferred, which moves against what was drawn so far. Source: the
//! sampler of that name in llama.cpp. Reference: the formula in the tests.

use tokenmill_core::Adaptive;

use super::{Scores, mass};
use crate::warper::feedback::Feedback;

/// The best score there is.
const PEAK: f64 = 5.0;
/// How steep its flanks are.
const SLOPE: f64 = 10.0;
/// The width of a probability.
const WIDTH: f64 = 0.3;

/// Gives every survivor a score by how near its probability is to what is aimed at.
pub(super) fn prefer(scores: &mut Scores<'_, '_>, adaptive: &Adaptive, feedback: &Feedback) {
    let aim = feedback.aim(f64::from(adaptive.target.unwrap_or(0.0)));
    scores.tell();
    let total = scores.total_mass() as f64;
    for candidate in scores.list(f32::MIN) {
        let p = mass::of(candidate.score) as f64 / total;
        let x = (p - aim).abs() / WIDTH;
        candidate.score = (PEAK - SLOPE * x * x / (1.0 + x)) as f32;
    }
    // These scores are what is drawn from, so they are the logits that are left.
    scores.shift = 0.0;
    scores.settle();
}
