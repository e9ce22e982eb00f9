//! A first look at a template's source, before the engine sees it: which statements, filters and tests it
//! names. Statements that would reach for another template are refused; `generation` blocks, which only
//! mark text for training, become plain scopes; filters and tests that do not exist are refused with
//! their line, where the engine would find out only when a conversation first reached them.

use super::functions::{FILTERS, TESTS};
use crate::error::{Error, Result, quote};

/// Statements that load another template.
const LOADING: [&str; 4] = ["include", "import", "extends", "from"];

/// The source as the engine may compile it.
pub(super) fn checked(source: &str) -> Result<String> {
    let mut scanner = Scanner {
        source,
        at: 0,
        kept: 0,
        out: String::with_capacity(source.len()),
    };
    while let Some(opening) = scanner.next_opening() {
        match opening {
            Opening::Comment => scanner.skip_past("#}"),
            Opening::Expression => scanner.scan_inside("}}")?,
            Opening::Statement => scanner.scan_statement()?,
        }
    }
    scanner
        .out
        .push_str(source.get(scanner.kept..).unwrap_or_default());
    Ok(scanner.out)
}

enum Opening {
    Comment,
    Expression,
    Statement,
}

struct Scanner<'a> {
    source: &'a str,
    /// Next byte to look at.
    at: usize,
    /// Everything before is in `out`.
    kept: usize,
    out: String,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// One-based line of the next byte.
    fn line(&self) -> usize {
        1 + self
            .source
            .get(..self.at)
            .unwrap_or_default()
            .matches('\n')
            .count()
    }

    fn refuse(&self, problem: String) -> Error {
        Error::BadTemplate {
            line: self.line(),
            problem,
        }
    }

    /// Moves past the next `{#`, `{{` or `{%`.
    fn next_opening(&mut self) -> Option<Opening> {
        let bytes = self.source.as_bytes();
        while self.at + 1 < bytes.len() {
            let opening = match (bytes[self.at], bytes[self.at + 1]) {
                (b'{', b'#') => Opening::Comment,
                (b'{', b'{') => Opening::Expression,
                (b'{', b'%') => Opening::Statement,
                _ => {
                    self.at += 1;
                    continue;
                }
            };
            self.at += 2;
            return Some(opening);
        }
        None
    }

    fn skip_past(&mut self, end: &str) {
        self.at = self
            .rest()
            .find(end)
            .map_or(self.source.len(), |found| self.at + found + end.len());
    }

    fn scan_statement(&mut self) -> Result<()> {
        if self.rest().starts_with(['-', '+']) {
            self.at += 1;
        }
        self.skip_blanks();
        let begin = self.at;
        match self.identifier() {
            "raw" => {
                self.skip_raw();
                return Ok(());
            }
            name @ ("generation" | "endgeneration") => {
                self.out
                    .push_str(self.source.get(self.kept..begin).unwrap_or_default());
                self.out.push_str(if name == "generation" {
                    "with"
                } else {
                    "endwith"
                });
                self.kept = self.at;
            }
            "filter" => {
                self.skip_blanks();
                let name = self.identifier();
                self.check_filter(name)?;
            }
            name if LOADING.contains(&name) => {
                return Err(self.refuse(format!(
                    "{{% {name} %}} is refused: a template may not load another"
                )));
            }
            _ => {}
        }
        self.scan_inside("%}")
    }

    /// Past `{% endraw %}`; what lies before is text.
    fn skip_raw(&mut self) {
        while let Some(found) = self.rest().find("{%") {
            self.at += found + 2;
            let inside = self.rest().trim_start_matches(['-', '+']).trim_start();
            if inside.starts_with("endraw") {
                self.skip_past("%}");
                return;
            }
        }
        self.at = self.source.len();
    }

    /// Through an expression to its end, checking filters and tests. Brackets may hide the end, as in
    /// `{{ {"a": {}} }}`, and so may strings.
    fn scan_inside(&mut self, end: &str) -> Result<()> {
        let mut depth = 0usize;
        while let Some(c) = self.rest().chars().next() {
            if depth == 0
                && (self.rest().starts_with(end) || self.rest().starts_with(&format!("-{end}")))
            {
                self.skip_past(end);
                return Ok(());
            }
            match c {
                '\'' | '"' => {
                    self.skip_string(c);
                    continue;
                }
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                '|' => {
                    self.at += 1;
                    self.skip_blanks();
                    let name = self.identifier();
                    self.check_filter(name)?;
                    continue;
                }
                c if c.is_alphabetic() || c == '_' => {
                    if self.identifier() == "is" {
                        self.check_test()?;
                    }
                    continue;
                }
                _ => {}
            }
            self.at += c.len_utf8();
        }
        Ok(())
    }

    fn skip_string(&mut self, quote: char) {
        self.at += 1;
        while let Some(c) = self.rest().chars().next() {
            self.at += c.len_utf8();
            match c {
                '\\' => self.at += self.rest().chars().next().map_or(0, char::len_utf8),
                c if c == quote => return,
                _ => {}
            }
        }
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes the identifier that begins here; empty if none does.
    fn identifier(&mut self) -> &'a str {
        let rest = self.rest();
        let len = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    fn check_filter(&self, name: &str) -> Result<()> {
        if name.is_empty() || FILTERS.contains(&name) {
            return Ok(());
        }
        Err(self.refuse(format!("unknown filter {:?}", quote(name))))
    }

    fn check_test(&mut self) -> Result<()> {
        self.skip_blanks();
        let mut name = self.identifier();
        if name == "not" {
            self.skip_blanks();
            name = self.identifier();
        }
        if name.is_empty() || TESTS.contains(&name) {
            return Ok(());
        }
        Err(self.refuse(format!("unknown test {:?}", quote(name))))
    }
}
