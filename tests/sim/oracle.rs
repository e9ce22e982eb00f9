//! The right answer of a request, without a scheduler: one chain, one sampler, one loop.

use tokenmill_core::{FinishReason, HasKind, Kind, SamplingParams};
use tokenmill_decode::{Sampler, Vocabulary};
use tokenmill_sim::{Chain, Triggers, logits_row};

use crate::trace::{EOS, VOCAB};

/// What a sample must be.
#[derive(Debug, PartialEq)]
pub struct Answer {
    pub tokens: Vec<u32>,
    pub reason: FinishReason,
}

pub struct Question<'a> {
    pub prompt: &'a [u32],
    pub params: &'a SamplingParams,
    pub scope: u64,
    pub output_len_max: usize,
    pub triggers: &'a Triggers,
}

/// The answer of sample `index`.
pub fn answer(question: &Question<'_>, index: u32) -> Answer {
    let Question {
        prompt,
        params,
        triggers,
        ..
    } = *question;
    let seed = params.seed.expect("traces give seeds");
    let vocabulary = Vocabulary::new(VOCAB as usize, vec![EOS]).expect("a vocabulary");
    let mut sampler =
        Sampler::new(params, seed, index, &vocabulary, prompt).expect("a valid request");
    let mut scratch = tokenmill_decode::Scratch::default();
    let mut row = vec![0f32; VOCAB as usize];
    let is_fatal =
        |token: u32| triggers.error_token == Some(token) || triggers.panic_token == Some(token);
    let mut chain = prompt
        .iter()
        .fold(Chain::empty(question.scope), |chain, &token| {
            chain.push(token)
        });
    let mut tokens = Vec::new();
    let mut last = *prompt.last().expect("a prompt");
    if prompt.iter().any(|&token| is_fatal(token)) {
        return Answer {
            tokens,
            reason: FinishReason::Error,
        };
    }
    loop {
        if is_fatal(last) || triggers.nan_token == Some(last) {
            return Answer {
                tokens,
                reason: FinishReason::Error,
            };
        }
        logits_row(chain, &mut row);
        let choice = match sampler.sample(&row, &mut scratch) {
            Ok(choice) => choice,
            Err(error) => {
                assert_ne!(error.kind(), Kind::Internal, "{error}");
                return Answer {
                    tokens,
                    reason: FinishReason::Error,
                };
            }
        };
        sampler.advance(choice.token);
        last = choice.token;
        chain = chain.push(last);
        tokens.push(last);
        if (!params.ignore_eos && last == EOS) || params.stop_token_ids.contains(&last) {
            return Answer {
                tokens,
                reason: FinishReason::Stop,
            };
        }
        if tokens.len() == question.output_len_max {
            return Answer {
                tokens,
                reason: FinishReason::Length,
            };
        }
    }
}
