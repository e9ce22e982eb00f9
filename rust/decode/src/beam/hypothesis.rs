//! The hypotheses of one search: as many places as beams, the best first, empty ones with a score that every real
//! one beats. What is merged in, and when a place counts as taken, is transformers' rule to the letter.

use std::cmp::Reverse;

use tokenmill_core::{TokenId, TokenLogprobs};

use super::NONE_SCORE;
use super::trail::{Leaf, ROOT};
use crate::warper::order;

/// Why a hypothesis ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// One of the model's end tokens.
    Eos,
    /// A stop id, or what the caller found in the text.
    Stop,
    /// There was no room for more.
    Length,
}

/// One output that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Its tokens, the last one included.
    pub tokens: Vec<TokenId>,
    /// The sum of log-probabilities, weighed by the length: what hypotheses are ordered by.
    pub score: f32,
    /// The same sum as it is.
    pub cumulative_logprob: f32,
    /// One entry per token, where asked for: log-probs after the processors, as they were added up.
    pub logprobs: Vec<TokenLogprobs>,
    /// Why it ended.
    pub reason: EndReason,
}

/// A place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) score: f32,
    pub(super) sum: f32,
    pub(super) leaf: Leaf,
    pub(super) reason: EndReason,
    /// Whether the place is taken.
    pub(super) is_done: bool,
}

impl Entry {
    const EMPTY: Self = Self {
        score: NONE_SCORE,
        sum: NONE_SCORE,
        leaf: ROOT,
        reason: EndReason::Length,
        is_done: false,
    };

    /// Whether it is an output, and not what fills a place.
    pub(super) fn is_real(&self) -> bool {
        self.is_done && !super::is_phantom(self.sum)
    }
}

/// The places, the best first.
#[derive(Clone, Debug)]
pub(super) struct Finished(Vec<Entry>);

impl Finished {
    pub(super) fn new(count: usize) -> Self {
        Self(vec![Entry::EMPTY; count])
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.iter().all(|entry| entry.is_done)
    }

    /// Takes in the best of both; of equal ones those that were there first.
    pub(super) fn merge(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let count = self.0.len();
        self.0.extend(entries);
        self.0
            .sort_by_key(|entry| Reverse((entry.is_real(), order::key(entry.score))));
        self.0.truncate(count);
    }

    /// Whether a beam of this score would take a place.
    pub(super) fn loses_to(&self, score: f32, is_real: bool) -> bool {
        let worst = self.0.last().map_or(NONE_SCORE, |entry| entry.score);
        // However long and unlikely a real beam is, it beats an empty place.
        let empty = if is_real {
            f32::NEG_INFINITY
        } else {
            NONE_SCORE
        };
        let to_beat = |entry: &Entry| if entry.is_done { worst } else { empty };
        self.0.iter().any(|entry| score > to_beat(entry))
    }

    /// The outputs among the first `count` places.
    pub(super) fn real(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.0.iter().take(count).filter(|entry| entry.is_real())
    }

    pub(super) fn leaves(&mut self) -> impl Iterator<Item = &mut Leaf> {
        self.0.iter_mut().map(|entry| &mut entry.leaf)
    }
}
