//! Multipliers and caps, by the architecture's rules and the configuration's keys.

use std::ops::RangeInclusive;

use super::{LayerConfig, Reader};
use crate::architecture::{AttentionScale, EmbedScale};
use crate::error::Result;
use crate::fields::Key;

const FACTOR: RangeInclusive<f64> = 1e-6..=1e6;
/// What transformers assumes of Gemma where config.json is silent.
const SCALAR_DEFAULT: f64 = 256.0;
const ATTENTION_CAP_DEFAULT: f32 = 50.0;
const LOGITS_CAP_DEFAULT: f32 = 30.0;

/// What values are multiplied by, and where they are capped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// Of the embedding.
    pub embed: f32,
    /// Of what each branch adds to the stream.
    pub residual: f32,
    /// Of the scores.
    pub attention: f32,
    /// Of the logits.
    pub logits: f32,
    /// `cap * tanh(score / cap)`.
    pub attention_cap: Option<f32>,
    /// The same of the logits.
    pub logits_cap: Option<f32>,
}

impl Reader<'_> {
    pub(super) fn factors(&self, hidden: usize, layers: &[LayerConfig]) -> Result<Factors> {
        let architecture = self.architecture;
        let mut factors = Factors {
            embed: match architecture.embed_scale {
                EmbedScale::One => 1.0,
                EmbedScale::RootOfWidth => (hidden as f64).sqrt() as f32,
            },
            residual: 1.0,
            attention: 1.0 / (self.scalar(hidden, layers)?).sqrt(),
            logits: 1.0,
            attention_cap: None,
            logits_cap: None,
        };
        if architecture.has_soft_caps {
            let attention = Key::new("attn_logit_softcapping", "attn_logit_softcapping");
            let logits = Key::new("final_logit_softcapping", "final_logit_softcapping");
            factors.attention_cap = self.cap(attention, ATTENTION_CAP_DEFAULT)?;
            factors.logits_cap = self.cap(logits, LOGITS_CAP_DEFAULT)?;
        }
        if architecture.has_multipliers {
            let factor =
                |key| -> Result<f32> { Ok(self.fields.number(key, FACTOR)?.unwrap_or(1.0) as f32) };
            factors.embed = factor(Key::new("embedding_multiplier", "embedding_scale"))?;
            factors.residual = factor(Key::new("residual_multiplier", "residual_scale"))?;
            factors.attention = factor(Key::new("attention_multiplier", "attention.scale"))?;
            factors.logits = 1.0 / factor(Key::new("logits_scaling", "logit_scale"))?;
        }
        Ok(factors)
    }

    /// Whose root divides the scores.
    fn scalar(&self, hidden: usize, layers: &[LayerConfig]) -> Result<f32> {
        let (heads, head_dim) = layers
            .first()
            .map_or((1, 1), |layer| (layer.heads, layer.head_dim));
        let AttentionScale::Scalar { wide_layers } = self.architecture.attention_scale else {
            return Ok(head_dim as f32);
        };
        if self.fields.is_gguf() {
            let is_wide = layers.len() == wide_layers;
            return Ok(if is_wide { hidden / heads } else { head_dim } as f32);
        }
        let key = Key::new("query_pre_attn_scalar", "");
        let stated = self.fields.number(key, FACTOR)?;
        Ok(stated.unwrap_or(SCALAR_DEFAULT) as f32)
    }

    /// A cap; `null` says none, where an absent key means the default.
    fn cap(&self, key: Key, default: f32) -> Result<Option<f32>> {
        if self.fields.has_null(key) {
            return Ok(None);
        }
        let stated = self.fields.number(key, FACTOR)?;
        Ok(Some(stated.map_or(default, |cap| cap as f32)))
    }
}
