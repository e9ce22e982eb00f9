//! Which tokens would complete an n-gram that prompt and output already hold. Every n-gram's follower is
//! chained under a hash of its first n - 1 tokens, and the tokens themselves are compared, so a collision
//! costs time and never a wrong ban. Reference: the quadratic search in the tests.

use std::collections::HashMap;

use tokenmill_core::TokenId;

/// In unit tests collisions are everywhere.
const HASH_BITS: u32 = if cfg!(test) { 3 } else { 64 };

/// End of a chain.
const NONE: u32 = u32::MAX;

/// The n-grams of a growing sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NgramIndex {
    size: usize,
    tokens: Vec<TokenId>,
    /// Hash of n - 1 tokens -> the last position that followed them.
    heads: HashMap<u64, u32>,
    /// Position -> the position before it in its chain.
    earlier: Vec<u32>,
}

impl NgramIndex {
    /// `size` is at least 1.
    pub(crate) fn new(size: usize, prompt: &[TokenId]) -> Self {
        assert!(size > 0, "an n-gram has at least one token");
        let mut index = Self {
            size,
            tokens: Vec::new(),
            heads: HashMap::new(),
            earlier: Vec::new(),
        };
        for &token in prompt {
            index.push(token);
        }
        index
    }

    pub(crate) fn push(&mut self, token: TokenId) {
        let position = self.tokens.len() as u32;
        let previous = match self.suffix() {
            Some(gram) => self.heads.insert(hash(gram), position).unwrap_or(NONE),
            None => NONE,
        };
        self.earlier.push(previous);
        self.tokens.push(token);
    }

    /// Goes on without taking up the n-grams that this token completes.
    pub(crate) fn pass(&mut self, token: TokenId) {
        self.tokens.push(token);
    }

    /// Calls `ban` for every token that would complete a known n-gram; a token may come more than once.
    pub(crate) fn for_each_completion(&self, mut ban: impl FnMut(TokenId)) {
        let Some(gram) = self.suffix() else { return };
        let mut position = self.heads.get(&hash(gram)).copied().unwrap_or(NONE);
        while position != NONE {
            let end = position as usize;
            if &self.tokens[end - gram.len()..end] == gram {
                ban(self.tokens[end]);
            }
            position = self.earlier[end];
        }
    }

    /// The last n - 1 tokens, once there are so many.
    fn suffix(&self) -> Option<&[TokenId]> {
        let start = self.tokens.len().checked_sub(self.size - 1)?;
        Some(&self.tokens[start..])
    }
}

fn hash(gram: &[TokenId]) -> u64 {
    let mixed = gram
        .iter()
        .fold(0x9E37_79B9_7F4A_7C15, |state: u64, &token| {
            let product = (state ^ u64::from(token)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
            product ^ (product >> 32)
        });
    mixed >> (64 - HASH_BITS)
}

#[cfg(test)]
mod tests {
    use super::NgramIndex;
    use proptest::prelude::*;

    fn banned(size: usize, tokens: &[u32]) -> Vec<u32> {
        let mut banned = Vec::new();
        NgramIndex::new(size, tokens).for_each_completion(|token| banned.push(token));
        banned.sort_unstable();
        banned.dedup();
        banned
    }

    fn banned_by_search(size: usize, tokens: &[u32]) -> Vec<u32> {
        let mut banned = Vec::new();
        if tokens.len() + 1 >= size {
            let suffix = &tokens[tokens.len() + 1 - size..];
            for window in tokens.windows(size) {
                if &window[..size - 1] == suffix {
                    banned.push(window[size - 1]);
                }
            }
        }
        banned.sort_unstable();
        banned.dedup();
        banned
    }

    #[test]
    fn the_fixture_bans_what_it_should() {
        let tokens = [7, 8, 7, 8, 7];
        assert_eq!(banned(1, &tokens), [7, 8]);
        assert_eq!(banned(2, &tokens), [8]);
        assert_eq!(banned(3, &tokens), [8]);
        assert_eq!(banned(6, &tokens), [0_u32; 0]);
        assert_eq!(banned(2, &[]), [0_u32; 0]);
    }

    proptest! {
        #[test]
        fn the_index_equals_the_search(size in 1_usize..6, tokens in prop::collection::vec(0_u32..4, 0..60)) {
            prop_assert_eq!(banned(size, &tokens), banned_by_search(size, &tokens));
        }

        #[test]
        fn the_index_of_a_beginning_equals_the_search_in_it(
            size in 1_usize..5,
            tokens in prop::collection::vec(0_u32..3, 0..40),
            split in 0_usize..40,
        ) {
            let (prompt, rest) = tokens.split_at(split.min(tokens.len()));
            let mut index = NgramIndex::new(size, prompt);
            for &token in rest {
                index.pass(token);
            }
            let mut banned = Vec::new();
            index.for_each_completion(|token| banned.push(token));
            let mut expected = Vec::new();
            if let Some(start) = (tokens.len() + 1).checked_sub(size) {
                let windows = prompt.windows(size);
                let met = windows.filter(|window| window[..size - 1] == tokens[start..]);
                expected.extend(met.map(|window| window[size - 1]));
            }
            banned.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(banned, expected);
        }

        #[test]
        fn growing_equals_starting_from_the_whole(split in 0_usize..30, tokens in prop::collection::vec(0_u32..3, 30)) {
            let mut grown = NgramIndex::new(3, &tokens[..split]);
            for &token in &tokens[split..] {
                grown.push(token);
            }
            prop_assert_eq!(grown, NgramIndex::new(3, &tokens));
        }
    }
}
