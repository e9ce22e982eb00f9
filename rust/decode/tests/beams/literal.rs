//! The published steps as they are written: every beam has a row, every sum is sorted, nothing is left out. Slow, and
//! the reference of the search.

use std::sync::Arc;

use tokenmill_core::{Beams, EarlyStopping, LogprobsMode, SamplingParams, TokenId};
use tokenmill_decode::{Sampler, Scratch, Vocabulary};

use crate::search::{Model, Setting};

const NONE: f32 = -1e9;

#[derive(Clone)]
struct Beam {
    score: f32,
    tokens: Vec<TokenId>,
}

#[derive(Clone)]
struct Place {
    score: f32,
    sum: f32,
    tokens: Vec<TokenId>,
    is_done: bool,
}

pub struct Outcome {
    pub outputs: Vec<(Vec<TokenId>, f32)>,
    pub steps: usize,
}

/// `added`: what an output adds to its sum for every token that may follow.
pub fn search(setting: &Setting<'_>, beams: &Beams, added: Model<'_>) -> Outcome {
    let n = beams.width.unwrap() as usize;
    let count = (2.max(1 + setting.eos.len()) * n).min(n * setting.vocab_len);
    let mut running: Vec<Beam> = (0..n)
        .map(|beam| Beam {
            score: if beam == 0 { 0.0 } else { NONE },
            tokens: Vec::new(),
        })
        .collect();
    let empty = Place {
        score: NONE,
        sum: NONE,
        tokens: Vec::new(),
        is_done: false,
    };
    let mut places = vec![empty; n];
    let mut is_open = true;
    let mut len = 0;
    loop {
        len += 1;
        let sums = first_sums(added, &running, count);
        let hits: Vec<bool> = sums
            .iter()
            .map(|beam| {
                let last = beam.tokens.last().unwrap();
                setting.eos.contains(last)
                    || (setting.is_stopped)(&beam.tokens)
                    || len == setting.output_len_max
            })
            .collect();
        running.clone_from(&sums);
        for (beam, &hit) in running.iter_mut().zip(&hits) {
            beam.score += if hit { NONE } else { 0.0 };
        }
        running.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap());
        running.truncate(n);
        let is_strict = beams.early_stopping == EarlyStopping::True;
        let was_full = is_strict && places.iter().all(|place| place.is_done);
        for (rank, (beam, &hit)) in sums.iter().zip(&hits).enumerate() {
            let is_done = hit && rank < n;
            let mut score = beam.score / beams.divisor(len);
            for is_out in [was_full, !is_open, !is_done] {
                score += if is_out { NONE } else { 0.0 };
            }
            places.push(Place {
                score,
                sum: beam.score,
                tokens: beam.tokens.clone(),
                is_done,
            });
        }
        places.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap());
        places.truncate(n);
        let is_patient = beams.early_stopping == EarlyStopping::Never && beams.length_penalty > 0.0;
        let hoped = if is_patient {
            setting.output_len_max
        } else {
            len
        };
        let best = running[0].score / beams.divisor(hoped);
        let worst = places.last().unwrap().score;
        let beats = |place: &Place| best > if place.is_done { worst } else { NONE };
        is_open = is_open && places.iter().any(beats);
        let is_full = is_strict && places.iter().all(|place| place.is_done);
        if !is_open || is_full || hits.iter().all(|&hit| hit) {
            break;
        }
    }
    let real = places
        .into_iter()
        .filter(|place| place.sum > NONE / 2.0 && place.is_done);
    Outcome {
        outputs: real.map(|place| (place.tokens, place.score)).collect(),
        steps: len,
    }
}

/// Log-softmax of the model's logits.
pub fn log_probs(setting: &Setting<'_>, output: &[TokenId]) -> Vec<f32> {
    let prefix: Vec<TokenId> = setting.prompt.iter().chain(output).copied().collect();
    let row = (setting.model)(&prefix);
    let max = row.iter().copied().fold(f32::MIN, f32::max);
    let exp = |&logit: &f32| f64::from(logit - max).exp();
    let ln_sum = row.iter().map(exp).sum::<f64>().ln();
    let log_prob = |&logit: &f32| (f64::from(logit) - f64::from(max) - ln_sum) as f32;
    row.iter().map(log_prob).collect()
}

/// The same after the processors of a sampler that starts behind the whole prefix.
pub fn processed(setting: &Setting<'_>, params: &SamplingParams, output: &[TokenId]) -> Vec<f32> {
    let params = Arc::new(SamplingParams {
        logprobs: Some(u32::MAX),
        logprobs_mode: LogprobsMode::ProcessedLogits,
        beams: Beams::default(),
        ..params.clone()
    });
    let vocabulary = Vocabulary::new(setting.vocab_len, setting.eos.clone()).unwrap();
    let sampler = Sampler::new(&params, 0, 0, &vocabulary, &setting.prompt).unwrap();
    let mut sampler = sampler.with_output_len_max(setting.output_len_max as u32);
    for &token in output {
        sampler.advance(token);
    }
    let row = log_probs(setting, output);
    let entries = sampler
        .sample(&row, &mut Scratch::new())
        .unwrap()
        .logprobs
        .unwrap();
    let mut values = vec![0.0; row.len()];
    for entry in entries {
        values[entry.token as usize] = entry.logprob;
    }
    values
}

fn first_sums(added: Model<'_>, running: &[Beam], count: usize) -> Vec<Beam> {
    let mut sums = Vec::new();
    for beam in running {
        for (token, &value) in (0..).zip(&added(&beam.tokens)) {
            let mut tokens = beam.tokens.clone();
            tokens.push(token);
            let score = beam.score + value;
            sums.push(Beam { score, tokens });
        }
    }
    // Stable, and in the order of beams and tokens before.
    sums.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap());
    sums.truncate(count);
    sums
}
