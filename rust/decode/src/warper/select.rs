//! Where a prefix of the total order ends, by count or by mass, without sorting: a radix walk over the keys,
//! eleven bits at a time, from the top. The result names the last value kept and how many tokens of exactly
//! that value, lower ids first. Reference: sort and walk, in the tests.

use crate::warper::mass;
use crate::warper::order::{self, Candidate};

const LEVELS: [(u32, u32); 3] = [(21, 11), (10, 11), (0, 10)];
const BINS: usize = 1 << 11;

/// Up to this many candidates are sorted instead.
const SORT_MAX: usize = 256;

/// Memory of a selection, kept between steps.
#[derive(Debug)]
pub(crate) struct SelectBuffers {
    bins: Vec<u64>,
    within: Vec<Candidate>,
}

impl Default for SelectBuffers {
    fn default() -> Self {
        Self {
            bins: vec![0; BINS],
            within: Vec::new(),
        }
    }
}

/// When the prefix is long enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// So many tokens.
    Count(u64),
    /// So much mass, reached when the sum is not below it.
    Mass(f64),
}

impl Goal {
    fn weight(self, score: f32) -> u64 {
        match self {
            Self::Count(_) => 1,
            Self::Mass(_) => mass::of(score),
        }
    }

    fn is_reached(self, sum: u64) -> bool {
        match self {
            Self::Count(count) => sum >= count,
            Self::Mass(target) => sum as f64 >= target,
        }
    }
}

/// Shortens `candidates` (ids ascending, at least one) to the shortest prefix of the total order that
/// reaches the goal, ids still ascending; to no change if none does.
pub(crate) fn keep_prefix(
    candidates: &mut Vec<Candidate>,
    goal: Goal,
    buffers: &mut SelectBuffers,
) {
    let cut = if candidates.len() <= SORT_MAX {
        cut_by_sort(candidates, goal, buffers)
    } else {
        cut_by_radix(candidates, goal, buffers)
    };
    let Some(Cut { key, mut ties }) = cut else {
        return;
    };
    candidates.retain(|candidate| {
        let own = order::key(candidate.score);
        if own == key && ties > 0 {
            ties -= 1;
            return true;
        }
        own > key
    });
}

/// The last key kept, and how many tokens with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    key: u32,
    ties: u64,
}

fn cut_by_sort(candidates: &[Candidate], goal: Goal, buffers: &mut SelectBuffers) -> Option<Cut> {
    let sorted = &mut buffers.within;
    sorted.clear();
    sorted.extend_from_slice(candidates);
    sorted.sort_unstable_by(|a, b| order::compare(*a, *b));
    let mut sum = 0;
    let mut cut = Cut { key: 0, ties: 0 };
    for candidate in sorted.iter() {
        let key = order::key(candidate.score);
        cut = Cut {
            key,
            ties: if key == cut.key { cut.ties + 1 } else { 1 },
        };
        sum += goal.weight(candidate.score);
        if goal.is_reached(sum) {
            return Some(cut);
        }
    }
    None
}

fn cut_by_radix(candidates: &[Candidate], goal: Goal, buffers: &mut SelectBuffers) -> Option<Cut> {
    let SelectBuffers { bins, within } = buffers;
    within.clear();
    let mut above = 0;
    let mut prefix = 0;
    for (level, (shift, width)) in LEVELS.into_iter().enumerate() {
        let source: &[Candidate] = if level == 0 { candidates } else { within };
        let mask = (1 << width) - 1;
        bins.fill(0);
        for candidate in source {
            bins[(order::key(candidate.score) >> shift & mask) as usize] +=
                goal.weight(candidate.score);
        }
        let (bin, before) = crossing_bin(bins, above, goal)?;
        above = before;
        prefix |= bin << shift;
        let is_here = |candidate: &Candidate| order::key(candidate.score) >> shift & mask == bin;
        if level == 0 {
            within.extend(candidates.iter().copied().filter(is_here));
        } else {
            within.retain(is_here);
        }
    }
    // What is left has one key, so one weight; its first `ties` tokens reach the goal.
    let weight = goal.weight(within.first()?.score);
    let mut ties = 0;
    let mut sum = above;
    loop {
        ties += 1;
        sum += weight;
        if goal.is_reached(sum) {
            return Some(Cut { key: prefix, ties });
        }
    }
}

/// The bin, from the top, in which the running sum reaches the goal, and the sum before it.
fn crossing_bin(bins: &[u64], above: u64, goal: Goal) -> Option<(u32, u64)> {
    let mut sum = above;
    for (bin, &weight) in bins.iter().enumerate().rev() {
        if weight > 0 && goal.is_reached(sum + weight) {
            return Some((bin as u32, sum));
        }
        sum += weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted_reference(candidates: &[Candidate], goal: Goal) -> Vec<Candidate> {
        let mut sorted = candidates.to_vec();
        sorted.sort_by(|a, b| order::compare(*a, *b));
        let mut sum = 0;
        let mut kept = Vec::new();
        for candidate in sorted {
            kept.push(candidate);
            sum += goal.weight(candidate.score);
            if goal.is_reached(sum) {
                break;
            }
        }
        kept.sort_by_key(|candidate| candidate.token);
        kept
    }

    fn scores() -> impl Strategy<Value = Vec<f32>> {
        let score = prop_oneof![
            (0_u32..20).prop_map(|step| -(step as f32) / 4.0),
            -30.0_f32..0.0,
            Just(-0.0_f32),
            Just(f32::NEG_INFINITY),
        ];
        prop::collection::vec(score, 1..1200)
    }

    proptest! {
        #[test]
        fn the_radix_walk_the_sort_and_the_reference_agree(mut scores in scores(), count in 1_u64..1300, share in 0.0_f64..1.0) {
            scores[0] = 0.0;
            let candidates: Vec<Candidate> =
                scores.iter().enumerate().map(|(id, &score)| Candidate { token: 3 * id as u32, score }).collect();
            let total: u64 = scores.iter().map(|&score| mass::of(score)).sum();
            for goal in [Goal::Count(count), Goal::Mass(share * total as f64)] {
                let mut buffers = SelectBuffers::default();
                let by_radix = cut_by_radix(&candidates, goal, &mut buffers);
                prop_assert_eq!(by_radix, cut_by_sort(&candidates, goal, &mut buffers));
                let mut kept = candidates.clone();
                keep_prefix(&mut kept, goal, &mut buffers);
                prop_assert_eq!(kept, sorted_reference(&candidates, goal));
            }
        }
    }

    #[test]
    fn ties_at_the_cut_keep_the_lower_ids() {
        let mut candidates: Vec<Candidate> = (0..1000)
            .map(|token| Candidate { token, score: -1.0 })
            .collect();
        keep_prefix(
            &mut candidates,
            Goal::Count(3),
            &mut SelectBuffers::default(),
        );
        assert_eq!(
            candidates.iter().map(|c| c.token).collect::<Vec<_>>(),
            [0, 1, 2]
        );
    }
}
