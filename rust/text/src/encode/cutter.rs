//! Added tokens: strings that are cut out of a text whole, before anything else looks at it. Leftmost
//! first, then longest, as in `tokenizers` and llama.cpp. A byte trie finds them; its walk is bounded by
//! the longest token. A node costs forty times its byte, so all tokens together are bounded too.

use std::collections::HashMap;

/// Longest added token, in bytes; texts are compared with it byte by byte.
pub(crate) const ADDED_TOKEN_LEN_MAX_BYTES: usize = 1 << 10;

/// Most bytes of all added tokens together.
const ADDED_LEN_MAX_BYTES: usize = 8 << 20;

/// A token that is cut out whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddedToken {
    /// What is put in its place.
    pub(crate) id: u32,
    /// What is looked for.
    pub(crate) content: String,
    /// Cut out of trusted text only.
    pub(crate) is_control: bool,
    /// Only between characters that are not letters, digits or underscores.
    pub(crate) single_word: bool,
    /// Takes the white space before it along.
    pub(crate) lstrip: bool,
    /// Takes the white space after it along.
    pub(crate) rstrip: bool,
}

impl AddedToken {
    /// Cut out wherever it stands.
    pub(crate) fn plain(id: u32, content: &str, is_control: bool) -> Self {
        Self {
            id,
            content: content.to_owned(),
            is_control,
            single_word: false,
            lstrip: false,
            rstrip: false,
        }
    }
}

/// A stretch of the text: an added token, or what lies between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// An added token's id.
    Token(u32),
    /// Text, not empty.
    Text(&'a str),
}

/// Finds added tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cutter {
    tokens: Vec<AddedToken>,
    /// (node, byte) to node; node 0 is the root.
    edges: HashMap<(u32, u8), u32>,
    /// Token ending at each node.
    ends: Vec<Option<u32>>,
    /// Bytes that begin a token: most texts are skipped by this alone.
    begins: Vec<bool>,
}

/// The added tokens of a tokenizer, by the text that they are cut out of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cutters {
    /// Matched in the text as it is.
    pub(crate) raw: Cutter,
    /// Matched in the normalised text.
    pub(crate) normalized: Cutter,
    /// Control tokens as the file spells them, for text of a template. One of a single character cannot be
    /// told from a caller's, and is none of them.
    pub(crate) control: Cutter,
}

impl Cutters {
    /// `control` may hold any tokens; those that it is not for are left out. Fails with what is wrong with
    /// all of them together.
    pub(crate) fn new(
        raw: Vec<AddedToken>,
        normalized: Vec<AddedToken>,
        mut control: Vec<AddedToken>,
    ) -> Result<Self, String> {
        control.retain(|token| token.is_control && token.content.chars().nth(1).is_some());
        let all = || raw.iter().chain(&normalized).chain(&control);
        if let Some(token) = all().find(|token| token.content.len() > ADDED_TOKEN_LEN_MAX_BYTES) {
            return Err(format!(
                "expected at most {ADDED_TOKEN_LEN_MAX_BYTES} bytes for id {}, got {}",
                token.id,
                token.content.len()
            ));
        }
        let total: usize = all().map(|token| token.content.len()).sum();
        if total > ADDED_LEN_MAX_BYTES {
            return Err(format!(
                "{total} bytes of added tokens, at most {ADDED_LEN_MAX_BYTES} are allowed"
            ));
        }
        Ok(Self {
            raw: Cutter::new(raw),
            normalized: Cutter::new(normalized),
            control: Cutter::new(control),
        })
    }
}

impl Cutter {
    /// Contents are not empty; of equal ones the last counts.
    fn new(tokens: Vec<AddedToken>) -> Self {
        let mut cutter = Self {
            tokens: Vec::new(),
            edges: HashMap::new(),
            ends: vec![None],
            begins: vec![false; 256],
        };
        for (index, token) in (0u32..).zip(&tokens) {
            cutter.insert(token.content.as_bytes(), index);
        }
        cutter.tokens = tokens;
        cutter
    }

    fn insert(&mut self, content: &[u8], index: u32) {
        let mut node = 0;
        for &byte in content {
            let fresh = u32::try_from(self.ends.len()).expect("added tokens are bounded");
            node = *self.edges.entry((node, byte)).or_insert(fresh);
            if node == fresh {
                self.ends.push(None);
            }
        }
        if let Some(&first) = content.first() {
            self.begins[first as usize] = true;
            self.ends[node as usize] = Some(index);
        }
    }

    /// Whether a token begins at byte `at`, whole or cut short by the end of the text. Letters and blanks at
    /// the end are no beginning: names would no longer be names, nor ends be trimmed.
    pub(crate) fn begins_at(&self, text: &str, at: usize) -> bool {
        let bytes = text.as_bytes().get(at..).unwrap_or_default();
        let begins = |first: &u8| self.begins.get(usize::from(*first)) == Some(&true);
        if !bytes.first().is_some_and(begins) {
            return false;
        }
        let mut node = 0;
        for &byte in bytes {
            let Some(&next) = self.edges.get(&(node, byte)) else {
                return false;
            };
            node = next;
            if self.ends[node as usize].is_some() {
                return true;
            }
        }
        bytes.first().is_some_and(u8::is_ascii_punctuation)
    }

    /// Whether any token has this character.
    pub(crate) fn has_char(&self, c: char) -> bool {
        self.tokens.iter().any(|token| token.content.contains(c))
    }

    /// The text as added tokens and what lies between them.
    ///
    /// Tokens are found without regard to the white space that others take along, as in `tokenizers`: one
    /// that begins in space already taken still counts, and the text goes on after it.
    pub(crate) fn cut<'a>(&self, text: &'a str, allow_control: bool) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut begin = 0;
        let mut at = 0;
        while at < text.len() {
            let Some((token, end)) = self.longest_at(text, at, allow_control) else {
                at += 1;
                continue;
            };
            let found = at;
            at = end;
            if token.single_word && (ends_in_word(&text[..found]) || begins_with_word(&text[end..]))
            {
                continue;
            }
            let before = if begin < found {
                &text[begin..found]
            } else {
                ""
            };
            let before = if token.lstrip {
                before.trim_end()
            } else {
                before
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before));
            }
            pieces.push(Piece::Token(token.id));
            let rest = &text[end..];
            begin = if token.rstrip {
                text.len() - rest.trim_start().len()
            } else {
                end
            };
        }
        if begin < text.len() {
            pieces.push(Piece::Text(&text[begin..]));
        }
        pieces
    }

    /// The longest allowed token that begins at byte `at`, and its end.
    fn longest_at(
        &self,
        text: &str,
        at: usize,
        allow_control: bool,
    ) -> Option<(&AddedToken, usize)> {
        let bytes = &text.as_bytes()[at..];
        let first = *bytes.first()? as usize;
        if !self.begins.get(first).is_some_and(|&begins| begins) {
            return None;
        }
        let mut longest = None;
        let mut node = 0;
        for (length, &byte) in (1..).zip(bytes) {
            let Some(&next) = self.edges.get(&(node, byte)) else {
                break;
            };
            node = next;
            let token = self.ends[node as usize].map(|index| &self.tokens[index as usize]);
            if let Some(token) = token.filter(|token| allow_control || !token.is_control) {
                longest = Some((token, at + length));
            }
        }
        longest
    }
}

fn ends_in_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_word)
}

fn begins_with_word(text: &str) -> bool {
    text.chars().next().is_some_and(is_word)
}

/// A character of a word. Combining marks count as the regex class `\w` counts them where they are
/// alphabetic; the rest of them never decides about a token of any known model.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::{AddedToken, Cutter, Piece};

    fn token(id: u32, content: &str, is_control: bool) -> AddedToken {
        AddedToken::plain(id, content, is_control)
    }

    #[test]
    fn the_leftmost_then_the_longest_token_is_cut() {
        let cutter = Cutter::new(vec![
            token(1, "ab", false),
            token(2, "abc", false),
            token(3, "bcd", false),
        ]);
        let pieces = cutter.cut("xabcdab", true);
        assert_eq!(
            pieces,
            [
                Piece::Text("x"),
                Piece::Token(2),
                Piece::Text("d"),
                Piece::Token(1)
            ]
        );
    }

    #[test]
    fn untrusted_text_keeps_control_tokens_as_text_and_finds_what_they_hide() {
        let cutter = Cutter::new(vec![token(1, "<|end|>", true), token(2, "<|", false)]);
        assert_eq!(cutter.cut("<|end|>", true), [Piece::Token(1)]);
        assert_eq!(
            cutter.cut("<|end|>", false),
            [Piece::Token(2), Piece::Text("end|>")]
        );
    }

    #[test]
    fn a_token_begins_where_it_stands_or_where_the_text_breaks_off_in_it() {
        let cutter = Cutter::new(vec![token(1, "<|end|>", true), token(2, "reserved", true)]);
        let begins = |text: &str| -> Vec<usize> {
            let places = text.char_indices().map(|(at, _)| at);
            places.filter(|&at| cutter.begins_at(text, at)).collect()
        };
        assert_eq!(begins("a<|end|><|end|>"), [1, 8]);
        assert_eq!(begins("<<|end"), [1]);
        assert_eq!(begins("é <"), [3]);
        assert!(begins("user").is_empty());
        assert_eq!(begins("reserved"), [0]);
        assert!(begins("|end|> < |").is_empty());
    }

    #[test]
    fn strips_take_white_space_but_not_what_a_neighbour_took() {
        let mut left = token(1, "<a>", false);
        left.lstrip = true;
        let mut right = token(2, "<b>", false);
        right.rstrip = true;
        let cutter = Cutter::new(vec![left, right]);
        assert_eq!(
            cutter.cut("x <a>", true),
            [Piece::Text("x"), Piece::Token(1)]
        );
        assert_eq!(
            cutter.cut("<b>  <a> y", true),
            [Piece::Token(2), Piece::Token(1), Piece::Text(" y")]
        );
    }

    #[test]
    fn a_single_word_token_is_not_cut_out_of_a_word() {
        let mut word = token(1, "is", false);
        word.single_word = true;
        let cutter = Cutter::new(vec![word]);
        assert_eq!(
            cutter.cut("this is", true),
            [Piece::Text("this "), Piece::Token(1)]
        );
    }

    #[test]
    fn multi_byte_text_is_cut_at_characters() {
        let cutter = Cutter::new(vec![token(1, "é", false), token(2, "▁▁", false)]);
        assert_eq!(
            cutter.cut("aéè", true),
            [Piece::Text("a"), Piece::Token(1), Piece::Text("è")]
        );
        assert_eq!(cutter.cut("▁▁▁", true), [Piece::Token(2), Piece::Text("▁")]);
        assert!(cutter.cut("", true).is_empty());
    }
}
