//! How configurations spell the rotation of q and k: config.json of several generations, and GGUF metadata.

use std::ops::RangeInclusive;

use super::rope::{
    Llama3Scaling, LongScaling, RopeConfig, RopeScaling, YarnScaling, long_attention,
    yarn_attention,
};
use super::unsupported;
use crate::architecture::{Architecture, RotationRule, keys};
use crate::error::{Error, Result};
use crate::fields::{Fields, Key, quote};

const THETA: RangeInclusive<f64> = 1.0001..=1e12;
const THETA_DEFAULT: f64 = 10_000.0;
const FACTOR: RangeInclusive<f64> = 1.0..=1e6;
const FREQ_FACTOR: RangeInclusive<f64> = 1e-3..=1e6;
/// Attention grows by the logarithm of it, which must not be 0.
const ORIGINAL_CONTEXT: RangeInclusive<f64> = 2.0..=1e9;
const GGUF_FACTOR: Key = Key::new("", "rope.scaling.factor");

/// What else of the model a rotation depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The model's context, which stands in for an original one that is left out.
    pub(super) context_len: usize,
    /// Pairs that rotate.
    pub(super) pairs: usize,
    /// Whether the file has tensors of short and long factors.
    pub(super) has_gguf_factors: bool,
}

/// Reads the rotations of a configuration.
pub(super) fn read_ropes(
    fields: &Fields<'_>,
    architecture: &Architecture,
    place: Place,
) -> Result<Vec<RopeConfig>> {
    let default = architecture.theta_default;
    let has_local = architecture.rotation == RotationRule::LocalBase;
    if architecture.first_position.is_some() {
        return Ok(Vec::new());
    }
    if fields.is_gguf() {
        let mut ropes = vec![read_gguf(fields, default, place)?];
        if has_local {
            ropes.push(read_local(fields)?);
        }
        return Ok(ropes);
    }
    let scaling = match fields.object("rope_scaling")? {
        Some(object) => Some(object),
        None => fields.object("rope_parameters")?,
    };
    if !has_local {
        return Ok(vec![read_rope(fields, scaling, default, place)?]);
    }
    // One set per kind of layer, or, in older files, one set and a second base.
    let [global, local] = ["full_attention", "sliding_attention"]
        .map(|kind| scaling.map_or(Ok(None), |object| object.object(kind)));
    let global = global?.or_else(|| scaling.filter(|object| !object.has_objects()));
    Ok(vec![
        read_rope(fields, global, default, place)?,
        match local? {
            Some(local) => read_rope(&local, Some(local), THETA_DEFAULT, place)?,
            None => read_local(fields)?,
        },
    ])
}

/// The plain rotation of layers with a window.
fn read_local(fields: &Fields<'_>) -> Result<RopeConfig> {
    let theta = fields.number(keys::THETA_LOCAL, THETA)?;
    Ok(RopeConfig {
        theta: theta.unwrap_or(THETA_DEFAULT),
        scaling: RopeScaling::None,
    })
}

fn read_rope(
    fields: &Fields<'_>,
    scaling: Option<Fields<'_>>,
    theta_default: f64,
    place: Place,
) -> Result<RopeConfig> {
    let theta = fields.number(keys::THETA, THETA)?;
    let Some(object) = scaling else {
        return Ok(RopeConfig {
            theta: theta.unwrap_or(theta_default),
            scaling: RopeScaling::None,
        });
    };
    let theta = object.number(keys::THETA, THETA)?.or(theta);
    let mut kind = object.text(Key::new("rope_type", ""))?;
    if kind.is_none() {
        kind = object.text(Key::new("type", ""))?;
    }
    let scaling = match kind {
        None if object.has_objects() => {
            return Err(unsupported("rope parameters per layer type".to_owned()));
        }
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear {
            factor: required(&object, "factor", FACTOR)?,
        },
        Some("llama3") => RopeScaling::Llama3(read_llama3(fields, &object, place.context_len)?),
        Some("yarn") => RopeScaling::Yarn(read_yarn(fields, &object, place.context_len)?),
        // The first name that Phi-3's files had for it.
        Some("longrope" | "su") => RopeScaling::Long(read_long(fields, &object, place)?),
        Some(other) => return Err(unsupported(format!("rope scaling {}", quote(other)))),
    };
    Ok(RopeConfig {
        theta: theta.unwrap_or(theta_default),
        scaling,
    })
}

fn required(object: &Fields<'_>, name: &'static str, bounds: RangeInclusive<f64>) -> Result<f64> {
    let key = Key::new(name, "");
    object
        .number(key, bounds)?
        .ok_or_else(|| object.missing(key))
}

fn original_context(fields: &Fields<'_>, object: &Fields<'_>, context_len: usize) -> Result<f64> {
    let key = Key::new("original_max_position_embeddings", "");
    let inner = object.number(key, ORIGINAL_CONTEXT)?;
    let outer = fields.number(key, ORIGINAL_CONTEXT)?;
    let original = inner.or(outer).unwrap_or(context_len as f64);
    if ORIGINAL_CONTEXT.contains(&original) {
        Ok(original)
    } else {
        Err(fields.missing(key))
    }
}

fn read_llama3(
    fields: &Fields<'_>,
    object: &Fields<'_>,
    context_len: usize,
) -> Result<Llama3Scaling> {
    let low_freq_factor = required(object, "low_freq_factor", FREQ_FACTOR)?;
    let high_freq_factor = required(object, "high_freq_factor", FREQ_FACTOR)?;
    if high_freq_factor <= low_freq_factor {
        let key = Key::new("high_freq_factor", "");
        let expected = format!("above low_freq_factor {low_freq_factor}");
        return Err(object.error(key, &expected, &high_freq_factor.to_string()));
    }
    Ok(Llama3Scaling {
        factor: required(object, "factor", FACTOR)?,
        low_freq_factor,
        high_freq_factor,
        original_context: original_context(fields, object, context_len)?,
    })
}

fn read_yarn(fields: &Fields<'_>, object: &Fields<'_>, context_len: usize) -> Result<YarnScaling> {
    let number = |name| object.number(Key::new(name, ""), FREQ_FACTOR);
    let factor = required(object, "factor", FACTOR)?;
    let attention_factor = match (
        number("attention_factor")?,
        number("mscale")?,
        number("mscale_all_dim")?,
    ) {
        (Some(stated), _, _) => Some(stated),
        (None, Some(mscale), Some(all)) => {
            Some(yarn_attention(factor, mscale) / yarn_attention(factor, all))
        }
        _ => None,
    };
    Ok(YarnScaling {
        factor,
        original_context: original_context(fields, object, context_len)?,
        beta_fast: number("beta_fast")?.unwrap_or(32.0),
        beta_slow: number("beta_slow")?.unwrap_or(1.0),
        attention_factor,
        is_truncated: object.flag(Key::new("truncate", ""))?.unwrap_or(true),
    })
}

/// Two lists of factors, one of which the context that is served chooses.
fn read_long(fields: &Fields<'_>, object: &Fields<'_>, place: Place) -> Result<LongScaling> {
    let original = original_context(fields, object, place.context_len)?;
    // Where both are there, libraries differ in which one counts.
    let outer = Key::new("original_max_position_embeddings", "");
    if let Some(outer_len) = fields
        .number(outer, ORIGINAL_CONTEXT)?
        .filter(|len| *len != original)
    {
        let expected = format!("{original}, as inside the scaling");
        return Err(fields.error(outer, &expected, &outer_len.to_string()));
    }
    let factor = object.number(Key::new("factor", ""), FACTOR)?;
    let factor = factor.unwrap_or(place.context_len as f64 / original);
    let attention = object.number(Key::new("attention_factor", ""), FREQ_FACTOR)?;
    let list = |name| {
        let key = Key::new(name, "");
        let factors = object.numbers(key, place.pairs, FREQ_FACTOR)?;
        let factors = factors.ok_or_else(|| object.missing(key))?;
        Ok::<_, Error>(factors.into_iter().map(|factor| factor as f32).collect())
    };
    Ok(LongScaling {
        short: list("short_factor")?,
        long: list("long_factor")?,
        original_context: original as usize,
        attention_factor: attention.unwrap_or_else(|| long_attention(factor, original)),
    })
}

/// The same in a GGUF file, whose factors are tensors (`build` reads them), and whose attention is stated.
fn read_gguf_long(
    fields: &Fields<'_>,
    theta: f64,
    kind: Option<&str>,
    place: Place,
) -> Result<RopeConfig> {
    if let Some(other) = kind.filter(|kind| !matches!(*kind, "longrope" | "none")) {
        let what = format!("rope scaling {} with two lists of factors", quote(other));
        return Err(unsupported(what));
    }
    refuse_gguf_factors(fields, None)?;
    if let Some(factor) = gguf_factor(fields)?.filter(|factor| *factor != 1.0) {
        let what = format!("a factor of {factor} beside two lists of factors");
        return Err(unsupported(what));
    }
    let original = Key::new("", "rope.scaling.original_context_length");
    let original = fields.number(original, ORIGINAL_CONTEXT)?;
    let attention = Key::new("", "rope.scaling.attn_factor");
    let attention = fields.number(attention, FREQ_FACTOR)?;
    Ok(RopeConfig {
        theta,
        scaling: RopeScaling::Long(LongScaling {
            short: vec![1.0; place.pairs],
            long: vec![1.0; place.pairs],
            original_context: original.unwrap_or(place.context_len as f64) as usize,
            attention_factor: attention.unwrap_or(1.0),
        }),
    })
}

/// Without a type, a factor is linear, as in llama.cpp.
fn read_gguf(fields: &Fields<'_>, theta_default: f64, place: Place) -> Result<RopeConfig> {
    let context_len = place.context_len;
    let theta = fields.number(keys::THETA, THETA)?.unwrap_or(theta_default);
    let kind = fields.text(Key::new("", "rope.scaling.type"))?;
    if place.has_gguf_factors {
        return read_gguf_long(fields, theta, kind, place);
    }
    let ramp = if kind == Some("yarn") { 1.0 } else { 0.0 };
    refuse_gguf_factors(fields, Some(ramp))?;
    let stated = gguf_factor(fields)?;
    let factor = || stated.ok_or_else(|| fields.missing(GGUF_FACTOR));
    let scaling = match kind {
        None => stated.map_or(RopeScaling::None, |factor| RopeScaling::Linear { factor }),
        Some("none") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: factor()? },
        Some("yarn") => {
            let number = |name, bounds| fields.number(Key::new("", name), bounds);
            RopeScaling::Yarn(YarnScaling {
                factor: factor()?,
                original_context: number("rope.scaling.original_context_length", ORIGINAL_CONTEXT)?
                    .unwrap_or(context_len as f64),
                beta_fast: number("rope.scaling.yarn_beta_fast", FREQ_FACTOR)?.unwrap_or(32.0),
                beta_slow: number("rope.scaling.yarn_beta_slow", FREQ_FACTOR)?.unwrap_or(1.0),
                attention_factor: None,
                is_truncated: true,
            })
        }
        Some(other) => return Err(unsupported(format!("rope scaling {}", quote(other)))),
    };
    Ok(RopeConfig { theta, scaling })
}

/// The factor under its present key, else under the one of old files; 0 says "none".
fn gguf_factor(fields: &Fields<'_>) -> Result<Option<f64>> {
    for key in [GGUF_FACTOR, Key::new("", "rope.scale_linear")] {
        match fields.number(key, 0.0..=*FACTOR.end())? {
            None => {}
            Some(0.0) => return Ok(None),
            Some(_) => return fields.number(key, FACTOR),
        }
    }
    Ok(None)
}

/// Multipliers of attention and of the ramp that our tables do not have: only their neutral values. `ramp`: the
/// neutral value of YaRN's; `None`: two lists of factors, with which attention's own multiplier is read.
fn refuse_gguf_factors(fields: &Fields<'_>, ramp: Option<f64>) -> Result<()> {
    let neutral: [(&str, &[f64]); 4] = [
        ("rope.scaling.yarn_attn_factor", &[1.0]),
        // A negative number says "by the type".
        ("rope.scaling.yarn_ext_factor", &[ramp.unwrap_or(0.0), -1.0]),
        ("rope.scaling.yarn_log_multiplier", &[0.0]),
        ("rope.scaling.attn_factor", &[1.0]),
    ];
    let checked = if ramp.is_some() {
        &neutral[..]
    } else {
        &neutral[..3]
    };
    for (name, neutral) in checked {
        let key = Key::new("", name);
        let value = fields.number(key, -1e6..=1e6)?;
        if let Some(value) = value.filter(|value| !neutral.contains(value)) {
            return Err(unsupported(format!("{} = {value}", fields.name(key))));
        }
    }
    Ok(())
}
