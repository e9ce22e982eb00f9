//! Ids to text, one sequence at a time. Works on bytes: what is not yet a whole code point is held back
//! (at most three bytes), so any split of the ids into pushes gives the text of the whole. Bytes that can
//! never become text are replaced as transformers replaces them. It knows nothing of stop strings.

use std::borrow::Cow;

use crate::tokenizer::Tokenizer;

/// What a tokenizer drops at the very beginning of a text, because its encoder put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Nothing.
    Whole,
    /// One blank.
    WithoutBlank,
    /// These marks in the first token.
    WithoutMarks(char),
}

/// Text of a growing sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detokenizer {
    /// Whether control tokens leave no text.
    skip_special: bool,
    /// Whether any byte has come out yet.
    has_begun: bool,
    /// Whether each byte of a broken code point is replaced alone: the tokenizer's way, seen at `push`.
    each_byte: bool,
    /// The beginning of a code point.
    pending: Vec<u8>,
}

impl Detokenizer {
    /// At the start of a text; `skip_special` leaves control tokens out of it.
    pub fn new(skip_special: bool) -> Self {
        Self {
            skip_special,
            ..Self::default()
        }
    }

    /// Appends to `out` the text that `id` completes. An id without a token adds nothing.
    pub fn push(&mut self, tok: &Tokenizer, id: u32, out: &mut String) {
        if self.skip_special && tok.is_control(id) {
            return;
        }
        self.each_byte = tok.replaces_each_byte();
        let bytes = if self.has_begun {
            Cow::Borrowed(tok.token_bytes(id).unwrap_or_default())
        } else {
            self.begin(tok, id)
        };
        if self.pending.is_empty() {
            let rest = push_lossy(&bytes, self.each_byte, out);
            self.pending.extend_from_slice(rest);
            return;
        }
        self.pending.extend_from_slice(&bytes);
        let joined = std::mem::take(&mut self.pending);
        let rest = push_lossy(&joined, self.each_byte, out);
        self.pending.extend_from_slice(rest);
    }

    /// The bytes of a token at the beginning of the text.
    pub(crate) fn begin<'t>(&mut self, tok: &'t Tokenizer, id: u32) -> Cow<'t, [u8]> {
        let bytes = tok.token_bytes(id).unwrap_or_default();
        match tok.beginning() {
            Beginning::Whole => self.has_begun = true,
            Beginning::WithoutBlank if bytes.is_empty() => {}
            Beginning::WithoutBlank => {
                self.has_begun = true;
                return Cow::Borrowed(bytes.strip_prefix(b" ").unwrap_or(bytes));
            }
            Beginning::WithoutMarks(mark) => {
                self.has_begun = true;
                if let Some(name) = tok.token_name(id).filter(|name| name.contains(mark)) {
                    return Cow::Owned(name.replace(mark, "").into_bytes());
                }
            }
        }
        Cow::Borrowed(bytes)
    }

    /// Ends the text: an unfinished code point becomes a replacement character (one for each byte where
    /// the tokenizer falls back to bytes, as transformers does there).
    pub fn finish(&mut self, out: &mut String) {
        let count = if self.each_byte {
            self.pending.len()
        } else {
            usize::from(!self.pending.is_empty())
        };
        out.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, count));
        self.pending.clear();
    }
}

/// Appends the text of `bytes` to `out` and returns the unfinished code point at their end.
fn push_lossy<'a>(mut bytes: &'a [u8], each_byte: bool, out: &mut String) -> &'a [u8] {
    loop {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => {
                out.push_str(text);
                return &[];
            }
            Err(error) => error,
        };
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        out.push_str(&String::from_utf8_lossy(valid));
        let Some(bad_len) = error.error_len() else {
            return rest;
        };
        let count = if each_byte { bad_len } else { 1 };
        out.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, count));
        bytes = rest.get(bad_len..).unwrap_or_default();
    }
}

/// The text of `ids` as a whole.
pub fn decode(tok: &Tokenizer, ids: &[u32], skip_special: bool) -> String {
    let mut detokenizer = Detokenizer::new(skip_special);
    let mut text = String::new();
    for &id in ids {
        detokenizer.push(tok, id, &mut text);
    }
    detokenizer.finish(&mut text);
    text
}
