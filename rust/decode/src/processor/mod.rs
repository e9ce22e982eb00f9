//! The steps that act on the whole row: biases, penalties and bans. Owns the state they need, a function of
//! the token prefix alone; each step edits only the tokens it concerns. Knows nothing of warpers or noise.

mod history;
mod ngram;

use tokenmill_core::{SamplingParams, TokenId};

use crate::pipeline::Step;
use crate::row::Row;
use history::History;
use ngram::NgramIndex;

/// Parameters and prefix state of the processors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Processors {
    repetition_penalty: f32,
    frequency_penalty: f32,
    presence_penalty: f32,
    logit_bias: Vec<(TokenId, f32)>,
    ends: Vec<TokenId>,
    min_tokens: u32,
    generated: u32,
    history: Option<History>,
    ngrams: Option<NgramIndex>,
}

impl Processors {
    /// State after the prompt. `eos`: the model's own ends.
    pub(crate) fn new(params: &SamplingParams, eos: &[TokenId], prompt: &[TokenId]) -> Self {
        let is_active = |step: Step| step.is_active(params);
        let has_history = is_active(Step::RepetitionPenalty)
            || is_active(Step::FrequencyPenalty)
            || is_active(Step::PresencePenalty);
        let mut ends: Vec<TokenId> = eos.iter().chain(&params.stop_token_ids).copied().collect();
        ends.sort_unstable();
        ends.dedup();
        Self {
            repetition_penalty: params.repetition_penalty,
            frequency_penalty: params.frequency_penalty,
            presence_penalty: params.presence_penalty,
            logit_bias: params.logit_bias.clone(),
            ends,
            min_tokens: params.min_tokens,
            generated: 0,
            history: has_history.then(|| History::new(prompt)),
            ngrams: is_active(Step::NoRepeatNgram)
                .then(|| NgramIndex::new(params.no_repeat_ngram_size as usize, prompt)),
        }
    }

    /// Commits a token.
    pub(crate) fn advance(&mut self, token: TokenId) {
        self.generated += 1;
        if let Some(history) = &mut self.history {
            history.push(token);
        }
        if let Some(ngrams) = &mut self.ngrams {
            ngrams.push(token);
        }
    }

    /// Runs one processor and says how many tokens it touched; 0 for a warper.
    pub(crate) fn apply(&self, step: Step, row: &mut Row<'_>) -> usize {
        match step {
            Step::LogitBias => self.add_bias(row),
            Step::RepetitionPenalty => {
                let theta = self.repetition_penalty;
                let scale = move |logit: f32| {
                    if logit < 0.0 {
                        logit * theta
                    } else {
                        logit / theta
                    }
                };
                edit_each(row, self.seen().map(|seen| seen.token), |_| scale)
            }
            Step::FrequencyPenalty => {
                let alpha = self.frequency_penalty;
                let generated = self.seen().filter(|seen| seen.generated > 0);
                let counts = generated.map(|seen| (seen.token, alpha * seen.generated as f32));
                subtract_each(row, counts)
            }
            Step::PresencePenalty => {
                let alpha = self.presence_penalty;
                let generated = self.seen().filter(|seen| seen.generated > 0);
                subtract_each(row, generated.map(|seen| (seen.token, alpha)))
            }
            Step::NoRepeatNgram => {
                let mut banned = 0;
                if let Some(ngrams) = &self.ngrams {
                    ngrams.for_each_completion(|token| banned += ban(row, token));
                }
                banned
            }
            Step::MinTokens if self.generated < self.min_tokens => {
                self.ends.iter().map(|&token| ban(row, token)).sum()
            }
            Step::MinTokens | Step::Temperature | Step::TopK | Step::TopP | Step::MinP => 0,
        }
    }

    fn add_bias(&self, row: &mut Row<'_>) -> usize {
        for &(token, bias) in &self.logit_bias {
            if bias == -100.0 {
                ban(row, token);
            } else {
                row.edit(token, |logit| logit + bias);
            }
        }
        self.logit_bias.len()
    }

    fn seen(&self) -> impl Iterator<Item = &history::Seen> {
        self.history.iter().flat_map(History::seen)
    }
}

fn edit_each<F: FnOnce(f32) -> f32>(
    row: &mut Row<'_>,
    tokens: impl Iterator<Item = TokenId>,
    change: impl Fn(TokenId) -> F,
) -> usize {
    let mut edited = 0;
    for token in tokens {
        row.edit(token, change(token));
        edited += 1;
    }
    edited
}

fn subtract_each(row: &mut Row<'_>, amounts: impl Iterator<Item = (TokenId, f32)>) -> usize {
    let mut edited = 0;
    for (token, amount) in amounts {
        row.edit(token, |logit| logit - amount);
        edited += 1;
    }
    edited
}

fn ban(row: &mut Row<'_>, token: TokenId) -> usize {
    row.edit(token, |_| f32::NEG_INFINITY);
    1
}
