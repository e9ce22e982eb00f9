//! The types an option can have, their bounds in words, and the check of a value against them. Ranges are
//! written positively, so NaN is outside every one; f64 is checked first, then narrowed, then checked again.

use crate::limits::Limits;
use crate::option::value::Value;
use crate::params::{NamedPipeline, Step};

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
    /// `max_pattern_size`, `min_count` and perhaps `min_pattern_size`.
    Repetition,
    /// A named order of steps, or a list of steps.
    Pipeline,
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
}

impl IdList {
    const fn len_min(self) -> usize {
        matches!(self, Self::Allowed | Self::Reported) as usize
    }

    const fn len_max(self, limits: &Limits) -> usize {
        match self {
            Self::Stop => limits.stop_token_ids_len_max,
            Self::Allowed => limits.allowed_token_ids_len_max,
            Self::Suppressed => limits.suppress_tokens_len_max,
            Self::Reported => limits.logprob_token_ids_len_max,
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
            Self::Int { .. } | Self::Samples | Self::Logprobs => "int",
            Self::Float { .. } => "float",
            Self::Text => "str",
            Self::Choice(_) => "choice",
            Self::TokenIds(_) => "int_list",
            Self::StopStrings | Self::Words => "str_list",
            Self::Repetition => "repetition",
            Self::Pipeline => "pipeline",
            Self::BiasMap => "bias",
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
            } => format!("a number above {min} and at most {max}"),
            Self::Float {
                min,
                is_min_open: false,
                max,
            } => format!("a number from {min} to {max}"),
            Self::Text => "a string, not empty".into(),
            Self::Choice(names) => names.join("|"),
            Self::Samples => format!("an integer from 1 to {}", limits.n_max),
            Self::Logprobs if limits.logprobs_max == u32::MAX => {
                "an integer of at least -1, or true".into()
            }
            Self::Logprobs => format!("an integer from 0 to {}, or true", limits.logprobs_max),
            Self::TokenIds(list) if list.len_min() == 0 => {
                format!("a list of at most {} token ids", list.len_max(limits))
            }
            Self::TokenIds(list) => {
                format!("a list of 1 to {} token ids", list.len_max(limits))
            }
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
            Self::Untyped => String::new(),
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
            } => {
                let is_inside = |float: f64| {
                    float <= max
                        && if is_min_open {
                            float > min
                        } else {
                            float >= min
                        }
                };
                let float = value
                    .as_f64()
                    .filter(|float| float.is_finite() && is_inside(*float))?;
                is_inside(f64::from(float as f32)).then_some(Value::Float(float))
            }
            Self::Text => value
                .as_text()
                .filter(|text| !text.is_empty())
                .map(|text| Value::Text(text.into())),
            Self::Choice(names) => value
                .as_text()
                .filter(|text| names.contains(text))
                .map(|text| Value::Text(text.into())),
            Self::Samples => checked_int(value, 1, i64::from(limits.n_max)),
            Self::Logprobs => checked_logprobs(value, limits),
            Self::TokenIds(list) => checked_ids(value, list.len_min(), list.len_max(limits)),
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
            Self::Pipeline => checked_pipeline(value),
            Self::BiasMap => checked_bias(value, limits),
            Self::Untyped => None,
        }
    }
}

fn checked_int(value: &Value, min: i64, max: i64) -> Option<Value> {
    value
        .as_int()
        .filter(|int| (min..=max).contains(int))
        .map(Value::Int)
}

fn checked_logprobs(value: &Value, limits: &Limits) -> Option<Value> {
    match value {
        Value::Bool(true) if limits.logprobs_max > 0 => Some(Value::Int(1)),
        Value::Int(-1) if limits.logprobs_max == u32::MAX => Some(Value::Int(-1)),
        _ => checked_int(value, 0, i64::from(limits.logprobs_max)),
    }
}

fn checked_ids(value: &Value, len_min: usize, len_max: usize) -> Option<Value> {
    let items = value.as_list()?;
    if items.len() < len_min || items.len() > len_max {
        return None;
    }
    let ids: Option<Vec<Value>> = items
        .iter()
        .map(|item| checked_int(item, 0, i64::from(u32::MAX)))
        .collect();
    ids.map(Value::List)
}

/// One text or a list of them, as a list.
fn checked_texts(
    value: &Value,
    count_max: usize,
    is_right: impl Fn(&str) -> bool,
) -> Option<Value> {
    let items = match value {
        Value::Text(_) => std::slice::from_ref(value),
        _ => value.as_list()?,
    };
    let are_right = items
        .iter()
        .all(|item| item.as_text().is_some_and(&is_right));
    (items.len() <= count_max && are_right).then(|| Value::List(items.to_vec()))
}

/// The three sizes in the order of the keys; a missing or zero `min_pattern_size` is 1.
fn checked_repetition(value: &Value, limits: &Limits) -> Option<Value> {
    let Value::Map(pairs) = value else {
        return None;
    };
    let mut sizes: [Option<i64>; 3] = [None; 3];
    for (key, size) in pairs {
        let place = REPETITION_KEYS
            .iter()
            .position(|known| key.as_text() == Some(known))?;
        if sizes[place].replace(size.as_int()?).is_some() {
            return None;
        }
    }
    let (longest, shortest, count) = (sizes[0]?, sizes[1].unwrap_or(0), sizes[2]?);
    let most = i64::from(limits.repetition_max);
    let is_inside = (1..=most).contains(&longest)
        && (0..=longest).contains(&shortest)
        && (2..=most).contains(&count);
    let sizes = [longest, shortest.max(1), count].map(Value::Int);
    let keys = REPETITION_KEYS.map(|key| Value::Text(key.into()));
    is_inside.then(|| Value::Map(keys.into_iter().zip(sizes).collect()))
}

fn checked_pipeline(value: &Value) -> Option<Value> {
    match value {
        Value::Text(name) => NamedPipeline::from_name(name).map(|_| value.clone()),
        Value::List(steps) => {
            let is_step = |step: &Value| step.as_text().and_then(Step::from_name).is_some();
            steps.iter().all(is_step).then(|| value.clone())
        }
        _ => None,
    }
}

fn checked_bias(value: &Value, limits: &Limits) -> Option<Value> {
    let Value::Map(pairs) = value else {
        return None;
    };
    if pairs.len() > limits.logit_bias_len_max {
        return None;
    }
    let mut checked = Vec::with_capacity(pairs.len());
    for (key, bias) in pairs {
        let id = match key {
            Value::Int(id) => u32::try_from(*id).ok()?,
            // JSON has string keys only; a sign, a space or an empty key is not an id.
            Value::Text(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok()?
            }
            _ => return None,
        };
        let bias = bias
            .as_f64()
            .filter(|bias| (-100.0..=100.0).contains(bias))?;
        checked.push((i64::from(id), bias));
    }
    checked.sort_unstable_by_key(|&(id, _)| id);
    if checked.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    Some(Value::Map(
        checked
            .into_iter()
            .map(|(id, bias)| (Value::Int(id), Value::Float(bias)))
            .collect(),
    ))
}
