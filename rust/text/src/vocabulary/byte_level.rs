//! The tokens of a byte-level vocabulary (`tokenizer.ggml.model` `gpt2`).

use super::{GgufTokens, GgufVocabulary, TokenKind, bad_merges, split_merge};
use crate::alphabet::{AlphabetTable, bytes_of};
use crate::error::{Result, quote};

impl GgufTokens {
    /// Tokens in the byte alphabet, and the merges that the file lists.
    pub(super) fn byte_level(v: &GgufVocabulary) -> Result<Self> {
        let alphabet = AlphabetTable::new();
        let mut sorted = Self::default();
        for (id, token) in (0u32..).zip(&v.tokens) {
            let kind = v.kind(id)?;
            // A token that is cut out whole is spelled as text, not in the byte alphabet.
            let spelled = if kind.is_cut_out() {
                None
            } else {
                bytes_of(token, &alphabet)
            };
            let bytes = spelled.as_deref().unwrap_or(token.as_bytes());
            sorted.push((id, token), kind, bytes, kind != TokenKind::Control)?;
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
