//! Rotary frequencies: plain, linear, llama3, yarn, longrope, and divided by the factors of a GGUF file. How
//! configurations spell them is `rotation`'s. Every frequency is computed in f64 from the f32 exponent that the reference
//! implementations use and rounded once, so that angles agree with theirs to an f32 ulp.

use std::f64::consts::TAU;

use crate::program::{LongRope, Rope};

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
    /// LongRoPE: each pair divided by a factor of its own, of one list or the other.
    Long(LongScaling),
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

/// Parameters of `longrope`.
#[derive(Clone, Debug, PartialEq)]
pub struct LongScaling {
    /// Factors where the context served is no longer than the original one, one per pair.
    pub short: Vec<f32>,
    /// Factors where it is longer.
    pub long: Vec<f32>,
    /// Context the model was first trained with, in tokens.
    pub original_context: usize,
    /// Multiplier of sine and cosine.
    pub attention_factor: f64,
}

/// The table of a rotation over `dim` elements (even) with base `theta`.
pub fn rope(dim: usize, theta: f64, scaling: &RopeScaling) -> Rope {
    let plain: Vec<f64> = (0..dim / 2)
        .map(|pair| inv_freq(dim, theta, pair))
        .collect();
    // In f32, as the reference computes it.
    let stretched = |factors: &[f32]| -> Vec<f32> {
        let stretch = |(pair, factor): (usize, &f32)| 1.0 / (factor * wavelength(dim, theta, pair));
        factors.iter().enumerate().map(stretch).collect()
    };
    let (scaled, attention_factor) = match scaling {
        RopeScaling::None => (plain, 1.0),
        RopeScaling::Long(scaling) => {
            return Rope {
                inv_freq: stretched(&scaling.short),
                attention_factor: scaling.attention_factor as f32,
                long: Some(LongRope {
                    inv_freq: stretched(&scaling.long),
                    original_context: scaling.original_context,
                }),
            };
        }
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
        long: None,
    }
}

/// LongRoPE's growth of attention, for a context `factor` times the original one.
pub fn long_attention(factor: f64, original_context: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        (1.0 + factor.ln() / original_context.ln()).sqrt()
    }
}

/// Divides each frequency by its factor, pair by pair.
pub fn divide(inv_freq: &mut [f32], factors: &[f32]) {
    for (freq, factor) in inv_freq.iter_mut().zip(factors) {
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

/// Over 2 pi.
fn wavelength(dim: usize, theta: f64, pair: usize) -> f32 {
    let exponent = (2 * pair) as f32 / dim as f32;
    theta.powf(f64::from(exponent)) as f32
}

fn inv_freq(dim: usize, theta: f64, pair: usize) -> f64 {
    f64::from(1.0 / wavelength(dim, theta, pair))
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
        divide(&mut table.inv_freq, &[2.0, 8.0]);
        assert_eq!(table.inv_freq, [0.5, 0.01 / 8.0]);
    }
}
