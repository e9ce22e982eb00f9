//! JSON as a value, for options that a command line writes so. Bounded in depth; numbers without a fraction are
//! integers. It reads shapes only: what a value means is checked where values from every door are.

use crate::option::value::Value;

/// Deepest nesting, as at every door.
const DEPTH_MAX: usize = 8;

/// The value that a text writes; nothing where it is no JSON or goes on behind it.
pub(in crate::option) fn parse_json(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(DEPTH_MAX)?;
    reader.skip_blanks();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, mark: char) -> Option<()> {
        self.skip_blanks();
        self.rest = self.rest.strip_prefix(mark)?;
        Some(())
    }

    fn value(&mut self, levels_left: usize) -> Option<Value> {
        let below = levels_left.checked_sub(1)?;
        self.skip_blanks();
        for (word, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Some(value);
            }
        }
        match self.rest.chars().next()? {
            '[' => {
                let items = self.items('[', ']', |reader| reader.value(below))?;
                Some(Value::List(items))
            }
            '{' => {
                let pair = |reader: &mut Self| {
                    reader.skip_blanks();
                    let key = reader.string()?;
                    reader.eat(':')?;
                    Some((Value::Text(key), reader.value(below)?))
                };
                self.items('{', '}', pair).map(Value::Map)
            }
            '"' => self.string().map(Value::Text),
            _ => self.number(),
        }
    }

    fn items<T>(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.eat(open)?;
        let mut items = Vec::new();
        if self.eat(close).is_some() {
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(',').is_none() {
                self.eat(close)?;
                return Some(items);
            }
        }
    }

    fn number(&mut self) -> Option<Value> {
        let is_part = |letter: char| letter.is_ascii_digit() || "+-.eE".contains(letter);
        let len = self.rest.find(|letter| !is_part(letter));
        let (word, rest) = self.rest.split_at(len.unwrap_or(self.rest.len()));
        self.rest = rest;
        if word.starts_with('+') || word.starts_with('.') {
            return None;
        }
        let float = word.parse().ok().map(Value::Float);
        word.parse().ok().map(Value::Int).or(float)
    }

    fn string(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('"')?;
        let mut text = String::new();
        loop {
            let letter = self.letter()?;
            match letter {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                letter if letter < ' ' => return None,
                letter => text.push(letter),
            }
        }
    }

    fn letter(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    fn escaped(&mut self) -> Option<char> {
        match self.letter()? {
            letter @ ('"' | '\\' | '/') => Some(letter),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => {
                let high = self.unit()?;
                if !(0xD800..0xDC00).contains(&high) {
                    return char::from_u32(high);
                }
                self.rest = self.rest.strip_prefix("\\u")?;
                let low = self.unit().filter(|low| (0xDC00..0xE000).contains(low))?;
                char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
            }
            _ => None,
        }
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.rest = &self.rest[4..];
        is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_the_value_it_writes() {
        for (text, shown) in [
            ("[]", "[]"),
            (" [1, -2.5 ,1e3,null]", "[1, -2.5, 1000.0, none]"),
            (r#"{"a": [true], "b": {}}"#, r#"{"a": [true], "b": {}}"#),
            (r#""\u00e9\ud83d\ude42\n\"/\/""#, "\"é🙂\\n\\\"//\""),
            ("18446744073709551616", "1.8446744073709552e19"),
        ] {
            let value = parse_json(text);
            assert_eq!(value.map(|value| value.to_string()), Some(shown.into()));
        }
    }

    #[test]
    fn what_is_no_json_is_none() {
        for text in [
            "",
            "[",
            "[1,]",
            "[1 2]",
            "{1: 2}",
            "{\"a\"}",
            "nul",
            "+1",
            ".5",
            "1 1",
            "\"",
            "\"\n\"",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\u12\"",
            "'a'",
            "NaN",
            "é",
            "[[[[[[[[[1]]]]]]]]]",
        ] {
            assert_eq!(parse_json(text), None, "{text}");
        }
    }
}
