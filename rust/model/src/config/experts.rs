//! Which layers are mixtures of experts, of how many, and how the chosen ones are weighted.

use std::ops::RangeInclusive;

use super::{Reader, WIDTH, unsupported};
use crate::architecture::{ExpertRule, keys};
use crate::error::Result;
use crate::fields::{Key, Value};

const EXPERTS: RangeInclusive<usize> = 1..=1024;
/// Experts of all layers together; the largest published models have a third of it.
const EXPERTS_MAX: usize = 1 << 16;

/// The mixture of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertConfig {
    /// Experts.
    pub count: usize,
    /// Experts that a row goes through; at most `count`.
    pub active: usize,
    /// Width of each.
    pub inner: usize,
    /// Whether the weights of the chosen ones sum to 1.
    pub is_renormalised: bool,
}

impl Reader<'_> {
    /// The mixture of each of `len` layers; `None`: an ordinary MLP.
    pub(super) fn experts(&self, len: usize) -> Result<Vec<Option<ExpertConfig>>> {
        let Some(rule) = self.architecture.experts else {
            return Ok(vec![None; len]);
        };
        let (key, count) = self.expert_count()?;
        if count.saturating_mul(len) > EXPERTS_MAX {
            let expected = format!("at most {EXPERTS_MAX} experts in {len} layers");
            return Err(self.fields.error(key, &expected, &count.to_string()));
        }
        let active = self.required(keys::EXPERTS_ACTIVE, EXPERTS)?;
        if active > count {
            let expected = format!("at most the {count} experts");
            let got = active.to_string();
            return Err(self.fields.error(keys::EXPERTS_ACTIVE, &expected, &got));
        }
        let inner = match self.fields.count(keys::EXPERT_INNER, WIDTH)? {
            Some(inner) if rule.has_own_width => inner,
            _ => self.required(keys::INNER, WIDTH)?,
        };
        let mixture = ExpertConfig {
            count,
            active,
            inner,
            is_renormalised: self.is_renormalised(rule)?,
        };
        let is_dense = self.dense_layers(len)?;
        Ok(is_dense
            .into_iter()
            .map(|is_dense| (!is_dense).then_some(mixture))
            .collect())
    }

    /// Files give the number under one of two names, or under both.
    fn expert_count(&self) -> Result<(Key, usize)> {
        let counts = [keys::EXPERTS, keys::EXPERTS_LOCAL].map(|key| {
            let count = self.fields.count(key, EXPERTS)?;
            Ok(count.map(|count| (key, count)))
        });
        match counts {
            [Err(error), _] | [_, Err(error)] => Err(error),
            [Ok(Some((_, count))), Ok(Some((key, local)))] if count != local => {
                let expected = format!("{count} like {}", self.fields.name(keys::EXPERTS));
                Err(self.fields.error(key, &expected, &local.to_string()))
            }
            [Ok(Some(found)), _] | [_, Ok(Some(found))] => Ok(found),
            [Ok(None), Ok(None)] => Err(self.fields.missing(keys::EXPERTS)),
        }
    }

    fn is_renormalised(&self, rule: ExpertRule) -> Result<bool> {
        let stated = self.fields.flag(Key::new("", "expert_weights_norm"))?;
        match rule.renormalised_flag {
            _ if self.fields.is_gguf() => Ok(stated.unwrap_or(rule.is_renormalised_in_gguf)),
            Some(flag) => Ok(self.fields.flag(Key::new(flag, ""))?.unwrap_or(false)),
            None => Ok(true),
        }
    }

    /// Layers that have an ordinary MLP all the same. GGUF files have no key for them.
    fn dense_layers(&self, len: usize) -> Result<Vec<bool>> {
        if self.fields.is_gguf() {
            return Ok(vec![false; len]);
        }
        let step = Key::new("decoder_sparse_step", "");
        let step = self.fields.count(step, 1..=4096)?.unwrap_or(1);
        let mut is_dense: Vec<bool> = (1..=len).map(|n| !n.is_multiple_of(step)).collect();
        let key = Key::new("mlp_only_layers", "");
        let listed = match self.fields.value(key) {
            None => return Ok(is_dense),
            Some(Value::List(listed)) => listed,
            Some(other) => {
                let expected = "a list of layers";
                return Err(self.fields.error(key, expected, &other.to_string()));
            }
        };
        for layer in listed {
            let place = match layer {
                Value::Int(layer) => usize::try_from(layer).ok(),
                _ => None,
            };
            let Some(is_dense) = place.and_then(|layer| is_dense.get_mut(layer)) else {
                let expected = format!("layers from 0 to {}", len - 1);
                return Err(self.fields.error(key, &expected, &layer.to_string()));
            };
            *is_dense = true;
        }
        Ok(is_dense)
    }

    /// Mixtures in files of an architecture that has none as we know it, shared experts, and other ways to weigh
    /// or to choose.
    pub(super) fn refuse_other_experts(&self) -> Result<()> {
        let shared = [
            Key::new("n_shared_experts", "expert_shared_count"),
            Key::new(
                "shared_expert_intermediate_size",
                "expert_shared_feed_forward_length",
            ),
        ];
        let all = [keys::EXPERTS, keys::EXPERTS_LOCAL];
        let refused = match self.architecture.experts {
            None => shared.iter().chain(&all).collect::<Vec<_>>(),
            Some(_) => shared.iter().collect(),
        };
        for key in refused {
            if self.fields.count(*key, 0..=1 << 24)?.unwrap_or(0) > 0 {
                let architecture = self.architecture.name;
                let what = format!("{} above 0 in {architecture}", self.fields.name(*key));
                return Err(unsupported(what));
            }
        }
        // By number: softmax is 1, and 0 says nothing.
        let gating = Key::new("", "expert_gating_func");
        let groups = Key::new("", "expert_group_count");
        for key in [gating, groups] {
            let value = self.fields.count(key, 0..=1 << 16)?.unwrap_or(0);
            if value > 1 {
                return Err(unsupported(format!("{} = {value}", self.fields.name(key))));
            }
        }
        let scale = Key::new("", "expert_weights_scale");
        match self.fields.number(scale, 0.0..=1e6)? {
            None | Some(0.0 | 1.0) => Ok(()),
            Some(value) => Err(unsupported(format!(
                "{} = {value}",
                self.fields.name(scale)
            ))),
        }
    }
}
