//! Log-probs against float64.

use proptest::prelude::*;
use tokenmill_core::{LogprobsMode, SamplingParams, TokenLogprob};
use tokenmill_decode::Step;

use crate::reference;
use crate::rows::{Prefix, normal_row, p7, tied_row};

fn log_softmax(values: &[f32]) -> Vec<f64> {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = values
        .iter()
        .map(|&value| f64::from(value - max).exp())
        .sum();
    values
        .iter()
        .map(|&value| f64::from(value) - f64::from(max) - sum.ln())
        .collect()
}

/// What the definition reports: the first k of the order, then the sampled token if it is not among them.
fn expected(values: &[f32], shown: &[f64], k: usize, token: u32) -> Vec<(u32, f64, u32)> {
    let order = reference::order(values);
    let ranked = order
        .iter()
        .zip(1_u32..)
        .map(|(&id, rank)| (id as u32, shown[id], rank));
    ranked
        .enumerate()
        .filter(|(place, entry)| *place < k || entry.0 == token)
        .map(|(_, entry)| entry)
        .collect()
}

/// Equal up to the error of the sum and one rounding to f32.
fn is_same(got: &[TokenLogprob], expected: &[(u32, f64, u32)]) -> bool {
    got.len() == expected.len()
        && got
            .iter()
            .zip(expected)
            .all(|(got, &(token, logprob, rank))| {
                let error = (f64::from(got.logprob) - logprob).abs();
                let is_close =
                    f64::from(got.logprob) == logprob || error <= 2e-7 + 1.2e-7 * logprob.abs();
                got.token == token && got.rank == rank && is_close
            })
}

const MODES: [LogprobsMode; 4] = [
    LogprobsMode::RawLogprobs,
    LogprobsMode::ProcessedLogprobs,
    LogprobsMode::RawLogits,
    LogprobsMode::ProcessedLogits,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_mode_reports_the_definition(
        key in any::<i64>(),
        len in prop_oneof![41_usize..80, 500_usize..2000],
        is_tied in any::<bool>(),
        k in prop_oneof![0_u32..25, Just(u32::MAX)],
        temperature in prop_oneof![Just(0.0_f32), 0.3_f32..2.0],
        top_k in prop_oneof![Just(0_u32), 1_u32..30],
    ) {
        let row = if is_tied { tied_row(key, len, 6) } else { normal_row(key, len, 4.0) };
        let prefix = Prefix { prompt: vec![1, 2, 3], output: vec![4, 4, 5], seed: key, ..Prefix::default() };
        for mode in MODES {
            let params = SamplingParams {
                temperature,
                top_k,
                repetition_penalty: 1.3,
                logprobs: Some(k),
                logprobs_mode: mode,
                ..SamplingParams::default()
            };
            let choice = prefix.choose(&params, &row).unwrap();
            let processed = reference::process(&prefix, &params, &row);
            let is_raw = matches!(mode, LogprobsMode::RawLogprobs | LogprobsMode::RawLogits);
            let values = match (is_raw, params.is_greedy()) {
                (true, _) => row.clone(),
                (false, true) => processed,
                (false, false) => reference::warp(&params, &Step::ALL, &processed),
            };
            // The reference counts scores from the best one; logits over the temperature do not.
            let best = reference::process(&prefix, &params, &row).into_iter().fold(f32::MIN, f32::max);
            let shift = if is_raw || params.is_greedy() { 0.0 } else { best / temperature };
            let shown = match mode {
                LogprobsMode::RawLogprobs | LogprobsMode::ProcessedLogprobs => log_softmax(&values),
                _ => values.iter().map(|&value| f64::from(value + shift)).collect(),
            };
            let expected = expected(&values, &shown, k as usize, choice.token);
            let got = choice.logprobs.unwrap();
            prop_assert!(is_same(&got, &expected), "{mode:?} {got:?} {expected:?}");
        }
    }
}

#[test]
fn log_probs_are_within_five_in_ten_million_of_float64_at_a_real_size() {
    for key in 0..10 {
        let row = normal_row(key, 49_152, 3.0);
        let exact = log_softmax(&row);
        let params = SamplingParams {
            temperature: 0.0,
            logprobs: Some(20),
            ..SamplingParams::default()
        };
        for entry in Prefix::default()
            .choose(&params, &row)
            .unwrap()
            .logprobs
            .unwrap()
        {
            // One rounding to f32 besides the error of the sum.
            assert!((f64::from(entry.logprob) - exact[entry.token as usize]).abs() < 5e-7);
        }
    }
}

#[test]
fn the_sampled_token_is_always_reported_and_only_once() {
    for (k, position) in (0..8).flat_map(|k| (0..16).map(move |position| (k, position))) {
        let params = SamplingParams {
            logprobs: Some(k),
            ..SamplingParams::default()
        };
        let choice = Prefix::seeded(42, position).choose(&params, &p7()).unwrap();
        let entries = choice.logprobs.unwrap();
        assert_eq!(
            entries
                .iter()
                .filter(|entry| entry.token == choice.token)
                .count(),
            1
        );
        assert_eq!(
            entries.len() as u32,
            if choice.token < k { k } else { (k + 1).min(7) }
        );
        assert!(
            entries.windows(2).all(|pair| pair[0].rank < pair[1].rank),
            "no shared rank"
        );
    }
}

#[test]
fn a_dropped_token_has_minus_infinity_and_a_banned_one_too() {
    let params = SamplingParams {
        top_k: 2,
        logit_bias: vec![(0, -100.0)],
        logprobs: Some(5),
        logprobs_mode: LogprobsMode::ProcessedLogprobs,
        ..SamplingParams::default()
    };
    let entries = Prefix::default()
        .choose(&params, &p7())
        .unwrap()
        .logprobs
        .unwrap();
    let tokens: Vec<u32> = entries.iter().map(|entry| entry.token).collect();
    assert_eq!(tokens, [1, 2, 0, 3, 4]);
    assert!((entries[0].logprob - (0.25_f32 / 0.4).ln()).abs() < 1e-6);
    assert!(
        entries[2..]
            .iter()
            .all(|entry| entry.logprob == f32::NEG_INFINITY)
    );
}
