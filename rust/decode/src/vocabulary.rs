//! What the sampler knows of a tokenizer: how many ids there are and which of them end a text.

use tokenmill_core::TokenId;

use crate::error::{Error, Result};

/// Most tokens: sums of 2^20 terms of at most 2^40 stay below 2^63.
pub const VOCAB_LEN_MAX: usize = 1 << 20;

/// The ids of a model's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    len: usize,
    eos: Vec<TokenId>,
}

impl Vocabulary {
    /// `len` logits per row, of which `eos` end a text.
    pub fn new(len: usize, eos: Vec<TokenId>) -> Result<Self> {
        if len == 0 || len > VOCAB_LEN_MAX {
            return Err(Error::VocabularyLength {
                got: len,
                max: VOCAB_LEN_MAX,
            });
        }
        let vocabulary = Self { len, eos };
        vocabulary.check("eos_token_id", vocabulary.eos.iter().copied())?;
        Ok(vocabulary)
    }

    /// Logits per row.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Never: a vocabulary has at least one token.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The ids that end a text.
    pub fn eos(&self) -> &[TokenId] {
        &self.eos
    }

    /// Refuses, in the name of an option, the first id that is not of this vocabulary.
    pub fn check(
        &self,
        name: &'static str,
        tokens: impl IntoIterator<Item = TokenId>,
    ) -> Result<()> {
        for token in tokens {
            if token as usize >= self.len {
                return Err(Error::UnknownToken {
                    name,
                    token,
                    vocab_len: self.len,
                });
            }
        }
        Ok(())
    }
}
