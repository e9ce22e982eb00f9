//! The types an option can have, their bounds in words, and the check of a value against them. Ranges are
//! written positively, so NaN is outside every one; f64 is checked first, then narrowed, then checked again.

mod check;
mod json;
mod processors;
mod sequence;
mod source;
mod structured;

use crate::limits::Limits;
use crate::option::value::Value;
use crate::params::{Action, NamedPipeline, Step};
use check::{
    checked_bias, checked_float, checked_ids, checked_int, checked_logprobs, checked_pipeline,
    checked_repetition, checked_texts,
};
pub(super) use json::read as read_json;
pub(super) use processors::KEYS as PROCESSOR_KEYS;
use processors::checked_processors;
use sequence::{checked_decay, checked_sequence_bias, checked_sequences};
use source::{checked_contrastive, checked_layers};
pub(super) use structured::SWITCHES;

/// Type and bound of an option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionType {
    /// True or false.
    Bool,
    /// An integer, both ends included.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A finite number that stays inside the bound as f32.
    Float {
        /// Lower end.
        min: f64,
        /// Whether the lower end itself is outside.
        is_min_open: bool,
        /// Largest.
        max: f64,
    },
    /// A string, not empty.
    Text,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// A number of samples: 1 to the limit.
    Samples,
    /// A number of beams: 1 to the limit.
    Beams,
    /// True, false, or never.
    EarlyStopping,
    /// A number of alternatives: 0 to the limit; -1 is the vocabulary, where the limit allows it; true is 1.
    Logprobs,
    /// A list of token ids.
    TokenIds(IdList),
    /// One string or a list of strings, none empty, as many and as long as the limits allow.
    StopStrings,
    /// Token ids (as text too) with numbers in [-100, 100], as many as the limit allows.
    BiasMap,
    /// One string or a list of strings, none of them blank, as many and as long as the limits allow.
    Words,
    /// Texts of at most forty characters, none empty, blanks allowed.
    Breakers,
    /// Lists of token ids, none empty.
    TokenSequences,
    /// Lists of token ids, each with a finite number.
    SequenceBias,
    /// A number of tokens and a factor.
    LengthDecay,
    /// `max_pattern_size`, `min_count` and perhaps `min_pattern_size`.
    Repetition,
    /// Entries of contrastive decoding.
    Contrastive,
    /// `low`, `high`, or a list of layers.
    Layers,
    /// One constraint on the text, and switches.
    Structured,
    /// A named order of steps, or a list of steps.
    Pipeline,
    /// Declared processors and callables.
    Processors,
    /// A callable.
    Callable,
    /// Of an option that is not taken: nothing is known but its name.
    Untyped,
}

/// Which list of token ids, and so which bounds its length has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdList {
    /// Ids that end an output.
    Stop,
    /// The only ids allowed.
    Allowed,
    /// Ids that are banned.
    Suppressed,
    /// Ids that are reported.
    Reported,
    /// Ids one of which is forced; one alone needs no list.
    Forced,
    /// Ids of a prompt.
    Prompt,
}

impl IdList {
    const fn len_min(self) -> usize {
        matches!(
            self,
            Self::Allowed | Self::Reported | Self::Forced | Self::Prompt
        ) as usize
    }

    const fn len_max(self, limits: &Limits) -> usize {
        match self {
            Self::Stop | Self::Forced => limits.stop_token_ids_len_max,
            Self::Allowed => limits.allowed_token_ids_len_max,
            Self::Suppressed => limits.suppress_tokens_len_max,
            Self::Reported => limits.logprob_token_ids_len_max,
            // A token is a byte of text at least.
            Self::Prompt => limits.prompt_len_max_bytes,
        }
    }
}

/// The keys of `repetition_detection`.
pub(super) const REPETITION_KEYS: [&str; 3] = ["max_pattern_size", "min_pattern_size", "min_count"];

impl OptionType {
    /// The name of the type for doors.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int { .. } | Self::Samples | Self::Beams | Self::Logprobs => "int",
            Self::Float { .. } => "float",
            Self::Text => "str",
            Self::Choice(_) => "choice",
            Self::TokenIds(_) => "int_list",
            Self::StopStrings | Self::Words | Self::Breakers => "str_list",
            Self::TokenSequences => "int_lists",
            Self::SequenceBias => "sequence_bias",
            Self::LengthDecay => "length_decay",
            Self::EarlyStopping => "early_stopping",
            Self::Repetition => "repetition",
            Self::Contrastive => "contrastive",
            Self::Layers => "layers",
            Self::Structured => "structured",
            Self::Pipeline => "pipeline",
            Self::BiasMap => "bias",
            Self::Processors => "processors",
            Self::Callable => "callable",
            Self::Untyped => "",
        }
    }

    /// What a value must be, in words; for a choice the names separated by `|`.
    pub fn bound(&self, limits: &Limits) -> String {
        match *self {
            Self::Bool => "true or false".into(),
            Self::Int {
                min: i64::MIN,
                max: i64::MAX,
            } => "a signed 64-bit integer".into(),
            Self::Int { min, max: i64::MAX } => format!("an integer of at least {min}"),
            Self::Int { min, max } => format!("an integer from {min} to {max}"),
            Self::Float {
                min,
                is_min_open: true,
                max,
            } if max > 1e30 => format!("a finite number above {min}"),
            Self::Float {
                min,
                is_min_open: true,
                max,
            } => format!("a number above {min} and at most {}", max as f32),
            Self::Float {
                min,
                is_min_open: false,
                max,
            } => format!("a number from {min} to {}", max as f32),
            Self::Text => "a string, not empty".into(),
            Self::Choice(names) => names.join("|"),
            Self::Samples => format!("an integer from 1 to {}", limits.n_max),
            Self::Beams => format!("an integer from 1 to {}", limits.beam_width_max),
            Self::EarlyStopping => "true, false or never".into(),
            Self::Logprobs if limits.logprobs_max == u32::MAX => {
                "an integer of at least -1, or true".into()
            }
            Self::Logprobs => format!("an integer from 0 to {}, or true", limits.logprobs_max),
            Self::StopStrings => format!(
                "a string or a list of at most {} strings, each of 1 to {} bytes",
                limits.stop_count_max, limits.stop_len_max_bytes
            ),
            Self::BiasMap => format!(
                "a map of at most {} distinct token ids to numbers from -100 to 100",
                limits.logit_bias_len_max
            ),
            Self::Words => format!(
                "a string or a list of at most {} strings, each of 1 to {} bytes and not blank",
                limits.bad_words_count_max, limits.bad_word_len_max_bytes
            ),
            Self::Repetition => format!(
                "a map of max_pattern_size (1 to {most}), min_count (2 to {most}) and min_pattern_size \
                 (0 to max_pattern_size; 0 is 1)",
                most = limits.repetition_max
            ),
            Self::Pipeline => {
                let steps = Step::ALL.map(Step::name);
                let names = NamedPipeline::NAMES.join(", ");
                format!("one of {names}, or a list of steps of {}", steps.join(", "))
            }
            Self::Contrastive => {
                "a map of mode (difference or scaled), alpha (0 to 1), lambda of difference or beta of scaled \
                 (0 to 100), temperature (above 0, at most 100) and amateur (a model's name)"
                    .into()
            }
            Self::Layers => format!(
                "low, high or a list of 1 to {} layers, 0 the embedding",
                limits.dola_layers_len_max
            ),
            Self::Structured => structured::bound(limits),
            Self::Untyped => String::new(),
            _ => self.bound_of_ids(limits),
        }
    }

    /// The same for ids, sequences of ids and what breaks them.
    fn bound_of_ids(&self, limits: &Limits) -> String {
        match *self {
            Self::TokenIds(list) if list.len_min() == 0 => {
                format!("a list of at most {} token ids", list.len_max(limits))
            }
            Self::TokenIds(IdList::Forced) => format!(
                "a token id or a list of 1 to {} token ids",
                IdList::Forced.len_max(limits)
            ),
            Self::TokenIds(list) => {
                format!("a list of 1 to {} token ids", list.len_max(limits))
            }
            Self::Breakers => format!(
                "a string or a list of at most {} strings, each of 1 to {} characters",
                limits.dry_breakers_count_max, limits.dry_breaker_len_max_chars
            ),
            Self::TokenSequences => format!(
                "a list of at most {} lists, each of 1 to {} token ids",
                limits.sequences_count_max, limits.sequence_len_max_tokens
            ),
            Self::SequenceBias => format!(
                "a map of at most {} distinct sequences of 1 to {} token ids to finite numbers",
                limits.sequences_count_max, limits.sequence_len_max_tokens
            ),
            Self::Processors => format!(
                "a list of at most {} callables and maps of type ({}), value or min and max, tokens (at most {} ids) \
                 or matching (at most {} bytes), and perhaps from, to and after",
                limits.processors_count_max,
                Action::NAMES.join(", "),
                limits.processor_tokens_len_max,
                limits.processor_text_len_max_bytes
            ),
            Self::Callable => "a callable".into(),
            Self::LengthDecay => {
                "a list of an integer of at least 0 and a finite number above 0".into()
            }
            _ => String::new(),
        }
    }

    /// The value in its normal form (integers of a float option as floats, one string as a list, ids as
    /// integers), or `None` where it is of another type or outside the bound.
    pub(super) fn check(&self, value: &Value, limits: &Limits) -> Option<Value> {
        match *self {
            Self::Bool => value.as_bool().map(Value::Bool),
            Self::Int { min, max } => checked_int(value, min, max),
            Self::Float {
                min,
                is_min_open,
                max,
            } => checked_float(value, (min, is_min_open), max),
            Self::Text => value
                .as_text()
                .filter(|text| !text.is_empty())
                .map(|text| Value::Text(text.into())),
            Self::Choice(names) => value
                .as_text()
                .filter(|text| names.contains(text))
                .map(|text| Value::Text(text.into())),
            Self::Samples => checked_int(value, 1, i64::from(limits.n_max)),
            Self::Beams => checked_int(value, 1, i64::from(limits.beam_width_max)),
            Self::EarlyStopping => {
                let is_known = value.as_bool().is_some() || value.as_text() == Some("never");
                is_known.then(|| value.clone())
            }
            Self::Logprobs => checked_logprobs(value, limits),
            Self::TokenIds(list) => {
                let one = matches!((list, value), (IdList::Forced, Value::Int(_)));
                let listed = one.then(|| Value::List(vec![value.clone()]));
                let ids = listed.as_ref().unwrap_or(value);
                checked_ids(ids, list.len_min(), list.len_max(limits))
            }
            Self::Breakers => {
                let len_max = limits.dry_breaker_len_max_chars;
                let is_breaker = |text: &str| (1..=len_max).contains(&text.chars().count());
                checked_texts(value, limits.dry_breakers_count_max, is_breaker)
            }
            Self::TokenSequences => checked_sequences(value, limits),
            Self::SequenceBias => checked_sequence_bias(value, limits),
            Self::LengthDecay => checked_decay(value),
            Self::StopStrings => {
                let (count_max, len_max) = (limits.stop_count_max, limits.stop_len_max_bytes);
                checked_texts(value, count_max, |text| (1..=len_max).contains(&text.len()))
            }
            Self::Words => {
                let len_max = limits.bad_word_len_max_bytes;
                let is_word = |text: &str| text.len() <= len_max && !text.trim().is_empty();
                checked_texts(value, limits.bad_words_count_max, is_word)
            }
            Self::Repetition => checked_repetition(value, limits),
            Self::Contrastive => checked_contrastive(value, limits),
            Self::Layers => checked_layers(value, limits),
            Self::Structured => structured::checked(value, limits),
            Self::Pipeline => checked_pipeline(value),
            Self::BiasMap => checked_bias(value, limits),
            Self::Processors => checked_processors(value, limits),
            Self::Callable => matches!(value, Value::Callable(_)).then(|| value.clone()),
            Self::Untyped => None,
        }
    }
}
