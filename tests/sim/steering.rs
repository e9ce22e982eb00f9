//! The rarer ways to lean on tokens and to cut, on some requests of a trace.

use std::sync::Arc;

use tokenmill_core::{
    Action, Adaptive, Dry, Edit, LengthDecay, Mirostat, MirostatVariant, Processor, SamplingParams,
    Xtc,
};

use crate::random::Random;

/// Adds some of them; what means nothing to a greedy request stays away from it.
pub fn steer(random: &mut Random, params: SamplingParams) -> SamplingParams {
    let mut params = lean(random, params);
    if params.is_greedy() {
        return params;
    }
    match random.range(0, 9) {
        0 => params.typical_p = 0.8,
        1 => params.epsilon_cutoff = 0.02,
        2 => params.eta_cutoff = 0.05,
        3 => params.top_h = Some(0.6),
        4 => params.top_n_sigma = 1.5,
        5 => {
            params.xtc = Xtc {
                probability: 0.6,
                threshold: 0.05,
            };
        }
        6 => params.dynatemp_range = 0.4,
        7 => {
            let moving = uncut(params);
            params = SamplingParams {
                mirostat: Mirostat {
                    version: random.range(1, 2) as u32,
                    tau: 2.0,
                    eta: 0.8,
                    variant: *random.pick(&[MirostatVariant::Llamacpp, MirostatVariant::Authors]),
                },
                ..moving
            };
        }
        8 => {
            let moving = uncut(params);
            params = SamplingParams {
                adaptive: Adaptive {
                    target: Some(0.4),
                    decay: 0.7,
                },
                ..moving
            };
        }
        _ => {}
    }
    params
}

fn lean(random: &mut Random, params: SamplingParams) -> SamplingParams {
    let token = random.range(1, 20) as u32;
    let mut params = SamplingParams {
        renormalize_logits: random.chance(10),
        ..params
    };
    match random.range(0, 19) {
        0 => {
            params.dry = Dry {
                multiplier: 1.5,
                allowed_length: 1,
                breakers: Vec::new(),
                breaker_tokens: vec![vec![token]],
                ..Dry::default()
            };
        }
        1 => params.encoder_repetition_penalty = 1.4,
        2 => params.encoder_no_repeat_ngram_size = 2,
        3 => params.sequence_bias = vec![(vec![token], 2.0), (vec![token, 7], -4.0)],
        8 => {
            params.logits_processors = vec![Processor::Declared(Edit {
                action: *random.pick(&[Action::Ban, Action::Bias(2.0), Action::Scale(0.3)]),
                tokens: vec![token, token + 2],
                matching: None,
                matched: Arc::default(),
                from: 1,
                to: Some(9),
                after: Vec::new(),
            })];
        }
        4 => params.bad_words_ids = vec![vec![token], vec![3, token]],
        5 => params.forced_eos_token_id = Some(vec![token, 5]),
        6 => params.forced_bos_token_id = Some(token),
        7 => {
            params.exponential_decay_length_penalty = Some(LengthDecay {
                start: 4,
                factor: 1.3,
            });
        }
        _ => {}
    }
    // Nothing may be forced and banned.
    let ends = params.forced_eos_token_id.iter().flatten();
    let forced: Vec<u32> = ends.chain(&params.forced_bos_token_id).copied().collect();
    params
        .suppress_tokens
        .retain(|token| !forced.contains(token));
    params
}

/// Without the cuts that a cut that moves by itself would meet.
fn uncut(params: SamplingParams) -> SamplingParams {
    SamplingParams {
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        ..params
    }
}
