//! The `decoder` of `tokenizer.json`, as what it does to one token: its bytes. A chain of the crate's
//! decoders looks at all tokens at once; the forms below are those whose text is the tokens' bytes in a
//! row, up to one blank at the very beginning. Any other form is refused.

use serde::Deserialize;
use serde_json::Value;

use super::splitter::{Metaspace, SchemeName};
use super::{corrupt, fields, members, type_of, unsupported};
use crate::alphabet::{AlphabetTable, bytes_of};
use crate::detokenizer::Beginning;
use crate::error::{Result, quote};

const PLACE: &str = "decoder";

const KNOWN: &str =
    "ByteLevel, Metaspace, or a Sequence of Replace, ByteFallback, Fuse and Strip in this order";

/// How tokens become bytes.
pub(super) struct Decoder {
    alphabet: Option<AlphabetTable>,
    /// Literal replacements, in order.
    replacements: Vec<(String, String)>,
    /// Whether `<0x0A>` is a byte.
    pub(super) falls_back_to_bytes: bool,
    /// What is dropped at the very beginning.
    pub(super) beginning: Beginning,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    pattern: Pattern,
    content: String,
}

#[derive(Deserialize)]
enum Pattern {
    String(String),
    Regex(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Strip {
    content: char,
    start: usize,
    stop: usize,
}

/// The steps of a Sequence in the order in which we model them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Replace,
    ByteFallback,
    Fuse,
    Strip,
}

impl Decoder {
    pub(super) fn parse(component: Option<&Value>) -> Result<Self> {
        let mut decoder = Self {
            alphabet: None,
            replacements: Vec::new(),
            falls_back_to_bytes: false,
            beginning: Beginning::Whole,
        };
        let members = members(PLACE, component, "decoders")?;
        if members.is_empty() {
            return Err(unsupported(
                "decoder null, which puts blanks between tokens,",
                KNOWN,
            ));
        }
        let is_alone = members.len() == 1;
        let mut before = None;
        for member in members {
            let stage = match type_of(PLACE, member)? {
                "ByteLevel" if is_alone => {
                    decoder.alphabet = Some(AlphabetTable::new());
                    return Ok(decoder);
                }
                "Metaspace" if is_alone => {
                    let metaspace = Metaspace::read(PLACE, member)?;
                    decoder
                        .replacements
                        .push((metaspace.replacement.to_string(), " ".to_owned()));
                    if metaspace.prepend_scheme != SchemeName::Never {
                        decoder.beginning = Beginning::WithoutMarks(metaspace.replacement);
                    }
                    return Ok(decoder);
                }
                "Replace" => decoder.add_replacement(member)?,
                "ByteFallback" => {
                    decoder.falls_back_to_bytes = true;
                    Stage::ByteFallback
                }
                "Fuse" => Stage::Fuse,
                "Strip" if before == Some(Stage::Fuse) => decoder.add_strip(member)?,
                other => {
                    return Err(unsupported(
                        format!("decoder {:?} here", quote(other)),
                        KNOWN,
                    ));
                }
            };
            if before.is_some_and(|before| before > stage) {
                return Err(unsupported("decoder Sequence in this order", KNOWN));
            }
            before = Some(stage);
        }
        Ok(decoder)
    }

    fn add_replacement(&mut self, component: &Value) -> Result<Stage> {
        let replace: Replace = fields(PLACE, component)?;
        match replace.pattern {
            Pattern::String(pattern) if pattern.is_empty() => {
                Err(corrupt(PLACE, "Replace has an empty pattern"))
            }
            Pattern::String(_) if replace.content.len() > CONTENT_LEN_MAX_BYTES => Err(corrupt(
                PLACE,
                format!("Replace has a content of more than {CONTENT_LEN_MAX_BYTES} bytes"),
            )),
            Pattern::String(pattern) => {
                self.replacements.push((pattern, replace.content));
                if self.replacements.len() > REPLACEMENTS_MAX {
                    return Err(corrupt(
                        PLACE,
                        format!("at most {REPLACEMENTS_MAX} Replace are allowed"),
                    ));
                }
                Ok(Stage::Replace)
            }
            Pattern::Regex(_) => Err(unsupported(
                "decoder Replace with a Regex",
                "a String pattern",
            )),
        }
    }

    fn add_strip(&mut self, component: &Value) -> Result<Stage> {
        let strip: Strip = fields(PLACE, component)?;
        if (strip.content, strip.start, strip.stop) != (' ', 1, 0) {
            return Err(unsupported(
                "decoder Strip of this form",
                "one blank at the start",
            ));
        }
        self.beginning = Beginning::WithoutBlank;
        Ok(Stage::Strip)
    }

    /// The bytes of a token. Added tokens are spelled as text, not in the byte alphabet.
    pub(super) fn bytes(&self, token: &str, is_added: bool) -> Vec<u8> {
        if let Some(alphabet) = self.alphabet.as_ref().filter(|_| !is_added) {
            return bytes_of(token, alphabet).unwrap_or_else(|| token.as_bytes().to_vec());
        }
        let mut text = token.to_owned();
        for (pattern, content) in &self.replacements {
            text = text.replace(pattern.as_str(), content);
        }
        match fallback_byte(&text).filter(|_| self.falls_back_to_bytes) {
            Some(byte) => vec![byte],
            None => text.into_bytes(),
        }
    }
}

/// Longest content and most members of replacements: together they bound how much a token can grow.
const CONTENT_LEN_MAX_BYTES: usize = 16;
const REPLACEMENTS_MAX: usize = 2;

/// The byte that `<0x0A>` spells.
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}
