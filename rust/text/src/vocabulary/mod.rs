//! The vocabulary as a GGUF file states it, and the checks of its lengths and ids. Nothing here encodes.

pub(crate) mod bpe;
mod byte_level;
mod sentence_piece;

use tokenizers::models::bpe::BpeBuilder;

use crate::detokenizer::Beginning;
use crate::encode::{AddedToken, KNOWN_NAMES, NamedSplitter, NormalStep, Normalizer, Splitter};
use crate::error::{Error, Result, quote};
use crate::table::{TABLE_LEN_MAX_BYTES, TokenTable};
use crate::vocabulary::bpe::MergeModel;
use sentence_piece::BLANK;

/// Most tokens of a vocabulary, as in the sampler's sums.
pub(crate) const VOCAB_LEN_MAX: usize = 1 << 20;

/// Most merges: each makes a token, and a token may be made in several ways.
const MERGES_LEN_MAX: usize = 1 << 22;

/// Longest token, in bytes.
pub(crate) const TOKEN_LEN_MAX_BYTES: usize = 64 << 10;

/// The metadata `tokenizer.ggml.*` of a GGUF file, as read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufVocabulary {
    /// `model`: `gpt2` is byte-level BPE, `llama` SentencePiece.
    pub model: String,
    /// `pre`: the name of the splitter.
    pub pre: Option<String>,
    /// `tokens`, in the order of their ids.
    pub tokens: Vec<String>,
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. Empty: all normal.
    pub token_types: Vec<i32>,
    /// `merges`, "a b" in rank order.
    pub merges: Vec<String>,
    /// `scores`, one per token, or empty.
    pub scores: Vec<f32>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `eot_token_id`.
    pub eot: Option<u32>,
    /// `eom_token_id`.
    pub eom: Option<u32>,
    /// `unknown_token_id`.
    pub unk: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_eos_token`.
    pub add_eos: Option<bool>,
    /// `add_space_prefix`.
    pub add_space_prefix: Option<bool>,
}

/// The tokens of a vocabulary, sorted by what they are for.
#[derive(Default)]
pub(crate) struct GgufTokens {
    pub(crate) added: Vec<AddedToken>,
    pub(crate) table: TokenTable,
    pub(crate) model: MergeModel,
}

impl GgufTokens {
    /// Adds the next token, which stands for `bytes`; `is_made`: merges may make it too.
    fn push(
        &mut self,
        token: (u32, &str),
        kind: TokenKind,
        bytes: &[u8],
        is_made: bool,
    ) -> Result<()> {
        let (id, token) = token;
        let is_control = kind == TokenKind::Control;
        self.table.push(token, bytes, is_control);
        if kind.is_cut_out() && !token.is_empty() {
            self.added.push(AddedToken::plain(id, token, is_control));
        }
        let is_new = if is_made {
            self.model.add_token(token.to_owned(), id)
        } else {
            self.model.add_control(token.to_owned())
        };
        if is_new {
            return Ok(());
        }
        let problem = format!("token {id}, {:?}, stands there twice", quote(token));
        Err(bad_tokens(problem))
    }
}

/// How a vocabulary is to be read.
pub(crate) enum Reading {
    /// In the byte alphabet, with a splitter that the file names.
    ByteLevel(NamedSplitter),
    /// Pieces with scores; whether a text gets a blank in front.
    SentencePiece { adds_blank: bool },
}

impl Reading {
    /// By `model` and `pre`.
    pub(crate) fn of(v: &GgufVocabulary) -> Result<Self> {
        match v.model.as_str() {
            "gpt2" => {
                let pre = v.pre.as_deref().unwrap_or_default();
                let named = NamedSplitter::named(pre).ok_or_else(|| Error::Unsupported {
                    what: format!("tokenizer.ggml.pre {:?}", quote(pre)),
                    expected: KNOWN_NAMES.to_owned(),
                })?;
                Ok(Self::ByteLevel(named))
            }
            "llama" => Ok(Self::SentencePiece {
                adds_blank: v.add_space_prefix.unwrap_or(true),
            }),
            other => Err(Error::Unsupported {
                what: format!("tokenizer.ggml.model {:?}", quote(other)),
                expected: "gpt2 (byte-level BPE) or llama (SentencePiece)".to_owned(),
            }),
        }
    }

    /// The tokens by purpose.
    pub(crate) fn sort(&self, v: &GgufVocabulary) -> Result<GgufTokens> {
        match self {
            Self::ByteLevel(_) => GgufTokens::byte_level(v),
            Self::SentencePiece { .. } => GgufTokens::sentence_piece(v),
        }
    }

    /// What else the merges do.
    pub(crate) fn options(&self, builder: BpeBuilder) -> BpeBuilder {
        match self {
            Self::ByteLevel(named) => builder.ignore_merges(named.takes_whole_words),
            Self::SentencePiece { .. } => builder.byte_fallback(true),
        }
    }

    /// What happens to a text first.
    pub(crate) fn normalizer(&self) -> Normalizer {
        let Self::SentencePiece { adds_blank } = self else {
            return Normalizer::default();
        };
        let front = adds_blank.then(|| NormalStep::Prepend(BLANK.to_string()));
        let blanks = NormalStep::Replace {
            pattern: " ".to_owned(),
            content: BLANK.to_string(),
        };
        Normalizer {
            steps: front.into_iter().chain([blanks]).collect(),
        }
    }

    /// What makes words.
    pub(crate) fn splitter(self) -> Splitter {
        match self {
            Self::ByteLevel(named) => named.splitter,
            Self::SentencePiece { .. } => Splitter { steps: Vec::new() },
        }
    }

    /// Whether a text begins with the begin token where the file does not say.
    pub(crate) fn adds_bos(&self) -> bool {
        match self {
            Self::ByteLevel(named) => named.adds_bos,
            Self::SentencePiece { .. } => true,
        }
    }

    /// What decoding drops at the beginning.
    pub(crate) fn beginning(&self) -> Beginning {
        match self {
            Self::SentencePiece { adds_blank: true } => Beginning::WithoutBlank,
            _ => Beginning::Whole,
        }
    }
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Made by merges.
    Normal,
    /// Cut out of trusted text only, and left out of text with `skip_special`.
    Control,
    /// Cut out of every text.
    UserDefined,
    /// One byte, spelled `<0xNN>`.
    Byte,
}

pub(crate) fn bad_tokens(problem: String) -> Error {
    Error::BadVocabulary {
        key: "tokenizer.ggml.tokens",
        problem,
    }
}

pub(crate) fn bad_merges(problem: String) -> Error {
    Error::BadVocabulary {
        key: "tokenizer.ggml.merges",
        problem,
    }
}

impl TokenKind {
    /// Whether it is found in a text before anything is split or merged.
    fn is_cut_out(self) -> bool {
        matches!(self, Self::Control | Self::UserDefined)
    }
}

fn bad(key: &'static str, problem: String) -> Error {
    Error::BadVocabulary { key, problem }
}

impl GgufVocabulary {
    /// Checks lengths and ids; tokens and merges are checked where they are used.
    pub(crate) fn check(&self) -> Result<()> {
        let len = self.tokens.len();
        if len == 0 || len > VOCAB_LEN_MAX {
            return Err(bad(
                "tokenizer.ggml.tokens",
                format!("expected 1 to {VOCAB_LEN_MAX} tokens, got {len}"),
            ));
        }
        if let Some(id) = self
            .tokens
            .iter()
            .position(|token| token.len() > TOKEN_LEN_MAX_BYTES)
        {
            let problem = format!("token {id} has more than {TOKEN_LEN_MAX_BYTES} bytes");
            return Err(bad("tokenizer.ggml.tokens", problem));
        }
        let total: usize = self.tokens.iter().map(String::len).sum();
        if total > TABLE_LEN_MAX_BYTES {
            let problem =
                format!("{total} bytes together, at most {TABLE_LEN_MAX_BYTES} are allowed");
            return Err(bad("tokenizer.ggml.tokens", problem));
        }
        self.check_lengths()?;
        self.check_ids()
    }

    fn check_lengths(&self) -> Result<()> {
        let len = self.tokens.len();
        let lists = [
            ("tokenizer.ggml.token_type", self.token_types.len()),
            ("tokenizer.ggml.scores", self.scores.len()),
        ];
        for (key, got) in lists {
            if got != 0 && got != len {
                return Err(bad(
                    key,
                    format!("expected {len} entries, one per token, got {got}"),
                ));
            }
        }
        if self.merges.len() > MERGES_LEN_MAX {
            let problem = format!(
                "at most {MERGES_LEN_MAX} merges are allowed, got {}",
                self.merges.len()
            );
            return Err(bad("tokenizer.ggml.merges", problem));
        }
        Ok(())
    }

    fn check_ids(&self) -> Result<()> {
        let named = [
            ("tokenizer.ggml.bos_token_id", self.bos),
            ("tokenizer.ggml.eos_token_id", self.eos),
            ("tokenizer.ggml.eot_token_id", self.eot),
            ("tokenizer.ggml.eom_token_id", self.eom),
            ("tokenizer.ggml.unknown_token_id", self.unk),
            ("tokenizer.ggml.padding_token_id", self.pad),
        ];
        for (key, id) in named {
            if let Some(id) = id
                && id as usize >= self.tokens.len()
            {
                return Err(bad(
                    key,
                    format!("expected an id below {}, got {id}", self.tokens.len()),
                ));
            }
        }
        Ok(())
    }

    /// What token `id` is for. Unknown and unused tokens are control tokens: neither is ever text.
    pub(crate) fn kind(&self, id: u32) -> Result<TokenKind> {
        match self.token_types.get(id as usize) {
            None | Some(1) => Ok(TokenKind::Normal),
            Some(2 | 3 | 5) => Ok(TokenKind::Control),
            Some(4) => Ok(TokenKind::UserDefined),
            Some(6) => Ok(TokenKind::Byte),
            Some(other) => {
                let problem = format!("expected 1 to 6 for token {id}, got {other}");
                Err(bad("tokenizer.ggml.token_type", problem))
            }
        }
    }
}

/// Cuts "a b" at the first blank after its first character.
pub(crate) fn split_merge(merge: &str) -> Option<(&str, &str)> {
    let first = merge.chars().next()?.len_utf8();
    let blank = first + merge.get(first..)?.find(' ')?;
    Some((merge.get(..blank)?, merge.get(blank + 1..)?))
}
