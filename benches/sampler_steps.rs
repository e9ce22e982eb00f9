//! What every step of the sampler costs, alone, beside one plain pass over the same row: a table with a line for each
//! warper and processor, for two sizes of a vocabulary. One row in cache, one thread. The specification's aim: top-k
//! and top-p without a full sort, at most 1.3 of a pass. A line far above its kind is a step whose cost is silly.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use tokenmill_core::noise::{Noise, Purpose};
use tokenmill_core::{
    Action, Adaptive, Callable, Callback, Dry, Edit, LengthDecay, Mirostat, Processor,
    SamplingParams, Step, Thinking, TokenId, Xtc,
};
use tokenmill_decode::{Sampler, Scratch, Vocabulary};

mod rows;

use rows::{VOCAB_LENS, plain_pass, row};

const REPEATS: usize = 7;
const CALLS: u32 = 40;

/// Adds to one token: what is left is the price of a callable.
#[derive(Debug)]
struct Touch;

impl Callback for Touch {
    fn name(&self) -> String {
        "touch".into()
    }

    fn process(&self, _: &[TokenId], _: &[TokenId], row: &mut [f32]) -> Result<(), String> {
        row[7] += 1.0;
        Ok(())
    }

    fn allowed(&self, _: &[TokenId], _: &[TokenId]) -> Result<Vec<TokenId>, String> {
        Ok((0..1_000).collect())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Parameters under which a step is active, at the end of 500 tokens of output.
fn active(step: Step) -> SamplingParams {
    let mut params = SamplingParams::default();
    let some: Vec<TokenId> = (100..400).collect();
    match step {
        Step::AllowedTokenIds => params.allowed_token_ids = Some(some),
        Step::SequenceBias => {
            params.sequence_bias = some.iter().map(|&id| (vec![id, id + 1], 1.0)).collect();
        }
        Step::LogitBias => params.logit_bias = some.iter().map(|&id| (id, 1.0)).collect(),
        Step::EncoderRepetitionPenalty => params.encoder_repetition_penalty = 1.1,
        Step::RepetitionPenalty => params.repetition_penalty = 1.1,
        Step::FrequencyPenalty => params.frequency_penalty = 0.1,
        Step::PresencePenalty => params.presence_penalty = 0.1,
        Step::Dry => {
            params.dry = Dry {
                multiplier: 0.8,
                last_n: -1,
                breaker_tokens: some.iter().map(|&id| vec![id]).collect(),
                ..Dry::default()
            };
        }
        Step::NoRepeatNgram => params.no_repeat_ngram_size = 3,
        Step::EncoderNoRepeatNgram => params.encoder_no_repeat_ngram_size = 3,
        Step::BadWords => {
            params.bad_word_tokens = some.iter().map(|&id| vec![id, id + 1]).collect();
        }
        Step::MinLength => params.min_length = 5_000,
        Step::MinTokens => params.min_tokens = 5_000,
        Step::ForcedBos => params.forced_bos_token_id = Some(5),
        Step::ForcedEos => params.forced_eos_token_id = Some(vec![5]),
        Step::RemoveInvalid => params.remove_invalid_values = true,
        Step::ExponentialDecayLength => {
            params.exponential_decay_length_penalty = Some(LengthDecay {
                start: 5,
                factor: 1.01,
            });
        }
        Step::Suppress => params.suppress_tokens = some,
        Step::BeginSuppress => params.begin_suppress_tokens = some,
        Step::Temperature => params.temperature = 0.8,
        _ => cut(step, &mut params),
    }
    params
}

fn cut(step: Step, params: &mut SamplingParams) {
    match step {
        Step::DynamicTemperature => params.dynatemp_range = 0.3,
        Step::TopNSigma => params.top_n_sigma = 1.0,
        Step::TopH => params.top_h = Some(0.4),
        Step::TopK => params.top_k = 50,
        Step::TopP => params.top_p = 0.9,
        Step::MinP => params.min_p = 0.05,
        Step::TypicalP => params.typical_p = 0.9,
        Step::EpsilonCutoff => params.epsilon_cutoff = 3e-4,
        Step::EtaCutoff => params.eta_cutoff = 3e-4,
        Step::Xtc => {
            params.xtc = Xtc {
                probability: 1.0,
                threshold: 0.01,
            };
        }
        Step::Mirostat => {
            params.mirostat = Mirostat {
                version: 2,
                ..Mirostat::default()
            };
        }
        Step::AdaptiveP => {
            params.min_p = 0.02;
            params.adaptive = Adaptive {
                target: Some(0.3),
                ..Adaptive::default()
            };
        }
        Step::Renormalize => params.renormalize_logits = true,
        Step::ThinkingBudget => {
            params.thinking = Thinking {
                budget: Some(1),
                start_tokens: vec![3],
                end_tokens: vec![4],
            };
        }
        Step::PrefixAllowedTokens => {
            params.prefix_allowed_tokens_fn = Some(Callable(Arc::new(Touch)));
        }
        _ => params.logits_processors = custom(),
    }
}

/// One of each kind.
fn custom() -> Vec<Processor> {
    let edit = Edit {
        action: Action::Bias(1.0),
        tokens: (100..400).collect(),
        matching: None,
        matched: Arc::default(),
        from: 0,
        to: None,
        after: Vec::new(),
    };
    let callable = Callable(Arc::new(Touch));
    vec![Processor::Declared(edit), Processor::Callable(callable)]
}

/// The best mean of several repeats, in microseconds.
fn measured(mut call: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let start = Instant::now();
        for _ in 0..CALLS {
            call();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
    }
    best
}

fn cost(params: SamplingParams, row: &[f32], vocabulary: &Vocabulary) -> f64 {
    let noise = Noise::new(2, 0, 0, Purpose::Private);
    let prefix: Vec<TokenId> = (0..1_000)
        .map(|index| (noise.word(index) % 1_200) * 37)
        .collect();
    let (prompt, output) = prefix.split_at(500);
    let is_moving = params.mirostat.version > 0 || params.adaptive.target.is_some();
    let mut sampler = Sampler::new(&Arc::new(params), 7, 0, vocabulary, prompt).expect("a sampler");
    for &token in output.iter().filter(|_| !is_moving) {
        sampler.advance(token);
    }
    let mut scratch = Scratch::new();
    measured(|| {
        let choice = sampler.sample(black_box(row), &mut scratch);
        black_box(choice.expect("a token"));
    })
}

fn main() {
    for len in VOCAB_LENS {
        let row = row(len);
        let vocabulary = Vocabulary::new(len, vec![2]).expect("a vocabulary");
        let pass = measured(|| {
            black_box(plain_pass(black_box(&row)));
        });
        println!("\n{len} tokens, best of {REPEATS}: one plain pass {pass:.1} us");
        let greedy = SamplingParams {
            temperature: 0.0,
            ..SamplingParams::default()
        };
        let both = SamplingParams {
            top_k: 50,
            top_p: 0.9,
            temperature: 0.8,
            ..SamplingParams::default()
        };
        let named = [
            ("greedy", greedy),
            ("plain sampling", SamplingParams::default()),
            ("temperature, top_k, top_p", both),
        ];
        let steps = Step::ALL
            .into_iter()
            .map(|step| (step.name(), active(step)));
        for (name, params) in named.into_iter().chain(steps) {
            let cost = cost(params, &row, &vocabulary);
            println!("{name:28} {cost:9.1} us {:7.2} passes", cost / pass);
        }
    }
}
