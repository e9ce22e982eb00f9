//! The scores z of a sampled row, z = (l - max l) / T, and the steps that drop tokens from them. While
//! nothing is dropped z is computed where it is read; afterwards the survivors are a list, ids ascending.
//! Knows nothing of noise. Invariant: the best score is 0 and its token survives, since every step here
//! keeps a prefix of the total order.

pub(crate) mod mass;
pub(crate) mod order;
pub(crate) mod select;

use tokenmill_core::{SamplingParams, TokenId};

use crate::pipeline::{MassCut, Step};
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
    cut: MassCut,
    /// The mass that a joint cut is a share of.
    joint_mass: Option<u64>,
    buffers: &'r mut WarpBuffers,
}

impl<'r, 'm> Scores<'r, 'm> {
    /// All of a row whose argmax is `best`.
    pub(crate) fn new(
        row: &'r Row<'m>,
        best: (TokenId, f32),
        cut: MassCut,
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
            cut,
            joint_mass: None,
            buffers,
        }
    }

    /// Runs one warper; processors are none of its business.
    pub(crate) fn apply(&mut self, step: Step, params: &SamplingParams) {
        match step {
            Step::Temperature => self.divide(params.temperature),
            Step::TopK => {
                if self.cut.is_joint && params.top_p < 1.0 {
                    self.joint_mass = Some(self.total_mass());
                }
                self.keep_best(params.top_k as usize);
            }
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

    /// What a score lacks to be a logit over the temperature.
    pub(crate) fn shift(&self) -> f32 {
        self.logit_max / self.temperature
    }

    /// Sum of the masses of all survivors.
    pub(crate) fn total_mass(&self) -> u64 {
        if let Some(kept) = self.kept() {
            return kept.iter().map(|candidate| mass::of(candidate.score)).sum();
        }
        let floor = self.logit_floor(mass::SCORE_MIN);
        let chunks = self
            .row
            .maxima()
            .iter()
            .enumerate()
            .filter(|&(_, &maximum)| maximum >= floor);
        chunks
            .map(|(index, _)| mass::sum_chunk(&self.chunk_scores(index)))
            .sum()
    }

    /// z of a chunk, -inf beyond the end of the row.
    #[inline(always)]
    pub(crate) fn chunk_scores(&self, index: usize) -> [f32; CHUNK] {
        let chunk = self.row.chunk(index);
        if let Ok(chunk) = <&[f32; CHUNK]>::try_from(chunk) {
            return chunk.map(|logit| self.score(logit));
        }
        let mut scores = [f32::NEG_INFINITY; CHUNK];
        scores
            .iter_mut()
            .zip(chunk)
            .for_each(|(score, &logit)| *score = self.score(logit));
        scores
    }

    /// A logit below which every z is below `score`, whatever was rounded: what comparisons of whole chunks
    /// need, without a division each.
    fn logit_floor(&self, score: f32) -> f32 {
        let (max, depth) = (
            f64::from(self.logit_max),
            f64::from(score) * f64::from(self.temperature),
        );
        (max + depth - 1e-5 * (max.abs() + depth.abs()) - 1e-30) as f32
    }

    fn divide(&mut self, temperature: f32) {
        // Also where scores are listed already: the shift back to logits needs it.
        self.temperature = temperature;
        if self.is_whole {
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
        let total = self.joint_mass.unwrap_or_else(|| self.total_mass()) as f64;
        let goal = if self.cut.is_past {
            Goal::MassAbove(share * total)
        } else {
            Goal::Mass(share * total)
        };
        if self.is_whole {
            // First a bound that most rows satisfy with far fewer candidates, then one that all do.
            let bound = mass_bound(share, total, self.row.len());
            self.gather(bound + 2.0);
            if keep_prefix(&mut self.buffers.kept, goal, &mut self.buffers.select) {
                return;
            }
            self.gather(bound);
        }
        keep_prefix(&mut self.buffers.kept, goal, &mut self.buffers.select);
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

    /// A score that at least k tokens reach.
    fn best_bound(&mut self, k: usize) -> f32 {
        let bound = kth_largest(self.row.maxima(), k, &mut self.buffers.maxima);
        self.score(bound)
    }

    /// Makes the survivors the tokens with a finite score of at least `bound`.
    fn gather(&mut self, bound: f32) {
        let bound = bound.max(f32::MIN);
        let floor = self.logit_floor(bound);
        let mut kept = std::mem::take(&mut self.buffers.kept);
        kept.clear();
        let chunks = self
            .row
            .maxima()
            .iter()
            .enumerate()
            .filter(|&(_, &maximum)| maximum >= floor);
        for (index, _) in chunks {
            let first = (index * CHUNK) as TokenId;
            for (token, &logit) in (first..).zip(self.row.chunk(index)) {
                if logit < floor {
                    continue;
                }
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

/// A value that at least k values of a row reach, given the maxima of its chunks: the k-th largest of these,
/// or of their maxima in turn, as long as there are enough; -inf if k is too large to tell.
pub(crate) fn kth_largest(maxima: &[f32], k: usize, buffer: &mut Vec<f32>) -> f32 {
    /// With so many groups per token wanted, few groups hold two of the best.
    const GROUPS_PER_TOKEN: usize = 4;
    if k > maxima.len() {
        return f32::NEG_INFINITY;
    }
    buffer.clear();
    buffer.extend_from_slice(maxima);
    let mut len = buffer.len();
    while len / 2 >= GROUPS_PER_TOKEN * k {
        let half = len.div_ceil(2);
        let (left, right) = buffer[..len].split_at_mut(half);
        for (left, &mut right) in left.iter_mut().zip(right) {
            *left = if right > *left { right } else { *left };
        }
        len = half;
    }
    *buffer[..len]
        .select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a))
        .1
}

/// A score below which `vocab_len` tokens together miss less than 1 - share of `total`, so that the prefix
/// reaches its mass without them.
fn mass_bound(share: f64, total: f64, vocab_len: usize) -> f32 {
    let spare = (1.0 - share) * total / vocab_len as f64;
    // Below this the rounding of a mass to an integer would count.
    if spare < 64.0 {
        return f32::NEG_INFINITY;
    }
    ((spare / mass::ONE as f64).ln() - 0.02) as f32
}
