//! The scores z of a sampled row, z = (l - max l) / T, and the steps that drop tokens from them. While
//! nothing is dropped z is computed where it is read; afterwards the survivors are a list, ids ascending.
//! Knows nothing of the draw's noise. Invariant between steps: the best score is 0 and its token survives. A step
//! that may drop it, or give tokens other scores, counts the scores from the new best one again.

mod adaptive;
mod cutoff;
mod entropy;
pub(crate) mod feedback;
pub(crate) mod mass;
mod mirostat;
pub(crate) mod order;
pub(crate) mod select;
mod top_h;
mod typical;
mod xtc;

use tokenmill_core::noise::Noise;
use tokenmill_core::{SamplingParams, TokenId};

use crate::pipeline::{MassCut, Step};
use crate::row::{CHUNK, Row};
use crate::warper::feedback::Feedback;
use order::Candidate;
use select::{Goal, SelectBuffers, keep_prefix};
use typical::Near;

/// What a step may know besides the scores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) params: &'a SamplingParams,
    /// What earlier draws left behind.
    pub(crate) feedback: &'a Feedback,
    /// The coins of this position.
    pub(crate) coins: Noise,
}

/// The distribution in which a drawn token's probability is told to the next step.
#[derive(Clone, Copy, Debug)]
struct Told {
    temperature: f32,
    ln_sum: f64,
}

/// Memory of the warpers, kept between steps.
#[derive(Debug, Default)]
pub(crate) struct WarpBuffers {
    pub(crate) kept: Vec<Candidate>,
    pub(crate) maxima: Vec<f32>,
    pub(crate) select: SelectBuffers,
    near: Vec<Near>,
    before: Vec<Candidate>,
}

/// Scores after the warpers so far.
#[derive(Debug)]
pub(crate) struct Scores<'r, 'm> {
    row: &'r Row<'m>,
    best: Candidate,
    logit_max: f32,
    temperature: f32,
    /// What a score lacks to be a logit over the temperature.
    shift: f32,
    is_whole: bool,
    told: Option<Told>,
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
            shift: logit_max,
            is_whole: true,
            told: None,
            cut,
            joint_mass: None,
            buffers,
        }
    }

    /// Runs one warper; processors are none of its business.
    pub(crate) fn apply(&mut self, step: Step, turn: &Turn<'_>) {
        if self.cut.kept_min > 1 && cutoff::is_prefix(step) {
            cutoff::leave_enough(self, step, turn);
        } else {
            self.run(step, turn);
        }
    }

    fn run(&mut self, step: Step, turn: &Turn<'_>) {
        let params = turn.params;
        match step {
            Step::Temperature => self.divide(params.temperature),
            Step::TopK => {
                if self.cut.is_joint && params.top_p < 1.0 {
                    self.joint_mass = Some(self.total_mass());
                }
                self.keep_best(self.cut.kept_min.max(params.top_k as usize));
            }
            Step::TopP => self.keep_mass(f64::from(params.top_p)),
            Step::MinP => self.keep_from(params.min_p.ln()),
            Step::DynamicTemperature => entropy::divide_dynamically(self, params),
            Step::TopNSigma => cutoff::keep_within(self, f64::from(params.top_n_sigma)),
            Step::TopH => top_h::keep_share(self, f64::from(params.top_h.unwrap_or(1.0))),
            Step::TypicalP => typical::keep_near(self, f64::from(params.typical_p)),
            Step::EpsilonCutoff => cutoff::drop_below(self, f64::from(params.epsilon_cutoff)),
            Step::EtaCutoff => cutoff::drop_by_entropy(self, f64::from(params.eta_cutoff)),
            Step::Xtc => xtc::leave_out(self, params.xtc, &turn.coins),
            Step::Mirostat => mirostat::cut(self, &params.mirostat, turn.feedback),
            Step::AdaptiveP => adaptive::prefer(self, &params.adaptive, turn.feedback),
            // Processors, and what only changes the report.
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
        self.shift
    }

    /// ln of the probability of `token` that the next step learns, where a step looked at one.
    pub(crate) fn told(&self, token: TokenId) -> Option<f64> {
        let Told {
            temperature,
            ln_sum,
        } = self.told?;
        let score = (self.row.value(token) - self.logit_max) / temperature;
        Some(f64::from(score) - ln_sum)
    }

    /// From now on the next step learns the probabilities among today's survivors, none of which was dropped or
    /// given another score before.
    fn tell(&mut self) {
        self.told = Some(Told {
            temperature: self.temperature,
            ln_sum: mass::ln(self.total_mass()),
        });
    }

    /// Calls `visit` for the survivors, ids ascending; may leave out what has a score below `bound`.
    fn for_each(&self, bound: f32, mut visit: impl FnMut(Candidate)) {
        if let Some(kept) = self.kept() {
            kept.iter().copied().for_each(visit);
            return;
        }
        let floor = self.logit_floor(bound.max(f32::MIN)).max(f32::MIN);
        for (index, _) in heavy_chunks(self.row.maxima(), floor) {
            let first = (index * CHUNK) as TokenId;
            for (token, &logit) in (first..).zip(self.row.chunk(index)) {
                if logit >= floor {
                    let score = self.score(logit);
                    visit(Candidate { token, score });
                }
            }
        }
    }

    /// Calls `visit` for the chunks of a whole row; may leave out those that have no score of `bound`.
    fn for_each_chunk(&self, bound: f32, mut visit: impl FnMut(&[f32; CHUNK])) {
        for (index, _) in heavy_chunks(self.row.maxima(), self.logit_floor(bound)) {
            visit(&self.chunk_scores(index));
        }
    }

    /// Makes the survivors a list, if they are none yet, for a step that looks at scores from `bound` on; the others
    /// are dropped.
    fn list(&mut self, bound: f32) -> &mut Vec<Candidate> {
        if self.is_whole {
            self.gather(bound);
        }
        &mut self.buffers.kept
    }

    /// Counts the listed scores from the best one again.
    fn settle(&mut self) {
        let kept = &mut self.buffers.kept;
        let first = |best: Candidate, &candidate: &Candidate| {
            if candidate.score > best.score {
                candidate
            } else {
                best
            }
        };
        let Some(&start) = kept.first() else { return };
        let best = kept.iter().fold(start, first);
        if best.score != 0.0 {
            for candidate in kept.iter_mut() {
                candidate.score -= best.score;
            }
        }
        self.shift += best.score;
        self.best = Candidate { score: 0.0, ..best };
    }

    /// Sum of the masses of all survivors.
    pub(crate) fn total_mass(&self) -> u64 {
        if let Some(kept) = self.kept() {
            return kept.iter().map(|candidate| mass::of(candidate.score)).sum();
        }
        let floor = self.logit_floor(mass::SCORE_MIN);
        heavy_chunks(self.row.maxima(), floor)
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
        self.shift /= temperature;
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

    /// Keeps what reaches `bound`, and the first token in any case.
    fn keep_reaching(&mut self, bound: f64) {
        if bound > 0.0 {
            self.keep_best(1);
        } else {
            self.keep_from(narrowed(bound));
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
        for (index, _) in heavy_chunks(self.row.maxima(), floor) {
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

/// The chunks that hold a value of at least `floor`.
fn heavy_chunks(maxima: &[f32], floor: f32) -> impl Iterator<Item = (usize, &f32)> {
    let chunks = maxima.iter().enumerate();
    chunks.filter(move |&(_, &maximum)| maximum >= floor)
}

/// The smallest score that is not below `bound`.
fn narrowed(bound: f64) -> f32 {
    let bound = bound.max(f64::from(f32::MIN));
    let narrow = bound as f32;
    if f64::from(narrow) < bound {
        narrow.next_up()
    } else {
        narrow
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
