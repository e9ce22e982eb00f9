//! Which token must come, and how much likelier the end grows with the length. A function of the number of tokens;
//! what may not come at all is never forced.

use tokenmill_core::{LengthDecay, NamedPipeline, SamplingParams, TokenId};

use super::Effect;
use crate::row::Row;

/// What is forced where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Forcing {
    first: Option<TokenId>,
    last: Vec<TokenId>,
    prompt_len: usize,
    /// Tokens after which the output ends anyhow.
    pub(super) output_len_max: Option<u32>,
    decay: Option<LengthDecay>,
    eos: Vec<TokenId>,
    /// The only tokens that may come, if any.
    allowed: Option<Vec<TokenId>>,
    /// Those that a bias bans.
    barred: Vec<TokenId>,
}

impl Forcing {
    pub(crate) fn new(params: &SamplingParams, eos: &[TokenId], prompt_len: usize) -> Self {
        let bans = params.pipeline.meaning() == NamedPipeline::Tokenmill;
        let barring = params
            .logit_bias
            .iter()
            .filter(|(_, bias)| bans && *bias == -100.0);
        Self {
            first: params.forced_bos_token_id,
            last: params.forced_eos_token_id.clone().unwrap_or_default(),
            prompt_len,
            output_len_max: params.max_tokens,
            decay: params.exponential_decay_length_penalty,
            eos: eos.to_vec(),
            allowed: params.allowed_token_ids.clone(),
            barred: barring.map(|&(token, _)| token).collect(),
        }
    }

    /// Output tokens before the first one that nothing forces.
    pub(crate) fn forced_first(&self) -> u32 {
        u32::from(self.first.is_some() && self.prompt_len == 1)
    }

    /// Forces the token behind a prompt of one.
    pub(crate) fn force_first(&self, generated: u32, row: &mut Row<'_>) -> Effect {
        if generated > 0 || self.prompt_len != 1 {
            return Effect::None;
        }
        self.force(self.first.as_slice(), row)
    }

    /// Forces an end where there is no room behind it.
    pub(crate) fn force_last(&self, generated: u32, row: &mut Row<'_>) -> Effect {
        let is_last = self.output_len_max == Some(generated + 1);
        if is_last {
            self.force(&self.last, row)
        } else {
            Effect::None
        }
    }

    /// Adds to the ends behind the start of the decay.
    pub(crate) fn grow_end(&self, generated: u32, row: &mut Row<'_>) -> Effect {
        let Some(decay) = self.decay.filter(|decay| generated > decay.start) else {
            return Effect::None;
        };
        let factor = f64::from(decay.factor).powf(f64::from(generated - decay.start)) - 1.0;
        let grown = |logit: f32| {
            let sum = f64::from(logit) + f64::from(logit.abs()) * factor;
            sum.min(f64::from(f32::MAX)) as f32
        };
        for &token in &self.eos {
            row.edit(token, |logit| {
                if logit.is_finite() {
                    grown(logit)
                } else {
                    logit
                }
            });
        }
        Effect::of(self.eos.len())
    }

    pub(super) fn force(&self, tokens: &[TokenId], row: &mut Row<'_>) -> Effect {
        let is_free = |&&token: &&TokenId| {
            let is_allowed = self.allowed.as_ref().is_none_or(|all| all.contains(&token));
            // The model itself may leave a token out.
            let is_model = row.own()[token as usize] != f32::NEG_INFINITY;
            is_allowed && is_model && !self.barred.contains(&token)
        };
        let free: Vec<TokenId> = tokens.iter().filter(is_free).copied().collect();
        if free.is_empty() {
            return Effect::Skipped;
        }
        row.force(&free);
        Effect::of(free.len())
    }
}
