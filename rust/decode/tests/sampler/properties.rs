//! The fast sampler against the written-out one, on random rows, parameters and prefixes.

use proptest::prelude::*;
use tokenmill_core::{LogprobsMode, SamplingParams};
use tokenmill_decode::{Scratch, Step};

use crate::reference;
use crate::rows::{Prefix, normal_row, tied_row};

/// A row: smooth, tied, or with bans; its length from one token to many chunks.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    let len = prop_oneof![1_usize..20, 50_usize..80, 500_usize..3000];
    (any::<i64>(), len, 0_u32..4, 0.5_f64..8.0).prop_map(|(key, len, shape, spread)| match shape {
        0 => tied_row(key, len, 3),
        1 => tied_row(key, len, 40),
        2 => normal_row(key, len, spread),
        _ => {
            let mut row = normal_row(key, len, spread);
            row.iter_mut()
                .skip(1)
                .step_by(3)
                .for_each(|value| *value = f32::NEG_INFINITY);
            row
        }
    })
}

fn warped() -> impl Strategy<Value = SamplingParams> {
    let temperature = prop_oneof![Just(1.0_f32), Just(1e-5), 0.05_f32..3.0, Just(100.0)];
    let top_k = prop_oneof![Just(0_u32), 1_u32..60, 100_u32..4000];
    let top_p = prop_oneof![Just(1.0_f32), 0.01_f32..1.0, Just(0.999_99)];
    let min_p = prop_oneof![Just(0.0_f32), 0.0_f32..1.0, Just(1.0)];
    (temperature, top_k, top_p, min_p).prop_map(|(temperature, top_k, top_p, min_p)| {
        SamplingParams {
            temperature,
            top_k,
            top_p,
            min_p,
            ..SamplingParams::default()
        }
    })
}

fn penalised() -> impl Strategy<Value = SamplingParams> {
    let penalties = (-2.0_f32..2.0, -2.0_f32..2.0, 0.5_f32..2.0);
    let bans = (
        0_u32..5,
        0_u32..12,
        prop::collection::btree_map(0_u32..40, -100.0_f32..100.0, 0..8),
    );
    (warped(), penalties, bans, any::<bool>()).prop_map(|(params, penalties, bans, is_greedy)| {
        SamplingParams {
            temperature: if is_greedy { 0.0 } else { params.temperature },
            presence_penalty: penalties.0,
            frequency_penalty: penalties.1,
            repetition_penalty: penalties.2,
            no_repeat_ngram_size: bans.0,
            min_tokens: bans.1,
            logit_bias: bans.2.into_iter().collect(),
            stop_token_ids: vec![3],
            ..params
        }
    })
}

/// A prefix over ids below 40.
fn prefixes() -> impl Strategy<Value = Prefix> {
    let tokens = || prop::collection::vec(0_u32..40, 0..30);
    (any::<i64>(), 0_u32..16, tokens(), tokens()).prop_map(
        |(seed, sample_index, prompt, output)| Prefix {
            seed,
            sample_index,
            eos: vec![1, 2],
            prompt,
            output,
        },
    )
}

/// What is left before the draw.
fn left(prefix: &Prefix, params: &SamplingParams, row: &[f32]) -> Vec<f32> {
    let params = SamplingParams {
        logprobs: Some(u32::MAX),
        logprobs_mode: LogprobsMode::ProcessedLogits,
        ..params.clone()
    };
    let mut left = vec![f32::NAN; row.len()];
    for entry in prefix.choose(&params, row).unwrap().logprobs.unwrap() {
        left[entry.token as usize] = entry.logprob;
    }
    left
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn draws_and_kept_sets_are_those_of_the_full_pass(row in rows(), params in warped(), seed in any::<i64>()) {
        let prefix = Prefix::seeded(seed, 5.min(row.len()));
        let scores = reference::warp(&params, &Step::ALL, &row);
        let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let logits: Vec<f32> = scores.iter().map(|score| score + best / params.temperature).collect();
        prop_assert_eq!(&left(&prefix, &params, &row), &logits);
        prop_assert_eq!(prefix.choose(&params, &row).unwrap().token, reference::draw(&prefix, &scores));
    }

    #[test]
    fn kept_sets_are_those_of_float64(row in rows(), params in warped()) {
        let (kept, is_clear) = reference::kept_f64(&params, &row);
        prop_assume!(is_clear && row.iter().all(|value| value.is_finite()));
        let left = left(&Prefix::default(), &params, &row);
        let got: Vec<usize> = (0..row.len()).filter(|&token| left[token].is_finite()).collect();
        prop_assert_eq!(got, kept);
    }

    #[test]
    fn penalties_and_bans_are_those_written_out(
        row in rows().prop_filter("ids of the prefix", |row| row.len() > 40),
        params in penalised(),
        prefix in prefixes(),
    ) {
        let logits = reference::process(&prefix, &params, &row);
        let choice = prefix.choose(&params, &row).unwrap();
        prop_assert!(choice.lifted.is_empty());
        prop_assert_eq!(choice.token, reference::choose(&prefix, &params, &row));
        prop_assert!(logits[choice.token as usize].is_finite(), "a banned token was drawn");
    }

    #[test]
    fn greedy_is_the_first_of_the_largest(row in rows()) {
        let params = SamplingParams { temperature: 0.0, top_k: 3, top_p: 0.5, min_p: 0.1, ..SamplingParams::default() };
        let token = Prefix::default().choose(&params, &row).unwrap().token;
        prop_assert_eq!(token as usize, reference::order(&row)[0]);
    }

    #[test]
    fn removing_losers_never_changes_the_winner(row in rows(), seed in any::<i64>(), share in 1_u32..100) {
        let prefix = Prefix::seeded(seed, 0);
        let winner = prefix.choose(&SamplingParams::default(), &row).unwrap().token;
        let mut fewer = row.clone();
        for (token, value) in fewer.iter_mut().enumerate() {
            if token as u32 != winner && (token as u32).wrapping_mul(2_654_435_761) % 100 < share {
                *value = f32::NEG_INFINITY;
            }
        }
        // The maximum must stay: scores are measured from it, and another one rounds them differently.
        let best = reference::order(&row)[0];
        fewer[best] = row[best];
        prop_assert_eq!(prefix.choose(&SamplingParams::default(), &fewer).unwrap().token, winner);
    }

    #[test]
    fn replaying_a_prefix_rebuilds_the_sampler(params in penalised(), prefix in prefixes()) {
        let mut grown = Prefix { output: vec![], ..prefix.clone() }.sampler(&params, 50).unwrap();
        let row = normal_row(prefix.seed, 50, 3.0);
        let mut scratch = Scratch::new();
        for (len, &token) in prefix.output.iter().enumerate() {
            let replayed = Prefix { output: prefix.output[..len].to_vec(), ..prefix.clone() };
            let replayed = replayed.sampler(&params, 50).unwrap();
            prop_assert_eq!(&grown, &replayed);
            prop_assert_eq!(grown.prefix_len(), prefix.prompt.len() + len);
            // Sampling changes nothing, whoever used the scratch before.
            let choice = grown.sample(&row, &mut scratch);
            prop_assert_eq!(&choice, &replayed.sample(&row, &mut Scratch::new()));
            prop_assert_eq!(&grown, &replayed);
            grown.advance(token);
        }
    }
}

#[test]
fn large_vocabularies_agree_with_the_full_pass() {
    for (len, spread) in [(49_152, 2.5), (152_064, 4.0), (152_064, 0.5)] {
        let row = normal_row(len as i64, len, spread);
        for (index, params) in [
            SamplingParams::default(),
            SamplingParams {
                temperature: 0.7,
                ..SamplingParams::default()
            },
            SamplingParams {
                top_k: 50,
                top_p: 0.95,
                ..SamplingParams::default()
            },
            SamplingParams {
                top_p: 0.9,
                ..SamplingParams::default()
            },
            SamplingParams {
                top_k: 40_000,
                min_p: 0.001,
                ..SamplingParams::default()
            },
        ]
        .into_iter()
        .enumerate()
        {
            let scores = reference::warp(&params, &Step::ALL, &row);
            for seed in 0..4 {
                let prefix = Prefix::seeded(seed + 10 * index as i64, index);
                assert_eq!(
                    prefix.choose(&params, &row).unwrap().token,
                    reference::draw(&prefix, &scores),
                    "{len} {spread} {params:?} {seed}"
                );
            }
        }
    }
}

#[test]
fn top_p_sets_of_a_real_vocabulary_size_equal_float64() {
    let mut compared = 0;
    for key in 0..40 {
        let row = normal_row(key, 49_152, 1.0 + key as f64 / 10.0);
        let params = SamplingParams {
            top_p: 0.5 + key as f32 / 100.0,
            ..SamplingParams::default()
        };
        let (kept, is_clear) = reference::kept_f64(&params, &row);
        if !is_clear {
            continue;
        }
        compared += 1;
        let left = left(&Prefix::default(), &params, &row);
        let got: Vec<usize> = (0..row.len())
            .filter(|&token| left[token].is_finite())
            .collect();
        assert_eq!(got, kept, "row {key}");
    }
    assert!(compared > 5, "{compared} rows had a clear threshold");
}
