//! From text to ids: cut out the added tokens, normalise what lies between, split it into words, merge
//! each word. The merges are the `tokenizers` crate's; the stages around them are ours, on plain `&str`,
//! because the crate's keep sixteen bytes of alignment per byte of text and end a split silently where
//! its pattern gives up. A control token never comes out of the merges: it is not in their vocabulary.

mod cutter;
mod named;
mod normalizer;
mod splitter;
mod stretch;

pub(crate) use cutter::{ADDED_TOKEN_LEN_MAX_BYTES, AddedToken, Cutter, Cutters};
pub(crate) use named::{GPT2_PATTERN, KNOWN_NAMES, NamedSplitter};
pub(crate) use normalizer::{NormalStep, Normalizer};
pub(crate) use splitter::{Deadline, PrependScheme, Splitter, Step, compile};
pub(crate) use stretch::Behavior;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::Model;
use tokenizers::models::bpe::BPE;
use tokenmill_core::Rendered;

use crate::error::{Error, Result};
use cutter::Piece;

/// Longest text of one encode: what the longest rendered conversation may have.
pub(crate) const ENCODE_LEN_MAX_BYTES: usize = 8 << 20;

/// Most bytes of one encode behind the normaliser: a prompt of blanks may have the usual mark of three
/// bytes for each.
pub(crate) const NORMAL_LEN_MAX_BYTES: usize = 16 << 20;

/// The stages of one tokenizer.
pub(crate) struct Pipeline {
    /// Added tokens.
    pub(crate) cutters: Cutters,
    /// Applied to what lies between added tokens.
    pub(crate) normalizer: Normalizer,
    /// Makes words.
    pub(crate) splitter: Splitter,
    /// Makes ids.
    pub(crate) model: BPE,
}

impl Pipeline {
    /// The ids of `text`. Control tokens in it are cut out only if `allow_control`.
    pub(crate) fn encode(&self, text: &str, allow_control: bool, ids: &mut Vec<u32>) -> Result<()> {
        self.guarded(text, allow_control, ids, |run| run.encode_raw(text))
    }

    /// The ids of a template's text: its control tokens, and all that lies between as plain text.
    pub(crate) fn encode_rendered(&self, rendered: &Rendered, ids: &mut Vec<u32>) -> Result<()> {
        self.guarded(&rendered.marked, false, ids, |run| {
            for piece in self.cutters.control.cut(&rendered.marked, true) {
                match piece {
                    Piece::Token(id) => run.push(id),
                    Piece::Text(between) => run.encode_raw(&rendered.unmarked(between))?,
                }
            }
            Ok(())
        })
    }

    fn guarded(
        &self,
        text: &str,
        allow_control: bool,
        ids: &mut Vec<u32>,
        work: impl FnOnce(&mut Run<'_>) -> Result<()>,
    ) -> Result<()> {
        if text.len() > ENCODE_LEN_MAX_BYTES {
            return Err(Error::TextTooLong {
                len_bytes: text.len(),
                max_bytes: ENCODE_LEN_MAX_BYTES,
            });
        }
        let mut run = Run {
            pipeline: self,
            allow_control,
            deadline: Deadline::start(text.len()),
            is_first: true,
            normal_left: NORMAL_LEN_MAX_BYTES,
            ids,
        };
        // The library panics on some inputs that its own patterns cannot handle. Nothing of ours is left
        // half-changed by that: `self` is only read, and the ids are dropped by the caller on an error.
        catch_unwind(AssertUnwindSafe(|| work(&mut run))).unwrap_or(Err(Error::EncodeFailed))
    }
}

/// One encode under way.
struct Run<'a> {
    pipeline: &'a Pipeline,
    allow_control: bool,
    deadline: Deadline,
    /// Whether the text begins here.
    is_first: bool,
    /// Bytes that the normaliser may still make.
    normal_left: usize,
    ids: &'a mut Vec<u32>,
}

impl Run<'_> {
    fn push(&mut self, id: u32) {
        self.ids.push(id);
        self.is_first = false;
    }

    fn encode_raw(&mut self, text: &str) -> Result<()> {
        for piece in self.pipeline.cutters.raw.cut(text, self.allow_control) {
            match piece {
                Piece::Token(id) => self.push(id),
                Piece::Text(between) => self.encode_text(between)?,
            }
        }
        Ok(())
    }

    fn encode_text(&mut self, text: &str) -> Result<()> {
        let text = self.pipeline.normalizer.apply(text, self.normal_left);
        let text = text.ok_or(Error::NormalTooLong {
            max_bytes: NORMAL_LEN_MAX_BYTES,
        })?;
        self.normal_left = self.normal_left.saturating_sub(text.len());
        self.encode_normalized(&text)
    }

    fn encode_normalized(&mut self, text: &str) -> Result<()> {
        let cutter = &self.pipeline.cutters.normalized;
        for piece in cutter.cut(text, self.allow_control) {
            match piece {
                Piece::Token(id) => self.push(id),
                Piece::Text(between) => {
                    let (model, ids) = (&self.pipeline.model, &mut *self.ids);
                    let mut encode_word = |word: &str| {
                        let tokens = model.tokenize(word).map_err(|_| Error::EncodeFailed)?;
                        ids.extend(tokens.iter().map(|token| token.id));
                        Ok(())
                    };
                    self.pipeline.splitter.split(
                        between,
                        self.is_first,
                        self.deadline,
                        &mut encode_word,
                    )?;
                    self.is_first = false;
                }
            }
        }
        Ok(())
    }
}
