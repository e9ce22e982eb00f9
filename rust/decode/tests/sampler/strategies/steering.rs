//! Biases of sequences, repetition of the prompt, forcing, the growing end and broken rows.

use tokenmill_core::{
    Dry, HasKind, Kind, LengthDecay, LogprobsMode, NamedPipeline, PipelineChoice, SamplingParams,
};
use tokenmill_decode::{Error, Scratch, Step};

use super::{kept, values};
use crate::rows::{Prefix, p7};

fn greedy() -> SamplingParams {
    SamplingParams {
        temperature: 0.0,
        ..SamplingParams::default()
    }
}

fn after(prompt: &[u32], output: &[u32]) -> Prefix {
    Prefix {
        prompt: prompt.to_vec(),
        output: output.to_vec(),
        eos: vec![6],
        ..Prefix::default()
    }
}

/// Scores after the processors.
fn scores(params: &SamplingParams, prefix: &Prefix, row: &[f32]) -> Vec<f64> {
    values(params, LogprobsMode::ProcessedLogits, prefix, row)
}

#[test]
fn biases_of_sequences_that_end_in_one_token_add_up() {
    let params = SamplingParams {
        sequence_bias: vec![(vec![3], 1.0), (vec![2, 3], 2.0), (vec![5, 3], 4.0)],
        ..greedy()
    };
    let biased = |prefix: &Prefix| scores(&params, prefix, &[0.0; 7])[3];
    assert_eq!(biased(&after(&[1, 2], &[])), 3.0);
    assert_eq!(biased(&after(&[2], &[2])), 3.0);
    assert_eq!(biased(&after(&[2], &[4])), 1.0);
    assert_eq!(biased(&after(&[], &[5])), 5.0);
}

#[test]
fn bad_words_by_id_are_banned_beside_the_words_and_an_end_alone_is_dropped() {
    let params = SamplingParams {
        bad_word_tokens: vec![vec![0]],
        bad_words_ids: vec![vec![1, 2], vec![6]],
        ..SamplingParams::default()
    };
    assert_eq!(kept(&params, &after(&[1], &[]), &p7()), [1, 3, 4, 5, 6]);
    assert_eq!(kept(&params, &after(&[3], &[]), &p7()), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn tokens_of_the_prompt_are_rewarded_and_no_others() {
    let params = SamplingParams {
        encoder_repetition_penalty: 1.5,
        ..greedy()
    };
    let left = scores(
        &params,
        &after(&[0, 2, 0], &[1]),
        &[2.0, 1.0, -1.0, -1.0, 0.0, 0.0, 0.0],
    );
    let expected = [3.0, 1.0, -2.0 / 3.0, -1.0];
    for (got, expected) in left.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6, "{left:?}");
    }
}

#[test]
fn only_n_grams_of_the_prompt_are_banned_by_the_encoders_rule() {
    let params = SamplingParams {
        encoder_no_repeat_ngram_size: 2,
        ..SamplingParams::default()
    };
    let banned = |prompt: &[u32], output: &[u32]| -> Vec<usize> {
        let left = kept(&params, &after(prompt, output), &p7());
        (0..7).filter(|id| !left.contains(id)).collect()
    };
    assert_eq!(banned(&[1, 2, 1, 3], &[1]), [2, 3]);
    assert_eq!(
        banned(&[1, 2], &[4, 5, 4]),
        [0; 0],
        "the output's own may repeat"
    );
    assert_eq!(banned(&[5], &[5]), [0; 0]);
}

#[test]
fn dry_subtracts_for_the_stretch_that_would_go_on() {
    let dry = Dry {
        multiplier: 0.8,
        last_n: -1,
        ..Dry::default()
    };
    let params = SamplingParams { dry, ..greedy() };
    let left = scores(&params, &after(&[5, 6, 7, 8], &[5, 6, 7]), &[0.0; 10]);
    let touched: Vec<usize> = (0..10).filter(|&id| left[id] != 0.0).collect();
    assert_eq!(touched, [8]);
    assert!((left[8] + 1.4).abs() < 1e-6);
}

#[test]
fn the_first_token_behind_a_prompt_of_one_is_forced_and_the_suppression_waits_for_it() {
    let params = SamplingParams {
        forced_bos_token_id: Some(4),
        begin_suppress_tokens: vec![0],
        ..SamplingParams::default()
    };
    assert_eq!(kept(&params, &after(&[3], &[]), &p7()), [4]);
    assert_eq!(kept(&params, &after(&[3], &[4]), &p7()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(kept(&params, &after(&[3], &[4, 4]), &p7()).len(), 7);
    let longer = after(&[3, 3], &[]);
    assert_eq!(
        kept(&params, &longer, &p7()),
        [1, 2, 3, 4, 5, 6],
        "nothing is forced"
    );
}

#[test]
fn the_last_token_there_is_room_for_is_forced() {
    let params = SamplingParams {
        forced_eos_token_id: Some(vec![2, 6]),
        max_tokens: Some(3),
        ..SamplingParams::default()
    };
    assert_eq!(kept(&params, &after(&[3], &[1]), &p7()).len(), 7);
    assert_eq!(kept(&params, &after(&[3], &[1, 1]), &p7()), [2, 6]);
    // Without a maximum the engine says where the output ends.
    let open = SamplingParams {
        max_tokens: None,
        logprobs: Some(7),
        ..params
    };
    let sampler = after(&[3], &[1, 1]).sampler(&open, 7).unwrap();
    let finite = |sampler: &tokenmill_decode::Sampler| {
        let choice = sampler.sample(&p7(), &mut Scratch::new()).unwrap();
        choice.token
    };
    let ends: Vec<u32> = (0..40)
        .map(|seed| {
            let prefix = Prefix {
                seed,
                ..after(&[3], &[1, 1])
            };
            finite(&prefix.sampler(&open, 7).unwrap().with_output_len_max(3))
        })
        .collect();
    assert!(ends.iter().all(|token| [2, 6].contains(token)), "{ends:?}");
    assert_eq!(
        sampler.clone().with_output_len_max(9),
        sampler.with_output_len_max(9)
    );
}

#[test]
fn forcing_overrides_soft_bans_and_never_hard_ones() {
    let forced = SamplingParams {
        forced_eos_token_id: Some(vec![6]),
        max_tokens: Some(1),
        ..SamplingParams::default()
    };
    let soft = SamplingParams {
        min_tokens: 1,
        bad_words_ids: vec![vec![6]],
        ..forced.clone()
    };
    let choice = after(&[3], &[]).choose(&soft, &p7()).unwrap();
    assert_eq!((choice.token, choice.lifted.len()), (6, 0));
    for hard in [
        SamplingParams {
            allowed_token_ids: Some(vec![1, 2]),
            ..forced.clone()
        },
        SamplingParams {
            logit_bias: vec![(6, -100.0)],
            ..forced.clone()
        },
    ] {
        let choice = after(&[3], &[]).choose(&hard, &p7()).unwrap();
        assert_ne!(choice.token, 6);
        assert_eq!(choice.lifted[..], [Step::ForcedEos], "the output says so");
    }
}

#[test]
fn the_end_grows_with_the_length_as_the_fixture_says() {
    let decay = LengthDecay {
        start: 5,
        factor: 1.5,
    };
    let params = SamplingParams {
        exponential_decay_length_penalty: Some(decay),
        ..greedy()
    };
    let mut row = [0.0; 7];
    row[6] = -4.0;
    let end = |generated: usize| scores(&params, &after(&[0], &vec![1; generated]), &row)[6];
    assert_eq!([end(5), end(6), end(7), end(8)], [-4.0, -2.0, 1.0, 5.5]);
    // Where the power leaves f32 the end is the largest number, not infinity.
    assert_eq!(end(2000), f64::from(f32::MAX));
    row[6] = f32::NEG_INFINITY;
    let banned = scores(&params, &after(&[0], &[1; 8]), &row)[6];
    assert_eq!(banned, f64::NEG_INFINITY, "a ban survives");
    let endless = Prefix {
        eos: vec![],
        ..after(&[0], &[])
    };
    let error = endless.sampler(&params, 7).unwrap_err();
    assert_eq!(
        (error.kind(), error.param()),
        (Kind::Unsupported, Some("exponential_decay_length_penalty"))
    );
}

#[test]
fn broken_values_are_replaced_where_that_is_asked_for_and_an_error_elsewhere() {
    let row = [
        f32::NAN,
        1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -1.0,
        0.5,
        0.5,
    ];
    let prefix = after(&[3], &[]);
    let refused = prefix.choose(&greedy(), &row);
    assert!(matches!(refused, Err(Error::BrokenLogits { .. })));
    let params = SamplingParams {
        remove_invalid_values: true,
        ..greedy()
    };
    let max = f64::from(f32::MAX);
    let expected = [0.0, 1.0, max, f64::NEG_INFINITY, -1.0, 0.5, 0.5];
    assert_eq!(scores(&params, &prefix, &row), expected);
    let raw = values(&params, LogprobsMode::RawLogits, &prefix, &row);
    assert_eq!(raw, expected);
    let hf = PipelineChoice::Named(NamedPipeline::Hf);
    let hf = SamplingParams {
        pipeline: hf,
        ..params.clone()
    };
    let mut lowest = expected;
    lowest[3] = f64::from(f32::MIN);
    assert_eq!(scores(&hf, &prefix, &row), lowest);
    let sampled = SamplingParams {
        temperature: 1.0,
        ..params
    };
    assert_eq!(prefix.choose(&sampled, &row).unwrap().token, 2);
    let none = [f32::NAN; 7];
    assert!(prefix.choose(&sampled, &none).unwrap().token < 7);
}
