//! Rotary frequencies: plain, linear, llama3, yarn, and divided by the factors of a GGUF file; and how
//! configurations spell them. Every frequency is computed in f64 from the f32 exponent that the reference
//! implementations use and rounded once, so that angles agree with theirs to an f32 ulp.

use std::f64::consts::TAU;
use std::ops::RangeInclusive;

use crate::architecture::{Architecture, RotationRule, keys};
use crate::config::unsupported;
use crate::error::Result;
use crate::fields::{Fields, Key, quote};
use crate::program::Rope;

const THETA: RangeInclusive<f64> = 1.0001..=1e12;
const THETA_DEFAULT: f64 = 10_000.0;
const FACTOR: RangeInclusive<f64> = 1.0..=1e6;
const FREQ_FACTOR: RangeInclusive<f64> = 1e-3..=1e6;
const ORIGINAL_CONTEXT: RangeInclusive<f64> = 1.0..=1e9;
const GGUF_FACTOR: Key = Key::new("", "rope.scaling.factor");

/// The rotation as a configuration states it.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the wavelengths.
    pub theta: f64,
    /// What is done to the frequencies.
    pub scaling: RopeScaling,
}

/// How the frequencies of a plain rotation are changed.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by `factor`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, those between blended.
    Llama3(Llama3Scaling),
    /// YaRN: a ramp between kept and divided, and a larger attention.
    Yarn(YarnScaling),
}

/// Parameters of `llama3`.
#[derive(Clone, Debug, PartialEq)]
pub struct Llama3Scaling {
    /// At least 1.
    pub factor: f64,
    /// Wavelengths above `original_context / low_freq_factor` are divided.
    pub low_freq_factor: f64,
    /// Wavelengths below `original_context / high_freq_factor` are kept.
    pub high_freq_factor: f64,
    /// Context the model was first trained with, in tokens.
    pub original_context: f64,
}

/// Parameters of `yarn`.
#[derive(Clone, Debug, PartialEq)]
pub struct YarnScaling {
    /// At least 1.
    pub factor: f64,
    /// Context the model was first trained with, in tokens.
    pub original_context: f64,
    /// Rotations over that context above which a pair is kept.
    pub beta_fast: f64,
    /// Rotations below which it is divided.
    pub beta_slow: f64,
    /// Multiplier of sine and cosine; `None`: 0.1 ln(factor) + 1.
    pub attention_factor: Option<f64>,
    /// Whether the ends of the ramp are rounded outwards to whole pairs.
    pub is_truncated: bool,
}

/// Reads the rotations of a configuration; `context_len` stands in for an original context that it leaves out.
pub(crate) fn read_ropes(
    fields: &Fields<'_>,
    architecture: &Architecture,
    context_len: usize,
) -> Result<Vec<RopeConfig>> {
    let default = architecture.theta_default;
    let has_local = architecture.rotation == RotationRule::LocalBase;
    if architecture.first_position.is_some() {
        return Ok(Vec::new());
    }
    if fields.is_gguf() {
        let mut ropes = vec![read_gguf(fields, default, context_len)?];
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
        return Ok(vec![read_rope(fields, scaling, default, context_len)?]);
    }
    // One set per kind of layer, or, in older files, one set and a second base.
    let [global, local] = ["full_attention", "sliding_attention"]
        .map(|kind| scaling.map_or(Ok(None), |object| object.object(kind)));
    let global = global?.or_else(|| scaling.filter(|object| !object.has_objects()));
    Ok(vec![
        read_rope(fields, global, default, context_len)?,
        match local? {
            Some(local) => read_rope(&local, Some(local), THETA_DEFAULT, context_len)?,
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
    context_len: usize,
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
        Some("llama3") => RopeScaling::Llama3(read_llama3(fields, &object, context_len)?),
        Some("yarn") => RopeScaling::Yarn(read_yarn(fields, &object, context_len)?),
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
    Ok(inner.or(outer).unwrap_or(context_len as f64))
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

/// Without a type, a factor is linear, as in llama.cpp.
fn read_gguf(fields: &Fields<'_>, theta_default: f64, context_len: usize) -> Result<RopeConfig> {
    let theta = fields.number(keys::THETA, THETA)?.unwrap_or(theta_default);
    let kind = fields.text(Key::new("", "rope.scaling.type"))?;
    refuse_gguf_factors(fields, kind == Some("yarn"))?;
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

/// Multipliers of attention and of the ramp that our tables do not have: only their neutral values.
fn refuse_gguf_factors(fields: &Fields<'_>, is_yarn: bool) -> Result<()> {
    let ramp = if is_yarn { 1.0 } else { 0.0 };
    let neutral: [(&str, &[f64]); 4] = [
        ("rope.scaling.attn_factor", &[1.0]),
        ("rope.scaling.yarn_attn_factor", &[1.0]),
        // A negative number says "by the type".
        ("rope.scaling.yarn_ext_factor", &[ramp, -1.0]),
        ("rope.scaling.yarn_log_multiplier", &[0.0]),
    ];
    for (name, neutral) in neutral {
        let key = Key::new("", name);
        let value = fields.number(key, -1e6..=1e6)?;
        if let Some(value) = value.filter(|value| !neutral.contains(value)) {
            return Err(unsupported(format!("{} = {value}", fields.name(key))));
        }
    }
    Ok(())
}

/// The table of a rotation over `dim` elements (even) with base `theta`.
pub fn rope(dim: usize, theta: f64, scaling: &RopeScaling) -> Rope {
    let plain: Vec<f64> = (0..dim / 2)
        .map(|pair| inv_freq(dim, theta, pair))
        .collect();
    let (scaled, attention_factor) = match scaling {
        RopeScaling::None => (plain, 1.0),
        RopeScaling::Linear { factor } => (plain.iter().map(|freq| freq / factor).collect(), 1.0),
        RopeScaling::Llama3(scaling) => (
            plain.iter().map(|&freq| llama3(freq, scaling)).collect(),
            1.0,
        ),
        RopeScaling::Yarn(scaling) => (
            yarn(&plain, dim, theta, scaling),
            scaling
                .attention_factor
                .unwrap_or_else(|| yarn_attention(scaling.factor, 1.0)),
        ),
    };
    Rope {
        inv_freq: scaled.iter().map(|&freq| freq as f32).collect(),
        attention_factor: attention_factor as f32,
    }
}

/// Divides each frequency by its factor (`rope_freqs.weight` of a GGUF file), pair by pair.
pub fn divide(rope: &mut Rope, factors: &[f32]) {
    for (freq, factor) in rope.inv_freq.iter_mut().zip(factors) {
        *freq /= factor;
    }
}

/// YaRN's growth of attention with the context.
pub fn yarn_attention(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * mscale * factor.ln() + 1.0
    }
}

fn inv_freq(dim: usize, theta: f64, pair: usize) -> f64 {
    let exponent = (2 * pair) as f32 / dim as f32;
    let wavelength = theta.powf(f64::from(exponent)) as f32;
    f64::from(1.0 / wavelength)
}

fn llama3(freq: f64, scaling: &Llama3Scaling) -> f64 {
    let wavelength = TAU / freq;
    if wavelength > scaling.original_context / scaling.low_freq_factor {
        return freq / scaling.factor;
    }
    if wavelength < scaling.original_context / scaling.high_freq_factor {
        return freq;
    }
    let span = scaling.high_freq_factor - scaling.low_freq_factor;
    let kept = (scaling.original_context / wavelength - scaling.low_freq_factor) / span;
    (1.0 - kept) * freq / scaling.factor + kept * freq
}

fn yarn(plain: &[f64], dim: usize, theta: f64, scaling: &YarnScaling) -> Vec<f64> {
    let pair_of = |rotations: f64| {
        dim as f64 * (scaling.original_context / (rotations * TAU)).ln() / (2.0 * theta.ln())
    };
    let (mut low, mut high) = (pair_of(scaling.beta_fast), pair_of(scaling.beta_slow));
    if scaling.is_truncated {
        (low, high) = (low.floor(), high.ceil());
    }
    low = low.max(0.0);
    high = high.min(dim as f64 - 1.0);
    if low == high {
        high += 0.001;
    }
    let ramp = |pair: usize| ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
    plain
        .iter()
        .enumerate()
        .map(|(pair, freq)| freq / scaling.factor * ramp(pair) + freq * (1.0 - ramp(pair)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs at which the frequencies below were taken, from transformers 5.23, heads of 128.
    const PAIRS: [usize; 9] = [0, 1, 20, 28, 30, 32, 36, 45, 63];

    fn check(rope: &Rope, attention_factor: f32, expected: [f32; 9]) {
        assert_eq!(rope.inv_freq.len(), 64);
        assert!((rope.attention_factor - attention_factor).abs() < 1e-6);
        for (pair, expected) in PAIRS.into_iter().zip(expected) {
            let got = rope.inv_freq[pair];
            let error = (got - expected).abs() / expected;
            assert!(error < 3e-7, "pair {pair}: {got}, expected {expected}");
        }
    }

    #[test]
    fn plain_frequencies_are_those_of_transformers() {
        let expected = [
            1.0,
            0.814_617_2,
            0.016_560_44,
            0.003_211_446,
            0.002_131_119_6,
            0.001_414_213_4,
            0.000_622_772_44,
            9.838_111e-5,
            2.455_140_7e-6,
        ];
        check(&rope(128, 5e5, &RopeScaling::None), 1.0, expected);
    }

    #[test]
    fn linear_scaling_divides_all() {
        let expected = [
            0.5,
            0.432_982_18,
            0.028_117_064,
            0.008_891_397,
            0.006_667_607_5,
            0.005,
            0.002_811_706_6,
            0.000_769_963_26,
            5.773_91e-5,
        ];
        check(
            &rope(128, 1e4, &RopeScaling::Linear { factor: 2.0 }),
            1.0,
            expected,
        );
    }

    #[test]
    fn llama3_scaling_keeps_blends_and_divides() {
        let scaling = RopeScaling::Llama3(Llama3Scaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192.0,
        });
        let expected = [
            1.0,
            0.814_617_2,
            0.016_560_44,
            0.003_211_446,
            0.001_371_893_7,
            0.000_524_846,
            7.784_655_5e-5,
            1.229_763_9e-5,
            3.068_926e-7,
        ];
        check(&rope(128, 5e5, &scaling), 1.0, expected);
    }

    fn yarn_scaling(attention_factor: Option<f64>, is_truncated: bool) -> RopeScaling {
        RopeScaling::Yarn(YarnScaling {
            factor: 4.0,
            original_context: 32768.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            attention_factor,
            is_truncated,
        })
    }

    #[test]
    fn yarn_scaling_ramps_and_raises_attention() {
        let expected = [
            1.0,
            0.805_842_2,
            0.013_335_215,
            0.001_848_276_6,
            0.001_064_361,
            0.000_602_941_15,
            0.000_179_841_15,
            1.510_741e-5,
            3.102_344_4e-7,
        ];
        check(
            &rope(128, 1e6, &yarn_scaling(None, true)),
            1.138_629_4,
            expected,
        );
    }

    #[test]
    fn yarn_scaling_without_truncation_ramps_between_fractions() {
        let expected = [
            1.0,
            0.805_842_2,
            0.013_335_215,
            0.001_883_502_6,
            0.001_079_237_7,
            0.000_607_408,
            0.000_177_344_23,
            1.510_741e-5,
            3.102_344_4e-7,
        ];
        let factor = yarn_attention(4.0, 0.7) / yarn_attention(4.0, 1.0);
        check(
            &rope(128, 1e6, &yarn_scaling(Some(factor), false)),
            0.963_474_66,
            expected,
        );
    }

    #[test]
    fn factors_of_a_file_divide_pair_by_pair() {
        let mut table = rope(4, 1e4, &RopeScaling::None);
        divide(&mut table, &[2.0, 8.0]);
        assert_eq!(table.inv_freq, [0.5, 0.01 / 8.0]);
    }
}
