//! The first K of the sums of all beams in the order (value descending, beam ascending, token ascending), without
//! sorting them: what comes is held against the K-th so far. Sums come by beam, then by token, each ascending.

use std::cmp::Ordering;

use tokenmill_core::TokenId;

use crate::warper::order;

/// A beam with a token behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sum {
    /// What it is ordered by: its score, or that with its noise.
    pub(crate) key: f32,
    pub(crate) score: f32,
    pub(crate) beam: u32,
    pub(crate) token: TokenId,
}

impl Sum {
    fn compare(&self, other: &Self) -> Ordering {
        let by_key = order::key(other.key).cmp(&order::key(self.key));
        by_key.then((self.beam, self.token).cmp(&(other.beam, other.token)))
    }
}

/// The best sums so far.
#[derive(Debug)]
pub(super) struct Top {
    sums: Vec<Sum>,
    count: usize,
    bound: f32,
}

impl Top {
    /// The first `count`, at least one, in memory that is used again.
    pub(super) fn new(count: usize, mut sums: Vec<Sum>) -> Self {
        sums.clear();
        Self {
            sums,
            count,
            // A ban is no sum.
            bound: f32::MIN,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// No key below this is among them.
    pub(super) fn bound(&self) -> f32 {
        self.bound
    }

    /// At least `count` keys that are still to come reach this.
    pub(super) fn expect(&mut self, bound: f32) {
        self.bound = self.bound.max(bound);
    }

    pub(super) fn meet(&mut self, sum: Sum) {
        if sum.key < self.bound {
            return;
        }
        self.sums.push(sum);
        if self.sums.len() >= 4 * self.count {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.sums.len() < self.count {
            return;
        }
        let (_, last, _) = self
            .sums
            .select_nth_unstable_by(self.count - 1, Sum::compare);
        self.bound = self.bound.max(last.key);
        self.sums.truncate(self.count);
    }

    /// The first of those that came, in no order.
    pub(super) fn first(&mut self) -> &[Sum] {
        self.cut();
        &self.sums
    }

    /// The first, in order.
    pub(super) fn sorted(mut self) -> Vec<Sum> {
        self.cut();
        self.sums.sort_unstable_by(Sum::compare);
        self.sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_are_those_of_the_sorted_whole(
            keys in prop::collection::vec(prop_oneof![(-8_i32..0).prop_map(|key| key as f32), Just(f32::NEG_INFINITY)], 1..300),
            count in 1_usize..20,
        ) {
            let sum = |(at, &key): (usize, &f32)| Sum {
                key,
                score: key,
                beam: at as u32 / 50,
                token: at as u32 % 50,
            };
            let all: Vec<Sum> = keys.iter().enumerate().map(sum).collect();
            let mut expected: Vec<Sum> = all.iter().copied().filter(|sum| sum.key.is_finite()).collect();
            expected.sort_by(Sum::compare);
            expected.truncate(count);
            let mut top = Top::new(count, Vec::new());
            for &sum in &all {
                top.meet(sum);
            }
            prop_assert_eq!(top.sorted(), expected);
        }
    }
}
