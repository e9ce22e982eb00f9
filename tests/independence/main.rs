//! Promise 3: a request's tokens do not depend on its company. The same mixed requests under many schedules
//! give the same tokens, on the simulator and on the CPU in f32, bf16 and 4 bits; on the default model too
//! where `TOKENMILL_TEST_GGUF` names its file (`TOKENMILL_TEST_FULL=1`: with all 64 requests).

mod callback;
mod schedule;
mod subject;

use std::path::PathBuf;

use schedule::{Outcome, Schedule, run};
use subject::{Form, tiny};
use tokenmill_core::{
    Adaptive, Contrastive, DolaLayers, Dry, LengthDecay, Mirostat, MirostatVariant, NamedPipeline,
    PipelineChoice, Prompt, Request, SamplingParams, Step, Xtc,
};
use tokenmill_formats::Checkpoint;

/// Mixed requests over a vocabulary of at least 200 tokens.
fn requests(count: usize) -> Vec<Request> {
    (0..count).map(request).collect()
}

fn request(index: usize) -> Request {
    // A quarter share a long beginning; lengths run from 1 token to several blocks.
    let stem = if index.is_multiple_of(4) { 40 } else { 0 };
    let len = 1 + (index * 7) % 53;
    let own = (0..len).map(|at| 1 + ((index * 31 + at * 17) % 199) as u32);
    let tokens = (0..stem)
        .map(|at| 3 + (at * 5 % 190) as u32)
        .chain(own)
        .collect();
    let is_greedy = index.is_multiple_of(3);
    let params = SamplingParams {
        temperature: if is_greedy {
            0.0
        } else {
            0.6 + 0.2 * (index % 4) as f32
        },
        n: if is_greedy { 1 } else { 1 + (index % 3) as u32 },
        seed: Some(1000 + index as i64),
        top_k: if index % 5 == 1 { 20 } else { 0 },
        top_p: if index % 5 == 2 { 0.8 } else { 1.0 },
        min_p: if index % 5 == 3 { 0.05 } else { 0.0 },
        repetition_penalty: if index % 6 == 1 { 1.2 } else { 1.0 },
        frequency_penalty: if index % 6 == 2 { 0.3 } else { 0.0 },
        no_repeat_ngram_size: if index % 6 == 4 { 2 } else { 0 },
        max_tokens: Some(4 + (index * 5 % 17) as u32),
        ignore_eos: index.is_multiple_of(2),
        ..SamplingParams::default()
    };
    let params = constrained(index, params);
    Request::new(Prompt::Tokens(tokens), params)
}

/// Scored prompts, masks and other engines' orders on some of them.
fn constrained(index: usize, plain: SamplingParams) -> SamplingParams {
    let named = [
        NamedPipeline::Hf,
        NamedPipeline::Vllm,
        NamedPipeline::Sglang,
        NamedPipeline::Llamacpp,
    ][index / 2 % 4];
    let mut params = SamplingParams {
        prompt_logprobs: (index % 5 == 4).then_some(2),
        bad_word_tokens: if index % 7 == 2 {
            vec![vec![5], vec![7, 8], vec![3, 4, 9]]
        } else {
            Vec::new()
        },
        suppress_tokens: if index % 7 == 5 {
            vec![1, 2, 60]
        } else {
            Vec::new()
        },
        allowed_token_ids: (index % 11 == 6).then(|| (1..90).collect()),
        penalty_last_n: (index % 9 == 1).then_some(6),
        ..plain.clone()
    };
    lean(index, &mut params);
    if index % 2 == 1 {
        return params;
    }
    // Another engine's order, with as much of it as that has steps for.
    let bare = SamplingParams {
        no_repeat_ngram_size: 0,
        ..plain
    };
    for mut params in [params.clone(), bare] {
        params.pipeline = PipelineChoice::Named(named);
        if params.pipeline.fault(&params).is_none() {
            return params;
        }
    }
    params
}

/// The rarer ways to lean on tokens and to cut, on some of them.
fn lean(index: usize, params: &mut SamplingParams) {
    match index % 13 {
        0 => {
            params.dry = Dry {
                multiplier: 1.0,
                allowed_length: 1,
                breakers: Vec::new(),
                breaker_tokens: vec![vec![9], vec![4, 7]],
                ..Dry::default()
            };
        }
        2 => params.sequence_bias = vec![(vec![8], 1.5), (vec![8, 9], 3.0)],
        4 => params.encoder_no_repeat_ngram_size = 2,
        6 => params.encoder_repetition_penalty = 1.3,
        5 | 12 => params.logits_processors = callback::processors(20),
        11 => params.prefix_allowed_tokens_fn = Some(callback::callable()),
        8 => params.forced_eos_token_id = Some(vec![11]),
        10 => {
            params.exponential_decay_length_penalty = Some(LengthDecay {
                start: 2,
                factor: 1.2,
            });
        }
        1 | 7 => {
            // What is plausible and what is allowed may have no token in common.
            params.allowed_token_ids = None;
            params.contrastive = Some(Contrastive {
                alpha: 0.01,
                temperature: 1.3,
                ..Contrastive::default()
            });
        }
        3 | 9 => {
            params.allowed_token_ids = None;
            params.dola.layers = Some(match index % 13 {
                3 => DolaLayers::Listed(vec![0, 1, 2]),
                _ => DolaLayers::High,
            });
        }
        _ => {}
    }
    if params.is_greedy() {
        return;
    }
    match index % 11 {
        1 => params.typical_p = 0.7,
        2 => params.eta_cutoff = 0.01,
        3 => params.top_h = Some(0.5),
        4 => params.top_n_sigma = 1.2,
        5 => {
            params.xtc = Xtc {
                probability: 0.5,
                threshold: 0.02,
            };
        }
        7 => params.dynatemp_range = 0.3,
        8 | 9 => {
            (params.top_k, params.top_p, params.min_p) = (0, 1.0, 0.0);
            params.mirostat = Mirostat {
                version: 1 + (index % 2) as u32,
                tau: 2.5,
                eta: 0.7,
                variant: MirostatVariant::Authors,
            };
        }
        10 => {
            (params.top_k, params.top_p, params.min_p) = (0, 1.0, 0.0);
            params.adaptive = Adaptive {
                target: Some(0.2),
                decay: 0.8,
            };
        }
        _ => {}
    }
}

/// Order `seed` of `count` things.
fn shuffled(count: usize, seed: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut word = seed as u64 * 2 + 1;
    for at in (1..count).rev() {
        word = word
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, (word >> 33) as usize % (at + 1));
    }
    order
}

/// The schedules that are compared with one request at a time.
fn schedules(count: usize, orders: usize) -> Vec<(String, Schedule)> {
    let plain = || Schedule::plain(count);
    let mut all = vec![("all at once".to_string(), plain())];
    for seed in 0..orders {
        let gap = Some(seed % 4);
        all.push((
            format!("shuffled {seed}"),
            Schedule {
                order: shuffled(count, seed),
                gap,
                ..plain()
            },
        ));
    }
    for tokens_per_step in [1, 7, 64] {
        all.push((
            format!("budget {tokens_per_step}"),
            Schedule {
                tokens_per_step,
                ..plain()
            },
        ));
    }
    for block_size in [32, 64] {
        all.push((
            format!("blocks of {block_size}"),
            Schedule {
                block_size,
                ..plain()
            },
        ));
    }
    all.push((
        "no prefix cache".into(),
        Schedule {
            prefix_caching: false,
            ..plain()
        },
    ));
    all.push((
        "one thread".into(),
        Schedule {
            threads: 1,
            ..plain()
        },
    ));
    all.push((
        "three threads".into(),
        Schedule {
            threads: 3,
            order: shuffled(count, 77),
            ..plain()
        },
    ));
    all.push((
        "a small pool".into(),
        Schedule {
            pool: 320,
            order: shuffled(count, 99),
            ..plain()
        },
    ));
    all.push((
        "a small pool, odd budget".into(),
        Schedule {
            pool: 256,
            tokens_per_step: 7,
            ..plain()
        },
    ));
    all
}

fn compare(name: &str, checkpoint: &Checkpoint, form: Form, count: usize, orders: usize) {
    let requests = requests(count);
    for pipeline in [
        NamedPipeline::Tokenmill,
        NamedPipeline::Hf,
        NamedPipeline::Vllm,
        NamedPipeline::Sglang,
        NamedPipeline::Llamacpp,
    ] {
        let is_named = |request: &Request| request.params.pipeline.meaning() == pipeline;
        assert!(
            requests.iter().any(is_named),
            "nobody asks for {pipeline:?}"
        );
    }
    let has = |step| {
        requests
            .iter()
            .any(|request| request.params.source() == Some(step))
    };
    assert!(
        has(Step::Contrastive) && has(Step::Dola),
        "nobody asks for second rows"
    );
    let alone = Schedule {
        gap: None,
        prefix_caching: false,
        threads: 1,
        ..Schedule::plain(count)
    };
    let expected = run(checkpoint, form, &requests, &alone);
    assert!(
        expected
            .tokens
            .iter()
            .flatten()
            .all(|sample| !sample.is_empty())
    );
    assert!(expected.scores.iter().any(|scores| !scores.is_empty()));
    let (mut preemptions, mut cached) = (0, 0);
    for (what, schedule) in schedules(count, orders) {
        let got: Outcome = run(checkpoint, form, &requests, &schedule);
        for (index, (got, expected)) in got.scores.iter().zip(&expected.scores).enumerate() {
            assert_eq!(
                got, expected,
                "{name} in {form:?}: the prompt of {index} scores differently under: {what}"
            );
        }
        for (index, (got, expected)) in got.tokens.iter().zip(&expected.tokens).enumerate() {
            assert_eq!(
                got, expected,
                "{name} in {form:?}: request {index} differs under: {what}"
            );
        }
        preemptions += got.preemptions;
        cached += got.cached_tokens;
    }
    // Schedules that never preempt or hit the cache would prove less than they say.
    assert!(
        preemptions > 0 && cached > 0,
        "{name} in {form:?}: {preemptions} preemptions, {cached} cached"
    );
}

#[test]
fn tokens_do_not_depend_on_the_schedule_on_the_simulator() {
    compare("tiny", &tiny(Form::Sim), Form::Sim, 64, 20);
}

#[test]
fn tokens_do_not_depend_on_the_schedule_in_f32() {
    compare("tiny", &tiny(Form::F32), Form::F32, 64, 20);
}

#[test]
fn tokens_do_not_depend_on_the_schedule_in_bf16() {
    compare("tiny", &tiny(Form::Bf16), Form::Bf16, 64, 20);
}

#[test]
fn tokens_do_not_depend_on_the_schedule_in_four_bits() {
    compare("tiny", &tiny(Form::FourBit), Form::FourBit, 64, 20);
}

#[test]
fn tokens_do_not_depend_on_the_schedule_on_the_default_model() {
    let Some(path) = std::env::var_os("TOKENMILL_TEST_GGUF").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none(), "no TOKENMILL_TEST_GGUF");
        return;
    };
    let checkpoint = Checkpoint::open(&path).expect("the default model");
    let is_full = std::env::var_os("TOKENMILL_TEST_FULL").is_some();
    let (count, orders) = if is_full { (64, 20) } else { (12, 2) };
    let forms: &[Form] = if is_full {
        &Form::ALL[1..]
    } else {
        &[Form::FourBit]
    };
    for &form in forms {
        compare("default", &checkpoint, form, count, orders);
    }
}
