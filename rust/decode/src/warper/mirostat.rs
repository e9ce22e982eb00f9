//! Mirostat: the cut follows how much the drawn tokens surprised. Version 1 estimates the shape of the tail from the
//! best tokens and keeps a number of them, version 2 keeps what surprises at most mu bits. Source: Basu et al.,
//! "Mirostat" (2021). Reference: the formulas in the tests.

use std::f64::consts::LN_2;

use tokenmill_core::{Mirostat, MirostatVariant};

use super::{Scores, mass, order};
use crate::warper::feedback::Feedback;

/// The vocabulary the authors computed with.
const AUTHORS_VOCAB_LEN: f64 = 50_000.0;

/// Cuts, and remembers in which distribution the drawn token's surprise is measured.
pub(super) fn cut(scores: &mut Scores<'_, '_>, mirostat: &Mirostat, feedback: &Feedback) {
    let mu = feedback.surprise_max();
    let is_authors = mirostat.variant == MirostatVariant::Authors;
    scores.tell();
    if mirostat.version == 1 {
        let estimate = decay_of_best(scores, if is_authors { 100 } else { 99 });
        let vocab_len = if is_authors {
            AUTHORS_VOCAB_LEN
        } else {
            scores.row.len() as f64
        };
        if let Some(count) = count(estimate, mu, vocab_len, mirostat.variant) {
            scores.keep_best(count);
        }
    } else {
        let bound = -mu * LN_2 + mass::ln(scores.total_mass());
        scores.keep_reaching(bound);
    }
    if !is_authors {
        scores.tell();
    }
}

/// How fast probabilities fall with rank among the first tokens: the exponent of Zipf's law that fits `pairs` of
/// neighbours best.
fn decay_of_best(scores: &mut Scores<'_, '_>, pairs: usize) -> f64 {
    let whole = scores.is_whole;
    let saved = if whole {
        Vec::new()
    } else {
        scores.buffers.kept.clone()
    };
    scores.keep_best(pairs + 1);
    let mut ranked = scores.list(f32::MIN).clone();
    if whole {
        scores.is_whole = true;
    } else {
        scores.buffers.kept = saved;
    }
    ranked.sort_unstable_by(|a, b| order::compare(*a, *b));
    ranked.truncate(pairs + 1);
    let ranks = (0..).zip(ranked.windows(2));
    let (mut products, mut squares) = (0.0, 0.0);
    for (rank, pair) in ranks {
        let rank = f64::from(rank);
        let t = ((rank + 2.0) / (rank + 1.0)).ln();
        products += t * (f64::from(pair[0].score) - f64::from(pair[1].score));
        squares += t * t;
    }
    products / squares
}

/// How many tokens to keep; none where the row is flat, or has one token, and all stay.
fn count(decay: f64, mu: f64, vocab_len: f64, variant: MirostatVariant) -> Option<usize> {
    if decay.is_nan() || decay < 1e-6 {
        return None;
    }
    let excess = decay - 1.0;
    let weight = if excess.abs() < 1e-4 {
        1.0 / vocab_len.ln()
    } else {
        excess / (1.0 - vocab_len.powf(-excess))
    };
    let k = (weight * mu.exp2()).powf(1.0 / decay);
    let count = match variant {
        MirostatVariant::Authors => k.round() as usize,
        MirostatVariant::Llamacpp => k.floor() as usize,
    };
    let spare = usize::from(variant == MirostatVariant::Authors);
    Some(count.saturating_add(spare).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use MirostatVariant::{Authors, Llamacpp};

    #[test]
    fn the_fixture_keeps_as_many_as_each_variant_says() {
        let decay = 1.082_979_4;
        assert_eq!(count(decay, 3.0, 7.0, Authors), Some(5));
        assert_eq!(count(decay, 3.0, 7.0, Llamacpp), Some(3));
        assert_eq!(count(decay, 3.0, 50_000.0, Authors), Some(2));
        assert_eq!(count(decay, 3.0, 50_000.0, Llamacpp), Some(1));
    }

    #[test]
    fn at_an_exponent_of_one_the_limit_is_taken() {
        assert_eq!(count(1.0, 10.0, 50_000.0, Llamacpp), Some(94));
        assert_eq!(count(1.000_09, 10.0, 50_000.0, Llamacpp), Some(94));
        assert_eq!(count(0.999_8, 10.0, 50_000.0, Authors), Some(96));
    }

    #[test]
    fn a_flat_row_and_a_single_token_have_no_count_and_no_mu_has_none_below_one() {
        assert_eq!(count(0.0, 3.0, 7.0, Llamacpp), None);
        assert_eq!(count(f64::NAN, 3.0, 7.0, Llamacpp), None);
        for mu in [-1e300, -50.0, 0.0, 1e300] {
            for variant in [Authors, Llamacpp] {
                assert!(count(0.7, mu, 1.0, variant) >= Some(1));
            }
        }
    }
}
