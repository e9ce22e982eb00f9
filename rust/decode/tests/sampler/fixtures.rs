//! Known answers: orders of steps, ties, warpers, penalties.

use tokenmill_core::{LogprobsMode, SamplingParams};
use tokenmill_decode::{Choice, Error, Lifted, Sampler, Scratch, Step, Vocabulary};

use crate::rows::{Prefix, p7};

const WHOLE: Option<u32> = Some(u32::MAX);

/// Tokens and values left before the draw, ids ascending; under a temperature counted from the best one.
fn left(params: &SamplingParams, steps: &[Step], prefix: &Prefix, row: &[f32]) -> Vec<(u32, f32)> {
    let params = SamplingParams {
        logprobs: WHOLE,
        logprobs_mode: LogprobsMode::ProcessedLogits,
        ..params.clone()
    };
    let sampler = prefix
        .sampler(&params, row.len())
        .unwrap()
        .with_pipeline(steps)
        .unwrap();
    let choice = sampler.sample(row, &mut Scratch::new()).unwrap();
    let mut left: Vec<(u32, f32)> = choice
        .logprobs
        .unwrap()
        .iter()
        .map(|entry| (entry.token, entry.logprob))
        .filter(|(_, value)| value.is_finite())
        .collect();
    if !params.is_greedy() {
        let best = left.iter().map(|entry| entry.1).fold(f32::MIN, f32::max);
        for entry in &mut left {
            entry.1 -= best;
        }
    }
    left.sort_by_key(|&(token, _)| token);
    left
}

fn kept(params: &SamplingParams, steps: &[Step], row: &[f32]) -> Vec<u32> {
    left(params, steps, &Prefix::default(), row)
        .into_iter()
        .map(|(token, _)| token)
        .collect()
}

fn greedy() -> SamplingParams {
    SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    }
}

fn sampled() -> SamplingParams {
    SamplingParams::default()
}

/// Scores after the processors of a greedy request.
fn scores(params: &SamplingParams, prefix: &Prefix, row: &[f32]) -> Vec<f32> {
    left(params, &Step::ALL, prefix, row)
        .into_iter()
        .map(|(_, value)| value)
        .collect()
}

#[test]
fn top_p_then_min_p_keeps_more_than_min_p_then_top_p() {
    let params = SamplingParams {
        top_p: 0.85,
        min_p: 0.15,
        ..sampled()
    };
    assert_eq!(
        kept(&params, &[Step::TopP, Step::MinP], &p7()),
        [0, 1, 2, 3]
    );
    assert_eq!(kept(&params, &[Step::MinP, Step::TopP], &p7()), [0, 1, 2]);
}

#[test]
fn top_p_measures_what_top_k_left() {
    let params = SamplingParams {
        top_k: 4,
        top_p: 0.9,
        ..sampled()
    };
    assert_eq!(kept(&params, &[Step::TopK, Step::TopP], &p7()), [0, 1, 2]);
    // Top_p first keeps five, of which top_k leaves four: what engines that decide jointly keep.
    assert_eq!(
        kept(&params, &[Step::TopP, Step::TopK], &p7()),
        [0, 1, 2, 3]
    );
}

#[test]
fn temperature_and_top_p_do_not_commute() {
    let params = SamplingParams {
        temperature: 2.0,
        top_p: 0.78,
        ..sampled()
    };
    assert_eq!(
        kept(&params, &[Step::Temperature, Step::TopP], &p7()),
        [0, 1, 2, 3, 4]
    );
    assert_eq!(
        kept(&params, &[Step::TopP, Step::Temperature], &p7()),
        [0, 1, 2]
    );
    let swapped = left(
        &params,
        &[Step::TopP, Step::Temperature],
        &Prefix::default(),
        &p7(),
    );
    assert!(
        (swapped[1].1 - (0.25_f32 / 0.4).ln() / 2.0).abs() < 1e-6,
        "survivors are divided too"
    );
}

#[test]
fn repetition_scaling_and_subtraction_do_not_commute() {
    use Step::{FrequencyPenalty, PresencePenalty, RepetitionPenalty};
    let params = SamplingParams {
        repetition_penalty: 1.5,
        frequency_penalty: 0.5,
        presence_penalty: 0.5,
        ..greedy()
    };
    let prefix = Prefix {
        output: vec![0, 0],
        ..Prefix::default()
    };
    let row = [4.0, 0.0];
    let vllm = left(
        &params,
        &[RepetitionPenalty, FrequencyPenalty, PresencePenalty],
        &prefix,
        &row,
    );
    assert!((vllm[0].1 - 1.1667).abs() < 1e-4);
    let sglang = left(
        &params,
        &[FrequencyPenalty, PresencePenalty, RepetitionPenalty],
        &prefix,
        &row,
    );
    assert!((sglang[0].1 - 1.6667).abs() < 1e-4);
}

#[test]
fn bias_and_repetition_scaling_do_not_commute() {
    let params = SamplingParams {
        repetition_penalty: 1.5,
        logit_bias: vec![(0, -2.0)],
        ..greedy()
    };
    let prefix = Prefix {
        prompt: vec![0],
        ..Prefix::default()
    };
    let value = |steps: &[Step]| left(&params, steps, &prefix, &[1.0, 9.0])[0].1;
    assert!((value(&[Step::LogitBias, Step::RepetitionPenalty]) + 1.5).abs() < 1e-6);
    assert!((value(&[Step::RepetitionPenalty, Step::LogitBias]) + 1.3333).abs() < 1e-4);
    assert_eq!(
        scores(&params, &prefix, &[1.0, 9.0])[0],
        value(&[Step::LogitBias, Step::RepetitionPenalty])
    );
}

#[test]
fn warpers_keep_the_known_sets_of_p7() {
    let top_k = |top_k| kept(&SamplingParams { top_k, ..sampled() }, &Step::ALL, &p7());
    let top_p = |top_p| kept(&SamplingParams { top_p, ..sampled() }, &Step::ALL, &p7());
    let min_p = |min_p| kept(&SamplingParams { min_p, ..sampled() }, &Step::ALL, &p7());
    assert_eq!(top_k(3), [0, 1, 2]);
    assert_eq!(top_p(0.7), [0, 1, 2]);
    assert_eq!(top_p(0.85), [0, 1, 2, 3]);
    assert_eq!(min_p(0.15), [0, 1, 2, 3]);
    assert_eq!(min_p(0.3), [0, 1, 2]);
    assert_eq!(min_p(1.0), [0], "1 keeps the maximum");
    assert_eq!(top_k(7), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(
        top_k(u32::MAX),
        [0, 1, 2, 3, 4, 5, 6],
        "above the vocabulary nothing happens"
    );
    assert_eq!(top_p(1e-30), [0]);
}

#[test]
fn coffee_water_tea_have_the_known_shares() {
    // The rest of the distribution is spread thin below tea.
    let mut p = vec![0.681_f64, 0.119, 0.057];
    p.extend(std::iter::repeat_n(0.143 / 20.0, 20));
    let row: Vec<f32> = p.iter().map(|p| p.ln() as f32).collect();
    let shares = |params: SamplingParams| -> Vec<f64> {
        let left = left(&params, &Step::ALL, &Prefix::default(), &row);
        let total: f64 = left.iter().map(|(_, score)| f64::from(*score).exp()).sum();
        left.iter()
            .map(|(_, score)| f64::from(*score).exp() / total)
            .collect()
    };
    let check = |params: SamplingParams, expected: [f64; 3]| {
        let got = shares(params.clone());
        assert_eq!(got.len(), 3);
        assert!(
            got.iter()
                .zip(expected)
                .all(|(got, expected)| (got - expected).abs() < 1e-4),
            "{params:?} {got:?}"
        );
    };
    check(
        SamplingParams {
            top_k: 3,
            ..sampled()
        },
        [0.7946, 0.1389, 0.0665],
    );
    check(
        SamplingParams {
            top_p: 0.85,
            ..sampled()
        },
        [0.7946, 0.1389, 0.0665],
    );
    check(
        SamplingParams {
            top_k: 3,
            temperature: 0.7,
            ..sampled()
        },
        [0.8996, 0.0744, 0.0260],
    );
    check(
        SamplingParams {
            top_k: 3,
            temperature: 1.3,
            ..sampled()
        },
        [0.7094, 0.1854, 0.1052],
    );
}

#[test]
fn ties_keep_exactly_k_and_the_lower_ids() {
    let equal = [1.0; 4];
    assert_eq!(
        kept(
            &SamplingParams {
                top_p: 0.5,
                ..sampled()
            },
            &Step::ALL,
            &equal
        ),
        [0, 1]
    );
    let row = [1.0, 3.0, 3.0, 3.0];
    assert_eq!(
        kept(
            &SamplingParams {
                top_k: 2,
                ..sampled()
            },
            &Step::ALL,
            &row
        ),
        [1, 2]
    );
    assert_eq!(Prefix::default().choose(&greedy(), &row).unwrap().token, 1);
    assert_eq!(
        Prefix::default()
            .choose(&greedy(), &[0.0, -0.0, -0.0])
            .unwrap()
            .token,
        0
    );
}

#[test]
fn the_known_draws_come_through_the_sampler() {
    let draws = |seed, sample_index, top_k| -> Vec<u32> {
        let params = SamplingParams { top_k, ..sampled() };
        (0..16)
            .map(|position| {
                let prefix = Prefix {
                    sample_index,
                    ..Prefix::seeded(seed, position)
                };
                prefix.choose(&params, &p7()).unwrap().token
            })
            .collect()
    };
    let first = [2, 0, 0, 0, 0, 0, 2, 1, 0, 0, 2, 2, 0, 0, 2, 1];
    assert_eq!(draws(42, 0, 0), first);
    assert_eq!(
        draws(42, 1, 0),
        [0, 0, 1, 4, 2, 1, 2, 0, 0, 3, 3, 0, 1, 5, 0, 4]
    );
    assert_eq!(
        draws((1 << 40) + 7, 0, 0),
        [2, 0, 2, 0, 1, 0, 4, 0, 4, 0, 0, 1, 1, 5, 2, 2]
    );
    assert_eq!(
        draws(42, 0, 3),
        first,
        "removing losers never changes the winner"
    );
}

#[test]
fn repetition_penalty_scales_each_distinct_token_once() {
    let params = SamplingParams {
        repetition_penalty: 1.5,
        ..greedy()
    };
    let prefix = Prefix {
        prompt: vec![2, 0, 0],
        output: vec![0],
        ..Prefix::default()
    };
    let got = scores(&params, &prefix, &[2.0, 1.0, -1.0]);
    for (got, expected) in got.iter().zip([1.333_333, 1.0, -1.5]) {
        assert!((got - expected).abs() < 1e-6);
    }
    // On log-probs, whose sign differs, the same rule gives another ratio.
    let ln_sum = (2_f32.exp() + 1_f32.exp() + (-1_f32).exp()).ln();
    let logprobs = [2.0 - ln_sum, 1.0 - ln_sum, -1.0 - ln_sum];
    let got = scores(&params, &prefix, &logprobs);
    for (got, expected) in got.iter().zip([-0.523_518, -1.349_012, -5.023_518]) {
        assert!((got - expected).abs() < 2e-6, "{got} {expected}");
    }
}

#[test]
fn presence_and_frequency_look_at_the_output_alone() {
    let params = SamplingParams {
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        ..greedy()
    };
    let prefix = Prefix {
        prompt: vec![0, 0, 1],
        output: vec![1, 2, 2, 2],
        ..Prefix::default()
    };
    assert_eq!(scores(&params, &prefix, &[1.0; 4]), [1.0, 0.25, -0.25, 1.0]);
}

#[test]
fn logit_bias_adds_and_minus_one_hundred_bans() {
    let params = SamplingParams {
        logit_bias: vec![(0, -100.0), (2, 2.5), (3, -99.9)],
        ..greedy()
    };
    let left = left(
        &params,
        &Step::ALL,
        &Prefix::default(),
        &[200.0, 0.0, 0.0, 0.0],
    );
    assert_eq!(left, [(1, 0.0), (2, 2.5), (3, -99.9)]);
}

#[test]
fn inputs_that_are_no_row_of_the_vocabulary_are_refused() {
    let sampler = Prefix::default().sampler(&greedy(), 7).unwrap();
    let mut scratch = Scratch::new();
    assert_eq!(
        sampler.sample(&[0.0; 6], &mut scratch),
        Err(Error::RowLength {
            got: 6,
            expected: 7
        })
    );
    for bad in [f32::NAN, f32::INFINITY] {
        let mut row = p7();
        row[6] = bad;
        assert_eq!(
            sampler.sample(&row, &mut scratch),
            Err(Error::BrokenLogits { position: 0 })
        );
    }
    let vocabulary = Vocabulary::new(7, vec![6]).unwrap();
    let new = |params: &SamplingParams, prompt: &[u32]| {
        Sampler::new(
            &std::sync::Arc::new(params.clone()),
            0,
            0,
            &vocabulary,
            prompt,
        )
        .err()
    };
    let unknown = |name| {
        Some(Error::UnknownToken {
            name,
            token: 7,
            vocab_len: 7,
        })
    };
    assert_eq!(new(&greedy(), &[7]), unknown("prompt"));
    assert_eq!(
        new(
            &SamplingParams {
                stop_token_ids: vec![7],
                ..greedy()
            },
            &[]
        ),
        unknown("stop_token_ids")
    );
    assert_eq!(
        new(
            &SamplingParams {
                logit_bias: vec![(7, 1.0)],
                ..greedy()
            },
            &[]
        ),
        unknown("logit_bias")
    );
    assert!(Vocabulary::new(7, vec![7]).is_err());
    assert!(Vocabulary::new(0, vec![]).is_err());
    assert!(Vocabulary::new((1 << 20) + 1, vec![]).is_err());
}

#[test]
fn a_broken_value_is_found_even_where_it_would_be_banned() {
    let params = SamplingParams {
        logit_bias: vec![(3, -100.0)],
        ..greedy()
    };
    let mut row = p7();
    row[3] = f32::NAN;
    assert_eq!(
        Prefix::default().choose(&params, &row),
        Err(Error::BrokenLogits { position: 0 })
    );
}

#[test]
fn a_penalty_that_leaves_f32_is_an_error_and_no_silent_winner() {
    let params = SamplingParams {
        repetition_penalty: 1e-30,
        ..greedy()
    };
    let prefix = Prefix {
        prompt: vec![1],
        ..Prefix::default()
    };
    assert_eq!(
        prefix.choose(&params, &[1.0, 1e20]),
        Err(Error::ScoreOverflow { position: 1 })
    );
}

#[test]
fn a_choice_without_log_probs_reports_none() {
    let choice = Prefix::default().choose(&greedy(), &p7()).unwrap();
    assert_eq!(
        choice,
        Choice {
            token: 0,
            logprobs: None,
            lifted: Lifted::new(),
            observed: None,
        }
    );
}
