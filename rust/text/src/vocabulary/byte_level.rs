//! The tokens of a byte-level vocabulary (`tokenizer.ggml.model` `gpt2`).

use super::{GgufTokens, GgufVocabulary, TokenKind, bad_merges, bad_tokens, split_merge};
use crate::alphabet::{AlphabetTable, bytes_of};
use crate::encode::AddedToken;
use crate::error::{Result, quote};

impl GgufTokens {
    /// Tokens in the byte alphabet, and the merges that the file lists.
    pub(super) fn byte_level(v: &GgufVocabulary) -> Result<Self> {
        let alphabet = AlphabetTable::new();
        let mut sorted = Self::default();
        for (id, token) in (0u32..).zip(&v.tokens) {
            let kind = v.kind(id)?;
            let is_control = kind == TokenKind::Control;
            // A token that is cut out whole is spelled as text, not in the byte alphabet.
            let is_added = is_control || kind == TokenKind::UserDefined;
            let spelled = if is_added {
                None
            } else {
                bytes_of(token, &alphabet)
            };
            sorted.table.push(
                token,
                spelled.as_deref().unwrap_or(token.as_bytes()),
                is_control,
            );
            if is_added && !token.is_empty() {
                sorted.added.push(AddedToken::plain(id, token, is_control));
            }
            let is_new = if is_control {
                sorted.model.add_control(token.clone())
            } else {
                sorted.model.add_token(token.clone(), id)
            };
            if !is_new {
                let problem = format!("token {id}, {:?}, stands there twice", quote(token));
                return Err(bad_tokens(problem));
            }
        }
        for (rank, merge) in v.merges.iter().enumerate() {
            let merged = split_merge(merge).ok_or_else(|| "it has no blank inside".to_owned());
            let added = merged.and_then(|(a, b)| sorted.model.add_merge(a, b));
            added.map_err(|problem| {
                bad_merges(format!("merge {rank}, {:?}: {problem}", quote(merge)))
            })?;
        }
        Ok(sorted)
    }
}
