//! The key-value pairs of a GGUF header, in file order, with getters that convert where no meaning is lost
//! and otherwise say which key, what was expected and what was met.

use std::collections::HashMap;

use super::value::{Array, Value};
use crate::error::{Error, Result, echo};

/// Metadata of one file.
#[derive(Clone, Debug)]
pub struct Metadata {
    file: String,
    version: u32,
    entries: Vec<(String, Value)>,
    by_key: HashMap<String, usize>,
}

impl Metadata {
    /// No pairs yet, for file `file` of format version `version`.
    pub fn new(file: impl Into<String>, version: u32) -> Self {
        Self {
            file: file.into(),
            version,
            entries: Vec::new(),
            by_key: HashMap::new(),
        }
    }

    /// Adds a pair; a key may come once.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> Result<()> {
        let key = key.into();
        if self
            .by_key
            .insert(key.clone(), self.entries.len())
            .is_some()
        {
            return Err(Error::corrupt(
                &self.file,
                format!("key {}", echo(&key)),
                "given once",
                "a second value",
            ));
        }
        self.entries.push((key, value));
        Ok(())
    }

    /// Format version, 2 or 3.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Number of keys.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let index = *self.by_key.get(key)?;
        self.entries.get(index).map(|(_, value)| value)
    }

    /// `None` where `key` is absent, else what `getter` makes of it:
    /// `metadata.optional("llama.rope.freq_base", Metadata::f32)?`.
    pub fn optional<'a, T>(
        &'a self,
        key: &str,
        getter: impl FnOnce(&'a Self, &str) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.by_key.contains_key(key) {
            getter(self, key).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A string.
    pub fn string(&self, key: &str) -> Result<&str> {
        match self.get(key) {
            Some(Value::String(text)) => Ok(text),
            other => Err(self.bad(key, "a string", other)),
        }
    }

    /// A bool.
    pub fn bool(&self, key: &str) -> Result<bool> {
        match self.get(key) {
            Some(Value::Bool(value)) => Ok(*value),
            other => Err(self.bad(key, "a bool", other)),
        }
    }

    /// Any integer that is not negative.
    pub fn u64(&self, key: &str) -> Result<u64> {
        let value = self.get(key);
        let integer = match value {
            Some(Value::U8(v)) => Some(u64::from(*v)),
            Some(Value::U16(v)) => Some(u64::from(*v)),
            Some(Value::U32(v)) => Some(u64::from(*v)),
            Some(Value::U64(v)) => Some(*v),
            Some(Value::I8(v)) => u64::try_from(*v).ok(),
            Some(Value::I16(v)) => u64::try_from(*v).ok(),
            Some(Value::I32(v)) => u64::try_from(*v).ok(),
            Some(Value::I64(v)) => u64::try_from(*v).ok(),
            _ => None,
        };
        integer.ok_or_else(|| self.bad(key, "an integer of at least 0", value))
    }

    /// A finite float of either width.
    pub fn f64(&self, key: &str) -> Result<f64> {
        let value = self.get(key);
        let float = match value {
            Some(Value::F32(v)) => Some(f64::from(*v)),
            Some(Value::F64(v)) => Some(*v),
            _ => None,
        };
        float
            .filter(|v| v.is_finite())
            .ok_or_else(|| self.bad(key, "a finite float", value))
    }

    /// A finite float of either width that stays finite as f32.
    pub fn f32(&self, key: &str) -> Result<f32> {
        let narrow = self.f64(key)? as f32;
        if narrow.is_finite() {
            Ok(narrow)
        } else {
            Err(self.bad(key, "a float within f32", self.get(key)))
        }
    }

    /// An array of strings.
    pub fn string_array(&self, key: &str) -> Result<&[String]> {
        match self.get(key) {
            Some(Value::Array(Array::String(items))) => Ok(items),
            other => Err(self.bad(key, "an array of strings", other)),
        }
    }

    /// An array of f32, as stored: elements may be infinite or not a number.
    pub fn f32_array(&self, key: &str) -> Result<&[f32]> {
        match self.get(key) {
            Some(Value::Array(Array::F32(items))) => Ok(items),
            other => Err(self.bad(key, "an array of f32", other)),
        }
    }

    /// An array of any integer type whose elements all fit i32.
    pub fn i32_array(&self, key: &str) -> Result<Vec<i32>> {
        let expected = "an array of integers within i32";
        self.integers(key, expected, |item| i32::try_from(item).ok())
    }

    /// An array of any integer type whose elements are all at least 0.
    pub fn u64_array(&self, key: &str) -> Result<Vec<u64>> {
        self.integers(key, "an array of integers of at least 0", |item| {
            u64::try_from(item).ok()
        })
    }

    fn integers<T>(
        &self,
        key: &str,
        expected: &str,
        narrow: impl Fn(i128) -> Option<T>,
    ) -> Result<Vec<T>> {
        fn each<S: Copy + Into<i128>, T>(
            items: &[S],
            narrow: impl Fn(i128) -> Option<T>,
        ) -> Option<Vec<T>> {
            items.iter().map(|&item| narrow(item.into())).collect()
        }
        let value = self.get(key);
        let items = match value {
            Some(Value::Array(Array::U8(items))) => each(items, narrow),
            Some(Value::Array(Array::I8(items))) => each(items, narrow),
            Some(Value::Array(Array::U16(items))) => each(items, narrow),
            Some(Value::Array(Array::I16(items))) => each(items, narrow),
            Some(Value::Array(Array::U32(items))) => each(items, narrow),
            Some(Value::Array(Array::I32(items))) => each(items, narrow),
            Some(Value::Array(Array::U64(items))) => each(items, narrow),
            Some(Value::Array(Array::I64(items))) => each(items, narrow),
            _ => None,
        };
        items.ok_or_else(|| self.bad(key, expected, value))
    }

    fn bad(&self, key: &str, expected: &str, got: Option<&Value>) -> Error {
        let got = got.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        Error::corrupt(&self.file, key, expected, got)
    }
}
