//! DRY: how long the stretch is that each token would go on repeating. The stretches that end a window are found for
//! all places at once, in time linear in the window: the common beginnings of the reversed window and its parts (the
//! Z function). A stretch does not reach over a breaker. Source: p-e-w, "DRY: a modern repetition penalty" (2024).
//! Reference: the quadratic search in the tests.

use std::collections::BTreeMap;

use tokenmill_core::{Dry, TokenId};

/// ln of the largest f32.
const LN_MAX: f64 = 88.7228;

/// The penalty and the tokens it looks at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stretches {
    multiplier: f32,
    base: f32,
    allowed_length: usize,
    exponent_max: usize,
    /// Tokens at the end that count; none: all.
    window_len: Option<usize>,
    /// First tokens of breakers, each with what must follow; an empty rest is a breaker of one token.
    breakers: BTreeMap<TokenId, Vec<Vec<TokenId>>>,
    tokens: Vec<TokenId>,
}

impl Stretches {
    pub(crate) fn new(dry: &Dry, prompt: &[TokenId]) -> Self {
        let mut breakers: BTreeMap<TokenId, Vec<Vec<TokenId>>> = BTreeMap::new();
        for sequence in &dry.breaker_tokens {
            if let Some((&first, rest)) = sequence.split_first() {
                breakers.entry(first).or_default().push(rest.to_vec());
            }
        }
        let exponent_max = LN_MAX / f64::from(dry.base).ln();
        Self {
            multiplier: dry.multiplier,
            base: dry.base,
            allowed_length: dry.allowed_length as usize,
            // At a base of 1 every exponent gives 1.
            exponent_max: exponent_max.floor() as usize,
            window_len: usize::try_from(dry.last_n).ok(),
            breakers,
            tokens: prompt.to_vec(),
        }
    }

    pub(crate) fn push(&mut self, token: TokenId) {
        self.tokens.push(token);
    }

    /// Each token that goes on a stretch long enough, and what it costs.
    pub(crate) fn penalties(&self) -> BTreeMap<TokenId, f32> {
        let mut lengths: BTreeMap<TokenId, usize> = BTreeMap::new();
        let all = &self.tokens;
        let start = self
            .window_len
            .map_or(0, |len| all.len().saturating_sub(len));
        let window = &all[start..];
        let len_max = self.unbroken(window);
        if len_max >= self.allowed_length {
            self.measure(window, len_max, &mut lengths);
        }
        let cost = |length: usize| {
            let exponent = (length - self.allowed_length).min(self.exponent_max);
            let factor = f64::from(self.base).powf(exponent as f64);
            (f64::from(self.multiplier) * factor).min(f64::from(f32::MAX)) as f32
        };
        let costs = lengths
            .into_iter()
            .map(|(token, length)| (token, cost(length)));
        costs.collect()
    }

    /// The longest stretch of at most `len_max` tokens for each token that went on one.
    fn measure(&self, window: &[TokenId], len_max: usize, lengths: &mut BTreeMap<TokenId, usize>) {
        for (at, length) in common_ends(window) {
            let token = window[at];
            let length = length.min(len_max);
            if length < self.allowed_length || self.is_breaker(token) {
                continue;
            }
            let longest = lengths.entry(token).or_insert(length);
            *longest = length.max(*longest);
        }
    }

    /// Whether a token is a breaker by itself.
    fn is_breaker(&self, token: TokenId) -> bool {
        let rests = self.breakers.get(&token);
        rests.is_some_and(|rests| rests.iter().any(Vec::is_empty))
    }

    /// Tokens behind the breaker of a window that ends last. Those may overlap, so one that starts earlier may end
    /// later.
    fn unbroken(&self, window: &[TokenId]) -> usize {
        let rests = self.breakers.values().flatten();
        let longest = rests.map(Vec::len).max().unwrap_or(0);
        let mut best = window.len();
        for (behind, token) in window.iter().rev().enumerate() {
            if behind >= best.saturating_add(longest) {
                break;
            }
            let Some(rests) = self.breakers.get(token) else {
                continue;
            };
            let after = &window[window.len() - behind..];
            let met = rests.iter().filter(|rest| after.starts_with(rest));
            if let Some(len) = met.map(Vec::len).max() {
                best = best.min(behind - len);
            }
        }
        best
    }
}

/// For every place of a window but the first, how many tokens before it are also the last ones of the window.
fn common_ends(window: &[TokenId]) -> impl Iterator<Item = (usize, usize)> {
    let len = window.len();
    let token = |from_end: usize| window[len - 1 - from_end];
    let mut z = vec![0; len];
    // The part of the window, counted from its end, that is known to repeat the end.
    let (mut left, mut right) = (0, 0);
    for place in 1..len {
        let mut length = if place < right {
            z[place - left].min(right - place)
        } else {
            0
        };
        while place + length < len && token(length) == token(place + length) {
            length += 1;
        }
        z[place] = length;
        if place + length > right {
            (left, right) = (place, place + length);
        }
    }
    // What follows the place `from_end` is one nearer to the end.
    let ends = z.into_iter().enumerate().skip(1);
    ends.map(move |(from_end, length)| (len - from_end, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dry(breaker_tokens: &[&[u32]], last_n: i32) -> Dry {
        Dry {
            multiplier: 0.8,
            last_n,
            breaker_tokens: breaker_tokens
                .iter()
                .map(|tokens| tokens.to_vec())
                .collect(),
            ..Dry::default()
        }
    }

    fn penalties(dry: &Dry, tokens: &[u32]) -> Vec<(u32, f32)> {
        Stretches::new(dry, tokens)
            .penalties()
            .into_iter()
            .collect()
    }

    #[test]
    fn the_fixtures_cost_what_they_should() {
        let tokens = [5, 6, 7, 8, 5, 6, 7];
        let all = dry(&[], -1);
        assert_eq!(penalties(&all, &tokens), [(8, 1.4)]);
        assert_eq!(penalties(&dry(&[&[5]], -1), &tokens), [(8, 0.8)]);
        assert_eq!(penalties(&dry(&[&[6]], -1), &tokens), []);
        assert_eq!(penalties(&all, &[9, 9, 9, 9]), [(9, 1.4)]);
        let tokens = [1, 2, 3, 1, 2, 4, 1, 2];
        assert_eq!(penalties(&all, &tokens), [(3, 0.8), (4, 0.8)]);
        assert_eq!(penalties(&dry(&[], 5), &tokens), [(4, 0.8)]);
        assert_eq!(penalties(&all, &[]), []);
    }

    #[test]
    fn a_breaker_of_one_token_costs_nothing_and_one_of_two_must_be_met_whole() {
        let tokens = [5, 6, 7, 8, 5, 6, 7];
        assert_eq!(penalties(&dry(&[&[8]], -1), &tokens), []);
        assert_eq!(penalties(&dry(&[&[8, 1]], -1), &tokens), [(8, 1.4)]);
        assert_eq!(penalties(&dry(&[&[8, 5]], -1), &tokens), [(8, 0.8)]);
        assert_eq!(penalties(&dry(&[&[8, 5], &[8, 5, 6]], -1), &tokens), []);
    }

    #[test]
    fn a_cost_stays_a_number_however_long_the_stretch_is() {
        let mut dry = dry(&[], -1);
        dry.multiplier = 100.0;
        dry.base = 100.0;
        let (_, cost) = penalties(&dry, &vec![3; 5000])[0];
        assert!(cost > 1e37 && cost.is_finite());
        dry.base = 1.0;
        assert_eq!(penalties(&dry, &[3; 50]), [(3, 100.0)]);
    }

    #[test]
    fn of_breakers_that_overlap_the_one_that_ends_last_counts() {
        let breakers: &[&[u32]] = &[&[3, 0, 2], &[0]];
        let mut dry = dry(breakers, -1);
        dry.allowed_length = 1;
        assert_eq!(penalties(&dry, &[2, 3, 3, 0, 2, 3]), [(3, 0.8)]);
    }

    /// By the words of the definition, one pair of places at a time.
    fn by_search(dry: &Dry, tokens: &[u32]) -> Vec<(u32, f32)> {
        let len = usize::try_from(dry.last_n)
            .unwrap_or(usize::MAX)
            .min(tokens.len());
        let window = &tokens[tokens.len() - len..];
        let mut len_max = len;
        for end in 1..=len {
            let ends = |breaker: &Vec<u32>| window[..end].ends_with(breaker);
            if dry.breaker_tokens.iter().any(ends) {
                len_max = len - end;
            }
        }
        let alone = |token: u32| dry.breaker_tokens.contains(&vec![token]);
        let mut costs = BTreeMap::new();
        for (at, &token) in window.iter().enumerate() {
            for length in dry.allowed_length as usize..=at.min(len_max) {
                if window[at - length..at] == window[len - length..] && !alone(token) {
                    let more = length - dry.allowed_length as usize;
                    costs.insert(token, costs.get(&token).copied().unwrap_or(0).max(more));
                }
            }
        }
        let cost = |more: usize| (0.8_f32 as f64 * 1.75_f64.powf(more as f64)) as f32;
        costs
            .into_iter()
            .map(|(token, more)| (token, cost(more)))
            .collect()
    }

    proptest! {
        #[test]
        fn all_stretches_are_those_of_the_quadratic_search(
            tokens in prop::collection::vec(0_u32..4, 0..50),
            last_n in prop_oneof![Just(-1), 1..60],
            allowed_length in 1_u32..4,
            breakers in prop::collection::vec(prop::collection::vec(0_u32..5, 1..4), 0..3),
        ) {
            let breaker_tokens = breakers;
            let dry = Dry { multiplier: 0.8, allowed_length, last_n, breaker_tokens, ..Dry::default() };
            prop_assert_eq!(penalties(&dry, &tokens), by_search(&dry, &tokens));
        }
    }
}
