//! Option values written as text, by a command line or an environment. It reads shapes only; bounds are
//! checked where values from every door are.

use crate::error::Result;
use crate::limits::Limits;
use crate::option::kind::OptionType;
use crate::option::spec::OptionSpec;
use crate::option::value::Value;

/// Reads a value: `none` for null; integers with k, m, g (thousands) or K, M, G (powers of 1,024); lists of
/// ids with commas; biases as `id:number` with commas; a stop string as it is. Text is never empty.
pub fn parse_text(spec: &OptionSpec, text: &str) -> Result<Value> {
    let is_free_text = matches!(spec.kind, OptionType::Text | OptionType::StopStrings);
    if text == "none" && !is_free_text {
        return Ok(Value::Null);
    }
    let given = || Value::Text(text.to_owned());
    let value = match spec.kind {
        OptionType::Bool => parse_bool(text),
        OptionType::Int { .. } | OptionType::Samples => parse_int(text),
        OptionType::Logprobs => parse_bool(text).or_else(|| parse_int(text)),
        OptionType::Float { .. } => text.parse().ok().map(Value::Float),
        OptionType::TokenIds => parse_list(text, parse_int).map(Value::List),
        OptionType::BiasMap => parse_list(text, parse_pair).map(Value::Map),
        OptionType::Text | OptionType::Choice(_) | OptionType::StopStrings => Some(given()),
        // What it would have meant is not known; the check refuses it by name.
        OptionType::Untyped => parse_bool(text)
            .or_else(|| parse_int(text))
            .or_else(|| Some(given())),
    };
    value.ok_or_else(|| spec.bad_value(&given(), &Limits::default()))
}

fn parse_bool(text: &str) -> Option<Value> {
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => None,
    }
}

fn parse_int(text: &str) -> Option<Value> {
    let unit: i64 = match text.chars().next_back()? {
        'k' => 1_000,
        'K' => 1 << 10,
        'm' => 1_000_000,
        'M' => 1 << 20,
        'g' => 1_000_000_000,
        'G' => 1 << 30,
        _ => return text.parse().ok().map(Value::Int),
    };
    // The unit is one byte long.
    let number = text.get(..text.len() - 1)?;
    number
        .parse::<i64>()
        .ok()?
        .checked_mul(unit)
        .map(Value::Int)
}

fn parse_pair(text: &str) -> Option<(Value, Value)> {
    let (id, bias) = text.split_once(':')?;
    Some((
        Value::Int(id.trim().parse().ok()?),
        Value::Float(bias.trim().parse().ok()?),
    ))
}

fn parse_list<T>(text: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(|part| item(part.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::parse_text;
    use crate::option::{Group, Value, find};

    fn parse(name: &str, text: &str) -> Option<Value> {
        let group = if find(Group::Sampling, name).is_some() {
            Group::Sampling
        } else {
            Group::Engine
        };
        parse_text(find(group, name).unwrap(), text).ok()
    }

    #[test]
    fn text_becomes_the_value_it_spells() {
        let list =
            |items: &[i64]| Value::List(items.iter().map(|&item| Value::Int(item)).collect());
        for (name, text, expected) in [
            ("max_tokens", "4k", Value::Int(4_000)),
            ("max_tokens", "4K", Value::Int(4_096)),
            ("max_tokens", "none", Value::Null),
            ("kv_cache_memory_bytes", "2G", Value::Int(2 << 30)),
            ("kv_cache_memory_bytes", "3m", Value::Int(3_000_000)),
            ("seed", "-9223372036854775808", Value::Int(i64::MIN)),
            ("temperature", "0.7", Value::Float(0.7)),
            ("ignore_eos", "true", Value::Bool(true)),
            ("logprobs", "true", Value::Bool(true)),
            ("logprobs", "-1", Value::Int(-1)),
            ("stop", "none", Value::Text("none".into())),
            ("stop", "\n\n", Value::Text("\n\n".into())),
            ("stop_token_ids", "1, 2,3", list(&[1, 2, 3])),
            ("stop_token_ids", "", list(&[])),
            (
                "logit_bias",
                "5:-100,7:1.5",
                Value::Map(vec![
                    (Value::Int(5), Value::Float(-100.0)),
                    (Value::Int(7), Value::Float(1.5)),
                ]),
            ),
            ("dtype", "float32", Value::Text("float32".into())),
        ] {
            assert_eq!(parse(name, text), Some(expected), "{name} {text}");
        }
    }

    #[test]
    fn text_that_spells_no_value_is_refused() {
        for (name, text) in [
            ("max_tokens", ""),
            ("max_tokens", "k"),
            ("max_tokens", "1.5"),
            ("max_tokens", "9223372036854775808"),
            ("max_tokens", "9223372036854775807K"),
            ("max_tokens", "12é"),
            ("temperature", "hot"),
            ("ignore_eos", "1"),
            ("ignore_eos", "True"),
            ("stop_token_ids", "1,,2"),
            ("logit_bias", "5"),
            ("logit_bias", "abc:1"),
        ] {
            assert_eq!(parse(name, text), None, "{name} {text}");
        }
    }
}
