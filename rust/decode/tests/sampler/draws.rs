//! The draw as a distribution.

use tokenmill_core::SamplingParams;
use tokenmill_core::noise::{Noise, Purpose};
use tokenmill_decode::{Sampler, Scratch, Step, Vocabulary};

use crate::reference;
use crate::rows::{P7, Prefix, normal_row, p7};

const DRAWS: usize = 1_000_000;

/// Counts of tokens over many positions.
fn count(params: &SamplingParams, row: &[f32], seed: i64) -> Vec<usize> {
    let vocabulary = Vocabulary::new(row.len(), vec![]).unwrap();
    let mut sampler = Sampler::new(
        &std::sync::Arc::new(params.clone()),
        seed,
        0,
        &vocabulary,
        &[],
    )
    .unwrap();
    let mut scratch = Scratch::new();
    let mut counts = vec![0; row.len()];
    for _ in 0..DRAWS {
        counts[sampler.sample(row, &mut scratch).unwrap().token as usize] += 1;
        sampler.advance(0);
    }
    counts
}

/// G of counts against probabilities; zero-probability outcomes must not occur.
fn g_statistic(counts: &[usize], p: &[f64]) -> f64 {
    let total: usize = counts.iter().sum();
    let terms = counts.iter().zip(p).map(|(&count, &p)| {
        assert!(
            count == 0 || p > 0.0,
            "an outcome of probability 0 was drawn"
        );
        let expected = p * total as f64;
        if count == 0 {
            0.0
        } else {
            2.0 * count as f64 * (count as f64 / expected).ln()
        }
    });
    terms.sum()
}

/// Whether a G (or chi-square) value with so many degrees of freedom has p < 1e-6, by the cube-root normal
/// approximation of Wilson and Hilferty; 4.753 is the normal quantile.
fn is_rejected(g: f64, freedom: usize) -> bool {
    let k = freedom as f64;
    let variance = 2.0 / (9.0 * k);
    ((g / k).cbrt() - (1.0 - variance)) / variance.sqrt() > 4.753
}

fn softmax(scores: &[f32]) -> Vec<f64> {
    let weights: Vec<f64> = scores.iter().map(|&score| f64::from(score).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

#[test]
fn draws_follow_p7() {
    let counts = count(&SamplingParams::default(), &p7(), 11);
    assert!(!is_rejected(g_statistic(&counts, &P7), 6), "{counts:?}");
    // Expected total variation of the counts is .0019 at this number of draws.
    let variation: f64 = counts
        .iter()
        .zip(P7)
        .map(|(&count, p)| (count as f64 / DRAWS as f64 - p).abs())
        .sum::<f64>()
        / 2.0;
    assert!(variation < 0.006, "{variation}");
}

#[test]
fn draws_follow_the_warped_distribution() {
    let row = normal_row(3, 64, 2.0);
    for params in [
        SamplingParams {
            temperature: 1.7,
            ..SamplingParams::default()
        },
        SamplingParams {
            temperature: 0.6,
            top_k: 20,
            top_p: 0.9,
            min_p: 0.01,
            ..SamplingParams::default()
        },
    ] {
        let p = softmax(&reference::warp(&params, &Step::ALL, &row));
        let outcomes = p.iter().filter(|&&p| p > 0.0).count();
        let counts = count(&params, &row, 17);
        assert!(
            !is_rejected(g_statistic(&counts, &p), outcomes - 1),
            "{params:?}"
        );
    }
}

#[test]
fn the_test_itself_rejects_a_slightly_wrong_distribution() {
    let counts = count(&SamplingParams::default(), &p7(), 11);
    let mut wrong = P7;
    wrong[0] -= 0.01;
    wrong[1] += 0.01;
    assert!(is_rejected(g_statistic(&counts, &wrong), 6));
}

#[test]
fn noise_words_are_uniform_in_every_byte() {
    let noise = Noise::new(2024, 7, 1, Purpose::Draw);
    let mut counts = vec![vec![0_usize; 256]; 4];
    for group in 0..50_000 {
        for word in noise.group(group) {
            for (byte, counts) in word.to_le_bytes().into_iter().zip(&mut counts) {
                counts[usize::from(byte)] += 1;
            }
        }
    }
    for counts in counts {
        assert!(!is_rejected(g_statistic(&counts, &[1.0 / 256.0; 256]), 255));
    }
}

#[test]
fn samples_of_one_request_are_independent() {
    let mut counts = vec![0; 49];
    for position in 0..40_000 {
        let token = |sample_index| {
            let prefix = Prefix {
                sample_index,
                ..Prefix::seeded(9, position)
            };
            reference::draw(&prefix, &p7()) as usize
        };
        counts[token(0) * 7 + token(1)] += 1;
    }
    let p: Vec<f64> = P7
        .iter()
        .flat_map(|a| P7.iter().map(move |b| a * b))
        .collect();
    assert!(!is_rejected(g_statistic(&counts, &p), 48));
}
