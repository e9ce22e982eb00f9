//! Where a prefix of the total order ends, by count or by mass, without sorting everything: one pass over
//! bins, then a sort of the one bin where the prefix ends, or a radix walk over its keys if ties or a strange
//! row make it large, so that no row costs more than a few passes. The result names the last value kept and how many tokens of exactly
//! that value, lower ids first. Reference: sort and walk, in the tests.

use crate::row::CHUNK;
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
    /// More mass than this.
    MassAbove(f64),
}

impl Goal {
    fn weight(self, score: f32) -> u64 {
        match self {
            Self::Count(_) => 1,
            Self::Mass(_) | Self::MassAbove(_) => mass::of(score),
        }
    }

    fn is_reached(self, sum: u64) -> bool {
        match self {
            Self::Count(count) => sum >= count,
            Self::Mass(target) => sum as f64 >= target,
            Self::MassAbove(target) => sum as f64 > target,
        }
    }
}

/// Shortens `candidates` (ids ascending, at least one) to the shortest prefix of the total order that
/// reaches the goal, ids still ascending. If none does it changes nothing and says so.
pub(crate) fn keep_prefix(
    candidates: &mut Vec<Candidate>,
    goal: Goal,
    buffers: &mut SelectBuffers,
) -> bool {
    let cut = if candidates.len() <= SORT_MAX {
        buffers.within.clear();
        buffers.within.extend_from_slice(candidates);
        cut_by_sort(&mut buffers.within, goal, 0)
    } else {
        cut_by_bins(candidates, goal, buffers)
    };
    let Some(Cut { key, mut ties }) = cut else {
        return false;
    };
    candidates.retain(|candidate| {
        let own = order::key(candidate.score);
        if own == key && ties > 0 {
            ties -= 1;
            return true;
        }
        own > key
    });
    true
}

/// The last key kept, and how many tokens with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    key: u32,
    ties: u64,
}

/// Sorts and walks; `above` is the weight of what comes before.
fn cut_by_sort(candidates: &mut [Candidate], goal: Goal, above: u64) -> Option<Cut> {
    candidates.sort_unstable_by(|a, b| order::compare(*a, *b));
    let mut sum = above;
    let mut cut = Cut { key: 0, ties: 0 };
    for candidate in candidates {
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

/// One pass over bins of equal width below 0, then the candidates of the bin in which the goal is reached.
fn cut_by_bins(candidates: &[Candidate], goal: Goal, buffers: &mut SelectBuffers) -> Option<Cut> {
    let SelectBuffers { bins, within } = buffers;
    bins.fill(0);
    for chunk in candidates.chunks(CHUNK) {
        let mut scores = [f32::NEG_INFINITY; CHUNK];
        scores
            .iter_mut()
            .zip(chunk)
            .for_each(|(score, candidate)| *score = candidate.score);
        let places = scores.map(bin_below_zero);
        let weights = match goal {
            Goal::Count(_) => [1; CHUNK],
            Goal::Mass(_) | Goal::MassAbove(_) => mass::of_chunk(&scores),
        };
        for ((place, weight), _) in places.iter().zip(weights).zip(chunk) {
            bins[*place as usize] += weight;
        }
    }
    let (bin, above) = crossing_bin(bins, 0, goal)?;
    within.clear();
    within.extend(
        candidates
            .iter()
            .filter(|candidate| bin_below_zero(candidate.score) == bin),
    );
    if within.len() <= SORT_MAX {
        cut_by_sort(within, goal, above)
    } else {
        cut_by_radix(bins, within, goal, above)
    }
}

/// 0 for the best scores; steps of 1/64, the last bin takes all below -32. Never decreases with the score.
#[inline(always)]
fn bin_below_zero(score: f32) -> u32 {
    const LAST: f32 = (BINS - 1) as f32;
    // 2^23: rounds to an integer and leaves it in the low bits.
    const ROUNDER: f32 = 8_388_608.0;
    let depth = score * -64.0;
    let depth = if depth > 0.0 { depth } else { 0.0 };
    let depth = if depth < LAST { depth } else { LAST };
    (depth + ROUNDER).to_bits() & (BINS as u32 - 1)
}

/// Narrows the candidates to one key, eleven bits at a time.
fn cut_by_radix(
    bins: &mut [u64],
    within: &mut Vec<Candidate>,
    goal: Goal,
    mut above: u64,
) -> Option<Cut> {
    let mut key = 0;
    for (shift, width) in LEVELS {
        let mask = (1 << width) - 1;
        let place = |candidate: &Candidate| !(order::key(candidate.score) >> shift) & mask;
        bins.fill(0);
        for candidate in within.iter() {
            bins[place(candidate) as usize] += goal.weight(candidate.score);
        }
        let (bin, before) = crossing_bin(bins, above, goal)?;
        above = before;
        key |= (!bin & mask) << shift;
        within.retain(|candidate| place(candidate) == bin);
    }
    // What is left has one key, so one weight; its first `ties` tokens reach the goal.
    let weight = goal.weight(within.first()?.score);
    let mut ties = 0;
    let mut sum = above;
    loop {
        ties += 1;
        sum += weight;
        if goal.is_reached(sum) {
            return Some(Cut { key, ties });
        }
    }
}

/// The bin in which the running sum reaches the goal, and the sum before it.
fn crossing_bin(bins: &[u64], above: u64, goal: Goal) -> Option<(u32, u64)> {
    let mut sum = above;
    for (bin, &weight) in bins.iter().enumerate() {
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
                let mut copy = candidates.clone();
                let by_radix = cut_by_radix(&mut buffers.bins, &mut copy, goal, 0);
                prop_assert_eq!(by_radix, cut_by_sort(&mut candidates.clone(), goal, 0));
                prop_assert_eq!(by_radix, cut_by_bins(&candidates, goal, &mut buffers));
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
