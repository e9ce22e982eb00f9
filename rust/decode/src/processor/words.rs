//! Sequences of tokens that must not be completed. Keeps the end of the sequence, as much as the longest of
//! them needs. Reference: the search in the tests of the sampler.

use std::collections::VecDeque;

use tokenmill_core::TokenId;

/// The banned sequences and the end of what they are looked for in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadWords {
    words: Vec<Vec<TokenId>>,
    tail: VecDeque<TokenId>,
    tail_len_max: usize,
}

impl BadWords {
    /// After `context`, which is empty where only the output counts. Empty sequences ban nothing.
    pub(crate) fn new(words: &[Vec<TokenId>], context: &[TokenId]) -> Self {
        let longest = words.iter().map(Vec::len).max().unwrap_or(0);
        let tail_len_max = longest.saturating_sub(1);
        let tail = &context[context.len().saturating_sub(tail_len_max)..];
        Self {
            words: words.to_vec(),
            tail: tail.iter().copied().collect(),
            tail_len_max,
        }
    }

    pub(crate) fn push(&mut self, token: TokenId) {
        self.tail.push_back(token);
        if self.tail.len() > self.tail_len_max {
            self.tail.pop_front();
        }
    }

    /// The tokens that would complete a sequence; one may come more than once.
    pub(crate) fn completions(&self) -> impl Iterator<Item = TokenId> {
        self.words.iter().filter_map(|word| {
            let (&last, before) = word.split_last()?;
            let is_met = before.len() <= self.tail.len()
                && before
                    .iter()
                    .rev()
                    .eq(self.tail.iter().rev().take(before.len()));
            is_met.then_some(last)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::BadWords;

    #[test]
    fn only_the_last_token_of_a_sequence_whose_beginning_was_met_is_banned() {
        let words = [vec![5], vec![1, 2], vec![3, 1, 9], vec![]];
        let mut bad = BadWords::new(&words, &[3, 1]);
        assert!(bad.completions().eq([5, 2, 9]));
        bad.push(1);
        assert!(bad.completions().eq([5, 2]));
        bad.push(4);
        assert!(bad.completions().eq([5]));
        let alone = BadWords::new(&words[..1], &[7, 7]);
        assert!(alone.completions().eq([5]));
        assert!(BadWords::new(&words, &[]).completions().eq([5]));
    }
}
