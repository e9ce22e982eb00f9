//! Pipelines with the names of other engines: known answers that tell the orders apart, then random rows and
//! parameters against the engines written out in `peers`.

use proptest::prelude::*;
use tokenmill_core::{LogprobsMode, NamedPipeline, PipelineChoice, SamplingParams};
use tokenmill_decode::Scratch;

use crate::peers;
use crate::rows::{Prefix, normal_row, p7, tied_row};
use NamedPipeline::{Hf, Llamacpp, Sglang, Tokenmill, Vllm};

const ALL: [NamedPipeline; 5] = [Tokenmill, Hf, Vllm, Sglang, Llamacpp];

fn named(pipeline: NamedPipeline, params: &SamplingParams) -> SamplingParams {
    SamplingParams {
        pipeline: PipelineChoice::Named(pipeline),
        ..params.clone()
    }
}

/// Log-probs of every token after the last step.
fn processed(params: &SamplingParams, prefix: &Prefix, row: &[f32]) -> Vec<f64> {
    values(params, LogprobsMode::ProcessedLogprobs, prefix, row)
}

fn values(params: &SamplingParams, mode: LogprobsMode, prefix: &Prefix, row: &[f32]) -> Vec<f64> {
    let params = SamplingParams {
        logprobs: Some(u32::MAX),
        logprobs_mode: mode,
        ..params.clone()
    };
    let sampler = prefix.sampler(&params, row.len()).expect("valid");
    let choice = sampler.sample(row, &mut Scratch::new()).expect("a token");
    let mut values = vec![f64::NAN; row.len()];
    for entry in choice.logprobs.expect("asked for") {
        values[entry.token as usize] = f64::from(entry.logprob);
    }
    values
}

fn kept(pipeline: NamedPipeline, params: &SamplingParams, row: &[f32]) -> Vec<usize> {
    let left = processed(&named(pipeline, params), &Prefix::default(), row);
    (0..row.len()).filter(|&id| left[id].is_finite()).collect()
}

/// The one value of a greedy request after its processors.
fn score(pipeline: NamedPipeline, params: &SamplingParams, prefix: &Prefix, row: &[f32]) -> f64 {
    let params = SamplingParams {
        temperature: 0.0,
        ..named(pipeline, params)
    };
    values(&params, LogprobsMode::ProcessedLogits, prefix, row)[0]
}

#[test]
fn only_vllm_takes_min_p_before_top_p() {
    let params = SamplingParams {
        top_p: 0.85,
        min_p: 0.15,
        ..SamplingParams::default()
    };
    for pipeline in ALL {
        let expected: &[usize] = match pipeline {
            Vllm => &[0, 1, 2],
            _ => &[0, 1, 2, 3],
        };
        assert_eq!(kept(pipeline, &params, &p7()), expected, "{pipeline:?}");
    }
}

#[test]
fn only_sglang_cuts_by_count_and_mass_of_one_distribution() {
    let params = SamplingParams {
        top_k: 4,
        top_p: 0.9,
        ..SamplingParams::default()
    };
    for pipeline in ALL {
        let expected: &[usize] = match pipeline {
            Sglang => &[0, 1, 2, 3],
            _ => &[0, 1, 2],
        };
        assert_eq!(kept(pipeline, &params, &p7()), expected, "{pipeline:?}");
    }
    // With min_p it takes them in turn.
    let in_turn = SamplingParams {
        min_p: 1e-6,
        ..params
    };
    assert_eq!(kept(Sglang, &in_turn, &p7()), [0, 1, 2]);
}

#[test]
fn only_sglang_keeps_one_more_where_a_prefix_has_exactly_the_share() {
    let params = SamplingParams {
        top_p: 0.5,
        ..SamplingParams::default()
    };
    for pipeline in ALL {
        let expected: &[usize] = match pipeline {
            Sglang => &[0, 1, 2],
            _ => &[0, 1],
        };
        assert_eq!(kept(pipeline, &params, &[1.5; 4]), expected, "{pipeline:?}");
    }
}

#[test]
fn only_llamacpp_divides_by_the_temperature_last() {
    let params = SamplingParams {
        temperature: 2.0,
        top_p: 0.78,
        ..SamplingParams::default()
    };
    for pipeline in ALL {
        let expected: &[usize] = match pipeline {
            Llamacpp => &[0, 1, 2],
            _ => &[0, 1, 2, 3, 4],
        };
        assert_eq!(kept(pipeline, &params, &p7()), expected, "{pipeline:?}");
    }
    let logits = |pipeline| {
        let params = named(pipeline, &params);
        values(
            &params,
            LogprobsMode::ProcessedLogits,
            &Prefix::default(),
            &p7(),
        )
    };
    for pipeline in ALL {
        let first = logits(pipeline)[0];
        assert!(
            (first - 0.4_f64.ln() / 2.0).abs() < 1e-6,
            "{pipeline:?} {first}"
        );
    }
}

#[test]
fn sglang_subtracts_before_it_scales_and_adds_its_bias_last() {
    let prefix = Prefix {
        output: vec![0, 0],
        ..Prefix::default()
    };
    let penalised = SamplingParams {
        repetition_penalty: 1.5,
        frequency_penalty: 0.5,
        presence_penalty: 0.5,
        ..SamplingParams::default()
    };
    let biased = SamplingParams {
        repetition_penalty: 1.5,
        logit_bias: vec![(0, -2.0)],
        ..SamplingParams::default()
    };
    for pipeline in [Tokenmill, Vllm, Sglang, Llamacpp] {
        let is_sglang = pipeline == Sglang;
        let both = score(pipeline, &penalised, &prefix, &[4.0, 9.0]);
        let expected = if is_sglang { 1.666_666_7 } else { 1.166_666_7 };
        assert!((both - expected).abs() < 1e-6, "{pipeline:?} {both}");
        let bias = score(pipeline, &biased, &prefix, &[1.0, 9.0]);
        let expected = if is_sglang { -1.333_333_3 } else { -1.5 };
        assert!((bias - expected).abs() < 1e-6, "{pipeline:?} {bias}");
    }
}

#[test]
fn a_bias_of_minus_100_bans_under_our_name_only() {
    let params = SamplingParams {
        logit_bias: vec![(0, -100.0)],
        ..SamplingParams::default()
    };
    for pipeline in [Tokenmill, Vllm, Sglang, Llamacpp] {
        let value = score(pipeline, &params, &Prefix::default(), &[1.0, 2.0]);
        let expected = if pipeline == Tokenmill {
            f64::NEG_INFINITY
        } else {
            -99.0
        };
        assert!(value == expected, "{pipeline:?} {value}");
    }
}

#[test]
fn pipelines_look_for_repetitions_in_different_places() {
    let params = SamplingParams {
        repetition_penalty: 2.0,
        ..SamplingParams::default()
    };
    let given = Prefix {
        prompt: vec![0, 1],
        ..Prefix::default()
    };
    for pipeline in ALL {
        let expected = if pipeline == Sglang { 4.0 } else { 2.0 };
        assert_eq!(
            score(pipeline, &params, &given, &[4.0, 9.0]),
            expected,
            "{pipeline:?}"
        );
    }
    // 64 tokens later llama.cpp has forgotten it, unless it is told to remember.
    let late = Prefix {
        output: vec![1; 63],
        ..given
    };
    for pipeline in [Tokenmill, Hf, Vllm, Llamacpp] {
        let expected = if pipeline == Llamacpp { 4.0 } else { 2.0 };
        assert_eq!(
            score(pipeline, &params, &late, &[4.0, 9.0]),
            expected,
            "{pipeline:?}"
        );
        let last = |last| SamplingParams {
            penalty_last_n: Some(last),
            ..params.clone()
        };
        assert_eq!(score(pipeline, &last(-1), &late, &[4.0, 9.0]), 2.0);
        assert_eq!(score(pipeline, &last(65), &late, &[4.0, 9.0]), 2.0);
        assert_eq!(score(pipeline, &last(64), &late, &[4.0, 9.0]), 4.0);
        assert_eq!(score(pipeline, &last(0), &late, &[4.0, 9.0]), 4.0);
    }
    let in_time = Prefix {
        prompt: vec![0, 1],
        output: vec![1; 62],
        ..Prefix::default()
    };
    assert_eq!(score(Llamacpp, &params, &in_time, &[4.0, 9.0]), 2.0);
    // Its subtraction sees the prompt too.
    let subtracting = SamplingParams {
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        ..SamplingParams::default()
    };
    let both = Prefix {
        prompt: vec![0],
        output: vec![0, 1],
        ..Prefix::default()
    };
    for pipeline in [Tokenmill, Vllm, Sglang, Llamacpp] {
        let expected = if pipeline == Llamacpp { 3.0 } else { 3.25 };
        assert_eq!(score(pipeline, &subtracting, &both, &[4.0, 9.0]), expected);
    }
}

#[test]
fn vllm_looks_for_bad_words_in_the_output_alone() {
    let params = SamplingParams {
        bad_words: vec!["two tokens".into()],
        bad_word_tokens: vec![vec![1, 0]],
        ..SamplingParams::default()
    };
    let given = Prefix {
        prompt: vec![1],
        ..Prefix::default()
    };
    let made = Prefix {
        prompt: vec![2],
        output: vec![1],
        ..Prefix::default()
    };
    for pipeline in [Tokenmill, Hf, Vllm] {
        let is_banned = |prefix| !score(pipeline, &params, prefix, &[4.0, 9.0, 1.0]).is_finite();
        assert_eq!(is_banned(&given), pipeline != Vllm, "{pipeline:?}");
        assert!(is_banned(&made), "{pipeline:?}");
    }
}

#[test]
fn under_hf_a_minimum_bans_the_models_own_ends_alone() {
    let params = SamplingParams {
        min_tokens: 2,
        stop_token_ids: vec![0],
        ..SamplingParams::default()
    };
    let prefix = Prefix {
        eos: vec![1],
        ..Prefix::default()
    };
    for pipeline in [Tokenmill, Hf, Vllm, Sglang] {
        let value = score(pipeline, &params, &prefix, &[4.0, 9.0, 1.0]);
        assert_eq!(value.is_finite(), pipeline == Hf, "{pipeline:?}");
    }
    let by_length = SamplingParams {
        min_length: 4,
        ..SamplingParams::default()
    };
    let at = |prompt: usize, output: usize| Prefix {
        eos: vec![0],
        prompt: vec![2; prompt],
        output: vec![2; output],
        ..Prefix::default()
    };
    for pipeline in [Tokenmill, Hf] {
        for (prompt, output, is_banned) in
            [(3, 0, true), (1, 2, true), (1, 3, false), (4, 0, false)]
        {
            let value = score(pipeline, &by_length, &at(prompt, output), &[4.0, 9.0, 1.0]);
            assert_eq!(!value.is_finite(), is_banned, "{prompt} + {output}");
        }
    }
}

#[test]
fn a_listed_order_means_what_it_says() {
    use tokenmill_core::Step;
    let params = SamplingParams {
        top_p: 0.85,
        min_p: 0.15,
        pipeline: PipelineChoice::Listed(vec![Step::MinP, Step::TopP]),
        ..SamplingParams::default()
    };
    let left = processed(&params, &Prefix::default(), &p7());
    assert_eq!((0..7).filter(|&id| left[id].is_finite()).count(), 3);
}

/// Parameters with every option that a pipeline has; `bits` says which are on.
fn params(bits: u32, draws: &[f32; 8], pipeline: NamedPipeline) -> SamplingParams {
    let steps = pipeline.steps();
    let on = |bit: u32, step| bits >> bit & 1 == 1 && steps.contains(&step);
    let pick = |is_on: bool, value: f32, off: f32| if is_on { value } else { off };
    use tokenmill_core::Step::{self, *};
    let id = |place: usize| (draws[place] * 24.0) as u32;
    SamplingParams {
        temperature: pick(on(0, Temperature), 0.3 + 2.0 * draws[0], 1.0),
        top_k: if on(1, TopK) {
            1 + (draws[1] * 20.0) as u32
        } else {
            0
        },
        top_p: pick(on(2, TopP), 0.05 + 0.9 * draws[2], 1.0),
        min_p: pick(on(3, MinP), 0.01 + 0.5 * draws[3], 0.0),
        repetition_penalty: pick(on(4, RepetitionPenalty), 0.6 + draws[4], 1.0),
        frequency_penalty: pick(on(5, FrequencyPenalty), 2.0 * draws[5] - 1.0, 0.0),
        presence_penalty: pick(on(6, PresencePenalty), 2.0 * draws[6] - 1.0, 0.0),
        logit_bias: if on(7, LogitBias) {
            vec![(id(0), 6.0 * draws[7] - 3.0), (id(1) + 1, -100.0)]
                .into_iter()
                .collect()
        } else {
            Vec::new()
        },
        allowed_token_ids: on(8, AllowedTokenIds).then(|| (2..23).collect()),
        bad_words: Vec::new(),
        bad_word_tokens: if on(9, BadWords) {
            vec![vec![id(2)], vec![1, id(3)], vec![0, 1, id(4)]]
        } else {
            Vec::new()
        },
        min_tokens: if on(10, MinTokens) { 2 } else { 0 },
        min_length: if on(11, MinLength) { 7 } else { 0 },
        stop_token_ids: vec![5],
        suppress_tokens: if on(12, Suppress) {
            vec![id(5)]
        } else {
            Vec::new()
        },
        begin_suppress_tokens: if on(13, BeginSuppress) {
            vec![id(6)]
        } else {
            Vec::new()
        },
        top_n_sigma: pick(on(16, TopNSigma), 0.5 + 2.0 * draws[0], -1.0),
        typical_p: if on(17, TypicalP) && pipeline == Llamacpp {
            0.2 + 0.7 * draws[1]
        } else {
            1.0
        },
        xtc: tokenmill_core::Xtc {
            probability: pick(on(18, Step::Xtc), 0.2 + 0.7 * draws[3], 0.0),
            threshold: 0.01 + 0.2 * draws[2],
        },
        dynatemp_range: pick(on(19, DynamicTemperature), draws[4], 0.0),
        dynatemp_exponent: 0.5 + draws[5],
        dry: tokenmill_core::Dry {
            multiplier: pick(on(20, Step::Dry), 0.5 + draws[6], 0.0),
            allowed_length: 1 + (draws[7] * 3.0) as u32,
            last_n: (draws[0] * 12.0) as i32 - 1,
            breaker_tokens: vec![vec![3], vec![1, 0]],
            ..tokenmill_core::Dry::default()
        },
        penalty_last_n: (bits >> 14 & 3 == 1 && pipeline == Llamacpp).then_some(5),
        pipeline: PipelineChoice::Named(pipeline),
        ..SamplingParams::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_pipeline_leaves_what_its_engine_would(
        which in 0_usize..4,
        bits: u32,
        draws: [u16; 8],
        key: i64,
        is_tied: bool,
        tokens in (prop::collection::vec(0_u32..4, 1..9), prop::collection::vec(0_u32..4, 0..9)),
    ) {
        let pipeline = ALL[which + 1];
        let draws = draws.map(|draw| f32::from(draw) / 65_536.0);
        let row = if is_tied { tied_row(key, 26, 5) } else { normal_row(key, 26, 2.0) };
        let mut prefix = Prefix { eos: vec![3], prompt: tokens.0, output: tokens.1, ..Prefix::default() };
        let mut params = params(bits, &draws, pipeline);
        if pipeline == Llamacpp && bits >> 28 == 7 {
            let bias = std::mem::take(&mut params.logit_bias);
            params = SamplingParams {
                logit_bias: bias,
                temperature: params.temperature,
                pipeline: params.pipeline,
                ..SamplingParams::default()
            };
            params.mirostat.version = 2;
            // Its state after an output would need the rows of that.
            prefix.prompt.append(&mut prefix.output);
            params.mirostat.tau = 0.5 + 3.0 * draws[1];
        }
        let peer = match pipeline {
            Hf => peers::hf,
            Vllm => peers::vllm,
            Sglang => peers::sglang,
            _ => peers::llamacpp,
        };
        let Some(expected) = peer(&prefix, &params, &row) else { return Ok(()) };
        let got = processed(&params, &prefix, &row);
        for (token, (got, expected)) in got.iter().zip(&expected).enumerate() {
            prop_assert_eq!(got.is_finite(), expected.is_finite(), "{:?} token {}", pipeline, token);
            if got.is_finite() {
                prop_assert!((got - expected).abs() < 1e-4, "{:?} token {}: {} {}", pipeline, token, got, expected);
            }
        }
    }
}
