//! One sequence's sampler: a pure function of (parameters, seed, token prefix, the model's row). Owns the
//! processors' state, a function of the prefix; refuses to know why a sequence ends and what text it makes.
//! Invariant: a sampler that was advanced token by token equals one replayed from the same prefix.

use smallvec::SmallVec;
use tokenmill_core::noise::{Noise, Purpose};
use tokenmill_core::{PipelineChoice, SamplingParams, TokenId, TokenLogprobs};

use crate::draw::draw;
use crate::error::{Error, Result};
use crate::logprob::{Report, Wanted};
use crate::pipeline::{Pipeline, Step};
use crate::processor::Processors;
use crate::row::Row;
use crate::scratch::Scratch;
use crate::vocabulary::Vocabulary;
use crate::warper::Scores;

/// Soft bans lifted for a step, in the order of lifting.
pub type Lifted = SmallVec<[Step; 2]>;

/// What a step chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The token.
    pub token: TokenId,
    /// Its log-probs, where asked for.
    pub logprobs: Option<TokenLogprobs>,
    /// Soft bans that would have left nothing.
    pub lifted: Lifted,
}

/// The state from which one sequence's next token follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler {
    params: SamplingParams,
    pipeline: Pipeline,
    processors: Processors,
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
        params: &SamplingParams,
        seed: i64,
        sample_index: u32,
        vocabulary: &Vocabulary,
        prompt: &[TokenId],
    ) -> Result<Self> {
        vocabulary.check("prompt", prompt.iter().copied())?;
        for (name, tokens) in params.token_ids() {
            vocabulary.check(name, tokens)?;
        }
        Ok(Self {
            params: params.clone(),
            pipeline: Pipeline::new(params)?,
            processors: Processors::new(params, vocabulary.eos(), prompt),
            vocab_len: vocabulary.len(),
            seed,
            sample_index,
            position: prompt.len() as u32,
        })
    }

    /// The same sampler under an explicit list of steps.
    pub fn with_pipeline(mut self, steps: &[Step]) -> Result<Self> {
        self.params.pipeline = PipelineChoice::Listed(steps.to_vec());
        self.pipeline = Pipeline::new(&self.params)?;
        Ok(self)
    }

    /// Tokens of the prefix, prompt included: the position of the next draw.
    pub fn prefix_len(&self) -> usize {
        self.position as usize
    }

    /// Chooses the next token from the model's logits (`[vocab_len]`, f32). Changes nothing: the same row
    /// gives the same choice until `advance`.
    // hop 5.1: processors, then the argmin of keyed noise over probabilities
    pub fn sample(&self, logits: &[f32], scratch: &mut Scratch) -> Result<Choice> {
        if logits.len() != self.vocab_len {
            return Err(Error::RowLength {
                got: logits.len(),
                expected: self.vocab_len,
            });
        }
        let position = self.position;
        let mut row =
            Row::new(logits, &mut scratch.row).map_err(|_| Error::BrokenLogits { position })?;
        let (best, lifted) = self.process(&mut row)?;
        if self.params.is_greedy() {
            let logprobs = self
                .report()
                .map(|report| report.of_row(&row, best.0, &mut scratch.report));
            return Ok(Choice {
                token: best.0,
                logprobs,
                lifted,
            });
        }
        let cut = self.pipeline.mass_cut();
        let mut scores = Scores::new(&row, best, cut, &mut scratch.warp);
        for &step in self.pipeline.warpers() {
            scores.apply(step, &self.params);
        }
        let noise = Noise::new(self.seed, position, self.sample_index, Purpose::Draw);
        let token = draw(&scores, &noise);
        let logprobs = self
            .report()
            .map(|report| report.of_scores(&scores, token, &mut scratch.report));
        Ok(Choice {
            token,
            logprobs,
            lifted,
        })
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
        report
            .of_given(logits, token, &mut scratch.report)
            .map_err(|_| Error::BrokenLogits { position })
    }

    /// Commits a token, whether sampled, forced or replayed. Panics on an id outside the vocabulary, which
    /// only a caller's broken books can bring here.
    pub fn advance(&mut self, token: TokenId) {
        assert!(
            (token as usize) < self.vocab_len,
            "committed tokens are of the vocabulary"
        );
        self.position += 1;
        self.processors.advance(token);
    }

    fn report(&self) -> Option<Report<'_>> {
        let mode = self.params.logprobs_mode;
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
            for &step in self
                .pipeline
                .processors()
                .iter()
                .filter(|step| !lifted.contains(step))
            {
                let touched = self.processors.apply(step, row);
                if touched > 0 && Step::SOFT.contains(&step) {
                    banning.push(step);
                }
            }
            row.settle()
                .map_err(|_| Error::ScoreOverflow { position })?;
            if let Some(best) = row.argmax() {
                return Ok((best, lifted));
            }
            let next = Step::SOFT.into_iter().find(|step| banning.contains(step));
            lifted.push(next.ok_or(Error::NoTokenAllowed { position })?);
            row.reset();
        }
    }
}
