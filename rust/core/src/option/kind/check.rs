//! Checks of values that are numbers, ids, texts and maps: each gives the normal form, or nothing.

use crate::limits::Limits;
use crate::option::kind::REPETITION_KEYS;
use crate::option::value::Value;
use crate::params::{NamedPipeline, Step};

/// A number within bounds, also as f32.
pub(super) fn checked_float(
    value: &Value,
    (min, is_min_open): (f64, bool),
    max: f64,
) -> Option<Value> {
    let is_above = |float: f64| {
        if is_min_open {
            float > min
        } else {
            float >= min
        }
    };
    let is_inside = |float: f64| float <= max && is_above(float);
    let float = value.as_f64();
    let float = float.filter(|float| float.is_finite() && is_inside(*float))?;
    is_inside(f64::from(float as f32)).then_some(Value::Float(float))
}

pub(super) fn checked_int(value: &Value, min: i64, max: i64) -> Option<Value> {
    value
        .as_int()
        .filter(|int| (min..=max).contains(int))
        .map(Value::Int)
}

pub(super) fn checked_logprobs(value: &Value, limits: &Limits) -> Option<Value> {
    match value {
        Value::Bool(true) if limits.logprobs_max > 0 => Some(Value::Int(1)),
        Value::Int(-1) if limits.logprobs_max == u32::MAX => Some(Value::Int(-1)),
        _ => checked_int(value, 0, i64::from(limits.logprobs_max)),
    }
}

pub(super) fn checked_ids(value: &Value, len_min: usize, len_max: usize) -> Option<Value> {
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
pub(super) fn checked_texts(
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
pub(super) fn checked_repetition(value: &Value, limits: &Limits) -> Option<Value> {
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

pub(super) fn checked_pipeline(value: &Value) -> Option<Value> {
    match value {
        Value::Text(name) => NamedPipeline::from_name(name).map(|_| value.clone()),
        Value::List(steps) => {
            let is_step = |step: &Value| step.as_text().and_then(Step::from_name).is_some();
            steps.iter().all(is_step).then(|| value.clone())
        }
        _ => None,
    }
}

pub(super) fn checked_bias(value: &Value, limits: &Limits) -> Option<Value> {
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
