//! Option values as JSON text, both ways: a command line writes a map so, and a schema that came as a map is kept
//! as text. Reading is bounded in depth, keeps the order of keys and leaves repeated ones to the check.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use crate::option::value::Value;

/// Deepest nesting that is read or written: two levels for each one of a schema, and what stands around it.
const DEPTH_MAX: usize = 80;

/// The text of a value, or nothing where JSON has none for it: NaN, infinities, keys that are no text, depth.
pub(in crate::option) fn written(value: &Value) -> Option<String> {
    let mut out = String::new();
    write_value(value, DEPTH_MAX, &mut out)?;
    Some(out)
}

fn write_value(value: &Value, levels_left: usize, out: &mut String) -> Option<()> {
    let below = levels_left.checked_sub(1)?;
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => write!(out, "{flag}").ok()?,
        Value::Int(int) => write!(out, "{int}").ok()?,
        Value::Float(float) if float.is_finite() => write!(out, "{float:?}").ok()?,
        Value::Float(_) | Value::Callable(_) => return None,
        Value::Text(text) => write_text(text, out),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_value(item, below, out)?;
            }
            out.push(']');
        }
        Value::Map(pairs) => {
            out.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_text(key.as_text()?, out);
                out.push(':');
                write_value(value, below, out)?;
            }
            out.push('}');
        }
    }
    Some(())
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\0'..'\x20' => _ = write!(out, "\\u{:04x}", letter as u32),
            _ => out.push(letter),
        }
    }
    out.push('"');
}

/// The value that a text writes, if it is JSON and nothing else. Numbers without a fraction are integers.
pub(in crate::option) fn read(text: &str) -> Option<Value> {
    let mut reader = Reader {
        rest: text.chars().peekable(),
    };
    let value = reader.value(DEPTH_MAX)?;
    reader.skip_blanks();
    reader.rest.next().is_none().then_some(value)
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn value(&mut self, levels_left: usize) -> Option<Value> {
        let below = levels_left.checked_sub(1)?;
        self.skip_blanks();
        match *self.rest.peek()? {
            '{' => self
                .items('{', '}', |reader| {
                    let key = reader.value(1)?;
                    key.as_text()?;
                    reader.take(':')?;
                    Some((key, reader.value(below)?))
                })
                .map(Value::Map),
            '[' => self
                .items('[', ']', |reader| reader.value(below))
                .map(Value::List),
            '"' => self.text().map(Value::Text),
            _ => self.word(),
        }
    }

    fn items<T>(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.take(open)?;
        let mut items = Vec::new();
        if self.take(close).is_some() {
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            if self.take(close).is_some() {
                return Some(items);
            }
            self.take(',')?;
        }
    }

    /// The next character behind blanks, if it is this one.
    fn take(&mut self, wanted: char) -> Option<char> {
        self.skip_blanks();
        self.rest.next_if_eq(&wanted)
    }

    fn skip_blanks(&mut self) {
        while self
            .rest
            .next_if(|letter| matches!(letter, ' ' | '\t' | '\n' | '\r'))
            .is_some()
        {}
    }

    fn word(&mut self) -> Option<Value> {
        let mut word = String::new();
        while let Some(letter) = self
            .rest
            .next_if(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(*letter))
        {
            word.push(letter);
        }
        match word.as_str() {
            "null" => Some(Value::Null),
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            // What Rust reads as a number and JSON does not begins otherwise: inf, nan, +1, .5.
            _ if word.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => word
                .parse()
                .map(Value::Int)
                .or_else(|_| word.parse().map(Value::Float))
                .ok(),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        self.take('"')?;
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                letter if letter < ' ' => return None,
                letter => text.push(letter),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.rest.next()? {
            letter @ ('"' | '\\' | '/') => letter,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.four_digits()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                // Half of a letter beyond 16 bits: the other half follows.
                (self.rest.next()? == '\\' && self.rest.next()? == 'u').then_some(())?;
                let second = self.four_digits()?.checked_sub(0xdc00)?;
                let low = (second < 0x400).then_some(second)?;
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + low);
            }
            _ => return None,
        })
    }

    fn four_digits(&mut self) -> Option<u32> {
        let mut number = 0;
        for _ in 0..4 {
            number = number * 16 + self.rest.next()?.to_digit(16)?;
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, read, written};
    use crate::option::value::Value;

    #[test]
    fn what_was_written_is_read_again() {
        for text in [
            r#"{"a":[1,-2.5,true,null],"b":{"c":"d\"\\\u0001é😀"}}"#,
            "[]",
            "{}",
            "1e39",
            r#""x""#,
        ] {
            let value = read(text).expect(text);
            assert_eq!(written(&value).as_deref(), Some(text));
        }
        let spaced = read(" { \"a\" : [ 1 , 2 ] } ").unwrap();
        assert_eq!(written(&spaced).as_deref(), Some(r#"{"a":[1,2]}"#));
        let escaped = read(r#""\u00e9\ud83d\ude00\/\n""#).unwrap();
        assert_eq!(escaped, Value::Text("é😀/\n".into()));
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{1:2}",
            "nul",
            "nan",
            "inf",
            "+1",
            ".5",
            "\"a",
            "1 2",
            "\"\\x\"",
            "\"\\ud83d\"",
            "\"\\ud83dx\"",
            "\"\\ud83d\\u0041\"",
            "\"\\udc00\"",
            "\"\n\"",
            "[1 2]",
            "'a'",
            "-",
            "{\"a\":1 \"b\":2}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_both_ways() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&nested(DEPTH_MAX)).is_some());
        assert!(read(&nested(DEPTH_MAX + 1)).is_none());
        assert!(read(&nested(1_000_000)).is_none());
        let mut value = Value::Null;
        for _ in 0..DEPTH_MAX {
            assert!(written(&value).is_some());
            value = Value::List(vec![value]);
        }
        assert!(written(&value).is_none());
        assert!(written(&Value::Float(f64::NAN)).is_none());
        assert!(written(&Value::Map(vec![(Value::Int(1), Value::Null)])).is_none());
    }
}
