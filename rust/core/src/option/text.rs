//! Option values written as text, by a command line or an environment. It reads shapes only; bounds are
//! checked where values from every door are.

use crate::error::Result;
use crate::limits::Limits;
use crate::option::kind::{OptionType, read_json};
use crate::option::spec::OptionSpec;
use crate::option::value::Value;
use crate::params::NamedPipeline;

/// Reads a value: `none` or `null` for null; true, yes, on, 1 and their opposites for a switch, in any case;
/// integers with k, m, g (thousands) or K, M, G (powers of 1,024); lists of ids with commas, in brackets or
/// not; structured outputs as a JSON object; biases and sizes as `key:number` with commas, or as a JSON object; a pipeline as its name or its steps
/// with commas; a stop string, a word or a breaker as it is; token sequences with blanks inside and commas between,
/// each with `:number` where it has one; processors as JSON. An id that is biased twice is refused.
pub fn parse_text(spec: &OptionSpec, text: &str) -> Result<Value> {
    let is_free_text = match spec.kind {
        OptionType::StopStrings | OptionType::Words | OptionType::Breakers => true,
        OptionType::Text => !spec.is_nullable,
        _ => false,
    };
    let is_null = text.eq_ignore_ascii_case("none") || text.eq_ignore_ascii_case("null");
    if is_null && !is_free_text {
        return Ok(Value::Null);
    }
    let given = || Value::Text(text.to_owned());
    let word = text.trim();
    let value = match spec.kind {
        OptionType::Bool => parse_bool(word),
        OptionType::Int { .. } | OptionType::Samples | OptionType::Beams => parse_int(word),
        OptionType::EarlyStopping => parse_bool(word).or_else(|| Some(Value::Text(word.into()))),
        OptionType::Logprobs => parse_int(word).or_else(|| parse_bool(word)),
        OptionType::Float { .. } => word.parse().ok().map(Value::Float),
        OptionType::Repetition => parse_sizes(word).map(Value::Map),
        OptionType::Contrastive => parse_entries(word).map(Value::Map),
        OptionType::Layers if word.starts_with(|first: char| first.is_alphabetic()) => {
            Some(Value::Text(word.to_owned()))
        }
        OptionType::TokenIds(_) | OptionType::Layers => {
            parse_list(inside(word, '[', ']'), parse_int).map(Value::List)
        }
        OptionType::Pipeline => Some(parse_pipeline(word)),
        OptionType::BiasMap => parse_bias(word).map(Value::Map),
        OptionType::TokenSequences => parse_sequences(word),
        OptionType::SequenceBias => parse_sequence_bias(word),
        OptionType::LengthDecay => parse_decay(word),
        OptionType::Structured | OptionType::Processors => read_json(word),
        OptionType::Text
        | OptionType::Choice(_)
        | OptionType::StopStrings
        | OptionType::Words
        | OptionType::Breakers
        | OptionType::Callable => Some(given()),
        // What it would have meant is not known; the check refuses it by name.
        OptionType::Untyped => parse_int(word)
            .or_else(|| parse_bool(word))
            .or_else(|| Some(given())),
    };
    value.ok_or_else(|| spec.bad_value(&given(), &Limits::default()))
}

fn parse_bool(text: &str) -> Option<Value> {
    let flag = match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => true,
        "false" | "no" | "off" | "0" => false,
        _ => return None,
    };
    Some(Value::Bool(flag))
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

/// Pairs of distinct ids: a map on the far side of this would keep the last of two and say nothing.
fn parse_bias(text: &str) -> Option<Vec<(Value, Value)>> {
    let object = inside(text, '{', '}');
    let is_json = object.len() != text.len();
    let pairs = parse_list(object, |part| parse_pair(part, is_json))?;
    let mut ids: Vec<i64> = pairs.iter().filter_map(|(id, _)| id.as_int()).collect();
    ids.sort_unstable();
    let is_distinct = ids.windows(2).all(|pair| pair[0] != pair[1]);
    is_distinct.then_some(pairs)
}

/// Ids with blanks between them.
fn parse_sequence(text: &str) -> Option<Value> {
    let ids = text.split_whitespace().map(parse_int);
    ids.collect::<Option<_>>().map(Value::List)
}

fn parse_sequences(text: &str) -> Option<Value> {
    parse_list(inside(text, '[', ']'), parse_sequence).map(Value::List)
}

fn parse_sequence_bias(text: &str) -> Option<Value> {
    let pair = |part: &str| {
        let (ids, bias) = part.split_once(':')?;
        let bias = Value::Float(bias.trim().parse().ok()?);
        Some(Value::List(vec![parse_sequence(ids)?, bias]))
    };
    parse_list(inside(text, '[', ']'), pair).map(Value::List)
}

fn parse_decay(text: &str) -> Option<Value> {
    let (start, factor) = inside(text, '[', ']').split_once(',')?;
    let factor = Value::Float(factor.trim().parse().ok()?);
    Some(Value::List(vec![parse_int(start.trim())?, factor]))
}

/// `key:number` with commas, or a JSON object of numbers.
fn parse_sizes(text: &str) -> Option<Vec<(Value, Value)>> {
    let object = inside(text, '{', '}');
    parse_list(object, |part| {
        let (key, size) = part.split_once(':')?;
        let key = inside(key.trim(), '"', '"').to_owned();
        Some((Value::Text(key), parse_int(size.trim())?))
    })
}

/// `key:value` with commas, or a JSON object; a value is a number where it reads as one.
fn parse_entries(text: &str) -> Option<Vec<(Value, Value)>> {
    let object = inside(text, '{', '}');
    if object.trim().is_empty() {
        return (object.len() != text.len()).then(Vec::new);
    }
    parse_list(object, |part| {
        let (key, value) = part.split_once(':')?;
        let key = inside(key.trim(), '"', '"').to_owned();
        let value = value.trim();
        let number = value.parse().ok().map(Value::Float);
        let text = || Value::Text(inside(value, '"', '"').to_owned());
        Some((Value::Text(key), number.unwrap_or_else(text)))
    })
}

/// A name, or steps with commas, in brackets or not.
fn parse_pipeline(text: &str) -> Value {
    if NamedPipeline::from_name(text).is_some() {
        return Value::Text(text.to_owned());
    }
    let steps = parse_list(inside(text, '[', ']'), |step| {
        Some(Value::Text(step.to_owned()))
    });
    Value::List(steps.unwrap_or_default())
}

fn parse_pair(text: &str, is_json: bool) -> Option<(Value, Value)> {
    let (id, bias) = text.split_once(':')?;
    let id = id.trim();
    let id = if is_json {
        id.strip_prefix('"')?.strip_suffix('"')?
    } else {
        id
    };
    Some((
        Value::Int(id.parse().ok()?),
        Value::Float(bias.trim().parse().ok()?),
    ))
}

fn parse_list<T>(text: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(|part| item(part.trim())).collect()
}

/// What stands between `open` and `close`, or all of it where it does not stand so.
fn inside(text: &str, open: char, close: char) -> &str {
    text.strip_prefix(open)
        .and_then(|rest| rest.strip_suffix(close))
        .map_or(text, str::trim)
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
        let sizes = |sizes: &[(&str, i64)]| {
            let pair = |&(key, size): &(&str, i64)| (Value::Text(key.into()), Value::Int(size));
            Value::Map(sizes.iter().map(pair).collect())
        };
        for (name, text, expected) in [
            ("max_tokens", "4k", Value::Int(4_000)),
            ("max_tokens", "4K", Value::Int(4_096)),
            ("max_tokens", "none", Value::Null),
            ("kv_cache_memory_bytes", "2G", Value::Int(2 << 30)),
            ("kv_cache_memory_bytes", "3m", Value::Int(3_000_000)),
            ("seed", "-9223372036854775808", Value::Int(i64::MIN)),
            ("temperature", "0.7", Value::Float(0.7)),
            ("ignore_eos", "true", Value::Bool(true)),
            ("ignore_eos", "ON", Value::Bool(true)),
            ("ignore_eos", "0", Value::Bool(false)),
            ("logprobs", "true", Value::Bool(true)),
            ("logprobs", "1", Value::Int(1)),
            ("tokenizer", "none", Value::Null),
            ("logprobs", "-1", Value::Int(-1)),
            ("stop", "none", Value::Text("none".into())),
            ("stop", "\n\n", Value::Text("\n\n".into())),
            ("stop_token_ids", "1, 2,3", list(&[1, 2, 3])),
            ("stop_token_ids", "[1, 2]", list(&[1, 2])),
            ("stop_token_ids", "", list(&[])),
            ("bad_words", "none", Value::Text("none".into())),
            ("pipeline", "hf", Value::Text("hf".into())),
            (
                "pipeline",
                "[top_k, temperature]",
                Value::List(vec![
                    Value::Text("top_k".into()),
                    Value::Text("temperature".into()),
                ]),
            ),
            (
                "repetition_detection",
                "max_pattern_size:3,min_count:4",
                sizes(&[("max_pattern_size", 3), ("min_count", 4)]),
            ),
            (
                "repetition_detection",
                r#"{"min_count": 2}"#,
                sizes(&[("min_count", 2)]),
            ),
            (
                "logit_bias",
                r#"{"1": 2, "3": -0.5}"#,
                Value::Map(vec![
                    (Value::Int(1), Value::Float(2.0)),
                    (Value::Int(3), Value::Float(-0.5)),
                ]),
            ),
            ("logit_bias", "{}", Value::Map(Vec::new())),
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
            ("ignore_eos", "2"),
            ("ignore_eos", ""),
            ("stop_token_ids", "1,,2"),
            ("logit_bias", "5"),
            ("repetition_detection", "3"),
            ("repetition_detection", "min_count:x"),
            ("logit_bias", "abc:1"),
            ("logit_bias", "5:1,5:-100"),
            ("logit_bias", r#"{"5": 1, "5": 2}"#),
            ("logit_bias", r#"{"5": [1]}"#),
            ("logit_bias", r#"{"5": null}"#),
            ("logit_bias", "{5: 1}"),
            ("logit_bias", "{"),
        ] {
            assert_eq!(parse(name, text), None, "{name} {text}");
        }
    }
}
