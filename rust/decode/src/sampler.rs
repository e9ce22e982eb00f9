//! One sequence's sampler: a pure function of (parameters, seed, token prefix, the model's rows along it). Owns the
//! processors' state, a function of the prefix, and that of the cuts that move by themselves, which reads the rows
//! too; refuses to know why a sequence ends and what text it makes.
//! Invariant: a sampler that was advanced token by token equals one replayed from the same prefix and rows.

use smallvec::SmallVec;
use std::sync::Arc;

use tokenmill_core::noise::{Noise, Purpose};
use tokenmill_core::{LogprobsMode, PipelineChoice, SamplingParams, TokenId, TokenLogprobs};

use crate::draw::draw;
use crate::error::{Error, Result};
use crate::feedback::Feedback;
use crate::logprob::{Report, Wanted};
use crate::pipeline::{Pipeline, Step};
use crate::processor::{Effect, Processors};
use crate::row::Row;
use crate::scratch::Scratch;
use crate::vocabulary::Vocabulary;
use crate::warper::{Scores, Turn, WarpBuffers};

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

    /// Tokens of the prefix, prompt included: the position of the next draw.
    pub fn prefix_len(&self) -> usize {
        self.position as usize
    }

    /// Chooses the next token from the model's logits (`[vocab_len]`, f32). Changes nothing: the same row
    /// gives the same choice until `advance`.
    pub fn sample(&self, logits: &[f32], scratch: &mut Scratch) -> Result<Choice> {
        self.sample_within(logits, None, scratch)
    }

    /// The same for a request with a grammar: `mask` has a bit for each token that the grammar allows here.
    // hop 5.1: processors, then the argmin of keyed noise over probabilities
    pub fn sample_within(
        &self,
        logits: &[f32],
        mask: Option<&[u32]>,
        scratch: &mut Scratch,
    ) -> Result<Choice> {
        if mask.is_some() != self.pipeline.has_grammar() {
            return Err(Error::MaskMissing);
        }
        if logits.len() != self.vocab_len {
            return Err(Error::RowLength {
                got: logits.len(),
                expected: self.vocab_len,
            });
        }
        let position = self.position;
        let mut row = if self.params.remove_invalid_values {
            Row::unchecked(logits, &mut scratch.row)
        } else {
            Row::new(logits, &mut scratch.row).map_err(|_| Error::BrokenLogits { position })?
        };
        row.set_mask(mask);
        let (best, lifted) = self.process(&mut row)?;
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
        let scores = self.warp(&row, best, &mut scratch.warp);
        let token = draw(&scores, &self.noise(Purpose::Draw));
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

    fn noise(&self, purpose: Purpose) -> Noise {
        Noise::new(self.seed, self.position, self.sample_index, purpose)
    }

    /// Runs the warpers on a row whose argmax is `best`.
    fn warp<'r, 'm>(
        &self,
        row: &'r Row<'m>,
        best: (TokenId, f32),
        buffers: &'r mut WarpBuffers,
    ) -> Scores<'r, 'm> {
        let mut scores = Scores::new(row, best, self.pipeline.mass_cut(), buffers);
        let turn = Turn {
            params: &self.params,
            feedback: &self.feedback,
            coins: self.noise(Purpose::Coin),
        };
        for &step in self.pipeline.warpers() {
            scores.apply(step, &turn);
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
        let mut choice = self.sample_within(logits, mask, scratch)?;
        if choice.token != token && self.feedback.is_moving() {
            let mut row = Row::unchecked(logits, &mut scratch.row);
            row.set_mask(mask);
            let (best, _) = self.process(&mut row)?;
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
        let alternatives = self.params.logprobs? as usize;
        Some(Report {
            wanted: Wanted::Best(alternatives),
            mode,
        })
    }

    /// Runs the processors, lifting soft bans one after another while they leave nothing.
    fn process(&self, row: &mut Row<'_>) -> Result<((TokenId, f32), Lifted)> {
        let position = self.position;
        let mut lifted = Lifted::new();
        loop {
            let mut banning = Lifted::new();
            let mut skipped = Lifted::new();
            for &step in self
                .pipeline
                .processors()
                .iter()
                .filter(|step| !lifted.contains(step))
            {
                match self.processors.apply(&self.params, step, row) {
                    Effect::Touched if Step::SOFT.contains(&step) => banning.push(step),
                    Effect::Skipped => skipped.push(step),
                    _ => {}
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
        }
    }
}
