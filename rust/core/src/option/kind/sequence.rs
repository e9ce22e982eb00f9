//! Checks of token sequences: alone, with a number each, and the pair of a length and a factor.

use super::check::{checked_ids, checked_int};
use crate::limits::Limits;
use crate::option::value::Value;

fn checked_sequence(value: &Value, limits: &Limits) -> Option<Value> {
    checked_ids(value, 1, limits.sequence_len_max_tokens)
}

/// A list of lists of ids.
pub(super) fn checked_sequences(value: &Value, limits: &Limits) -> Option<Value> {
    let items = value.as_list()?;
    if items.len() > limits.sequences_count_max {
        return None;
    }
    let checked = items.iter().map(|item| checked_sequence(item, limits));
    checked.collect::<Option<Vec<Value>>>().map(Value::List)
}

/// Pairs of ids and a number, from a map or a list of pairs, as a list of pairs; no sequence stands there twice.
pub(super) fn checked_sequence_bias(value: &Value, limits: &Limits) -> Option<Value> {
    let pairs: Vec<(&Value, &Value)> = match value {
        Value::Map(pairs) => pairs.iter().map(|(ids, bias)| (ids, bias)).collect(),
        _ => value
            .as_list()?
            .iter()
            .map(|pair| match pair.as_list()? {
                [ids, bias] => Some((ids, bias)),
                _ => None,
            })
            .collect::<Option<_>>()?,
    };
    if pairs.len() > limits.sequences_count_max {
        return None;
    }
    let mut checked: Vec<Value> = Vec::with_capacity(pairs.len());
    for (ids, bias) in pairs {
        let ids = checked_sequence(ids, limits)?;
        let bias = bias
            .as_f64()
            .filter(|bias| (*bias as f32).is_finite() && bias.is_finite())?;
        let is_known = |pair: &Value| pair.as_list().is_some_and(|pair| pair[0] == ids);
        if checked.iter().any(is_known) {
            return None;
        }
        checked.push(Value::List(vec![ids, Value::Float(bias)]));
    }
    Some(Value::List(checked))
}

/// A start and a factor.
pub(super) fn checked_decay(value: &Value) -> Option<Value> {
    let [start, factor] = value.as_list()? else {
        return None;
    };
    let start = checked_int(start, 0, i64::from(u32::MAX))?;
    let is_inside = |factor: &f64| {
        let narrow = *factor as f32;
        factor.is_finite() && narrow.is_finite() && narrow > 0.0
    };
    let factor = factor.as_f64().filter(is_inside)?;
    Some(Value::List(vec![start, Value::Float(factor)]))
}
