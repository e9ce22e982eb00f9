//! The bound on thinking: how many tokens stand behind its beginning, and which token of its end comes next once
//! there are too many. A function of the prefix; what may not come at all is never forced.

use tokenmill_core::{Thinking, TokenId};

/// Where a sequence stands in its thinking.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Thought {
    start: Vec<TokenId>,
    end: Vec<TokenId>,
    budget: u32,
    /// The last tokens, as many as the longer mark has.
    tail: Vec<TokenId>,
    /// Tokens behind the beginning, while it is not ended.
    since: Option<u32>,
}

impl Thought {
    /// After a prompt, which may begin it: templates of models that always think do.
    pub(crate) fn new(thinking: &Thinking, prompt: &[TokenId]) -> Self {
        let mut thought = Self {
            start: thinking.start_tokens.clone(),
            end: thinking.end_tokens.clone(),
            budget: thinking.budget.unwrap_or(u32::MAX),
            tail: Vec::new(),
            since: None,
        };
        for &token in prompt {
            thought.push(token);
        }
        thought
    }

    pub(crate) fn push(&mut self, token: TokenId) {
        self.tail.push(token);
        if self.tail.len() > self.start.len().max(self.end.len()) {
            self.tail.remove(0);
        }
        self.since = match self.since {
            None => (!self.start.is_empty() && self.tail.ends_with(&self.start)).then_some(0),
            // The end must stand behind the beginning whole.
            Some(since)
                if since as usize + 1 >= self.end.len() && self.tail.ends_with(&self.end) =>
            {
                None
            }
            Some(since) => Some(since.saturating_add(1)),
        };
    }

    /// The token that must come: the next one of the end, of which the last tokens may be the beginning.
    pub(crate) fn forced(&self) -> Option<TokenId> {
        let since = self.since.filter(|since| *since >= self.budget)? as usize;
        let longest = self.end.len().checked_sub(1)?.min(since);
        let met = (0..=longest)
            .rev()
            .find(|&len| self.tail.ends_with(&self.end[..len]))?;
        Some(self.end[met])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thought(budget: u32, start: &[u32], end: &[u32], prompt: &[u32]) -> Thought {
        let thinking = Thinking {
            budget: Some(budget),
            start_tokens: start.to_vec(),
            end_tokens: end.to_vec(),
        };
        Thought::new(&thinking, prompt)
    }

    /// What is forced one after another, where `free` comes when nothing is.
    fn grown(mut thought: Thought, free: &[u32]) -> Vec<u32> {
        let mut tokens = Vec::new();
        for &token in free {
            let token = thought.forced().unwrap_or(token);
            thought.push(token);
            tokens.push(token);
        }
        tokens
    }

    #[test]
    fn the_end_comes_token_by_token_behind_so_many() {
        let free = [1, 50, 2, 3, 4, 5, 6, 7];
        let budget = |budget| grown(thought(budget, &[50], &[60, 61], &[9]), &free);
        assert_eq!(budget(2), [1, 50, 2, 3, 60, 61, 6, 7]);
        assert_eq!(budget(0), [1, 50, 60, 61, 4, 5, 6, 7]);
        assert_eq!(budget(9), free);
        assert_eq!(
            grown(thought(1, &[50], &[60, 61], &[50]), &free)[1..3],
            [60, 61]
        );
    }

    #[test]
    fn an_end_that_has_begun_is_gone_on_with_and_one_that_came_by_itself_ends_it() {
        let free = [50, 2, 60, 4, 5];
        assert_eq!(
            grown(thought(2, &[50], &[60, 61], &[]), &free),
            [50, 2, 60, 61, 5]
        );
        let free = [50, 60, 61, 4, 50, 5, 6, 7];
        let got = grown(thought(2, &[50], &[60, 61], &[]), &free);
        assert_eq!(got, [50, 60, 61, 4, 50, 5, 6, 60]);
    }

    #[test]
    fn a_mark_of_several_tokens_must_be_met_whole() {
        let free = [50, 9, 50, 51, 2, 3, 4];
        let got = grown(thought(1, &[50, 51], &[51], &[]), &free);
        assert_eq!(got, [50, 9, 50, 51, 2, 51, 4]);
    }
}
