//! A value as a door received it, before it is checked: what Python, JSON and a command line have in common.

use std::fmt;

use crate::params::Callable;

/// Longest echo of a value in a message, in characters.
const ECHO_LEN_MAX: usize = 64;

/// One value. An integer outside 64 bits comes as a float, which every integer option refuses.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The default.
    Null,
    /// True or false; never a number.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number, NaN and infinities included.
    Float(f64),
    /// A string.
    Text(String),
    /// A sequence.
    List(Vec<Value>),
    /// Pairs in the order given; keys may repeat.
    Map(Vec<(Value, Value)>),
    /// What a program gives to be called; no text writes it.
    Callable(Callable),
}

impl Value {
    /// As messages show it, cut to 64 characters.
    pub fn echo(&self) -> String {
        // Formatting stops early: a list of a million entries costs no more than its first few.
        let mut echo = Echo {
            text: String::new(),
            room: ECHO_LEN_MAX,
        };
        let _ = fmt::write(&mut echo, format_args!("{self}"));
        echo.text
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    pub(super) fn as_u32(&self) -> Option<u32> {
        self.as_int().and_then(|int| u32::try_from(int).ok())
    }

    pub(super) fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(float) => Some(*float),
            Self::Int(int) => Some(*int as f64),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => out.write_str("none"),
            Self::Bool(flag) => write!(out, "{flag}"),
            Self::Int(int) => write!(out, "{int}"),
            Self::Float(float) => write!(out, "{float:?}"),
            Self::Text(text) => write!(out, "{text:?}"),
            Self::Callable(Callable(callback)) => write!(out, "<callable {}>", callback.name()),
            Self::List(items) => {
                out.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(out, "{}{item}", if index > 0 { ", " } else { "" })?;
                }
                out.write_str("]")
            }
            Self::Map(pairs) => {
                out.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(out, "{}{key}: {value}", if index > 0 { ", " } else { "" })?;
                }
                out.write_str("}")
            }
        }
    }
}

/// A writer that fails when it is full.
struct Echo {
    text: String,
    room: usize,
}

impl fmt::Write for Echo {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for letter in part.chars() {
            self.room = self.room.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(letter);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn an_echo_has_at_most_64_characters() {
        let long = Value::List(vec![Value::Int(123_456); 1_000_000]);
        assert_eq!(long.echo().chars().count(), 64);
        assert_eq!(Value::Text("é".repeat(100)).echo().chars().count(), 64);
        assert_eq!(
            Value::Map(vec![(Value::Text("a".into()), Value::Null)]).echo(),
            "{\"a\": none}"
        );
        assert_eq!(Value::Float(1e39).echo(), "1e39");
    }
}
