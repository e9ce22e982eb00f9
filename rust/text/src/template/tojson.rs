//! `tojson` as transformers defines it: Python's `json.dumps` with its spaces, without HTML escapes.
//! Shared values can print exponentially larger than they are, so fuel is paid while writing.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::TemplateResult;
use super::functions::MARKER_NAME;

/// Deepest nesting; the writer recurses.
const DEPTH_MAX: usize = 128;

/// Widest indentation.
const INDENT_MAX: usize = 32;

/// Bytes paid for with one unit of fuel; each value costs one more.
const BYTES_PER_FUEL: usize = 64;

/// `tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands arguments over by value"
)]
pub(super) fn filter(
    state: &State,
    value: Value,
    positional: Rest<Value>,
    kwargs: Kwargs,
) -> TemplateResult<String> {
    let argument = |index: usize, name: &str| -> TemplateResult<Value> {
        if let Some(value) = positional.get(index) {
            return Ok(value.clone());
        }
        Ok(kwargs
            .get::<Option<Value>>(name)?
            .unwrap_or(Value::from(())))
    };
    let indent = indentation(&argument(1, "indent")?)?;
    let separators = argument(2, "separators")?;
    let (item, key) = if separators.is_none() {
        (
            if indent.is_some() { "," } else { ", " }.to_owned(),
            ": ".to_owned(),
        )
    } else {
        (
            separators.get_item(&Value::from(0))?.to_string(),
            separators.get_item(&Value::from(1))?.to_string(),
        )
    };
    let mut writer = Writer {
        state,
        text: String::new(),
        paid_bytes: 0,
        marker: state
            .lookup(MARKER_NAME)
            .and_then(|marker| marker.as_str()?.chars().next()),
        ensure_ascii: argument(0, "ensure_ascii")?.is_true(),
        sort_keys: argument(3, "sort_keys")?.is_true(),
        indent,
        item,
        key,
    };
    kwargs.assert_all_used()?;
    writer.value(&value, 0)?;
    writer.pay()?;
    Ok(writer.text)
}

fn bad(problem: &str) -> Error {
    Error::new(ErrorKind::BadSerialization, format!("tojson: {problem}"))
}

/// A number of blanks or a string, as Python takes it.
fn indentation(value: &Value) -> TemplateResult<Option<String>> {
    if value.is_none() {
        return Ok(None);
    }
    let indent = match (value.as_str(), value.as_i64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(width)) => " ".repeat(usize::try_from(width).unwrap_or(0).min(INDENT_MAX + 1)),
        _ => return Err(bad("indent must be a number or a string")),
    };
    if indent.len() > INDENT_MAX {
        return Err(bad("indent is too wide"));
    }
    Ok(Some(indent))
}

struct Writer<'a, 'b, 'c> {
    state: &'a State<'b, 'c>,
    text: String,
    /// Bytes already paid for.
    paid_bytes: usize,
    /// What breaks control tokens: it is taken out later, so it is never escaped.
    marker: Option<char>,
    ensure_ascii: bool,
    sort_keys: bool,
    indent: Option<String>,
    item: String,
    key: String,
}

impl Writer<'_, '_, '_> {
    fn pay(&mut self) -> TemplateResult<()> {
        let owed = self.text.len() - self.paid_bytes;
        if owed >= BYTES_PER_FUEL {
            self.paid_bytes = self.text.len();
            self.state.consume_fuel((owed / BYTES_PER_FUEL) as u64)?;
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: usize) -> TemplateResult<()> {
        self.pay()?;
        self.state.consume_fuel(1)?;
        if depth > DEPTH_MAX {
            return Err(bad("the value is nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self
                .text
                .push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value)?,
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.sequence(value, depth)?,
            ValueKind::Map => self.mapping(value, depth)?,
            ValueKind::Undefined => return Err(bad("an undefined value has no JSON form")),
            other => return Err(bad(&format!("a value of type {other} has no JSON form"))),
        }
        Ok(())
    }

    /// Floats as Python's `repr`, integers as they are.
    fn number(&mut self, value: &Value) -> TemplateResult<()> {
        if value.is_integer() {
            let _ = write!(self.text, "{value}");
            return Ok(());
        }
        let float = f64::try_from(value.clone())?;
        self.text.push_str(&python_float(float));
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                c if Some(c) == self.marker => self.text.push(c),
                c if c < ' ' || (self.ensure_ascii && !(' '..='~').contains(&c)) => self.escape(c),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    fn escape(&mut self, c: char) {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(self.text, "\\u{unit:04x}");
        }
    }

    fn sequence(&mut self, value: &Value, depth: usize) -> TemplateResult<()> {
        self.text.push('[');
        let mut is_empty = true;
        for item in value.try_iter()? {
            self.begin_item(is_empty, depth + 1);
            is_empty = false;
            self.value(&item, depth + 1)?;
        }
        self.end(']', is_empty, depth);
        Ok(())
    }

    fn mapping(&mut self, value: &Value, depth: usize) -> TemplateResult<()> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        self.text.push('{');
        for (index, key) in keys.iter().enumerate() {
            self.begin_item(index == 0, depth + 1);
            match key.kind() {
                ValueKind::String => self.string(key.as_str().unwrap_or_default()),
                ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                    self.text.push('"');
                    self.value(key, depth + 1)?;
                    self.text.push('"');
                }
                _ => return Err(bad("keys must be strings, numbers, true, false or null")),
            }
            self.text.push_str(&self.key.clone());
            self.value(&value.get_item(key)?, depth + 1)?;
        }
        self.end('}', keys.is_empty(), depth);
        Ok(())
    }

    fn begin_item(&mut self, is_first: bool, depth: usize) {
        if !is_first {
            self.text.push_str(&self.item);
        }
        self.break_line(depth);
    }

    fn end(&mut self, bracket: char, is_empty: bool, depth: usize) {
        if !is_empty {
            self.break_line(depth);
        }
        self.text.push(bracket);
    }

    fn break_line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.text.push('\n');
            self.text
                .extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }
}

/// Python's shortest form: an exponent below 1e-4 and from 1e16 on.
fn python_float(float: f64) -> String {
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent
            .strip_prefix('-')
            .map_or(("+", exponent), |exponent| ("-", exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = format!("{float}");
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

#[cfg(test)]
mod tests {
    use super::python_float;

    /// Made with Python: `json.dumps(x)`.
    #[test]
    fn floats_print_as_python_prints_them() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
            (123456.789, "123456.789"),
        ];
        for (float, expected) in cases {
            assert_eq!(python_float(float), expected);
        }
    }
}
