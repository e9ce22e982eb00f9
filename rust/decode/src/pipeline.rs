//! The order in which scores are processed, as an explicit list of named steps. Knows which steps a request
//! makes active and refuses a list without them; knows nothing of rows. An inactive step is not in the list,
//! so it costs nothing.

use tokenmill_core::SamplingParams;

use crate::error::{Error, Result};

/// One step, by its public name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Adds to chosen logits; exactly -100 bans.
    LogitBias,
    /// Scales the logits of tokens seen in prompt and output.
    RepetitionPenalty,
    /// Subtracts per occurrence in the output.
    FrequencyPenalty,
    /// Subtracts once from what occurred in the output.
    PresencePenalty,
    /// Bans what would repeat an n-gram.
    NoRepeatNgram,
    /// Bans the ends until enough tokens are there.
    MinTokens,
    /// Divides the scores.
    Temperature,
    /// Keeps the k first.
    TopK,
    /// Keeps the shortest prefix with enough mass.
    TopP,
    /// Keeps what has a share of the best probability.
    MinP,
}

impl Step {
    /// Every step, in the order of the pipeline `tokenmill`.
    pub const ALL: [Self; 10] = [
        Self::LogitBias,
        Self::RepetitionPenalty,
        Self::FrequencyPenalty,
        Self::PresencePenalty,
        Self::NoRepeatNgram,
        Self::MinTokens,
        Self::Temperature,
        Self::TopK,
        Self::TopP,
        Self::MinP,
    ];

    /// Bans that are lifted, in this order, when nothing is left.
    pub const SOFT: [Self; 2] = [Self::NoRepeatNgram, Self::MinTokens];

    /// The public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogitBias => "logit_bias",
            Self::RepetitionPenalty => "repetition_penalty",
            Self::FrequencyPenalty => "frequency_penalty",
            Self::PresencePenalty => "presence_penalty",
            Self::NoRepeatNgram => "no_repeat_ngram",
            Self::MinTokens => "min_tokens",
            Self::Temperature => "temperature",
            Self::TopK => "top_k",
            Self::TopP => "top_p",
            Self::MinP => "min_p",
        }
    }

    /// Whether the step belongs after the point where a greedy request takes its argmax.
    pub const fn is_warper(self) -> bool {
        matches!(
            self,
            Self::Temperature | Self::TopK | Self::TopP | Self::MinP
        )
    }

    /// Whether the parameters ask for the step; none is active at its default.
    pub fn is_active(self, params: &SamplingParams) -> bool {
        if self.is_warper() && params.is_greedy() {
            return false;
        }
        match self {
            Self::LogitBias => !params.logit_bias.is_empty(),
            Self::RepetitionPenalty => params.repetition_penalty != 1.0,
            Self::FrequencyPenalty => params.frequency_penalty != 0.0,
            Self::PresencePenalty => params.presence_penalty != 0.0,
            Self::NoRepeatNgram => params.no_repeat_ngram_size > 0,
            Self::MinTokens => params.min_tokens > 0,
            Self::Temperature => params.temperature != 1.0,
            Self::TopK => params.top_k > 0,
            Self::TopP => params.top_p < 1.0,
            Self::MinP => params.min_p > 0.0,
        }
    }
}

/// The active steps of a request, in order: processors, then warpers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    steps: Vec<Step>,
    warpers_from: usize,
}

impl Pipeline {
    /// The default order.
    pub fn tokenmill(params: &SamplingParams) -> Self {
        let steps: Vec<Step> = Step::ALL
            .into_iter()
            .filter(|step| step.is_active(params))
            .collect();
        let warpers_from = steps.partition_point(|step| !step.is_warper());
        Self {
            steps,
            warpers_from,
        }
    }

    /// An explicit order. It may name inactive steps, which are left out; a repeated step, a missing active
    /// one and a processor behind a warper are refused.
    pub fn explicit(list: &[Step], params: &SamplingParams) -> Result<Self> {
        for (index, step) in list.iter().enumerate() {
            if list[..index].contains(step) {
                return Err(Error::BadPipeline {
                    step: step.name(),
                    reason: "stands in the list twice",
                });
            }
            if !step.is_warper() && list[..index].iter().any(|earlier| earlier.is_warper()) {
                return Err(Error::BadPipeline {
                    step: step.name(),
                    reason: "must stand before the warpers",
                });
            }
        }
        if let Some(missing) = Step::ALL
            .into_iter()
            .find(|step| step.is_active(params) && !list.contains(step))
        {
            return Err(Error::BadPipeline {
                step: missing.name(),
                reason: "is active and missing from the list",
            });
        }
        let steps: Vec<Step> = list
            .iter()
            .copied()
            .filter(|step| step.is_active(params))
            .collect();
        let warpers_from = steps.partition_point(|step| !step.is_warper());
        Ok(Self {
            steps,
            warpers_from,
        })
    }

    /// The steps that act on the whole row, before a greedy argmax.
    pub fn processors(&self) -> &[Step] {
        &self.steps[..self.warpers_from]
    }

    /// The steps between the processors and the draw.
    pub fn warpers(&self) -> &[Step] {
        &self.steps[self.warpers_from..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> SamplingParams {
        SamplingParams {
            logit_bias: vec![(0, 1.0)],
            repetition_penalty: 1.1,
            frequency_penalty: 0.1,
            presence_penalty: 0.1,
            no_repeat_ngram_size: 3,
            min_tokens: 1,
            temperature: 0.7,
            top_k: 4,
            top_p: 0.9,
            min_p: 0.1,
            ..SamplingParams::default()
        }
    }

    #[test]
    fn default_parameters_have_no_step() {
        let pipeline = Pipeline::tokenmill(&SamplingParams::default());
        assert!(pipeline.processors().is_empty() && pipeline.warpers().is_empty());
    }

    #[test]
    fn every_step_is_active_when_asked_for_and_greedy_drops_the_warpers() {
        let params = everything();
        let pipeline = Pipeline::tokenmill(&params);
        assert_eq!(pipeline.steps, Step::ALL);
        let greedy = SamplingParams {
            temperature: 0.0,
            ..params
        };
        let pipeline = Pipeline::tokenmill(&greedy);
        assert_eq!(pipeline.processors(), &Step::ALL[..6]);
        assert!(pipeline.warpers().is_empty());
    }

    #[test]
    fn a_list_that_repeats_misses_or_misplaces_a_step_is_refused_by_name() {
        let params = everything();
        let mut list = Step::ALL.to_vec();
        list.push(Step::TopK);
        assert!(matches!(
            Pipeline::explicit(&list, &params),
            Err(Error::BadPipeline { step: "top_k", .. })
        ));
        assert!(matches!(
            Pipeline::explicit(&Step::ALL[..9], &params),
            Err(Error::BadPipeline {
                step: "min_p",
                reason: "is active and missing from the list"
            })
        ));
        let mut list = Step::ALL.to_vec();
        list.swap(0, 9);
        assert!(matches!(
            Pipeline::explicit(&list, &params),
            Err(Error::BadPipeline { .. })
        ));
        let defaults = SamplingParams::default();
        assert!(Pipeline::explicit(&[], &defaults).is_ok());
        assert_eq!(
            Pipeline::explicit(&Step::ALL, &defaults),
            Ok(Pipeline::tokenmill(&defaults))
        );
    }
}
