//! One view of a model's configuration, whether it came from config.json or from GGUF metadata. Everything
//! read here is hostile: each accessor checks type and bounds, and an error names the key as the file
//! spells it. It knows no architecture. A JSON `null` is an absent key.

use std::ops::RangeInclusive;

use serde_json::Map;
use tokenmill_formats::gguf;

use crate::error::{Error, Result};

/// Longest piece of a file's value that a message quotes, in characters.
const QUOTE_LEN_MAX: usize = 64;

/// A key, as each kind of file spells it; GGUF spells it after the architecture's name and a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// In config.json.
    pub json: &'static str,
    /// In GGUF metadata, without the architecture.
    pub gguf: &'static str,
}

impl Key {
    /// A key of both kinds of file.
    pub const fn new(json: &'static str, gguf: &'static str) -> Self {
        Self { json, gguf }
    }
}

/// A value of the file, without its encoding.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A boolean.
    Flag(bool),
    /// An integer of any width.
    Int(i128),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(&'a str),
    /// A list; empty where its items are of no use to a configuration.
    List(Vec<Value<'a>>),
    /// An object.
    Object,
}

/// A configuration, or one object inside of it.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    source: Source<'a>,
    /// JSON: the path of this object; GGUF: the name of the architecture.
    scope: &'a str,
    /// (usual, its own) names of keys.
    aliases: &'a [(&'a str, &'a str)],
}

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Json(&'a Map<String, serde_json::Value>),
    Gguf(&'a gguf::Metadata),
}

impl<'a> Fields<'a> {
    /// The fields of a config.json.
    pub fn json(object: &'a Map<String, serde_json::Value>) -> Self {
        Self {
            source: Source::Json(object),
            scope: "",
            aliases: &[],
        }
    }

    /// The fields of a GGUF file for one architecture.
    pub fn gguf(metadata: &'a gguf::Metadata, architecture: &'a str) -> Self {
        Self {
            source: Source::Gguf(metadata),
            scope: architecture,
            aliases: &[],
        }
    }

    /// The same fields, in which some keys have other names.
    #[must_use]
    pub fn with_aliases(self, aliases: &'a [(&'a str, &'a str)]) -> Self {
        Self { aliases, ..self }
    }

    /// A key's name in this file, where it goes by another.
    fn alias<'b>(&self, usual: &'b str) -> &'b str
    where
        'a: 'b,
    {
        let mut aliases = self.aliases.iter();
        aliases
            .find(|(from, _)| *from == usual)
            .map_or(usual, |(_, to)| to)
    }

    /// Whether this is GGUF metadata.
    pub fn is_gguf(&self) -> bool {
        matches!(self.source, Source::Gguf(_))
    }

    /// The key as the file spells it.
    pub fn name(&self, key: Key) -> String {
        match self.source {
            Source::Json(_) if self.scope.is_empty() => self.alias(key.json).to_owned(),
            Source::Json(_) => format!("{}.{}", self.scope, self.alias(key.json)),
            Source::Gguf(_) => format!("{}.{}", quote(self.scope), self.alias(key.gguf)),
        }
    }

    /// The value of a key, if the file has it.
    pub fn value(&self, key: Key) -> Option<Value<'a>> {
        match self.source {
            Source::Json(object) => {
                let value = object.get(self.alias(key.json));
                value.or_else(|| object.get(key.json)).and_then(json_value)
            }
            Source::Gguf(metadata) => metadata.get(&self.name(key)).map(gguf_value),
        }
    }

    /// Whether a config.json says `null` for a key.
    pub fn has_null(&self, key: Key) -> bool {
        match self.source {
            Source::Json(object) => object
                .get(self.alias(key.json))
                .is_some_and(serde_json::Value::is_null),
            Source::Gguf(_) => false,
        }
    }

    /// Whether any value is itself an object.
    pub fn has_objects(&self) -> bool {
        match self.source {
            Source::Json(object) => object.values().any(serde_json::Value::is_object),
            Source::Gguf(_) => false,
        }
    }

    /// An object inside of a config.json, under its own path; GGUF has none.
    pub fn object(&self, name: &'static str) -> Result<Option<Fields<'a>>> {
        let Source::Json(object) = self.source else {
            return Ok(None);
        };
        match object.get(name) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(serde_json::Value::Object(inner)) => Ok(Some(Self {
                source: Source::Json(inner),
                scope: name,
                aliases: &[],
            })),
            Some(_) => Err(self.error(Key::new(name, name), "an object", "another type")),
        }
    }

    /// The objects of a list inside of a config.json.
    pub fn objects(&self, name: &'static str, len: usize) -> Result<Option<Vec<Fields<'a>>>> {
        let Source::Json(object) = self.source else {
            return Ok(None);
        };
        let Some(value) = object.get(name).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let list = value.as_array().filter(|list| list.len() == len);
        let objects = list.and_then(|list| {
            list.iter()
                .map(|item| {
                    item.as_object().map(|inner| Self {
                        source: Source::Json(inner),
                        scope: name,
                        aliases: &[],
                    })
                })
                .collect::<Option<Vec<_>>>()
        });
        let expected = format!("a list of {len} objects");
        objects
            .map(Some)
            .ok_or_else(|| self.error(Key::new(name, name), &expected, "something else"))
    }

    /// An integer within bounds.
    pub fn count(&self, key: Key, bounds: RangeInclusive<usize>) -> Result<Option<usize>> {
        self.value(key)
            .map(|value| self.check_count(key, &value, &bounds))
            .transpose()
    }

    /// `len` integers within bounds: one for all, or a list.
    pub fn counts(
        &self,
        key: Key,
        len: usize,
        bounds: RangeInclusive<usize>,
    ) -> Result<Option<Vec<usize>>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let Value::List(list) = value else {
            return Ok(Some(vec![self.check_count(key, &value, &bounds)?; len]));
        };
        if list.len() != len {
            let expected = format!("an integer, or a list of {len}");
            let got = format!("a list of {}", list.len());
            return Err(self.error(key, &expected, &got));
        }
        list.iter()
            .map(|item| self.check_count(key, item, &bounds))
            .collect::<Result<Vec<_>>>()
            .map(Some)
    }

    /// A finite number within bounds.
    pub fn number(&self, key: Key, bounds: RangeInclusive<f64>) -> Result<Option<f64>> {
        self.value(key)
            .map(|value| self.check_number(key, &value, &bounds))
            .transpose()
    }

    fn check_number(
        &self,
        key: Key,
        value: &Value<'_>,
        bounds: &RangeInclusive<f64>,
    ) -> Result<f64> {
        let number = match value {
            Value::Int(integer) => *integer as f64,
            Value::Float(number) => *number,
            _ => f64::NAN,
        };
        if bounds.contains(&number) {
            return Ok(number);
        }
        let expected = format!("a number from {:e} to {:e}", bounds.start(), bounds.end());
        Err(self.error(key, &expected, &value.to_string()))
    }

    /// `len` finite numbers within bounds.
    pub fn numbers(
        &self,
        key: Key,
        len: usize,
        bounds: RangeInclusive<f64>,
    ) -> Result<Option<Vec<f64>>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let Value::List(list) = value else {
            return Err(self.error(key, &format!("a list of {len} numbers"), &value.to_string()));
        };
        if list.len() != len {
            let got = format!("a list of {}", list.len());
            return Err(self.error(key, &format!("a list of {len} numbers"), &got));
        }
        list.iter()
            .map(|item| self.check_number(key, item, &bounds))
            .collect::<Result<Vec<_>>>()
            .map(Some)
    }

    /// A boolean.
    pub fn flag(&self, key: Key) -> Result<Option<bool>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Flag(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.error(key, "true or false", &other.to_string())),
        }
    }

    /// A string.
    pub fn text(&self, key: Key) -> Result<Option<&'a str>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.error(key, "a string", &other.to_string())),
        }
    }

    /// The error of a key that has to be there.
    pub fn missing(&self, key: Key) -> Error {
        self.error(key, "present", "nothing")
    }

    /// The error of a key whose value will not do.
    pub fn error(&self, key: Key, expected: &str, got: &str) -> Error {
        Error::Config {
            key: self.name(key),
            expected: expected.to_owned(),
            got: quote(got),
        }
    }

    fn check_count(
        &self,
        key: Key,
        value: &Value<'a>,
        bounds: &RangeInclusive<usize>,
    ) -> Result<usize> {
        let count = match value {
            Value::Int(integer) => usize::try_from(*integer).ok(),
            _ => None,
        };
        count.filter(|count| bounds.contains(count)).ok_or_else(|| {
            let expected = format!("an integer from {} to {}", bounds.start(), bounds.end());
            self.error(key, &expected, &value.to_string())
        })
    }
}

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "{flag}"),
            Self::Int(integer) => write!(formatter, "{integer}"),
            Self::Float(number) => write!(formatter, "{number:e}"),
            Self::Text(text) => write!(formatter, "{text:?}"),
            Self::List(list) => write!(formatter, "a list of {}", list.len()),
            Self::Object => formatter.write_str("an object"),
        }
    }
}

fn json_value(value: &serde_json::Value) -> Option<Value<'_>> {
    Some(match value {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(flag) => Value::Flag(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::Int(integer.into()),
            (None, Some(integer)) => Value::Int(integer.into()),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(list) => Value::List(list.iter().filter_map(json_value).collect()),
        serde_json::Value::Object(_) => Value::Object,
    })
}

fn gguf_value(value: &gguf::Value) -> Value<'_> {
    match value {
        gguf::Value::U8(integer) => Value::Int((*integer).into()),
        gguf::Value::I8(integer) => Value::Int((*integer).into()),
        gguf::Value::U16(integer) => Value::Int((*integer).into()),
        gguf::Value::I16(integer) => Value::Int((*integer).into()),
        gguf::Value::U32(integer) => Value::Int((*integer).into()),
        gguf::Value::I32(integer) => Value::Int((*integer).into()),
        gguf::Value::U64(integer) => Value::Int((*integer).into()),
        gguf::Value::I64(integer) => Value::Int((*integer).into()),
        gguf::Value::F32(number) => Value::Float((*number).into()),
        gguf::Value::F64(number) => Value::Float(*number),
        gguf::Value::Bool(flag) => Value::Flag(*flag),
        gguf::Value::String(text) => Value::Text(text),
        gguf::Value::Array(array) => Value::List(gguf_list(array)),
    }
}

/// The integers of an array; other arrays (tokens, scores) are no configuration.
fn gguf_list(array: &gguf::Array) -> Vec<Value<'_>> {
    fn integers<'a, T: Copy + Into<i128>>(items: &[T]) -> Vec<Value<'a>> {
        items.iter().map(|&item| Value::Int(item.into())).collect()
    }
    match array {
        gguf::Array::U8(items) => integers(items),
        gguf::Array::I8(items) => integers(items),
        gguf::Array::U16(items) => integers(items),
        gguf::Array::I16(items) => integers(items),
        gguf::Array::U32(items) => integers(items),
        gguf::Array::I32(items) => integers(items),
        gguf::Array::U64(items) => integers(items),
        gguf::Array::I64(items) => integers(items),
        _ => Vec::new(),
    }
}

/// The head of a file's text, fit for a message.
pub fn quote(text: &str) -> String {
    let mut head: String = text.chars().take(QUOTE_LEN_MAX).collect();
    if head.len() < text.len() {
        head.push('…');
    }
    head
}
