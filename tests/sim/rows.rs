//! The rows of a request, each computed from a whole prefix: the model's, the one behind another prompt, the
//! amateur's, those of early layers; and the candidates of a contrastive search with their hidden states.

use tokenmill_core::{HasKind, Kind};
use tokenmill_decode::source::{DolaMixer, MixBuffers, Mixed, mix};
use tokenmill_decode::{Choice, Error, Sampler, Scratch};
use tokenmill_sim::{Chain, EXITS, HIDDEN, exit_row, logits_row, state_row};

use crate::oracle::Question;
use crate::trace::VOCAB;

/// What the amateur of every trace is.
pub const AMATEUR_SEED: u64 = 9;

pub struct Rows<'a> {
    question: &'a Question<'a>,
    buffers: MixBuffers,
    scratch: Scratch,
    own: Vec<f32>,
    other: Vec<f32>,
}

impl<'a> Rows<'a> {
    pub fn new(question: &'a Question<'a>) -> Self {
        Self {
            question,
            buffers: MixBuffers::new(),
            scratch: Scratch::default(),
            own: vec![0.0; VOCAB as usize],
            other: vec![0.0; VOCAB as usize],
        }
    }

    fn chain(&self, prompt: &[u32], output: &[u32]) -> Chain {
        let empty = Chain::empty(self.question.scope);
        let tokens = prompt.iter().chain(output);
        tokens.fold(empty, |chain, &token| chain.push(token))
    }

    /// The row behind an output, with what its request mixes into it. `None`: no scores.
    pub fn mixed(&mut self, output: &[u32]) -> Option<(Mixed<'_>, &mut Scratch)> {
        let params = self.question.params;
        let position = (self.question.prompt.len() + output.len()) as u32;
        let chain = self.chain(self.question.prompt, output);
        let negative = self.question.negative();
        let behind_other = self.chain(negative.unwrap_or_default(), output);
        logits_row(chain, &mut self.own);
        let mixed = if negative.is_some() {
            logits_row(behind_other, &mut self.other);
            mix(
                params,
                (&self.own, &self.other),
                position,
                &mut self.buffers,
            )
        } else if params.contrastive.is_some() {
            logits_row(chain.seen_by(AMATEUR_SEED), &mut self.other);
            mix(
                params,
                (&self.own, &self.other),
                position,
                &mut self.buffers,
            )
        } else if let Some(layers) = &params.dola.layers {
            let mixer = DolaMixer::begin(params, &self.own, position, &mut self.buffers);
            let mut mixer = mixer.expect("rows of numbers");
            for layer in layers.of_model(EXITS, false) {
                if layer == EXITS {
                    mixer.meet_last().expect("a row of numbers");
                } else {
                    exit_row(chain, layer, &mut self.other);
                    mixer.meet(&self.other).expect("a row of numbers");
                }
            }
            mixer.finish()
        } else {
            Ok(Mixed::plain(&self.own))
        };
        Some((sound(mixed)?, &mut self.scratch))
    }

    /// What comes behind an output; `None` where the request fails there.
    pub fn choose(&mut self, sampler: &Sampler, output: &[u32]) -> Option<Choice> {
        if self.question.params.is_contrastive_search() {
            return self.search(sampler, output);
        }
        let (mixed, scratch) = self.mixed(output)?;
        sound(sampler.sample_mixed(mixed, scratch))
    }

    /// (1 - alpha) p(v) - alpha max cos(h_v, h_j), all states anew from their prefixes.
    fn search(&mut self, sampler: &Sampler, output: &[u32]) -> Option<Choice> {
        let params = self.question.params;
        let (mixed, scratch) = self.mixed(output)?;
        let (candidates, lifted) = sound(sampler.candidates(mixed, params.top_k, scratch))?;
        let candidates = &candidates[..candidates.len().min(params.top_k as usize)];
        if candidates
            .iter()
            .any(|own| self.question.is_fatal(own.token))
        {
            return None;
        }
        let tokens = [self.question.prompt, output].concat();
        let past: Vec<_> = (1..=tokens.len())
            .map(|len| self.state(&tokens[..len]))
            .collect();
        let alpha = f64::from(params.penalty_alpha);
        let score = |token: u32, probability: f32| {
            let own = self.state(&[&tokens[..], &[token]].concat());
            let cosines = past.iter().map(|earlier| cosine(earlier, &own));
            let nearest = cosines.fold(f64::NEG_INFINITY, f64::max);
            (1.0 - alpha) * f64::from(probability) - alpha * nearest
        };
        let scored = candidates
            .iter()
            .map(|own| (score(own.token, own.probability), own.token));
        let best = scored.reduce(|best, next| {
            let is_better = next.0 > best.0 || (next.0 == best.0 && next.1 < best.1);
            if is_better { next } else { best }
        });
        let (_, token) = best.expect("some token may come");
        Some(Choice {
            token,
            logprobs: None,
            lifted,
            observed: None,
        })
    }

    fn state(&self, tokens: &[u32]) -> Vec<f64> {
        let mut state = vec![0.0; HIDDEN];
        state_row(self.chain(tokens, &[]), &mut state);
        state.into_iter().map(f64::from).collect()
    }
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// A request's own fault is an answer too; any other is the test's.
fn sound<T>(result: Result<T, Error>) -> Option<T> {
    if let Err(error) = &result {
        assert_ne!(error.kind(), Kind::Internal, "{error}");
    }
    result.ok()
}
