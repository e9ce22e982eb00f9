//! The tokenizer of one model: text to ids by the pipeline, ids to bytes by the table, and the tokens
//! with a role. Made once from a GGUF vocabulary or a `tokenizer.json`, then only read.

use std::collections::HashMap;

use tokenizers::Model;
use tokenmill_core::Rendered;

use crate::detokenizer::Beginning;
use crate::encode::{Cutter, Cutters, Pipeline};
use crate::error::{Error, Result};
use crate::table::TokenTable;
use crate::vocabulary::{GgufVocabulary, Reading, bad_merges, bad_tokens};

/// How to encode a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encode {
    /// Whether to put the beginning token first.
    pub add_bos: bool,
    /// Whether control tokens in the text are control tokens: true for the operator's own text only.
    pub allow_control: bool,
}

/// A tokenizer.
pub struct Tokenizer {
    pub(crate) pipeline: Pipeline,
    pub(crate) table: TokenTable,
    /// Added tokens as the file spells them.
    pub(crate) added_ids: HashMap<String, u32>,
    pub(crate) bos: Option<u32>,
    /// Without repetition, in the order end of text, turn, message.
    pub(crate) eos: Vec<u32>,
    pub(crate) adds_bos: bool,
    /// What is dropped at the very beginning of a text.
    pub(crate) beginning: Beginning,
    /// Whether each byte of a broken code point is replaced alone.
    pub(crate) replaces_each_byte: bool,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_len", &self.vocab_len())
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Out of the metadata of a GGUF file.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the caller has no use for the vocabulary afterwards"
    )]
    pub fn from_gguf(v: GgufVocabulary) -> Result<Self> {
        let reading = Reading::of(&v)?;
        if v.add_eos == Some(true) {
            return Err(Error::adds_eos("tokenizer.ggml.add_eos_token"));
        }
        v.check()?;
        let tokens = reading.sort(&v)?;
        let model = tokens.model.build(|builder| reading.options(builder));
        let mut eos = Vec::new();
        for id in [v.eos, v.eot, v.eom].into_iter().flatten() {
            if !eos.contains(&id) {
                eos.push(id);
            }
        }
        let added_ids = tokens
            .added
            .iter()
            .map(|token| (token.content.clone(), token.id))
            .collect();
        let control = tokens.added.clone();
        let (adds_bos, beginning) = (reading.adds_bos(), reading.beginning());
        let cutters = Cutters::new(tokens.added, Vec::new(), control).map_err(bad_tokens)?;
        Ok(Self {
            pipeline: Pipeline {
                cutters,
                normalizer: reading.normalizer(),
                model: model.map_err(bad_merges)?,
                splitter: reading.splitter(),
            },
            table: tokens.table,
            added_ids,
            bos: v.bos,
            eos,
            adds_bos: v.add_bos.unwrap_or(adds_bos),
            beginning,
            replaces_each_byte: false,
        })
    }

    /// The ids of `text`.
    pub fn encode(&self, text: &str, how: Encode) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        if how.add_bos {
            ids.extend(self.bos);
        }
        self.pipeline.encode(text, how.allow_control, &mut ids)?;
        Ok(ids)
    }

    /// The ids of what a chat template made, beginning token and all.
    pub fn encode_rendered(&self, rendered: &Rendered) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.pipeline.encode_rendered(rendered, &mut ids)?;
        Ok(ids)
    }

    /// What a caller's words may not spell in a template's text.
    pub(crate) fn controls(&self) -> &Cutter {
        &self.pipeline.cutters.control
    }

    /// One more than the largest id.
    pub fn vocab_len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of the longest token. A text of `n` bytes makes at least `n` over this many tokens (unless
    /// some of its bytes have no token), so a prompt that cannot fit is known before it is encoded.
    pub fn token_len_max_bytes(&self) -> usize {
        self.table.bytes_len_max()
    }

    /// The bytes that `id` stands for in text; `None` where no token has this id.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.table.bytes(id)
    }

    /// `id` as a person may read it: its text with broken code points replaced.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.table
            .bytes(id)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// How the model's file spells `id` (byte alphabet, `▁` or `<0x0A>`).
    pub fn token_name(&self, id: u32) -> Option<&str> {
        self.table.name(id)
    }

    /// Whether `id` is a control token.
    pub fn is_control(&self, id: u32) -> bool {
        self.table.is_control(id)
    }

    /// The id of a token as the model's file spells it.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.added_ids
            .get(token)
            .copied()
            .or_else(|| self.pipeline.model.token_to_id(token))
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The tokens that end a text, a turn or a message, without repetition.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// Whether plain text gets the beginning token unless the caller says otherwise.
    pub fn add_bos_default(&self) -> bool {
        self.adds_bos
    }

    /// The beginning token as templates name it; empty without one.
    pub fn bos_text(&self) -> &str {
        self.bos
            .and_then(|id| self.table.name(id))
            .unwrap_or_default()
    }

    /// The end token as templates name it; empty without one.
    pub fn eos_text(&self) -> &str {
        self.eos
            .first()
            .and_then(|&id| self.table.name(id))
            .unwrap_or_default()
    }

    pub(crate) fn beginning(&self) -> Beginning {
        self.beginning
    }

    pub(crate) fn replaces_each_byte(&self) -> bool {
        self.replaces_each_byte
    }
}
