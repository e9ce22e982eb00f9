//! What does not change in a search: the wish, the ends, the lengths, and how many candidates a step looks at.

use std::sync::Arc;

use tokenmill_core::{EarlyStopping, NamedPipeline, SamplingParams, TokenId};

use crate::vocabulary::Vocabulary;

/// The rules of every group of a search.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) params: Arc<SamplingParams>,
    pub(super) seed: i64,
    eos: Vec<TokenId>,
    /// Output tokens up to which a stop id is an ordinary token.
    stop_ids_from: usize,
    pub(super) output_len_max: usize,
    /// Beams of a group.
    pub(super) width: usize,
    pub(super) vocab_len: usize,
}

impl Rules {
    pub(super) fn new(
        params: &Arc<SamplingParams>,
        seed: i64,
        vocabulary: &Vocabulary,
        prompt_len: usize,
        output_len_max: usize,
    ) -> Self {
        let beams = &params.beams;
        let groups = beams.num_beam_groups.max(1);
        // transformers' minimum length bans its own ends only.
        let is_hf = params.pipeline.meaning() == NamedPipeline::Hf;
        Self {
            params: params.clone(),
            seed,
            eos: if params.ignore_eos {
                Vec::new()
            } else {
                vocabulary.eos().to_vec()
            },
            stop_ids_from: if is_hf {
                params.output_len_min(prompt_len)
            } else {
                0
            },
            output_len_max: output_len_max.max(1),
            width: (beams.width.unwrap_or(1) / groups).max(1) as usize,
            vocab_len: vocabulary.len(),
        }
    }

    pub(super) fn is_sampled(&self) -> bool {
        !self.params.is_greedy()
    }

    /// Candidates of a step: enough that as many as there are beams go on, whatever ends.
    pub(super) fn candidates_max(&self) -> usize {
        let count = self.ends_len().max(1) + 1;
        (count * self.width).min(self.width * self.vocab_len)
    }

    /// Tokens that a cut leaves at least, so that a beam can go on.
    pub(super) fn kept_min(&self) -> usize {
        let is_beside_others = self.params.beams.width.unwrap_or(1) > 1;
        if is_beside_others {
            self.ends_len().max(1) + 1
        } else {
            1
        }
    }

    /// Tokens that end a text.
    fn ends_len(&self) -> usize {
        let mut ends: Vec<TokenId> = self.eos.clone();
        ends.extend_from_slice(&self.params.stop_token_ids);
        ends.sort_unstable();
        ends.dedup();
        ends.len()
    }

    pub(super) fn is_eos(&self, token: TokenId) -> bool {
        self.eos.contains(&token)
    }

    /// Whether a token at this output length is one of the stop ids.
    pub(super) fn is_stop_id(&self, token: TokenId, len: usize) -> bool {
        len > self.stop_ids_from && self.params.stop_token_ids.contains(&token)
    }

    /// The score of a sum over `len` tokens.
    pub(super) fn weighed(&self, sum: f32, len: usize) -> f32 {
        sum / self.params.beams.divisor(len)
    }

    /// The length at which a beam that has `len` tokens is held against the hypotheses.
    pub(super) fn hoped_len(&self, len: usize) -> usize {
        let beams = &self.params.beams;
        let is_patient = beams.early_stopping == EarlyStopping::Never && beams.length_penalty > 0.0;
        if is_patient { self.output_len_max } else { len }
    }

    pub(super) fn stops_when_full(&self) -> bool {
        self.params.beams.early_stopping == EarlyStopping::True
    }
}
