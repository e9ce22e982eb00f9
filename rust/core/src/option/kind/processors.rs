//! The check of a list of processors: callables as they are, declared ones key by key into one normal form.

use super::check::checked_ids;
use crate::limits::Limits;
use crate::option::value::Value;
use crate::params::Action;

/// The keys of a declared processor, in the order of the normal form.
pub(in crate::option) const KEYS: [&str; 9] = [
    "type", "value", "min", "max", "tokens", "matching", "from", "to", "after",
];

/// A list, each of whose maps has every key, null where it was not given.
pub(super) fn checked_processors(value: &Value, limits: &Limits) -> Option<Value> {
    let items = value.as_list()?;
    if items.len() > limits.processors_count_max {
        return None;
    }
    let checked = items.iter().map(|item| match item {
        Value::Callable(_) => Some(item.clone()),
        Value::Map(pairs) => checked_edit(pairs, limits),
        _ => None,
    });
    checked.collect::<Option<Vec<Value>>>().map(Value::List)
}

fn checked_edit(pairs: &[(Value, Value)], limits: &Limits) -> Option<Value> {
    let mut values: [Value; KEYS.len()] = std::array::from_fn(|_| Value::Null);
    let mut is_given = [false; KEYS.len()];
    for (key, value) in pairs {
        let place = KEYS.iter().position(|known| key.as_text() == Some(known))?;
        if std::mem::replace(&mut is_given[place], true) {
            return None;
        }
        values[place] = value.clone();
    }
    let [kind, amount, min, max, tokens, matching, from, to, after] = &mut values;
    let number = |value: &Value| {
        if *value == Value::Null {
            return Some(None);
        }
        let number = value.as_f64().map(|number| number as f32)?;
        number.is_finite().then_some(Some(number))
    };
    let (value, low, high) = (number(amount)?, number(min)?, number(max)?);
    let is_whole = match (kind.as_text()?, value, low, high) {
        ("bias", Some(_), None, None) | ("ban", None, None, None) => true,
        ("scale", Some(factor), None, None) => factor > 0.0,
        ("clamp", None, None, None) => false,
        ("clamp", None, low, high) => low.unwrap_or(f32::MIN) <= high.unwrap_or(f32::MAX),
        _ => false,
    };
    debug_assert!(!is_whole || Action::NAMES.contains(&kind.as_text()?));
    for number in [amount, min, max] {
        if let Some(float) = number.as_f64() {
            *number = Value::Float(float);
        }
    }
    let len_max = limits.processor_tokens_len_max;
    for (list, len_min) in [(&mut *tokens, 1), (&mut *after, 1)] {
        if *list != Value::Null {
            *list = checked_ids(list, len_min, len_max)?;
        }
    }
    let is_text = *matching != Value::Null;
    let len_max = limits.processor_text_len_max_bytes;
    let fits = |text: &str| (1..=len_max).contains(&text.len());
    if is_text && !matching.as_text().is_some_and(fits) {
        return None;
    }
    let count = |value: &Value| match value {
        Value::Null => Some(None),
        value => value.as_u32().map(Some),
    };
    let (start, end) = (count(from)?, count(to)?);
    let is_somewhere = end.is_none_or(|end| start.unwrap_or(0) < end);
    // Exactly one way to say which tokens.
    let is_said = (*tokens != Value::Null) != is_text;
    let keys = KEYS.map(|key| Value::Text(key.into()));
    (is_whole && is_somewhere && is_said)
        .then(|| Value::Map(keys.into_iter().zip(values).collect()))
}
