//! Checks of what a second row of logits is made with: the entries of contrastive decoding, a choice of layers.

use super::check::checked_ids;
use crate::limits::Limits;
use crate::option::value::Value;
use crate::params::{ContrastiveMode, DolaLayers};

/// Largest weight of a second row, and largest temperature of an amateur.
const WEIGHT_MAX: f64 = 100.0;

/// Known keys, each once, with values in range. A weight of the other mode would do nothing, so it is refused.
pub(super) fn checked_contrastive(value: &Value, limits: &Limits) -> Option<Value> {
    let Value::Map(pairs) = value else {
        return None;
    };
    let mut checked: Vec<(Value, Value)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        if *value == Value::Null {
            continue;
        }
        let value = checked_entry(key.as_text()?, value, limits)?;
        if checked.iter().any(|(known, _)| known == key) {
            return None;
        }
        checked.push((key.clone(), value));
    }
    let given = |name: &str| checked.iter().find(|(key, _)| key.as_text() == Some(name));
    let mode = given("mode").and_then(|(_, mode)| ContrastiveMode::from_name(mode.as_text()?));
    let idle = match mode.unwrap_or_default() {
        ContrastiveMode::Difference => "beta",
        ContrastiveMode::Scaled => "lambda",
    };
    given(idle).is_none().then_some(Value::Map(checked))
}

fn checked_entry(key: &str, value: &Value, limits: &Limits) -> Option<Value> {
    let number = |max: f64| {
        let is_inside = |number: &f64| (0.0..=max).contains(number);
        value.as_f64().filter(is_inside).map(Value::Float)
    };
    match key {
        "amateur" => value
            .as_text()
            .filter(|name| (1..=limits.prompt_len_max_bytes).contains(&name.len()))
            .map(|name| Value::Text(name.into())),
        "mode" => ContrastiveMode::from_name(value.as_text()?).map(|_| value.clone()),
        "alpha" => number(1.0),
        "lambda" | "beta" => number(WEIGHT_MAX),
        "temperature" => {
            number(WEIGHT_MAX).filter(|value| value.as_f64().is_some_and(|t| t as f32 > 0.0))
        }
        _ => None,
    }
}

/// A name, or a list of layers.
pub(super) fn checked_layers(value: &Value, limits: &Limits) -> Option<Value> {
    match value.as_text() {
        Some(name) => DolaLayers::NAMES.contains(&name).then(|| value.clone()),
        None => checked_ids(value, 1, limits.dola_layers_len_max),
    }
}
