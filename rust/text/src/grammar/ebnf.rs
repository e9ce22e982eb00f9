//! EBNF as llama.cpp and XGrammar write it (`root ::= "yes" | "no"`), as a Lark grammar. Rules get names of ours, so
//! that none of theirs means anything to Lark; characters become numbers, for the same reason.

use std::collections::HashMap;
use std::fmt::Write;

use super::source::{Made, SourceLimits};

/// Whether a text is written so.
pub(super) fn is_ebnf(text: &str) -> bool {
    text.contains("::=")
}

/// The same language in Lark.
pub(super) fn lark(text: &str, limits: &SourceLimits) -> Made<String> {
    let mut reader = Reader {
        letters: text.chars().collect(),
        at: 0,
        depth_left: limits.depth_max,
        limits: *limits,
        names: HashMap::new(),
    };
    let mut rules: Vec<Option<String>> = Vec::new();
    reader.skip(true);
    while reader.peek().is_some() {
        let name = reader.name().ok_or_else(|| reader.fault("a rule's name"))?;
        reader.skip(true);
        if !reader.take("::=") {
            return Err(reader.fault("::="));
        }
        let index = reader.index(&name);
        reader.skip(true);
        let body = reader.alternatives(false)?;
        if rules.len() <= index {
            rules.resize(index + 1, None);
        }
        if rules[index].replace(body).is_some() {
            return Err(format!("has the rule {} twice", shown(&name)));
        }
        reader.skip(true);
    }
    rules.resize(reader.names.len(), None);
    let Some(root) = reader.names.get("root") else {
        return Err("has no rule root".into());
    };
    let mut lark = format!("start: r{root}\n");
    for (name, index) in &reader.names {
        let Some(body) = &rules[*index] else {
            return Err(format!("has no rule {}", shown(name)));
        };
        let _ = writeln!(lark, "r{index}: {body}");
    }
    Ok(lark)
}

fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

struct Reader {
    letters: Vec<char>,
    at: usize,
    depth_left: usize,
    limits: SourceLimits,
    names: HashMap<String, usize>,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(letter)
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.letters.get(self.at..).unwrap_or_default();
        let is_next = text
            .chars()
            .enumerate()
            .all(|(index, letter)| rest.get(index) == Some(&letter));
        self.at += if is_next { text.chars().count() } else { 0 };
        is_next
    }

    /// What was wanted where the reader stands.
    fn fault(&self, wanted: &str) -> String {
        let before = self.letters.get(..self.at).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&letter| letter == '\n').count();
        format!("line {line}: {wanted} was expected")
    }

    /// Blanks and comments; line ends too, where a rule goes on behind them.
    fn skip(&mut self, has_lines: bool) {
        while let Some(letter) = self.peek() {
            if letter == '#' {
                while self.peek().is_some_and(|letter| letter != '\n') {
                    self.at += 1;
                }
            } else if letter.is_whitespace() && (has_lines || letter != '\n') {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        while let Some(letter) = self.peek() {
            if !(letter.is_ascii_alphanumeric() || letter == '-' || letter == '_') {
                break;
            }
            name.push(letter);
            self.at += 1;
        }
        (!name.is_empty()).then_some(name)
    }

    fn index(&mut self, name: &str) -> usize {
        let next = self.names.len();
        *self.names.entry(name.to_owned()).or_insert(next)
    }

    /// A rule's body; `is_inside` brackets, where lines do not end it.
    fn alternatives(&mut self, is_inside: bool) -> Made<String> {
        let mut alternatives = vec![self.sequence(is_inside)?];
        loop {
            let here = self.at;
            // An alternative may stand on the next line.
            self.skip(true);
            if !self.take("|") {
                self.at = if is_inside { self.at } else { here };
                return Ok(alternatives.join(" | "));
            }
            self.skip(true);
            alternatives.push(self.sequence(is_inside)?);
        }
    }

    fn sequence(&mut self, is_inside: bool) -> Made<String> {
        let mut parts = Vec::new();
        loop {
            self.skip(is_inside);
            let here = self.at;
            let Some(part) = self.part()? else {
                break;
            };
            // The name of the next rule, where nothing but a line end parted it from this one.
            self.skip(true);
            if !is_inside && self.take("::=") {
                self.at = here;
                break;
            }
            self.at = here + part.1;
            parts.push(part.0 + &self.repetition()?);
        }
        if parts.is_empty() {
            return Ok("\"\"".into());
        }
        Ok(parts.join(" "))
    }

    /// One item and how many characters it takes.
    fn part(&mut self) -> Made<Option<(String, usize)>> {
        let here = self.at;
        let item = match self.peek() {
            Some(quote @ ('"' | '\'')) => self.literal(quote)?,
            Some('[') => self.class()?,
            Some('.') => {
                self.at += 1;
                "/(?s:.)/".into()
            }
            Some('(') => self.group()?,
            _ => {
                let Some(name) = self.name() else {
                    return Ok(None);
                };
                format!("r{}", self.index(&name))
            }
        };
        Ok(Some((item, self.at - here)))
    }

    fn group(&mut self) -> Made<String> {
        self.at += 1;
        let depth_max = self.limits.depth_max;
        self.depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| format!("nests brackets more than {depth_max} deep"))?;
        let inner = self.alternatives(true)?;
        self.skip(true);
        if !self.take(")") {
            return Err(self.fault(")"));
        }
        self.depth_left += 1;
        Ok(format!("({inner})"))
    }

    fn literal(&mut self, quote: char) -> Made<String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.next() {
                Some(letter) if letter == quote => break,
                Some('\\') => text.push(self.escaped()?),
                Some(letter) if letter != '\n' => text.push(letter),
                _ => return Err(self.fault("the end of a text")),
            }
        }
        serde_json::to_string(&text).map_err(|error| error.to_string())
    }

    fn class(&mut self) -> Made<String> {
        self.at += 1;
        let mut class = String::from(if self.take("^") { "/[^" } else { "/[" });
        let empty = class.len();
        while !self.take("]") {
            let first = self.class_letter()?;
            let has_more = self
                .letters
                .get(self.at + 1)
                .is_some_and(|&next| next != ']');
            let last = if has_more && self.take("-") {
                self.class_letter()?
            } else {
                first
            };
            if last < first {
                return Err(self.fault("a range from the lower to the higher character"));
            }
            let _ = write!(class, "\\u{{{:X}}}-\\u{{{:X}}}", first as u32, last as u32);
        }
        if class.len() == empty {
            return Err(self.fault("a character in the brackets"));
        }
        class.push_str("]/");
        Ok(class)
    }

    fn class_letter(&mut self) -> Made<char> {
        match self.next() {
            Some('\\') => self.escaped(),
            Some(letter) if letter != '\n' => Ok(letter),
            _ => Err(self.fault("]")),
        }
    }

    fn escaped(&mut self) -> Made<char> {
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some(letter) if letter.is_ascii_punctuation() => return Ok(letter),
            _ => {
                return Err(
                    self.fault("an escape of \\n, \\r, \\t, \\x, \\u, \\U or a punctuation mark")
                );
            }
        };
        let mut number = 0_u32;
        for _ in 0..digits {
            let digit = self.next().and_then(|letter| letter.to_digit(16));
            let digit = digit.ok_or_else(|| self.fault("a hexadecimal digit"))?;
            number = number.wrapping_mul(16).wrapping_add(digit);
        }
        char::from_u32(number).ok_or_else(|| self.fault("a Unicode character"))
    }

    /// `*`, `+`, `?` or a count behind an item.
    fn repetition(&mut self) -> Made<String> {
        match self.peek() {
            Some(sign @ ('*' | '+' | '?')) => {
                self.at += 1;
                Ok(sign.into())
            }
            Some('{') => {
                self.at += 1;
                let mut count = String::new();
                loop {
                    match self.next() {
                        Some('}') => break,
                        Some(letter) if letter.is_ascii_digit() || letter == ',' => {
                            count.push(letter);
                        }
                        Some(' ') => {}
                        _ => return Err(self.fault("}")),
                    }
                }
                Ok(format!("{{{count}}}"))
            }
            _ => Ok(String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::SourceLimits;
    use super::lark;

    const LIMITS: SourceLimits = SourceLimits {
        depth_max: 4,
        properties_max: 1,
    };

    #[test]
    fn rules_become_numbers_and_characters_too() {
        let text = "# a comment\nroot ::= \"yes\" | no-way{2,3} # behind\n  | ([a-c^]+ 'x\\'')?\nno-way ::= [^\\n\\]-]\n";
        assert_eq!(
            sorted(&lark(text, &LIMITS).unwrap()),
            "r0: \"yes\" | r1{2,3} | (/[\\u{61}-\\u{63}\\u{5E}-\\u{5E}]/+ \"x'\")?\n\
             r1: /[^\\u{A}-\\u{A}\\u{5D}-\\u{5D}\\u{2D}-\\u{2D}]/\nstart: r0"
        );
    }

    fn sorted(text: &str) -> String {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    #[test]
    fn faults_are_told_with_the_line() {
        for (text, what) in [
            ("root ::= a", "has no rule a"),
            ("a ::= \"b\"", "no rule root"),
            ("root ::= \"a\nb\"", "line 2"),
            ("root ::= \"a\"\nroot ::= \"b\"", "twice"),
            ("root ::= (a", ") was expected"),
            ("root ::= [b-a]", "range"),
            ("root ::= []", "character in the brackets"),
            ("root ::= [a", "] was expected"),
            ("root ::= \"\\q\"", "escape"),
            ("root ::= \"\\xg0\"", "hexadecimal"),
            ("root ::= \"\\ud800\"", "Unicode"),
            ("root ::= (((((\"a\")))))", "more than 4 deep"),
            ("root ::= \"a\"{x}", "} was expected"),
            ("root ::= \"a\" ; b", "a rule's name"),
            ("::= \"a\"", "a rule's name"),
        ] {
            let error = lark(text, &LIMITS).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
