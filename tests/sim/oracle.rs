//! The right answer of a request, without a scheduler: one chain, one sampler, one loop.

use tokenmill_core::{FinishReason, HasKind, Kind, NamedPipeline, PipelineChoice, SamplingParams};
use tokenmill_decode::{BeamSearch, EndReason, Sampler, Vocabulary};
use tokenmill_sim::{Chain, Triggers, logits_row};

use crate::rows::Rows;
use crate::strategy::negative;
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

impl Question<'_> {
    /// The other prompt of a guided request.
    pub fn negative(&self) -> Option<&[u32]> {
        negative(self.prompt, self.params)
    }

    /// Whether a run with this token fails.
    pub fn is_fatal(&self, token: u32) -> bool {
        let triggers = self.triggers;
        triggers.error_token == Some(token) || triggers.panic_token == Some(token)
    }

    fn is_broken(&self, token: u32) -> bool {
        self.triggers.nan_token == Some(token)
    }

    /// Whether the request fails before its first token: by a token of its prompts that fails every run, by one whose
    /// row is scored, or by the last one of the other prompt.
    fn fails_at_once(&self) -> bool {
        let is_scored = self.params.prompt_logprobs.is_some();
        let mut own = self.prompt.iter();
        let mut other = self.negative().unwrap_or_default().iter();
        own.any(|&token| self.is_fatal(token) || (is_scored && self.is_broken(token)))
            || other.any(|&token| self.is_fatal(token))
            || self
                .negative()
                .and_then(|tokens| tokens.last())
                .is_some_and(|&token| self.is_broken(token))
    }
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
    let Question { prompt, params, .. } = *question;
    let vocabulary = Vocabulary::new(VOCAB as usize, vec![EOS]).expect("a vocabulary");
    let params = std::sync::Arc::new(params.clone());
    let seed = params.seed.expect("traces give seeds");
    let mut search = BeamSearch::new(&params, seed, &vocabulary, prompt, question.output_len_max)
        .expect("a valid request");
    let mut scratch = tokenmill_decode::Scratch::default();
    let failed = |search: &BeamSearch| {
        let answer = || Answer {
            tokens: search.settled().to_vec(),
            reason: FinishReason::Error,
        };
        (0..params.outputs()).map(|_| answer()).collect()
    };
    if question.fails_at_once() {
        return failed(&search);
    }
    let mut rows = Rows::new(question);
    let mut beams = vec![Vec::new()];
    while !search.is_done() {
        let last = |beam: &Vec<u32>| *beam.last().or(prompt.last()).expect("a prompt");
        let fails = |token| question.is_fatal(token) || question.is_broken(token);
        if beams.iter().map(last).any(fails) {
            return failed(&search);
        }
        let scores: Option<Vec<Vec<f32>>> = beams
            .iter()
            .map(|beam| Some(rows.mixed(beam)?.0.scores.to_vec()))
            .collect();
        let Some(scores) = scores else {
            return failed(&search);
        };
        let scores: Vec<&[f32]> = scores.iter().map(Vec::as_slice).collect();
        let selection = loop {
            match search.candidates(&scores, &mut scratch) {
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
    let settled = search.settled().to_vec();
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
    // One that there is not may have been told what every output begins with.
    answers.resize_with(params.outputs() as usize, || Answer {
        tokens: settled.clone(),
        reason: FinishReason::Absent,
    });
    answers
}

/// The answer of sample `index`.
fn answer(question: &Question<'_>, index: u32) -> Answer {
    let Question { prompt, params, .. } = *question;
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
    let mut rows = Rows::new(question);
    let mut tokens = Vec::new();
    let mut last = *prompt.last().expect("a prompt");
    let failed = |tokens| Answer {
        tokens,
        reason: FinishReason::Error,
    };
    if question.fails_at_once() {
        return failed(tokens);
    }
    loop {
        if question.is_fatal(last) || question.is_broken(last) {
            return failed(tokens);
        }
        let Some(choice) = rows.choose(&sampler, &tokens) else {
            return failed(tokens);
        };
        sampler.commit(&choice);
        last = choice.token;
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
