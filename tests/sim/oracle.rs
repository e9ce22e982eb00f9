//! The right answer of a request, without a scheduler: one chain, one sampler, one loop.

use tokenmill_core::{FinishReason, HasKind, Kind, NamedPipeline, PipelineChoice, SamplingParams};
use tokenmill_decode::{BeamSearch, EndReason, Sampler, Vocabulary};
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

/// The answers of all outputs.
pub fn answers(question: &Question<'_>) -> Vec<Answer> {
    if question.params.beams.is_on() {
        return beam_answers(question);
    }
    (0..question.params.n)
        .map(|index| answer(question, index))
        .collect()
}

/// The outputs of a beam search: every beam a list of tokens of its own, its row computed from the whole of it.
fn beam_answers(question: &Question<'_>) -> Vec<Answer> {
    let Question {
        prompt,
        params,
        triggers,
        ..
    } = *question;
    let vocabulary = Vocabulary::new(VOCAB as usize, vec![EOS]).expect("a vocabulary");
    let params = std::sync::Arc::new(params.clone());
    let seed = params.seed.expect("traces give seeds");
    let mut search = BeamSearch::new(&params, seed, &vocabulary, prompt, question.output_len_max)
        .expect("a valid request");
    let mut scratch = tokenmill_decode::Scratch::default();
    let is_fatal =
        |token: u32| triggers.error_token == Some(token) || triggers.panic_token == Some(token);
    let is_broken = |token: u32| triggers.nan_token == Some(token);
    let failed = |search: &BeamSearch| {
        let answer = || Answer {
            tokens: search.settled().to_vec(),
            reason: FinishReason::Error,
        };
        (0..params.outputs()).map(|_| answer()).collect()
    };
    let is_scored = params.prompt_logprobs.is_some();
    let mut of_prompt = prompt.iter().copied();
    if of_prompt.any(|token| is_fatal(token) || (is_scored && is_broken(token))) {
        return failed(&search);
    }
    let mut beams = vec![prompt.to_vec()];
    while !search.is_done() {
        let last = |beam: &Vec<u32>| *beam.last().expect("a prompt");
        if beams
            .iter()
            .map(last)
            .any(|token| is_fatal(token) || is_broken(token))
        {
            return failed(&search);
        }
        let rows: Vec<Vec<f32>> = beams
            .iter()
            .map(|beam| {
                let empty = Chain::empty(question.scope);
                let chain = beam.iter().fold(empty, |chain, &token| chain.push(token));
                let mut row = vec![0f32; VOCAB as usize];
                logits_row(chain, &mut row);
                row
            })
            .collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let selection = loop {
            match search.candidates(&rows, &mut scratch) {
                Ok(candidates) => {
                    let none = vec![false; candidates.len()];
                    if let Some(selection) = search.select(&none) {
                        break selection;
                    }
                }
                Err(error) => {
                    assert_ne!(error.kind(), Kind::Internal, "{error}");
                    return failed(&search);
                }
            }
        };
        let child = |&(parent, token): &(u32, u32)| {
            let mut beam = beams[parent as usize].clone();
            beam.push(token);
            beam
        };
        beams = selection.children.iter().map(child).collect();
    }
    let mut answers: Vec<Answer> = search
        .finish()
        .into_iter()
        .map(|hypothesis| Answer {
            tokens: hypothesis.tokens,
            reason: match hypothesis.reason {
                EndReason::Eos | EndReason::Stop => FinishReason::Stop,
                EndReason::Length => FinishReason::Length,
            },
        })
        .collect();
    answers.resize_with(params.outputs() as usize, || Answer {
        tokens: Vec::new(),
        reason: FinishReason::Absent,
    });
    answers
}

/// The answer of sample `index`.
fn answer(question: &Question<'_>, index: u32) -> Answer {
    let Question {
        prompt,
        params,
        triggers,
        ..
    } = *question;
    let seed = params.seed.expect("traces give seeds");
    let vocabulary = Vocabulary::new(VOCAB as usize, vec![EOS]).expect("a vocabulary");
    let mut sampler = Sampler::new(
        &std::sync::Arc::new(params.clone()),
        seed,
        index,
        &vocabulary,
        prompt,
    )
    .expect("a valid request");
    // Where the parameters leave it open, the end of the context is the last place for a forced end.
    sampler = sampler.with_output_len_max(question.output_len_max as u32);
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
    let is_scored = params.prompt_logprobs.is_some();
    let is_broken = |token: u32| is_scored && triggers.nan_token == Some(token);
    if prompt
        .iter()
        .any(|&token| is_fatal(token) || is_broken(token))
    {
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
        sampler.commit(&choice);
        last = choice.token;
        chain = chain.push(last);
        tokens.push(last);
        let floor = (params.min_length as usize)
            .saturating_sub(prompt.len())
            .max(params.min_tokens as usize);
        // transformers' minimum bans the model's own end alone, so a stop id is no end yet.
        let is_early =
            params.pipeline == PipelineChoice::Named(NamedPipeline::Hf) && tokens.len() <= floor;
        let is_stop_id = !is_early && params.stop_token_ids.contains(&last);
        if (!params.ignore_eos && last == EOS) || is_stop_id {
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
        if tokens.len() >= floor && is_loop(params, &tokens) {
            return Answer {
                tokens,
                reason: FinishReason::Repetition,
            };
        }
    }
}

/// Whether the output ends in copies of one pattern, by cutting it up.
fn is_loop(params: &SamplingParams, tokens: &[u32]) -> bool {
    let Some(detection) = params.repetition_detection else {
        return false;
    };
    let copies = detection.min_count as usize;
    (detection.min_pattern_size..=detection.max_pattern_size).any(|size| {
        let size = size as usize;
        let Some(start) = tokens.len().checked_sub(size * copies) else {
            return false;
        };
        let mut patterns = tokens[start..].chunks(size);
        let first = patterns.next();
        patterns.all(|pattern| Some(pattern) == first)
    })
}

/// The log-prob of every prompt token but the first, in float64.
pub fn prompt_scores(question: &Question<'_>) -> Vec<f64> {
    let mut chain = Chain::empty(question.scope);
    let mut row = vec![0f32; VOCAB as usize];
    let mut scores = Vec::new();
    for pair in question.prompt.windows(2) {
        chain = chain.push(pair[0]);
        logits_row(chain, &mut row);
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        scores.push(f64::from(row[pair[1] as usize]) - sum.ln());
    }
    scores
}
