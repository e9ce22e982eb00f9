//! The check of `structured_outputs`: one constraint of several, each with its bound, and three switches.

use super::json;
use crate::limits::Limits;
use crate::option::value::Value;
use crate::params::OutputConstraint;

/// The keys that bend a constraint.
pub(in crate::option) const SWITCHES: [&str; 3] = [
    "disable_any_whitespace",
    "disable_additional_properties",
    "whitespace_pattern",
];

/// In words.
pub(super) fn bound(limits: &Limits) -> String {
    let (most, pattern) = (limits.schema_len_max_bytes, limits.regex_len_max_bytes);
    format!(
        "a map of exactly one of json (a schema of 1 to {most} bytes as text, or a map), regex (1 to {pattern} \
         bytes), choice (a list of texts, none empty, of at most {most} bytes together), grammar (1 to {most} \
         bytes), json_object (true), structural_tag (1 to {most} bytes as text, or a map), and perhaps \
         disable_any_whitespace, disable_additional_properties (true or false) and whitespace_pattern (1 to \
         {pattern} bytes)"
    )
}

/// The constraint, then the switches that are on, in the order of their names.
pub(super) fn checked(value: &Value, limits: &Limits) -> Option<Value> {
    let Value::Map(pairs) = value else {
        return None;
    };
    let mut found = Vec::new();
    for (key, value) in pairs {
        let key = key.as_text()?;
        if is_absent(key, value) {
            continue;
        }
        if found.iter().any(|(known, _)| *known == key) {
            return None;
        }
        found.push((key, checked_entry(key, value, limits)?));
    }
    let constraints = OutputConstraint::NAMES.len();
    found.sort_by_key(|(key, _)| place(key));
    let is_single = found
        .first()
        .is_some_and(|(key, _)| place(key) < constraints)
        && found
            .get(1)
            .is_none_or(|(key, _)| place(key) >= constraints);
    let named = |(key, value): (&str, Value)| (Value::Text(key.into()), value);
    is_single.then(|| Value::Map(found.into_iter().map(named).collect()))
}

fn place(key: &str) -> usize {
    let names = OutputConstraint::NAMES.iter().chain(&SWITCHES);
    names
        .clone()
        .position(|name| *name == key)
        .unwrap_or(names.count())
}

/// Whether an entry says nothing: a class with defaults writes null or false for what is not set.
fn is_absent(key: &str, value: &Value) -> bool {
    let is_flag = matches!(
        key,
        "json_object" | "disable_any_whitespace" | "disable_additional_properties"
    );
    match value {
        Value::Null => OutputConstraint::NAMES.contains(&key) || SWITCHES.contains(&key),
        Value::Bool(false) => is_flag,
        _ => false,
    }
}

fn checked_entry(key: &str, value: &Value, limits: &Limits) -> Option<Value> {
    let (len_max, pattern_len_max) = (limits.schema_len_max_bytes, limits.regex_len_max_bytes);
    let short = |text: &str, len_max: usize| {
        let is_right = text.len() <= len_max && !text.trim().is_empty();
        is_right.then(|| Value::Text(text.to_owned()))
    };
    match key {
        "json" | "structural_tag" => match value {
            Value::Map(_) => short(&json::written(value)?, len_max),
            _ => short(value.as_text()?, len_max),
        },
        "grammar" => short(value.as_text()?, len_max),
        "regex" | "whitespace_pattern" => {
            // A blank is a pattern; nothing is none.
            let text = value.as_text()?;
            (1..=pattern_len_max)
                .contains(&text.len())
                .then(|| value.clone())
        }
        "choice" => {
            let items = value.as_list()?;
            let mut len_bytes = 0_usize;
            for item in items {
                let len = item.as_text().filter(|text| !text.is_empty())?.len();
                len_bytes = len_bytes.checked_add(len)?;
            }
            let is_right = !items.is_empty() && len_bytes <= len_max;
            is_right.then(|| value.clone())
        }
        "json_object" | "disable_any_whitespace" | "disable_additional_properties" => {
            value.as_bool().filter(|flag| *flag).map(Value::Bool)
        }
        _ => None,
    }
}
