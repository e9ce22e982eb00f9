//! The scores z of a sampled row, z = (l - max l) / T, and the steps that drop tokens from them. While
//! nothing is dropped z is computed where it is read; afterwards the survivors are a list, ids ascending.
//! Knows nothing of noise. Invariant: the best score is 0 and its token survives, since every step here
//! keeps a prefix of the total order.

pub(crate) mod mass;
pub(crate) mod order;
pub(crate) mod select;

use tokenmill_core::{SamplingParams, TokenId};

use crate::pipeline::Step;
use crate::row::{CHUNK, Row};
use order::Candidate;
use select::{Goal, SelectBuffers, keep_prefix};

/// Memory of the warpers, kept between steps.
#[derive(Debug, Default)]
pub(crate) struct WarpBuffers {
    pub(crate) kept: Vec<Candidate>,
    pub(crate) maxima: Vec<f32>,
    pub(crate) select: SelectBuffers,
}

/// Scores after the warpers so far.
#[derive(Debug)]
pub(crate) struct Scores<'r, 'm> {
    row: &'r Row<'m>,
    best: Candidate,
    logit_max: f32,
    temperature: f32,
    is_whole: bool,
    buffers: &'r mut WarpBuffers,
}

impl<'r, 'm> Scores<'r, 'm> {
    /// All of a row whose argmax is `best`.
    pub(crate) fn new(
        row: &'r Row<'m>,
        best: (TokenId, f32),
        buffers: &'r mut WarpBuffers,
    ) -> Self {
        let (token, logit_max) = best;
        let best = Candidate { token, score: 0.0 };
        Self {
            row,
            best,
            logit_max,
            temperature: 1.0,
            is_whole: true,
            buffers,
        }
    }

    /// Runs one warper; processors are none of its business.
    pub(crate) fn apply(&mut self, step: Step, params: &SamplingParams) {
        match step {
            Step::Temperature => self.divide(params.temperature),
            Step::TopK => self.keep_best(params.top_k as usize),
            Step::TopP => self.keep_mass(f64::from(params.top_p)),
            Step::MinP => self.keep_from(params.min_p.ln()),
            _ => {}
        }
    }

    pub(crate) fn row(&self) -> &'r Row<'m> {
        self.row
    }

    /// The first token in the total order; its score is 0.
    pub(crate) fn best(&self) -> Candidate {
        self.best
    }

    /// The survivors, ids ascending; `None`: the whole row.
    pub(crate) fn kept(&self) -> Option<&[Candidate]> {
        (!self.is_whole).then_some(&self.buffers.kept)
    }

    /// z of a logit.
    #[inline(always)]
    pub(crate) fn score(&self, logit: f32) -> f32 {
        (logit - self.logit_max) / self.temperature
    }

    /// Sum of the masses of all survivors.
    pub(crate) fn total_mass(&self) -> u64 {
        if let Some(kept) = self.kept() {
            return kept.iter().map(|candidate| mass::of(candidate.score)).sum();
        }
        let mut sum = 0;
        for (index, &maximum) in self.row.maxima().iter().enumerate() {
            if self.score(maximum) >= mass::SCORE_MIN {
                sum += self
                    .row
                    .chunk(index)
                    .iter()
                    .map(|&logit| mass::of(self.score(logit)))
                    .sum::<u64>();
            }
        }
        sum
    }

    fn divide(&mut self, temperature: f32) {
        if self.is_whole {
            self.temperature = temperature;
            return;
        }
        for candidate in &mut self.buffers.kept {
            candidate.score /= temperature;
        }
    }

    fn keep_best(&mut self, k: usize) {
        if k >= self.row.len() {
            return;
        }
        if self.is_whole {
            let bound = self.best_bound(k);
            self.gather(bound);
        }
        keep_prefix(
            &mut self.buffers.kept,
            Goal::Count(k as u64),
            &mut self.buffers.select,
        );
    }

    fn keep_mass(&mut self, share: f64) {
        let total = self.total_mass() as f64;
        if self.is_whole {
            self.gather(mass_bound(share, total, self.row.len()));
        }
        keep_prefix(
            &mut self.buffers.kept,
            Goal::Mass(share * total),
            &mut self.buffers.select,
        );
    }

    fn keep_from(&mut self, bound: f32) {
        if self.is_whole {
            self.gather(bound);
        } else {
            self.buffers
                .kept
                .retain(|candidate| candidate.score >= bound);
        }
    }

    /// A score that at least k tokens reach: the k-th largest of the chunks' maxima.
    fn best_bound(&mut self, k: usize) -> f32 {
        let maxima = &mut self.buffers.maxima;
        maxima.clear();
        maxima.extend_from_slice(self.row.maxima());
        if k > maxima.len() {
            return f32::NEG_INFINITY;
        }
        let (_, bound, _) = maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        let bound = *bound;
        self.score(bound)
    }

    /// Makes the survivors the tokens with a finite score of at least `bound`.
    fn gather(&mut self, bound: f32) {
        let bound = bound.max(f32::MIN);
        let mut kept = std::mem::take(&mut self.buffers.kept);
        kept.clear();
        for (index, &maximum) in self.row.maxima().iter().enumerate() {
            if self.score(maximum) < bound {
                continue;
            }
            let first = (index * CHUNK) as TokenId;
            for (token, &logit) in (first..).zip(self.row.chunk(index)) {
                let score = self.score(logit);
                if score >= bound {
                    kept.push(Candidate { token, score });
                }
            }
        }
        self.buffers.kept = kept;
        self.is_whole = false;
    }
}

/// A score below which `vocab_len` tokens together miss less than 1 - share of `total`, so that the prefix
/// reaches its mass without them.
fn mass_bound(share: f64, total: f64, vocab_len: usize) -> f32 {
    let spare = (1.0 - share) * total / vocab_len as f64;
    // Below this the rounding of a mass to an integer would count.
    if spare < 64.0 {
        return f32::NEG_INFINITY;
    }
    ((spare / mass::ONE as f64).ln() + 3.0) as f32
}
