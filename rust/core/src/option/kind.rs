//! The types an option can have, their bounds in words, and the check of a value against them. Ranges are
//! written positively, so NaN is outside every one; f64 is checked first, then narrowed, then checked again.

use crate::limits::Limits;
use crate::option::value::Value;

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
    TokenIds,
    /// One string or a list of strings, none empty, as many and as long as the limits allow.
    StopStrings,
    /// Token ids (as text too) with numbers in [-100, 100], as many as the limit allows.
    BiasMap,
    /// Of an option that is not taken: nothing is known but its name.
    Untyped,
}

impl OptionType {
    /// The name of the type for doors.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int { .. } | Self::Samples | Self::Logprobs => "int",
            Self::Float { .. } => "float",
            Self::Text => "str",
            Self::Choice(_) => "choice",
            Self::TokenIds => "int_list",
            Self::StopStrings => "str_list",
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
            Self::TokenIds => format!(
                "a list of at most {} token ids",
                limits.stop_token_ids_len_max
            ),
            Self::StopStrings => format!(
                "a string or a list of at most {} strings, each of 1 to {} bytes",
                limits.stop_count_max, limits.stop_len_max_bytes
            ),
            Self::BiasMap => format!(
                "a map of at most {} distinct token ids to numbers from -100 to 100",
                limits.logit_bias_len_max
            ),
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
            Self::TokenIds => checked_ids(value, limits),
            Self::StopStrings => checked_stops(value, limits),
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

fn checked_ids(value: &Value, limits: &Limits) -> Option<Value> {
    let items = value.as_list()?;
    if items.len() > limits.stop_token_ids_len_max {
        return None;
    }
    let ids: Option<Vec<Value>> = items
        .iter()
        .map(|item| checked_int(item, 0, i64::from(u32::MAX)))
        .collect();
    ids.map(Value::List)
}

fn checked_stops(value: &Value, limits: &Limits) -> Option<Value> {
    let items = match value {
        Value::Text(_) => std::slice::from_ref(value),
        _ => value.as_list()?,
    };
    let is_stop = |item: &&Value| {
        item.as_text()
            .is_some_and(|text| (1..=limits.stop_len_max_bytes).contains(&text.len()))
    };
    let is_inside = items.len() <= limits.stop_count_max && items.iter().all(|item| is_stop(&item));
    is_inside.then(|| Value::List(items.to_vec()))
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
