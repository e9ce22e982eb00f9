//! The tokens whose surprise is nearest to the expected one. Source: Meister et al., "Locally typical sampling"
//! (2022). The distance |-ln p - H| is |x - A / S|, with the sums of `entropy`. Only a part of the survivors is
//! ever sorted. Reference: sort and walk, in the tests.

use std::cmp::Ordering;

use tokenmill_core::TokenId;

use super::entropy::Spread;
use super::order::Candidate;
use super::{Scores, mass};

/// Up to this many are sorted.
const SORT_MAX: usize = 64;

/// A token by its distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Near {
    distance: f64,
    token: TokenId,
    mass: u64,
}

impl Near {
    fn new(candidate: Candidate, depth: f64) -> Self {
        Self {
            distance: distance(candidate.score, depth),
            token: candidate.token,
            mass: mass::of(candidate.score),
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_distance = self.distance.total_cmp(&other.distance);
        by_distance.then(self.token.cmp(&other.token))
    }
}

/// Keeps the nearest tokens until they have the share.
pub(super) fn keep_near(scores: &mut Scores<'_, '_>, share: f64) {
    let spread = Spread::of(scores);
    let (depth, is_past) = (spread.depth(), scores.cut.is_typical_past);
    let target = share * spread.total as f64;
    let is_reached = |sum: u64| {
        if is_past {
            sum as f64 > target
        } else {
            sum as f64 >= target
        }
    };
    if scores.cut.kept_min > 1 {
        return keep_at_least(scores, depth, is_reached);
    }
    let Crowd { from, to, above } = Crowd::holding(scores, depth, is_reached);
    // What has no mass lies farther out than all that has: the expected depth is at most ln V < 14.
    let farthest = (-(depth + to)) as f32;
    scores.list(farthest.next_down().max(mass::SCORE_MIN));
    let buffers = &mut *scores.buffers;
    let crowded = |candidate: &&Candidate| {
        let distance = distance(candidate.score, depth);
        distance >= from && distance < to
    };
    buffers.near.clear();
    let near = buffers.kept.iter().filter(crowded);
    buffers
        .near
        .extend(near.map(|&kept| Near::new(kept, depth)));
    let last = last_needed(&mut buffers.near, |sum| is_reached(above + sum));
    let is_kept = |kept: &Candidate| {
        let distance = distance(kept.score, depth);
        distance < from || (distance < to && Near::new(*kept, depth).compare(&last).is_le())
    };
    buffers.kept.retain(is_kept);
    scores.settle();
}

/// The same where a beam must be left more than one token to go on with.
fn keep_at_least(scores: &mut Scores<'_, '_>, depth: f64, is_reached: impl Fn(u64) -> bool) {
    let kept_min = scores.cut.kept_min;
    scores.list(f32::MIN);
    let buffers = &mut *scores.buffers;
    buffers.near.clear();
    let near = buffers.kept.iter().map(|&kept| Near::new(kept, depth));
    buffers.near.extend(near);
    let mut last = last_needed(&mut buffers.near, is_reached);
    let least = kept_min.min(buffers.near.len());
    if let Some(place) = least.checked_sub(1) {
        let (_, near, _) = buffers.near.select_nth_unstable_by(place, Near::compare);
        if near.compare(&last).is_gt() {
            last = *near;
        }
    }
    let is_kept = |&kept: &Candidate| Near::new(kept, depth).compare(&last).is_le();
    buffers.kept.retain(is_kept);
    scores.settle();
}

/// How far a score's surprise is from the expected one.
#[inline(always)]
fn distance(score: f32, depth: f64) -> f64 {
    (f64::from(-score) - depth).abs()
}

/// A narrow range of distances in which the last token that is needed stands, so that few must be put in order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Crowd {
    from: f64,
    to: f64,
    /// The mass of all that is nearer.
    above: u64,
}

impl Crowd {
    /// Ranges as wide as this many make a nat.
    const PER_NAT: f64 = 32.0;
    /// The last one takes all that is farther out: no score with a mass is as far.
    const COUNT: usize = 1024;

    /// The range in which the sum of the masses is enough first; the last that has a token where it never is.
    fn holding(scores: &Scores<'_, '_>, depth: f64, is_reached: impl Fn(u64) -> bool) -> Self {
        let mut masses = [0_u64; Self::COUNT];
        let mut last = 0;
        let mut count = |score: f32, mass: u64| {
            let place = (distance(score, depth) * Self::PER_NAT) as usize;
            let place = place.min(Self::COUNT - 1);
            masses[place] += mass;
            last = last.max(place);
        };
        if let Some(kept) = scores.kept() {
            for candidate in kept {
                count(candidate.score, mass::of(candidate.score));
            }
        } else {
            scores.for_each_chunk(mass::SCORE_MIN, |chunk| {
                for (&score, mass) in chunk.iter().zip(mass::of_chunk(chunk)) {
                    if score >= mass::SCORE_MIN {
                        count(score, mass);
                    }
                }
            });
        }
        let mut above = 0;
        let mut found = last;
        for (place, &own) in masses.iter().enumerate().take(last) {
            if is_reached(above + own) {
                found = place;
                break;
            }
            above += own;
        }
        // A power of two, so both ends are exact and a distance stands in the range that it was counted in.
        let end = |place: usize| place as f64 / Self::PER_NAT;
        let is_outermost = found == Self::COUNT - 1;
        Self {
            from: end(found),
            to: if is_outermost {
                f64::INFINITY
            } else {
                end(found + 1)
            },
            above,
        }
    }
}

/// The last of the shortest prefix whose mass is enough; the last of all where none is. Halves the part in which it
/// lies until that is short.
fn last_needed(near: &mut [Near], is_reached: impl Fn(u64) -> bool) -> Near {
    let (mut from, mut to, mut above) = (0, near.len(), 0);
    while to - from > SORT_MAX {
        let half = (to - from) / 2;
        near[from..to].select_nth_unstable_by(half, Near::compare);
        let sum: u64 = near[from..=from + half].iter().map(|near| near.mass).sum();
        if is_reached(above + sum) {
            to = from + half + 1;
        } else {
            above += sum;
            from += half + 1;
        }
    }
    let part = &mut near[from..to];
    part.sort_unstable_by(Near::compare);
    let is_enough = |near: &&Near| {
        above += near.mass;
        is_reached(above)
    };
    *part.iter().find(is_enough).unwrap_or(&part[part.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn halving_finds_what_a_walk_over_the_sorted_finds(
            scores in prop::collection::vec((0_u32..60).prop_map(|step| step as f32 / -4.0), 1..900),
            share in 0.0_f64..1.0,
            depth in 0.0_f64..9.0,
        ) {
            let near = (0..).zip(&scores).map(|(token, &score)| Near::new(Candidate { token, score }, depth));
            let near: Vec<Near> = near.collect();
            let target = share * near.iter().map(|near| near.mass).sum::<u64>() as f64;
            let mut sorted = near.clone();
            sorted.sort_by(Near::compare);
            let mut sum = 0;
            let expected = sorted.iter().find(|near| {
                sum += near.mass;
                sum as f64 >= target
            });
            let found = last_needed(&mut near.clone(), |sum| sum as f64 >= target);
            prop_assert_eq!(Some(&found), expected);
        }
    }
}
