//! One sequence's sampler: a pure function of (parameters, seed, token prefix, the model's rows along it). Owns the
//! processors' state, a function of the prefix, and that of the cuts that move by themselves, which reads the rows
//! too; refuses to know why a sequence ends and what text it makes.
//! Invariant: a sampler that was advanced token by token equals one replayed from the same prefix and rows.

pub(crate) mod draw;
mod explain;

use smallvec::SmallVec;
use std::sync::Arc;

use tokenmill_core::noise::{Noise, Purpose};
use tokenmill_core::{LogprobsMode, PipelineChoice, SamplingParams, TokenId, TokenLogprobs};

use crate::error::{Error, Result};
use crate::logprob::{Report, Wanted};
use crate::pipeline::{MassCut, Pipeline, Step};
use crate::processor::{Effect, Processors, subtract_each};
use crate::row::{Row, RowBuffers};
use crate::scratch::Scratch;
use crate::source::{Candidate, Mixed};
use crate::vocabulary::Vocabulary;
use crate::warper::feedback::Feedback;
use crate::warper::{Scores, Turn, WarpBuffers};
use explain::Watch;

/// Soft bans lifted for a step, in the order of lifting, then forcing that met a ban and was skipped.
pub type Lifted = SmallVec<[Step; 2]>;

/// What a step chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: TokenId,
    /// Its log-probs, where asked for.
    pub logprobs: Option<TokenLogprobs>,
    /// Soft bans that would have left nothing, and forcing that was skipped.
    pub lifted: Lifted,
    /// ln of the token's probability, where a cut that moves by itself learns it.
    pub observed: Option<f64>,
}

impl Choice {
    /// That of an output which ends without a token.
    pub fn none() -> Self {
        Self {
            token: 0,
            logprobs: None,
            lifted: Lifted::new(),
            observed: None,
        }
    }
}

/// The state from which one sequence's next token follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler {
    /// Shared by all samples of a request: its lists can be long.
    params: Arc<SamplingParams>,
    pipeline: Pipeline,
    processors: Processors,
    feedback: Feedback,
    vocab_len: usize,
    seed: i64,
    sample_index: u32,
    position: u32,
    /// Tokens that a cut leaves at least.
    kept_min: usize,
}

impl Sampler {
    /// A sampler after `prompt`. `seed` keys the noise (the one in `params` is
    /// the caller's wish and is not read); `sample_index`: 0..n. A request resumed with its output as prompt
    /// passes the original prompt here and advances over the rest.
    pub fn new(
        params: &Arc<SamplingParams>,
        seed: i64,
        sample_index: u32,
        vocabulary: &Vocabulary,
        prompt: &[TokenId],
    ) -> Result<Self> {
        vocabulary.check("prompt", prompt.iter().copied())?;
        for (name, tokens) in params.token_ids() {
            vocabulary.check(name, tokens)?;
        }
        let decay = Step::ExponentialDecayLength;
        if decay.is_active(params) && vocabulary.eos().is_empty() {
            let name = decay.option();
            return Err(Error::NoEnd { name });
        }
        Ok(Self {
            params: params.clone(),
            pipeline: Pipeline::new(params)?,
            feedback: Feedback::new(params),
            processors: Processors::new(params, vocabulary.eos(), prompt),
            vocab_len: vocabulary.len(),
            seed,
            sample_index,
            position: prompt.len() as u32,
            kept_min: 1,
        })
    }

    /// The same sampler under an explicit list of steps.
    pub fn with_pipeline(mut self, steps: &[Step]) -> Result<Self> {
        Arc::make_mut(&mut self.params).pipeline = PipelineChoice::Listed(steps.to_vec());
        self.pipeline = Pipeline::new(&self.params)?;
        Ok(self)
    }

    /// The same sampler of an output that ends after so many tokens, where the parameters leave that open.
    #[must_use]
    pub fn with_output_len_max(mut self, output_len_max: u32) -> Self {
        self.processors.set_output_len_max(output_len_max);
        self
    }

    /// The same sampler with cuts that leave so many tokens at least.
    #[must_use]
    pub(crate) fn with_kept_min(mut self, kept_min: usize) -> Self {
        self.kept_min = kept_min;
        self
    }

    /// Tokens of the prefix, prompt included: the position of the next draw.
    pub fn prefix_len(&self) -> usize {
        self.position as usize
    }

    /// Chooses the next token from the model's logits (`[vocab_len]`, f32). Changes nothing: the same row
    /// gives the same choice until `advance`.
    pub fn sample(&self, logits: &[f32], scratch: &mut Scratch) -> Result<Choice> {
        self.sample_mixed(Mixed::plain(logits), scratch)
    }

    /// The same from scores that a second row was mixed into, of which raw log-probs are not taken, and within what a
    /// grammar allows.
    // hop 5.1: processors, then the argmin of keyed noise over probabilities
    pub fn sample_mixed(&self, mixed: Mixed<'_>, scratch: &mut Scratch) -> Result<Choice> {
        self.sample_watched(mixed, &mut (), scratch)
    }

    fn sample_watched(
        &self,
        mixed: Mixed<'_>,
        watch: &mut impl Watch,
        scratch: &mut Scratch,
    ) -> Result<Choice> {
        let mut row = self.row(mixed, &mut scratch.row)?;
        watch.begin(&mixed);
        let (best, lifted) = self.process_watched(&mut row, &[], watch)?;
        if self.params.is_greedy() {
            let logprobs = self
                .report()
                .map(|report| report.of_row(&row, best.0, &mut scratch.report));
            return Ok(Choice {
                token: best.0,
                logprobs,
                lifted,
                observed: None,
            });
        }
        let scores = self.warp_watched(&row, best, watch, &mut scratch.warp);
        let noise = self.noise(Purpose::Draw);
        watch.draw(&scores, &noise);
        let token = draw::draw(&scores, &noise);
        let logprobs = self
            .report()
            .map(|report| report.of_scores(&scores, token, &mut scratch.report));
        Ok(Choice {
            token,
            logprobs,
            lifted,
            observed: scores.told(token),
        })
    }

    /// The likeliest tokens after the processors, at most `count`, best first: what contrastive search compares.
    pub fn candidates(
        &self,
        mixed: Mixed<'_>,
        count: u32,
        scratch: &mut Scratch,
    ) -> Result<(Vec<Candidate>, Lifted)> {
        self.candidates_watched(mixed, count, &mut (), scratch)
    }

    fn candidates_watched(
        &self,
        mixed: Mixed<'_>,
        count: u32,
        watch: &mut impl Watch,
        scratch: &mut Scratch,
    ) -> Result<(Vec<Candidate>, Lifted)> {
        let mut row = self.row(mixed, &mut scratch.row)?;
        watch.begin(&mixed);
        let (best, lifted) = self.process_watched(&mut row, &[], watch)?;
        let report = Report {
            wanted: Wanted::Best(count.max(1) as usize),
            mode: LogprobsMode::ProcessedLogprobs,
        };
        let entries = report.of_row(&row, best.0, &mut scratch.report);
        let allowed = entries
            .iter()
            .filter(|entry| entry.logprob > f32::NEG_INFINITY);
        let candidates = allowed.map(|entry| Candidate {
            token: entry.token,
            probability: f64::from(entry.logprob).exp() as f32,
        });
        Ok((candidates.collect(), lifted))
    }

    /// What a step chose when the choice was made elsewhere, among `candidates`: the token with its report.
    pub fn chosen(
        &self,
        mixed: Mixed<'_>,
        token: TokenId,
        scratch: &mut Scratch,
    ) -> Result<Choice> {
        let mut row = self.row(mixed, &mut scratch.row)?;
        let (_, lifted) = self.process(&mut row, &[])?;
        let report = self.report();
        let logprobs = report.map(|report| report.of_row(&row, token, &mut scratch.report));
        Ok(Choice {
            token,
            logprobs,
            lifted,
            observed: None,
        })
    }

    fn row<'m>(&self, mixed: Mixed<'m>, buffers: &'m mut RowBuffers) -> Result<Row<'m>> {
        let position = self.position;
        self.check_mask(mixed.mask)?;
        for row in [mixed.model, mixed.scores] {
            if row.len() != self.vocab_len {
                return Err(Error::RowLength {
                    got: row.len(),
                    expected: self.vocab_len,
                });
            }
        }
        let row = if self.params.remove_invalid_values {
            Row::unchecked(mixed.scores, buffers)
        } else {
            Row::new(mixed.scores, buffers).map_err(|_| Error::BrokenLogits { position })?
        };
        let mut row = row.mixed_from(mixed.model);
        row.set_mask(mixed.mask);
        Ok(row)
    }

    /// A request with a grammar brings a mask, and no other does.
    pub(crate) fn check_mask(&self, mask: Option<&[u32]>) -> Result<()> {
        if mask.is_some() == self.pipeline.has_grammar() {
            Ok(())
        } else {
            Err(Error::MaskMissing)
        }
    }

    fn noise(&self, purpose: Purpose) -> Noise {
        Noise::new(self.seed, self.position, self.sample_index, purpose)
    }

    /// Runs the warpers on a row whose argmax is `best`.
    pub(crate) fn warp<'r, 'm>(
        &self,
        row: &'r Row<'m>,
        best: (TokenId, f32),
        buffers: &'r mut WarpBuffers,
    ) -> Scores<'r, 'm> {
        self.warp_watched(row, best, &mut (), buffers)
    }

    fn warp_watched<'r, 'm>(
        &self,
        row: &'r Row<'m>,
        best: (TokenId, f32),
        watch: &mut impl Watch,
        buffers: &'r mut WarpBuffers,
    ) -> Scores<'r, 'm> {
        let cut = MassCut {
            kept_min: self.kept_min,
            ..self.pipeline.mass_cut()
        };
        let mut scores = Scores::new(row, best, cut, buffers);
        let turn = Turn {
            params: &self.params,
            feedback: &self.feedback,
            coins: self.noise(Purpose::Coin),
        };
        for &step in self.pipeline.warpers() {
            scores.apply(step, &turn);
            watch.warp(step, &scores);
        }
        scores
    }

    /// Commits what `sample` chose here.
    pub fn commit(&mut self, choice: &Choice) {
        if let Some(ln_p) = choice.observed {
            self.feedback.learn(ln_p);
        }
        self.move_on(choice.token);
    }

    /// Commits a token that came after this row before: what a cut that moves by itself learns is computed again.
    pub fn replay(&mut self, logits: &[f32], token: TokenId, scratch: &mut Scratch) -> Result<()> {
        self.replay_within(logits, None, token, scratch)
    }

    /// The same for a request with a grammar.
    pub fn replay_within(
        &mut self,
        logits: &[f32],
        mask: Option<&[u32]>,
        token: TokenId,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let mut choice = self.sample_mixed(Mixed::plain(logits).within(mask), scratch)?;
        if choice.token != token && self.feedback.is_moving() {
            let mut row = Row::unchecked(logits, &mut scratch.row);
            row.set_mask(mask);
            let (best, _) = self.process(&mut row, &[])?;
            let scores = self.warp(&row, best, &mut scratch.warp);
            choice.observed = scores.told(token);
        }
        choice.token = token;
        self.commit(&choice);
        Ok(())
    }

    /// The entry of a prompt's token at `position`, and the best alternatives, from the model's row before it. No
    /// step acts on a given token, so processed values are the raw ones of their kind.
    pub fn score(
        &self,
        logits: &[f32],
        token: TokenId,
        position: u32,
        scratch: &mut Scratch,
    ) -> Result<TokenLogprobs> {
        let report = Report {
            wanted: Wanted::Best(self.params.prompt_logprobs.unwrap_or(0) as usize),
            mode: self.params.logprobs_mode,
        };
        if self.params.remove_invalid_values {
            return Ok(report.of_cleaned(logits, token, &mut scratch.report));
        }
        report
            .of_given(logits, token, &mut scratch.report)
            .map_err(|_| Error::BrokenLogits { position })
    }

    /// Commits a token of a sampler whose state reads no rows. Panics for one that does, which goes on with `commit`
    /// or `replay`, and on an id outside the vocabulary, which only a caller's broken books can bring here.
    pub fn advance(&mut self, token: TokenId) {
        assert!(
            !self.feedback.is_moving(),
            "a cut that moves by itself learns from every row"
        );
        self.move_on(token);
    }

    /// Commits a token of a beam that has this number from now on: its coins and its noise are of it.
    pub(crate) fn move_as_beam(&mut self, token: TokenId, number: u32) {
        self.sample_index = number;
        self.move_on(token);
    }

    fn move_on(&mut self, token: TokenId) {
        assert!(
            (token as usize) < self.vocab_len,
            "committed tokens are of the vocabulary"
        );
        self.position += 1;
        self.processors.advance(token);
    }

    fn report(&self) -> Option<Report<'_>> {
        let mode = match self.params.logprobs_mode {
            LogprobsMode::ProcessedLogits if self.params.renormalize_logits => {
                LogprobsMode::ProcessedLogprobs
            }
            mode => mode,
        };
        if let Some(tokens) = &self.params.logprob_token_ids {
            return Some(Report {
                wanted: Wanted::Tokens(tokens),
                mode,
            });
        }
        // Samples are ranked by the entry of the token itself.
        let ranked = self.params.is_ranked().then_some(0);
        let alternatives = self.params.logprobs.or(ranked)? as usize;
        Some(Report {
            wanted: Wanted::Best(alternatives),
            mode,
        })
    }

    /// What is reported of a token whose score is added up as it is.
    pub(crate) fn report_as_added(&self) -> Option<Report<'_>> {
        let mode = if self.params.renormalize_logits {
            LogprobsMode::ProcessedLogprobs
        } else {
            LogprobsMode::ProcessedLogits
        };
        self.report().map(|report| Report { mode, ..report })
    }

    /// Runs the processors, lifting soft bans one after another while they leave nothing. `taken`: what other beams
    /// took in this step, and what that costs; it acts where a sequence bias does.
    pub(crate) fn process(
        &self,
        row: &mut Row<'_>,
        taken: &[(TokenId, f32)],
    ) -> Result<((TokenId, f32), Lifted)> {
        self.process_watched(row, taken, &mut ())
    }

    fn process_watched(
        &self,
        row: &mut Row<'_>,
        taken: &[(TokenId, f32)],
        watch: &mut impl Watch,
    ) -> Result<((TokenId, f32), Lifted)> {
        let position = self.position;
        let mut lifted = Lifted::new();
        loop {
            let mut banning = Lifted::new();
            let mut skipped = Lifted::new();
            let steps = self.pipeline.processors().iter();
            let after_bias = steps.clone().position(|step| *step == Step::SequenceBias);
            let taken_at = after_bias.map_or(0, |place| place + 1);
            if taken_at == 0 {
                subtract_each(row, taken.iter().copied());
            }
            for (place, &step) in (1..).zip(steps) {
                if lifted.contains(&step) {
                    continue;
                }
                match self.processors.apply(&self.params, step, row)? {
                    Effect::Touched if Step::SOFT.contains(&step) => banning.push(step),
                    Effect::Skipped => skipped.push(step),
                    _ => {}
                }
                watch.process(step, row);
                if place == taken_at {
                    subtract_each(row, taken.iter().copied());
                }
            }
            row.settle()
                .map_err(|_| Error::ScoreOverflow { position })?;
            if let Some(best) = row.argmax() {
                lifted.extend(skipped);
                return Ok((best, lifted));
            }
            let next = Step::SOFT.into_iter().find(|step| banning.contains(step));
            lifted.push(next.ok_or(Error::NoTokenAllowed { position })?);
            row.reset();
            watch.restart();
        }
    }
}
