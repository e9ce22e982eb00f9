//! Which rows go through which experts in the mixture that is being computed: written by one worker, read by all
//! in later phases.
//!
//! Invariant: the places of all picks are a permutation of `0 .. rows * active`, ascending by expert, then by row.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicUsize};

use super::memory::CHUNK_ROWS;
use crate::plan::{Phase, Plan, Routing};

/// The table of picks.
pub(crate) struct Routes {
    /// Per row, `active` experts, ascending.
    experts: Vec<AtomicU32>,
    /// Bits of their weights.
    weights: Vec<AtomicU32>,
    /// Where each pick's row lies among all picks.
    places: Vec<AtomicU32>,
    /// Per expert: its picks, then the next place.
    next: Vec<AtomicU32>,
    /// Runs of places of one expert: expert, start, end.
    chunks: Vec<[AtomicU32; 3]>,
    chunk_count: AtomicUsize,
}

/// One pick of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    /// Its row among all picks.
    pub(crate) place: usize,
    /// Of the expert's output.
    pub(crate) weight: f32,
}

fn zeros(len: usize) -> Vec<AtomicU32> {
    (0..len).map(|_| AtomicU32::new(0)).collect()
}

impl Routes {
    /// Room for every mixture of a plan.
    pub(crate) fn new(plan: &Plan, rows_max: usize) -> Self {
        let routings = plan.phases.iter().filter_map(|phase| match phase {
            Phase::Sort(routing) => Some(routing),
            _ => None,
        });
        let (mut picks, mut experts, mut chunks) = (0, 0, 0);
        for routing in routings {
            picks = picks.max(rows_max * routing.active);
            experts = experts.max(routing.experts);
            chunks = chunks.max(chunks_max(rows_max * routing.active, routing.experts));
        }
        Self {
            experts: zeros(picks),
            weights: zeros(picks),
            places: zeros(picks),
            next: zeros(experts),
            chunks: (0..chunks)
                .map(|_| std::array::from_fn(|_| AtomicU32::new(0)))
                .collect(),
            chunk_count: AtomicUsize::new(0),
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let words = 3 * self.experts.len() + self.next.len() + 3 * self.chunks.len();
        words * size_of::<AtomicU32>()
    }

    /// Chooses the experts of a row: the largest logits, of equal ones the lower numbers. `scratch` is as long.
    ///
    /// A row with a NaN gets some experts and NaN weights; it concerns no other row.
    pub(crate) fn choose(
        &self,
        routing: &Routing,
        row: usize,
        logits: &[f32],
        scratch: &mut [f32],
    ) {
        scratch.copy_from_slice(logits);
        let (above, last, _) =
            scratch.select_nth_unstable_by(routing.active - 1, |a, b| b.total_cmp(a));
        let last = *last;
        let mut ties = 1 + above.iter().filter(|x| x.total_cmp(&last).is_eq()).count();
        let mut is_chosen = |expert: &usize| match logits[*expert].total_cmp(&last) {
            Ordering::Greater => true,
            Ordering::Equal if ties > 0 => {
                ties -= 1;
                true
            }
            _ => false,
        };
        let own = &self.experts[row * routing.active..(row + 1) * routing.active];
        let chosen = (0..logits.len()).filter(&mut is_chosen);
        for (slot, expert) in own.iter().zip(chosen) {
            slot.store(expert as u32, Relaxed);
        }
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let power = |expert: usize| f64::from(logits[expert] - max).exp();
        let chosen = || own.iter().map(|expert| expert.load(Relaxed) as usize);
        let sum: f64 = if logits.iter().any(|logit| logit.is_nan()) {
            f64::NAN
        } else if routing.is_renormalised {
            chosen().map(power).sum()
        } else {
            (0..logits.len()).map(power).sum()
        };
        let weights = &self.weights[row * routing.active..];
        for (slot, expert) in weights.iter().zip(chosen()) {
            slot.store(((power(expert) / sum) as f32).to_bits(), Relaxed);
        }
    }

    /// Orders the picks of the first `rows` rows by expert.
    pub(crate) fn sort(&self, routing: &Routing, rows: usize) {
        let (next, picks) = (&self.next[..routing.experts], rows * routing.active);
        for next in next {
            next.store(0, Relaxed);
        }
        let expert_of = |pick: usize| self.experts[pick].load(Relaxed) as usize;
        let bump = |next: &AtomicU32| {
            let value = next.load(Relaxed);
            next.store(value + 1, Relaxed);
            value
        };
        for pick in 0..picks {
            bump(&next[expert_of(pick)]);
        }
        let (mut start, mut count) = (0, 0);
        for (expert, next) in next.iter().enumerate() {
            let end = start + next.load(Relaxed);
            next.store(start, Relaxed);
            while start < end {
                let chunk_end = end.min(start + CHUNK_ROWS as u32);
                let values = [expert as u32, start, chunk_end];
                for (slot, value) in self.chunks[count].iter().zip(values) {
                    slot.store(value, Relaxed);
                }
                (start, count) = (chunk_end, count + 1);
            }
        }
        self.chunk_count.store(count, Relaxed);
        for pick in 0..picks {
            let place = bump(&next[expert_of(pick)]);
            self.places[pick].store(place, Relaxed);
        }
    }

    /// The picks of a row, in ascending experts.
    pub(crate) fn picks(&self, row: usize, active: usize) -> impl Iterator<Item = Pick> {
        let own = row * active..(row + 1) * active;
        let places = self.places[own.clone()].iter();
        places.zip(&self.weights[own]).map(|(place, weight)| Pick {
            place: place.load(Relaxed) as usize,
            weight: f32::from_bits(weight.load(Relaxed)),
        })
    }

    /// The expert and the places of a chunk; `None` behind the last.
    pub(crate) fn chunk(&self, chunk: usize) -> Option<(usize, Range<usize>)> {
        if chunk >= self.chunk_count.load(Relaxed) {
            return None;
        }
        let [expert, start, end] =
            std::array::from_fn(|i| self.chunks[chunk][i].load(Relaxed) as usize);
        Some((expert, start..end))
    }
}

/// Most chunks that so many picks can make.
pub(crate) fn chunks_max(picks: usize, experts: usize) -> usize {
    experts.min(picks) + picks / CHUNK_ROWS
}

#[cfg(test)]
mod tests {
    use super::{Routes, chunks_max};
    use crate::exec::memory::CHUNK_ROWS;
    use crate::plan::{Phase, Plan, Routing};

    fn routed(routing: Routing, logits: &[&[f32]]) -> Routes {
        let plan = Plan {
            regs: Vec::new(),
            matrices: Vec::new(),
            acts: Vec::new(),
            classes: Vec::new(),
            exits: 0,
            phases: vec![Phase::Sort(routing)],
        };
        let routes = Routes::new(&plan, logits.len());
        let mut scratch = vec![0.0; routing.experts];
        for (row, logits) in logits.iter().enumerate() {
            routes.choose(&routing, row, logits, &mut scratch);
        }
        routes.sort(&routing, logits.len());
        routes
    }

    fn routing(experts: usize, active: usize, is_renormalised: bool) -> Routing {
        Routing {
            logits: 0,
            experts,
            active,
            is_renormalised,
        }
    }

    #[test]
    fn picks_are_sorted_by_expert_and_then_by_row() {
        let rows: [&[f32]; 3] = [&[3.0, 1.0, 2.0], &[0.0, 2.0, 1.0], &[1.0, 1.0, 1.0]];
        let routes = routed(routing(3, 2, true), &rows);
        let places = |row| {
            routes
                .picks(row, 2)
                .map(|pick| pick.place)
                .collect::<Vec<_>>()
        };
        // Experts 0 and 2; 1 and 2; of three equal ones 0 and 1.
        assert_eq!([places(0), places(1), places(2)], [[0, 4], [2, 5], [1, 3]]);
        let chunks: Vec<_> = (0..4).map_while(|chunk| routes.chunk(chunk)).collect();
        assert_eq!(chunks, [(0, 0..2), (1, 2..4), (2, 4..6)]);
    }

    #[test]
    fn weights_are_shares_of_the_chosen_or_of_all() {
        let rows: [&[f32]; 1] = [&[2f32.ln(), 0.0, 5f32.ln(), f32::NEG_INFINITY]];
        for (is_renormalised, expected) in [(true, [2.0 / 7.0, 5.0 / 7.0]), (false, [0.25, 0.625])]
        {
            let routes = routed(routing(4, 2, is_renormalised), &rows);
            for (pick, expected) in routes.picks(0, 2).zip(expected) {
                assert!((pick.weight - expected).abs() < 1e-6, "{pick:?}");
            }
        }
    }

    #[test]
    fn a_broken_row_takes_as_many_picks_as_any_other() {
        let broken = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NEG_INFINITY,
        ];
        let empty = [f32::NEG_INFINITY; 4];
        let negative = [-f32::NAN, 1.0, 2.0, 3.0];
        let rows: [&[f32]; 4] = [&broken, &[0.0, 1.0, 2.0, 3.0], &empty, &negative];
        let routes = routed(routing(4, 3, false), &rows);
        let mut places: Vec<usize> = (0..4)
            .flat_map(|row| routes.picks(row, 3).map(|pick| pick.place))
            .collect();
        places.sort_unstable();
        assert_eq!(places, (0..12).collect::<Vec<_>>());
        assert!(routes.picks(1, 3).all(|pick| pick.weight.is_finite()));
        for broken in [0, 2, 3] {
            assert!(routes.picks(broken, 3).all(|pick| pick.weight.is_nan()));
        }
    }

    #[test]
    fn every_chunk_fits_the_bound() {
        let one: Vec<f32> = vec![1.0, 0.0];
        let rows: Vec<&[f32]> = vec![&one; 2 * CHUNK_ROWS + 1];
        let routes = routed(routing(2, 1, true), &rows);
        let chunks: Vec<_> = (0..9).map_while(|chunk| routes.chunk(chunk)).collect();
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[2], (0, 2 * CHUNK_ROWS..2 * CHUNK_ROWS + 1));
        assert!(chunks.len() <= chunks_max(rows.len(), 2));
    }
}
