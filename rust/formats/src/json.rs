//! JSON from strangers: bounded in bytes and depth, and with no key twice in an object. Two readers of one
//! file that keep different twins of a key would see two different models; we refuse instead of choosing.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{Error, Result, echo, file_name};
use crate::file::read_small;
use crate::limits::HeaderLimits;

/// Reads a JSON side file of at most 16 MiB, nested at most 127 deep, without duplicate keys.
pub fn read_json(path: &Path) -> Result<Value> {
    let bytes = read_small(path, HeaderLimits::default().header_len_max_bytes)?;
    parse_json(&file_name(path), &bytes)
}

/// Parses JSON nested at most 127 deep, without duplicate keys. `file` names it in messages.
pub fn parse_json(file: &str, bytes: &[u8]) -> Result<Value> {
    let strict: Strict = serde_json::from_slice(bytes)
        .map_err(|error| Error::corrupt(file, "text", "valid JSON", describe(&error)))?;
    Ok(strict.0)
}

/// A parser's complaint made fit for a message: it may quote a string of the file whole.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    const LEN_MAX: usize = 160;
    let text = error.to_string();
    if text.chars().count() <= LEN_MAX {
        return text;
    }
    let start: String = text.chars().take(LEN_MAX).collect();
    format!(
        "{start}… at line {} column {}",
        error.line(),
        error.column()
    )
}

/// Reads a side file that must hold an object.
pub(crate) fn read_object(path: &Path, limit_bytes: u64) -> Result<Map<String, Value>> {
    let name = file_name(path);
    match parse_json(&name, &read_small(path, limit_bytes)?)? {
        Value::Object(map) => Ok(map),
        other => Err(Error::corrupt(
            &name,
            "text",
            "a JSON object",
            type_name(&other),
        )),
    }
}

/// What a value is, for messages.
pub(crate) const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A value whose objects have no duplicate keys. `serde_json` bounds the depth.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "duplicate key {}",
                    echo(&key)
                )));
            }
            let Strict(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
