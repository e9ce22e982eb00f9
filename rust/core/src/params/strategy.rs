//! Parameters that belong together: each strategy's own, with the defaults under which it does nothing.

use crate::id::TokenId;

/// DRY: what would go on repeating a stretch of the sequence costs more the longer the stretch is.
#[derive(Clone, Debug, PartialEq)]
pub struct Dry {
    /// Subtracted for a stretch of exactly `allowed_length`; 0 is off.
    pub multiplier: f32,
    /// Factor for each further token, at least 1.
    pub base: f32,
    /// Shortest stretch that costs anything.
    pub allowed_length: u32,
    /// Tokens at the end of the sequence in which stretches are looked for; -1: all.
    pub last_n: i32,
    /// Texts behind which a stretch starts anew.
    pub breakers: Vec<String>,
    /// Token sequences that do so: what the engine's tokenizer makes of `breakers`. No option.
    pub breaker_tokens: Vec<Vec<TokenId>>,
}

impl Default for Dry {
    fn default() -> Self {
        Self {
            multiplier: 0.0,
            base: 1.75,
            allowed_length: 2,
            last_n: 64,
            breakers: ["\n", ":", "\"", "*"].map(str::to_owned).to_vec(),
            breaker_tokens: Vec::new(),
        }
    }
}

/// XTC: now and then the likeliest tokens are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Xtc {
    /// How often, [0, 1]; 0 is off.
    pub probability: f32,
    /// All tokens at least this likely but the last of them are left out.
    pub threshold: f32,
}

impl Default for Xtc {
    fn default() -> Self {
        Self {
            probability: 0.0,
            threshold: 0.1,
        }
    }
}

/// Whose constants mirostat has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MirostatVariant {
    /// llama.cpp's.
    #[default]
    Llamacpp,
    /// The paper's.
    Authors,
}

impl MirostatVariant {
    /// The public names, in the order of the variants.
    pub const NAMES: [&'static str; 2] = ["llamacpp", "authors"];

    const VARIANTS: [Self; 2] = [Self::Llamacpp, Self::Authors];

    /// The public name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The variant of a public name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::VARIANTS
            .into_iter()
            .find(|variant| variant.name() == name)
    }
}

/// Mirostat: the cut moves so that tokens surprise by so many bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mirostat {
    /// 1 or 2; 0 is off.
    pub version: u32,
    /// Wanted surprise in bits.
    pub tau: f32,
    /// How fast the cut moves.
    pub eta: f32,
    /// Whose constants.
    pub variant: MirostatVariant,
}

impl Default for Mirostat {
    fn default() -> Self {
        Self {
            version: 0,
            tau: 5.0,
            eta: 0.1,
            variant: MirostatVariant::Llamacpp,
        }
    }
}

/// Adaptive p: tokens near a probability are preferred, which moves so that the drawn ones reach a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// Wanted probability of the drawn tokens, [0, 1]; absent is off.
    pub target: Option<f32>,
    /// How slowly drawn tokens are forgotten, [0, 0.99].
    pub decay: f32,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            target: None,
            decay: 0.9,
        }
    }
}

/// The end grows more likely with every token after `start`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LengthDecay {
    /// Output tokens without an effect.
    pub start: u32,
    /// Factor for each further token, > 0.
    pub factor: f32,
}

/// A bound on thinking: the tokens between a beginning and an end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thinking {
    /// Tokens behind the beginning after which the end is forced; absent is off.
    pub budget: Option<u32>,
    /// The tokens that begin it: what the loaded model says. No option.
    pub start_tokens: Vec<TokenId>,
    /// The tokens that end it. No option.
    pub end_tokens: Vec<TokenId>,
}
