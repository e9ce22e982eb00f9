//! Which tokens a sequence holds, and how often each stands in the prompt and was generated; of the whole
//! sequence or of its last tokens. A sorted list: penalties walk it in the order of the row, its size is that
//! of the distinct tokens, and two equal prefixes have equal histories.

use std::collections::VecDeque;

use tokenmill_core::TokenId;

/// One distinct token of prompt and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) token: TokenId,
    /// Occurrences in the prompt.
    pub(crate) given: u32,
    /// Occurrences in the output.
    pub(crate) generated: u32,
}

/// The last tokens of a sequence, of which the first `given` are of the prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    tokens: VecDeque<TokenId>,
    given: usize,
    len_max: usize,
}

/// Distinct tokens, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct History {
    seen: Vec<Seen>,
    window: Option<Window>,
}

impl History {
    /// After a prompt. `len_max`: only so many of the last tokens count, at least one.
    pub(crate) fn new(prompt: &[TokenId], len_max: Option<usize>) -> Self {
        let prompt = match len_max {
            Some(len_max) => &prompt[prompt.len().saturating_sub(len_max)..],
            None => prompt,
        };
        let mut tokens = prompt.to_vec();
        tokens.sort_unstable();
        let groups = tokens.chunk_by(|a, b| a == b);
        let seen = groups.map(|group| Seen {
            token: group[0],
            given: group.len() as u32,
            generated: 0,
        });
        Self {
            seen: seen.collect(),
            window: len_max.map(|len_max| Window {
                tokens: prompt.iter().copied().collect(),
                given: prompt.len(),
                len_max,
            }),
        }
    }

    pub(crate) fn push(&mut self, token: TokenId) {
        match self.place(token) {
            Ok(place) => self.seen[place].generated += 1,
            Err(place) => self.seen.insert(
                place,
                Seen {
                    token,
                    given: 0,
                    generated: 1,
                },
            ),
        }
        let Some(window) = &mut self.window else {
            return;
        };
        window.tokens.push_back(token);
        if window.tokens.len() <= window.len_max {
            return;
        }
        let is_given = window.given > 0;
        window.given -= usize::from(is_given);
        if let Some(oldest) = window.tokens.pop_front() {
            self.forget(oldest, is_given);
        }
    }

    fn forget(&mut self, token: TokenId, is_given: bool) {
        let Ok(place) = self.place(token) else {
            return;
        };
        let seen = &mut self.seen[place];
        if is_given {
            seen.given -= 1;
        } else {
            seen.generated -= 1;
        }
        if seen.given + seen.generated == 0 {
            self.seen.remove(place);
        }
    }

    fn place(&self, token: TokenId) -> Result<usize, usize> {
        self.seen.binary_search_by_key(&token, |seen| seen.token)
    }

    pub(crate) fn seen(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{History, Seen};

    #[test]
    fn prompt_tokens_count_as_seen_and_not_as_generated() {
        let mut history = History::new(&[9, 3, 9], None);
        for token in [3, 5, 5] {
            history.push(token);
        }
        assert!(history.seen().eq(&rows(&[(3, 1, 1), (5, 0, 2), (9, 2, 0)])));
    }

    fn rows(rows: &[(u32, u32, u32)]) -> Vec<Seen> {
        let row = |&(token, given, generated): &(u32, u32, u32)| Seen {
            token,
            given,
            generated,
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn a_window_forgets_what_leaves_it_and_equals_one_made_at_once() {
        let mut history = History::new(&[1, 2, 3, 2], Some(3));
        assert!(history.seen().eq(&rows(&[(2, 2, 0), (3, 1, 0)])));
        history.push(3);
        assert!(history.seen().eq(&rows(&[(2, 1, 0), (3, 1, 1)])));
        history.push(7);
        history.push(3);
        assert!(history.seen().eq(&rows(&[(3, 0, 2), (7, 0, 1)])));
        let mut again = History::new(&[1, 2, 3, 2], Some(3));
        for token in [3, 7, 3] {
            again.push(token);
        }
        assert_eq!(history, again);
    }
}
