//! The merges of a model: the `tokenizers` crate's, built by us. Control tokens are kept out, and with
//! them every merge that touches one, so that no text can be merged into a control token. What would make
//! the crate's builder panic (a merge longer than every token) is refused before.

use std::collections::HashSet;

use tokenizers::models::bpe::{BPE, BpeBuilder, Merges, Vocab};

use crate::error::quote;

/// Tokens and merges under construction.
#[derive(Default)]
pub(crate) struct MergeModel {
    vocab: Vocab,
    merges: Merges,
    controls: HashSet<String>,
    token_len_max: usize,
}

impl MergeModel {
    /// A token that merges may make. False if it is there already.
    pub(crate) fn add_token(&mut self, token: String, id: u32) -> bool {
        self.token_len_max = self.token_len_max.max(token.len());
        !self.controls.contains(&token) && self.vocab.insert(token, id).is_none()
    }

    /// A token that no merge may make. False if it is there already.
    pub(crate) fn add_control(&mut self, token: String) -> bool {
        self.token_len_max = self.token_len_max.max(token.len());
        !self.vocab.contains_key(&token) && self.controls.insert(token)
    }

    /// The token that stands for text which nothing else spells: no merge may make it either.
    pub(crate) fn add_unknown(&mut self, token: String, id: u32) -> bool {
        self.add_token(token.clone(), id) && self.controls.insert(token)
    }

    /// The next merge in rank order.
    pub(crate) fn add_merge(&mut self, a: &str, b: &str) -> Result<(), String> {
        let joined_len = a.len() + b.len();
        if joined_len > self.token_len_max {
            return Err(format!("{:?} and {:?} make no token", quote(a), quote(b)));
        }
        let makes_control = || self.controls.contains(&format!("{a}{b}"));
        if self.controls.contains(a) || self.controls.contains(b) || makes_control() {
            return Ok(());
        }
        self.merges.push((a.to_owned(), b.to_owned()));
        Ok(())
    }

    /// The model; `options` sets what else the file says. Fails on a merge that names no token.
    pub(crate) fn build(
        self,
        options: impl FnOnce(BpeBuilder) -> BpeBuilder,
    ) -> Result<BPE, String> {
        let builder = BPE::builder().vocab_and_merges(self.vocab, self.merges);
        options(builder)
            .build()
            .map_err(|error| quote(&error.to_string()))
    }
}
