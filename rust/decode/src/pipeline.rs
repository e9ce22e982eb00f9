//! The steps that run for a request: the active ones of its order, in that order. An inactive step is not in
//! the list, so it costs nothing. Knows nothing of rows; names and orders are `core`'s.

pub use tokenmill_core::Step;
use tokenmill_core::{NamedPipeline, SamplingParams};

use crate::error::{Error, Result};

/// The active steps of a request, in order: processors, then warpers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    steps: Vec<Step>,
    warpers_from: usize,
    meaning: NamedPipeline,
}

impl Pipeline {
    /// The order that the request names or lists. One that misses or misplaces a step is refused.
    pub fn new(params: &SamplingParams) -> Result<Self> {
        if let Some((step, reason)) = params.pipeline.fault(params) {
            let step = step.name();
            return Err(Error::BadPipeline { step, reason });
        }
        let steps = params.pipeline.steps(params).iter().copied();
        // A source makes the row that the others act on, before this list begins.
        let acts = |step: &Step| step.is_active(params) && !step.is_source();
        let steps: Vec<Step> = steps.filter(acts).collect();
        Ok(Self {
            warpers_from: steps.partition_point(|step| !step.is_warper()),
            meaning: params.pipeline.meaning(),
            steps,
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

    /// How the cut by mass is made.
    pub(crate) fn mass_cut(&self) -> MassCut {
        let has = |step| self.warpers().contains(&step);
        MassCut {
            is_past: self.meaning == NamedPipeline::Sglang,
            is_joint: self.meaning == NamedPipeline::Sglang && !has(Step::MinP),
            is_typical_past: self.meaning == NamedPipeline::Llamacpp,
            kept_min: 1,
        }
    }
}

/// How cuts are made, those by mass above all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MassCut {
    /// Whether a token stays as long as the mass before it has not passed the share, so that one more is kept
    /// where a prefix has exactly that share.
    pub(crate) is_past: bool,
    /// Whether the share is of what stood before `top_k`, too.
    pub(crate) is_joint: bool,
    /// Whether a typical set needs more mass than its share.
    pub(crate) is_typical_past: bool,
    /// Tokens that a cut leaves at least; one is always left.
    pub(crate) kept_min: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenmill_core::{
        Adaptive, Callable, Callback, Dry, LengthDecay, Mirostat, PipelineChoice, Processor,
        Thinking, Xtc,
    };

    /// A callback that is never called.
    #[derive(Debug)]
    struct Nothing;

    impl Callback for Nothing {
        fn name(&self) -> String {
            "nothing".into()
        }

        fn process(&self, _: &[u32], _: &[u32], _: &mut [f32]) -> std::result::Result<(), String> {
            Ok(())
        }

        fn allowed(&self, _: &[u32], _: &[u32]) -> std::result::Result<Vec<u32>, String> {
            Ok(vec![0])
        }

        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }

    fn everything() -> SamplingParams {
        let callable = Callable(std::sync::Arc::new(Nothing));
        SamplingParams {
            allowed_token_ids: Some(vec![0]),
            logit_bias: vec![(0, 1.0)],
            repetition_penalty: 1.1,
            frequency_penalty: 0.1,
            presence_penalty: 0.1,
            no_repeat_ngram_size: 3,
            bad_word_tokens: vec![vec![1]],
            min_length: 1,
            min_tokens: 1,
            suppress_tokens: vec![0],
            begin_suppress_tokens: vec![0],
            temperature: 0.7,
            top_k: 4,
            top_p: 0.9,
            min_p: 0.1,
            typical_p: 0.9,
            epsilon_cutoff: 0.01,
            eta_cutoff: 0.01,
            top_h: Some(0.9),
            top_n_sigma: 2.0,
            xtc: Xtc {
                probability: 0.5,
                threshold: 0.1,
            },
            dry: Dry {
                multiplier: 0.8,
                ..Dry::default()
            },
            encoder_repetition_penalty: 1.1,
            encoder_no_repeat_ngram_size: 3,
            sequence_bias: vec![(vec![0], 1.0)],
            forced_bos_token_id: Some(0),
            forced_eos_token_id: Some(vec![0]),
            exponential_decay_length_penalty: Some(LengthDecay {
                start: 1,
                factor: 1.1,
            }),
            remove_invalid_values: true,
            renormalize_logits: true,
            mirostat: Mirostat {
                version: 2,
                ..Mirostat::default()
            },
            adaptive: Adaptive {
                target: Some(0.3),
                ..Adaptive::default()
            },
            logits_processors: vec![Processor::Callable(callable.clone())],
            prefix_allowed_tokens_fn: Some(callable),
            thinking: Thinking {
                budget: Some(1),
                ..Thinking::default()
            },
            ..SamplingParams::default()
        }
    }

    fn listed(steps: &[Step], params: &SamplingParams) -> Result<Pipeline> {
        Pipeline::new(&SamplingParams {
            pipeline: PipelineChoice::Listed(steps.to_vec()),
            ..params.clone()
        })
    }

    #[test]
    fn default_parameters_have_no_step() {
        let pipeline = Pipeline::new(&SamplingParams::default()).unwrap();
        assert!(pipeline.processors().is_empty() && pipeline.warpers().is_empty());
    }

    #[test]
    fn every_step_is_active_when_asked_for_and_greedy_drops_the_warpers() {
        let params = everything();
        let pipeline = Pipeline::new(&params).unwrap();
        // A source is done before the list begins.
        let acting = || Step::ALL.into_iter().filter(|step| !step.is_source());
        let but = |left_out: Step| acting().filter(move |step| *step != left_out);
        assert!(
            pipeline
                .steps
                .iter()
                .copied()
                .eq(but(Step::DynamicTemperature))
        );
        let dynamic = SamplingParams {
            dynatemp_range: 0.5,
            ..params.clone()
        };
        let pipeline = Pipeline::new(&dynamic).unwrap();
        assert!(pipeline.steps.iter().copied().eq(but(Step::Temperature)));
        let greedy = SamplingParams {
            temperature: 0.0,
            ..params
        };
        let pipeline = Pipeline::new(&greedy).unwrap();
        let processors: Vec<Step> = acting().filter(|step| !step.is_warper()).collect();
        assert_eq!(pipeline.processors(), processors);
        assert_eq!(pipeline.warpers(), [Step::Renormalize]);
    }

    #[test]
    fn a_list_that_repeats_misses_or_misplaces_a_step_is_refused_by_name() {
        let params = everything();
        let without_min_p: Vec<Step> = Step::ALL
            .into_iter()
            .filter(|step| *step != Step::MinP)
            .collect();
        let mut list = Step::ALL.to_vec();
        list.insert(list.len() - 1, Step::TopK);
        assert!(matches!(
            listed(&list, &params),
            Err(Error::BadPipeline { step: "top_k", .. })
        ));
        assert!(matches!(
            listed(&without_min_p, &params),
            Err(Error::BadPipeline {
                step: "min_p",
                reason: "is asked for and missing from the list"
            })
        ));
        let mut list = Step::ALL.to_vec();
        list.swap(0, Step::ALL.len() - 2);
        assert!(matches!(
            listed(&list, &params),
            Err(Error::BadPipeline { .. })
        ));
        let defaults = SamplingParams::default();
        let list = [Step::Renormalize, Step::TopK];
        assert!(matches!(
            listed(&list, &defaults),
            Err(Error::BadPipeline {
                step: "top_k",
                reason: "must stand before renormalize"
            })
        ));
        assert!(listed(&[], &defaults).is_ok());
        assert_eq!(listed(&Step::ALL, &defaults), Pipeline::new(&defaults));
    }
}
