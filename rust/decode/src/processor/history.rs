//! Which tokens a sequence holds, and how often each was generated. A sorted list: penalties walk it in the
//! order of the row, its size is that of the distinct tokens, and two equal prefixes have equal histories.

use tokenmill_core::TokenId;

/// One distinct token of prompt and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) token: TokenId,
    /// Occurrences in the output; 0: in the prompt alone.
    pub(crate) generated: u32,
}

/// Distinct tokens, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct History(Vec<Seen>);

impl History {
    pub(crate) fn new(prompt: &[TokenId]) -> Self {
        let mut tokens = prompt.to_vec();
        tokens.sort_unstable();
        tokens.dedup();
        Self(
            tokens
                .into_iter()
                .map(|token| Seen {
                    token,
                    generated: 0,
                })
                .collect(),
        )
    }

    pub(crate) fn push(&mut self, token: TokenId) {
        match self.0.binary_search_by_key(&token, |seen| seen.token) {
            Ok(place) => self.0[place].generated += 1,
            Err(place) => self.0.insert(
                place,
                Seen {
                    token,
                    generated: 1,
                },
            ),
        }
    }

    pub(crate) fn seen(&self) -> impl Iterator<Item = &Seen> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{History, Seen};

    #[test]
    fn prompt_tokens_count_as_seen_and_not_as_generated() {
        let mut history = History::new(&[9, 3, 9]);
        for token in [3, 5, 5] {
            history.push(token);
        }
        let expected = [(3, 1), (5, 2), (9, 0)].map(|(token, generated)| Seen { token, generated });
        assert!(history.seen().eq(&expected));
    }
}
