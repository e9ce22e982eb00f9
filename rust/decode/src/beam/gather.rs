//! The sums that one beam's row brings: log-softmax of the row, and what of it can be among the first K. Chunks and
//! tokens below the K-th sum so far are passed over; with noise, those whose noise cannot lift them.
//! Reference: the whole sort in the tests of the search.

use tokenmill_core::TokenId;
use tokenmill_core::noise::{GUMBEL_MAX, LANES, Noise, gumbel};

use super::top::{Sum, Top};
use crate::logprob::total_mass;
use crate::row::{CHUNK, NotAScore, Row, largest, scan, valid};
use crate::sampler::draw::word_limit;
use crate::warper::{Scores, kth_largest, mass};

/// Memory of a search's step, kept between steps.
#[derive(Debug, Default)]
pub(crate) struct BeamBuffers {
    pub(super) logprobs: Vec<f32>,
    pub(super) maxima: Vec<f32>,
    pub(super) sums: Vec<Sum>,
}

/// Log-softmax of a row. `ban`: NaN and +inf are replaced, and bans by this. A row of bans stays one.
pub(super) fn log_softmax(
    logits: &[f32],
    ban: Option<f32>,
    buffers: &mut BeamBuffers,
) -> Result<(), NotAScore> {
    let BeamBuffers {
        logprobs, maxima, ..
    } = buffers;
    logprobs.clear();
    if let Some(ban) = ban {
        logprobs.extend(logits.iter().map(|&logit| valid(logit, ban)));
        scan(logprobs, maxima)?;
        let norm = Norm::of(logprobs, maxima);
        for value in logprobs.iter_mut() {
            *value = norm.of_value(*value);
        }
    } else {
        scan(logits, maxima)?;
        let norm = Norm::of(logits, maxima);
        logprobs.extend(logits.iter().map(|&logit| norm.of_value(logit)));
    }
    Ok(())
}

/// What turns a value of a row into the log-probability that is added up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Norm {
    /// The row is as it counts, but for this.
    Shift(f32),
    /// The row is normalised: ln of the sum of exponentials above the largest value.
    LnSum { max: f64, ln_sum: f64 },
}

impl Norm {
    fn of(values: &[f32], maxima: &[f32]) -> Self {
        let max = largest(maxima);
        if max == f32::NEG_INFINITY {
            return Self::Shift(0.0);
        }
        let ln_sum = mass::ln(total_mass(values, maxima, max));
        let max = f64::from(max);
        Self::LnSum { max, ln_sum }
    }

    /// Of a processed row, whose best value is `best`.
    pub(super) fn of_row(row: &Row<'_>, best: f32) -> Self {
        let chunks = (0..row.maxima().len()).map(|index| row.chunk(index));
        let masses = chunks.flatten().map(|&value| mass::of(value - best));
        let (max, ln_sum) = (f64::from(best), mass::ln(masses.sum()));
        Self::LnSum { max, ln_sum }
    }

    /// Of scores, which are counted from the best one.
    pub(super) fn of_scores(scores: &Scores<'_, '_>) -> Self {
        let ln_sum = mass::ln(scores.total_mass());
        Self::LnSum { max: 0.0, ln_sum }
    }

    /// Never decreases with the value.
    #[inline(always)]
    fn of_value(self, value: f32) -> f32 {
        match self {
            Self::Shift(shift) => value + shift,
            Self::LnSum { max, ln_sum } => (f64::from(value) - max - ln_sum) as f32,
        }
    }
}

/// A beam to which a row belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    beam: u32,
    score: f32,
    norm: Norm,
}

impl Start {
    pub(super) fn new(beam: u32, score: f32, norm: Norm) -> Self {
        Self { beam, score, norm }
    }

    #[inline(always)]
    fn sum(self, value: f32) -> f32 {
        self.score + self.norm.of_value(value)
    }

    fn with(self, token: TokenId, score: f32, key: f32) -> Sum {
        let beam = self.beam;
        Sum {
            key,
            score,
            beam,
            token,
        }
    }
}

/// Meets the sums of a row.
pub(super) fn gather_row(row: &Row<'_>, start: Start, top: &mut Top, order: &mut Vec<f32>) {
    top.expect(start.sum(kth_largest(row.maxima(), top.count(), order)));
    for (index, &maximum) in row.maxima().iter().enumerate() {
        if start.sum(maximum) < top.bound() {
            continue;
        }
        let first = (index * CHUNK) as TokenId;
        for (token, &value) in (first..).zip(row.chunk(index)) {
            let sum = start.sum(value);
            if sum >= top.bound() {
                top.meet(start.with(token, sum, sum));
            }
        }
    }
}

/// Meets the sums of scores, each with its noise.
pub(super) fn gather_scores(scores: &Scores<'_, '_>, start: Start, noise: &Noise, top: &mut Top) {
    if let Some(kept) = scores.kept() {
        for candidate in kept {
            let sum = start.sum(candidate.score);
            let key = sum + gumbel(noise.word(candidate.token));
            top.meet(start.with(candidate.token, sum, key));
        }
        return;
    }
    let row = scores.row();
    for (index, &maximum) in row.maxima().iter().enumerate() {
        let most = start.sum(scores.score(maximum));
        if most + GUMBEL_MAX < top.bound() {
            continue;
        }
        // Sums are rounded more coarsely than scores: the limit leaves room for that.
        let limit = word_limit(most - top.bound() + 1e-6 * most.abs());
        let words = noise.lanes((index * LANES) as u32);
        for (offset, &value) in row.chunk(index).iter().enumerate() {
            let word = words[offset % 4][offset / 4];
            if word <= limit {
                let sum = start.sum(scores.score(value));
                let token = (index * CHUNK + offset) as TokenId;
                top.meet(start.with(token, sum, sum + gumbel(word)));
            }
        }
    }
}
