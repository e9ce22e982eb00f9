//! Sequences of tokens of which the last is biased or banned where the others were met. Keeps the end of the
//! sequence, as much as the longest of them needs. Reference: the search in the tests of the sampler.

use std::collections::VecDeque;

use tokenmill_core::TokenId;

/// Sequences, each with what belongs to it, and the end of what they are looked for in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phrases<T> {
    sequences: Vec<(Vec<TokenId>, T)>,
    tail: VecDeque<TokenId>,
    tail_len_max: usize,
}

impl<T: Copy> Phrases<T> {
    /// After `context`, which is empty where only the output counts. Empty sequences do nothing.
    pub(crate) fn new(sequences: Vec<(Vec<TokenId>, T)>, context: &[TokenId]) -> Self {
        let lengths = sequences.iter().map(|(sequence, _)| sequence.len());
        let tail_len_max = lengths.max().unwrap_or(0).saturating_sub(1);
        let tail = &context[context.len().saturating_sub(tail_len_max)..];
        Self {
            sequences,
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

    /// The tokens that would complete a sequence, in the order of these; one may come more than once.
    pub(crate) fn completions(&self) -> impl Iterator<Item = (TokenId, T)> {
        self.sequences.iter().filter_map(|(sequence, own)| {
            let (&last, before) = sequence.split_last()?;
            let is_met = before.len() <= self.tail.len()
                && before
                    .iter()
                    .rev()
                    .eq(self.tail.iter().rev().take(before.len()));
            is_met.then_some((last, *own))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Phrases;

    #[test]
    fn only_the_last_token_of_a_sequence_whose_beginning_was_met_is_concerned() {
        let words = [vec![5], vec![1, 2], vec![3, 1, 9], vec![]].map(|word| (word, ()));
        let mut bad = Phrases::new(words.to_vec(), &[3, 1]);
        let met = |bad: &Phrases<()>| bad.completions().map(|(token, ())| token).collect();
        let all: Vec<u32> = met(&bad);
        assert_eq!(all, [5, 2, 9]);
        bad.push(1);
        let after_one: Vec<u32> = met(&bad);
        assert_eq!(after_one, [5, 2]);
        bad.push(4);
        let after_another: Vec<u32> = met(&bad);
        assert_eq!(after_another, [5]);
        let alone = Phrases::new(words[..1].to_vec(), &[7, 7]);
        assert!(alone.completions().eq([(5, ())]));
        assert!(
            Phrases::new(words.to_vec(), &[])
                .completions()
                .eq([(5, ())])
        );
    }

    #[test]
    fn each_sequence_brings_what_belongs_to_it() {
        let biases = vec![(vec![3], 1.0), (vec![2, 3], 2.0), (vec![9, 3], 4.0)];
        let met = Phrases::new(biases, &[2]);
        assert!(met.completions().eq([(3, 1.0), (3, 2.0)]));
    }
}
