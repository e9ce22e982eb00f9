//! The steps that act on the whole row: biases, penalties and bans. Owns the state they need, a function of
//! the token prefix alone; each step edits only the tokens it concerns. Knows nothing of warpers or noise.

mod custom;
mod dry;
mod forcing;
mod history;
mod ngram;
mod phrases;
mod thinking;

use std::collections::BTreeMap;

use tokenmill_core::{NamedPipeline, SamplingParams, TokenId};

use crate::error::Result;
use crate::pipeline::Step;
use crate::row::Row;
use custom::Custom;
use dry::Stretches;
use forcing::Forcing;
use history::History;
use ngram::NgramIndex;
use phrases::Phrases;
use thinking::Thought;

/// What a processor did to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// It touched tokens.
    Touched,
    /// What it would have forced may not come.
    Skipped,
}

impl Effect {
    fn of(tokens: usize) -> Self {
        if tokens > 0 {
            Self::Touched
        } else {
            Self::None
        }
    }
}

/// What processors need beside the parameters: the state of the prefix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Processors {
    ends: Vec<TokenId>,
    /// Output tokens until `min_length` is reached.
    min_by_length: u32,
    generated: u32,
    history: Option<History>,
    ngrams: Option<NgramIndex>,
    bad_words: Option<Phrases<()>>,
    biases: Option<Phrases<f32>>,
    /// Distinct tokens of the prompt, where a step rewards them.
    given: Vec<TokenId>,
    prompt_ngrams: Option<NgramIndex>,
    stretches: Option<Stretches>,
    forcing: Forcing,
    thought: Option<Thought>,
    custom: Option<Custom>,
}

impl Processors {
    /// State after the prompt. `eos`: the model's own ends.
    pub(crate) fn new(params: &SamplingParams, eos: &[TokenId], prompt: &[TokenId]) -> Self {
        let is_active = |step: Step| step.is_active(params);
        let meaning = params.pipeline.meaning();
        let window = match params.penalty_last_n {
            Some(last) => usize::try_from(last).ok(),
            None => meaning.penalty_window().map(|last| last as usize),
        };
        let has_history = is_active(Step::RepetitionPenalty)
            || is_active(Step::FrequencyPenalty)
            || is_active(Step::PresencePenalty);
        // transformers' minimum knows the model's own ends only.
        let own: &[TokenId] = match meaning {
            NamedPipeline::Hf => &[],
            _ => &params.stop_token_ids,
        };
        let mut ends: Vec<TokenId> = eos.iter().chain(own).copied().collect();
        ends.sort_unstable();
        ends.dedup();
        let words_in = if meaning == NamedPipeline::Vllm {
            &[]
        } else {
            prompt
        };
        let mut given = Vec::new();
        if is_active(Step::EncoderRepetitionPenalty) {
            given.extend_from_slice(prompt);
            given.sort_unstable();
            given.dedup();
        }
        Self {
            given,
            forcing: Forcing::new(params, eos, prompt.len()),
            thought: is_active(Step::ThinkingBudget)
                .then(|| Thought::new(&params.thinking, prompt)),
            custom: Custom::new(params, prompt),
            biases: is_active(Step::SequenceBias)
                .then(|| Phrases::new(params.sequence_bias.clone(), prompt)),
            prompt_ngrams: is_active(Step::EncoderNoRepeatNgram)
                .then(|| NgramIndex::new(params.encoder_no_repeat_ngram_size as usize, prompt)),
            stretches: is_active(Step::Dry).then(|| Stretches::new(&params.dry, prompt)),
            min_by_length: params.min_length.saturating_sub(prompt.len() as u32),
            bad_words: is_active(Step::BadWords)
                .then(|| Phrases::new(bad_phrases(params, eos), words_in)),
            ends,
            generated: 0,
            // A window of nothing leaves the penalties without an object.
            history: (has_history && window != Some(0)).then(|| History::new(prompt, window)),
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
        if let Some(words) = &mut self.bad_words {
            words.push(token);
        }
        if let Some(biases) = &mut self.biases {
            biases.push(token);
        }
        if let Some(ngrams) = &mut self.prompt_ngrams {
            ngrams.pass(token);
        }
        if let Some(stretches) = &mut self.stretches {
            stretches.push(token);
        }
        if let Some(thought) = &mut self.thought {
            thought.push(token);
        }
        if let Some(custom) = &mut self.custom {
            custom.push(token);
        }
    }

    /// The number of tokens after which the output ends, where it is not that of the parameters.
    pub(crate) fn set_output_len_max(&mut self, output_len_max: u32) {
        self.forcing.output_len_max = Some(output_len_max);
    }

    /// Runs one processor; a warper does nothing to a row.
    pub(crate) fn apply(
        &self,
        params: &SamplingParams,
        step: Step,
        row: &mut Row<'_>,
    ) -> Result<Effect> {
        Ok(match step {
            Step::ForcedBos => self.forcing.force_first(self.generated, row),
            Step::ForcedEos => self.forcing.force_last(self.generated, row),
            Step::ExponentialDecayLength => self.forcing.grow_end(self.generated, row),
            Step::ThinkingBudget => match self.thought.as_ref().and_then(Thought::forced) {
                Some(token) => self.forcing.force(&[token], row),
                None => Effect::None,
            },
            Step::Custom => match &self.custom {
                Some(custom) => Effect::of(custom.run(&params.logits_processors, row)?),
                None => Effect::None,
            },
            Step::PrefixAllowedTokens => self.allow(params, row)?,
            _ => Effect::of(self.edit(params, step, row)),
        })
    }

    /// Bans all but what a callable allows. Where every one of those is banned already they are forced, as
    /// transformers does, unless what bans them is never lifted.
    fn allow(&self, params: &SamplingParams, row: &mut Row<'_>) -> Result<Effect> {
        let (Some(custom), Some(callable)) = (&self.custom, &params.prefix_allowed_tokens_fn)
        else {
            return Ok(Effect::None);
        };
        let allowed = custom.allowed(callable, row.len())?;
        if allowed
            .iter()
            .any(|&token| row.value(token) > f32::NEG_INFINITY)
        {
            row.keep_only(&allowed);
            return Ok(Effect::of(allowed.len()));
        }
        let effect = self.forcing.force(&allowed, row);
        if effect == Effect::Skipped {
            row.keep_only(&[]);
        }
        Ok(Effect::Touched)
    }

    /// Runs one that concerns given tokens, and says how many it touched.
    fn edit(&self, params: &SamplingParams, step: Step, row: &mut Row<'_>) -> usize {
        let meaning = params.pipeline.meaning();
        match step {
            Step::LogitBias => add_bias(params, row),
            Step::RepetitionPenalty => {
                let theta = params.repetition_penalty;
                let scale = move |logit: f32| scaled(logit, theta);
                let is_own = meaning == NamedPipeline::Sglang;
                let seen = self.seen().filter(|seen| !is_own || seen.generated > 0);
                edit_each(row, seen.map(|seen| seen.token), |_| scale)
            }
            Step::FrequencyPenalty => {
                let alpha = params.frequency_penalty;
                let counts = self.counts(meaning);
                subtract_each(
                    row,
                    counts.map(|(token, count)| (token, alpha * count as f32)),
                )
            }
            Step::PresencePenalty => {
                let alpha = params.presence_penalty;
                subtract_each(row, self.counts(meaning).map(|(token, _)| (token, alpha)))
            }
            Step::SequenceBias => self.bias_sequences(row),
            Step::EncoderRepetitionPenalty => {
                let theta = params.encoder_repetition_penalty;
                let scale = move |logit: f32| scaled(logit, 1.0 / theta);
                edit_each(row, self.given.iter().copied(), |_| scale)
            }
            Step::Dry => {
                let penalties = self.stretches.iter().flat_map(Stretches::penalties);
                subtract_each(row, penalties)
            }
            Step::NoRepeatNgram => ban_completions(row, self.ngrams.as_ref()),
            Step::EncoderNoRepeatNgram => ban_completions(row, self.prompt_ngrams.as_ref()),
            Step::RemoveInvalid => {
                let is_hf = meaning == NamedPipeline::Hf;
                row.remove_invalid(if is_hf { f32::MIN } else { f32::NEG_INFINITY });
                row.len()
            }
            Step::AllowedTokenIds => {
                row.keep_only(params.allowed_token_ids.as_deref().unwrap_or(&[]));
                row.len()
            }
            Step::BadWords => {
                let words = self.bad_words.iter().flat_map(Phrases::completions);
                words.map(|(token, ())| ban(row, token)).sum()
            }
            Step::MinLength if self.generated < self.min_by_length => ban_all(row, &self.ends),
            Step::MinTokens if self.generated < params.min_tokens => ban_all(row, &self.ends),
            Step::Suppress => ban_all(row, &params.suppress_tokens),
            Step::BeginSuppress if self.generated == self.forcing.forced_first() => {
                ban_all(row, &params.begin_suppress_tokens)
            }
            // A minimum that is reached, a beginning that is over, and warpers.
            _ => 0,
        }
    }

    /// How often each token counts for the penalties that subtract.
    fn counts(&self, meaning: NamedPipeline) -> impl Iterator<Item = (TokenId, u32)> {
        let is_given_too = meaning == NamedPipeline::Llamacpp;
        let count =
            move |seen: &history::Seen| seen.generated + if is_given_too { seen.given } else { 0 };
        self.seen()
            .map(move |seen| (seen.token, count(seen)))
            .filter(|&(_, count)| count > 0)
    }

    /// What several sequences add to one token is summed first.
    fn bias_sequences(&self, row: &mut Row<'_>) -> usize {
        let mut sums: BTreeMap<TokenId, f32> = BTreeMap::new();
        for (token, bias) in self.biases.iter().flat_map(Phrases::completions) {
            *sums.entry(token).or_insert(0.0) += bias;
        }
        for (&token, bias) in &sums {
            row.edit(token, |logit| logit + bias);
        }
        sums.len()
    }

    fn seen(&self) -> impl Iterator<Item = &history::Seen> {
        self.history.iter().flat_map(History::seen)
    }
}

fn add_bias(params: &SamplingParams, row: &mut Row<'_>) -> usize {
    let is_ours = params.pipeline.meaning() == NamedPipeline::Tokenmill;
    for &(token, bias) in &params.logit_bias {
        if bias == -100.0 && is_ours {
            ban(row, token);
        } else {
            row.edit(token, |logit| logit + bias);
        }
    }
    params.logit_bias.len()
}

/// The sequences that must not be completed. One that is an end token alone is dropped, as transformers does.
fn bad_phrases(params: &SamplingParams, eos: &[TokenId]) -> Vec<(Vec<TokenId>, ())> {
    let words = params.bad_word_tokens.iter().chain(&params.bad_words_ids);
    let is_vllm = params.pipeline.meaning() == NamedPipeline::Vllm;
    let is_end =
        |word: &&Vec<TokenId>| !is_vllm && matches!(word[..], [token] if eos.contains(&token));
    let words = words.filter(|word| !is_end(word));
    words.map(|word| (word.clone(), ())).collect()
}

fn scaled(logit: f32, theta: f32) -> f32 {
    if logit < 0.0 {
        logit * theta
    } else {
        logit / theta
    }
}

fn ban_completions(row: &mut Row<'_>, ngrams: Option<&NgramIndex>) -> usize {
    let mut banned = 0;
    if let Some(ngrams) = ngrams {
        ngrams.for_each_completion(|token| banned += ban(row, token));
    }
    banned
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

pub(crate) fn subtract_each(
    row: &mut Row<'_>,
    amounts: impl Iterator<Item = (TokenId, f32)>,
) -> usize {
    let mut edited = 0;
    for (token, amount) in amounts {
        row.edit(token, |logit| logit - amount);
        edited += 1;
    }
    edited
}

fn ban_all(row: &mut Row<'_>, tokens: &[TokenId]) -> usize {
    tokens.iter().map(|&token| ban(row, token)).sum()
}

fn ban(row: &mut Row<'_>, token: TokenId) -> usize {
    row.edit(token, |_| f32::NEG_INFINITY);
    1
}
