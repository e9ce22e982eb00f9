//! The orders in which engines run the steps between a model's logits and the draw. Knows names and orders;
//! knows nothing of rows. An active option whose step is not in the order is refused, never ignored.

use crate::params::{SamplingParams, Step};

/// An order with a name: whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamedPipeline {
    /// Ours.
    #[default]
    Tokenmill,
    /// transformers'.
    Hf,
    /// vLLM's.
    Vllm,
    /// `SGLang`'s.
    Sglang,
    /// llama.cpp's.
    Llamacpp,
}

impl NamedPipeline {
    /// The public names, in the order of the variants.
    pub const NAMES: [&'static str; 5] = ["tokenmill", "hf", "vllm", "sglang", "llamacpp"];

    const VARIANTS: [Self; 5] = [
        Self::Tokenmill,
        Self::Hf,
        Self::Vllm,
        Self::Sglang,
        Self::Llamacpp,
    ];

    /// The public name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The variant of a public name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::VARIANTS
            .into_iter()
            .find(|named| named.name() == name)
    }

    /// Its steps in order.
    pub const fn steps(self) -> &'static [Step] {
        match self {
            Self::Tokenmill => &Step::ALL,
            Self::Hf => HF,
            Self::Vllm => &[
                Step::AllowedTokenIds,
                Step::BadWords,
                Step::MinTokens,
                Step::LogitBias,
                Step::RepetitionPenalty,
                Step::FrequencyPenalty,
                Step::PresencePenalty,
                Step::ThinkingBudget,
                Step::Custom,
                Step::Temperature,
                Step::MinP,
                Step::TopK,
                Step::TopP,
            ],
            Self::Sglang => &[
                Step::FrequencyPenalty,
                Step::PresencePenalty,
                Step::MinTokens,
                Step::RepetitionPenalty,
                Step::LogitBias,
                Step::Custom,
                Step::Temperature,
                Step::TopK,
                Step::TopP,
                Step::MinP,
            ],
            Self::Llamacpp => &[
                Step::ThinkingBudget,
                Step::LogitBias,
                Step::RepetitionPenalty,
                Step::FrequencyPenalty,
                Step::PresencePenalty,
                Step::Dry,
                Step::TopNSigma,
                Step::TopK,
                Step::TypicalP,
                Step::TopP,
                Step::MinP,
                Step::Xtc,
                Step::Temperature,
                Step::DynamicTemperature,
            ],
        }
    }

    /// Whether it runs a step at all.
    pub fn has(self, step: Step) -> bool {
        self.steps().contains(&step) || self.mirostat_steps().contains(&step)
    }

    /// Its steps where mirostat is asked for: llama.cpp then runs nothing else.
    const fn mirostat_steps(self) -> &'static [Step] {
        match self {
            Self::Llamacpp => &[
                Step::ThinkingBudget,
                Step::LogitBias,
                Step::Temperature,
                Step::Mirostat,
            ],
            _ => self.steps(),
        }
    }

    /// Tokens at the end of the sequence that penalties look at, where the request does not say; none: all.
    pub const fn penalty_window(self) -> Option<u32> {
        match self {
            Self::Llamacpp => Some(64),
            _ => None,
        }
    }
}

/// transformers' processors, then its warpers.
const HF: &[Step] = &[
    Step::Guidance,
    Step::Dola,
    Step::SequenceBias,
    Step::EncoderRepetitionPenalty,
    Step::RepetitionPenalty,
    Step::NoRepeatNgram,
    Step::EncoderNoRepeatNgram,
    Step::BadWords,
    Step::MinLength,
    Step::MinTokens,
    Step::PrefixAllowedTokens,
    Step::ForcedBos,
    Step::ForcedEos,
    Step::RemoveInvalid,
    Step::ExponentialDecayLength,
    Step::Suppress,
    Step::BeginSuppress,
    Step::Custom,
    Step::Temperature,
    Step::TopH,
    Step::TopK,
    Step::TopP,
    Step::MinP,
    Step::TypicalP,
    Step::EpsilonCutoff,
    Step::EtaCutoff,
    Step::Renormalize,
];

/// The order a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipelineChoice {
    /// One with a name, which also fixes what some steps mean.
    Named(NamedPipeline),
    /// A list of steps; they mean what they mean under `tokenmill`.
    Listed(Vec<Step>),
}

impl Default for PipelineChoice {
    fn default() -> Self {
        Self::Named(NamedPipeline::Tokenmill)
    }
}

impl PipelineChoice {
    /// The steps in order, inactive ones included.
    pub fn steps(&self, params: &SamplingParams) -> &[Step] {
        match self {
            Self::Named(named) if params.mirostat.version > 0 => named.mirostat_steps(),
            Self::Named(named) => named.steps(),
            Self::Listed(steps) => steps,
        }
    }

    /// Whose meanings the steps have.
    pub const fn meaning(&self) -> NamedPipeline {
        match self {
            Self::Named(named) => *named,
            Self::Listed(_) => NamedPipeline::Tokenmill,
        }
    }

    /// The first step at fault and what is wrong with it: it stands twice, behind a warper although it is
    /// none, or is active and missing.
    pub fn fault(&self, params: &SamplingParams) -> Option<(Step, &'static str)> {
        let steps = self.steps(params);
        for (index, step) in steps.iter().enumerate() {
            let before = &steps[..index];
            if before.contains(step) {
                return Some((*step, "stands in the list twice"));
            }
            let is_after_scores = before.iter().any(|earlier| !earlier.is_source());
            if step.is_source() && is_after_scores {
                return Some((*step, "must stand before all that acts on scores"));
            }
            if !step.is_warper() && before.iter().any(|earlier| earlier.is_warper()) {
                return Some((*step, "must stand before the temperature and every cut"));
            }
            // Its scores are no logits any more: what is cut or divided behind it would be another distribution.
            let is_late = *step == Step::MinP && before.contains(&Step::AdaptiveP);
            if is_late && step.is_active(params) && Step::AdaptiveP.is_active(params) {
                return Some((*step, "must stand before adaptive_p"));
            }
            if before.contains(&Step::Renormalize) {
                return Some((*step, "must stand before renormalize"));
            }
        }
        let missing = |step: &Step| step.is_active(params) && !steps.contains(step);
        let reason = match self {
            Self::Named(NamedPipeline::Llamacpp) if params.mirostat.version > 0 => {
                "is asked for and llama.cpp does not run it beside mirostat"
            }
            Self::Named(_) => "is asked for and is no step of this pipeline",
            Self::Listed(_) => "is asked for and missing from the list",
        };
        Step::ALL
            .into_iter()
            .find(missing)
            .map(|step| (step, reason))
    }
}
