//! The steps between a model's logits and the draw, and the orders in which engines run them. Knows names,
//! orders and which step a request makes active; knows nothing of rows. An active option whose step is not in
//! the order is refused, never ignored.

use crate::params::SamplingParams;

/// One step, by its public name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Bans all but a list.
    AllowedTokenIds,
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
    /// Bans what would complete a word.
    BadWords,
    /// Bans the ends until prompt and output are long enough.
    MinLength,
    /// Bans the ends until enough tokens are there.
    MinTokens,
    /// Bans a list.
    Suppress,
    /// Bans a list as first token.
    BeginSuppress,
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
    pub const ALL: [Self; 15] = [
        Self::AllowedTokenIds,
        Self::LogitBias,
        Self::RepetitionPenalty,
        Self::FrequencyPenalty,
        Self::PresencePenalty,
        Self::NoRepeatNgram,
        Self::BadWords,
        Self::MinLength,
        Self::MinTokens,
        Self::Suppress,
        Self::BeginSuppress,
        Self::Temperature,
        Self::TopK,
        Self::TopP,
        Self::MinP,
    ];

    /// Bans that are lifted, in this order, when nothing is left.
    pub const SOFT: [Self; 4] = [
        Self::NoRepeatNgram,
        Self::BadWords,
        Self::MinLength,
        Self::MinTokens,
    ];

    /// The public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllowedTokenIds => "allowed_token_ids",
            Self::LogitBias => "logit_bias",
            Self::RepetitionPenalty => "repetition_penalty",
            Self::FrequencyPenalty => "frequency_penalty",
            Self::PresencePenalty => "presence_penalty",
            Self::NoRepeatNgram => "no_repeat_ngram",
            Self::BadWords => "bad_words",
            Self::MinLength => "min_length",
            Self::MinTokens => "min_tokens",
            Self::Suppress => "suppress",
            Self::BeginSuppress => "begin_suppress",
            Self::Temperature => "temperature",
            Self::TopK => "top_k",
            Self::TopP => "top_p",
            Self::MinP => "min_p",
        }
    }

    /// The step of a public name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    /// The option that makes it active.
    pub const fn option(self) -> &'static str {
        match self {
            Self::NoRepeatNgram => "no_repeat_ngram_size",
            Self::Suppress => "suppress_tokens",
            Self::BeginSuppress => "begin_suppress_tokens",
            _ => self.name(),
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
            Self::AllowedTokenIds => params.allowed_token_ids.is_some(),
            Self::LogitBias => !params.logit_bias.is_empty(),
            Self::RepetitionPenalty => params.repetition_penalty != 1.0,
            Self::FrequencyPenalty => params.frequency_penalty != 0.0,
            Self::PresencePenalty => params.presence_penalty != 0.0,
            Self::NoRepeatNgram => params.no_repeat_ngram_size > 0,
            Self::BadWords => !params.bad_words.is_empty() || !params.bad_word_tokens.is_empty(),
            Self::MinLength => params.min_length > 0,
            Self::MinTokens => params.min_tokens > 0,
            Self::Suppress => !params.suppress_tokens.is_empty(),
            Self::BeginSuppress => !params.begin_suppress_tokens.is_empty(),
            Self::Temperature => params.temperature != 1.0,
            Self::TopK => params.top_k > 0,
            Self::TopP => params.top_p < 1.0,
            Self::MinP => params.min_p > 0.0,
        }
    }
}

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
            Self::Hf => &[
                Step::RepetitionPenalty,
                Step::NoRepeatNgram,
                Step::BadWords,
                Step::MinLength,
                Step::MinTokens,
                Step::Suppress,
                Step::BeginSuppress,
                Step::Temperature,
                Step::TopK,
                Step::TopP,
                Step::MinP,
            ],
            Self::Vllm => &[
                Step::AllowedTokenIds,
                Step::BadWords,
                Step::MinTokens,
                Step::LogitBias,
                Step::RepetitionPenalty,
                Step::FrequencyPenalty,
                Step::PresencePenalty,
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
                Step::Temperature,
                Step::TopK,
                Step::TopP,
                Step::MinP,
            ],
            Self::Llamacpp => &[
                Step::LogitBias,
                Step::RepetitionPenalty,
                Step::FrequencyPenalty,
                Step::PresencePenalty,
                Step::TopK,
                Step::TopP,
                Step::MinP,
                Step::Temperature,
            ],
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
    pub fn steps(&self) -> &[Step] {
        match self {
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
        let steps = self.steps();
        for (index, step) in steps.iter().enumerate() {
            let before = &steps[..index];
            if before.contains(step) {
                return Some((*step, "stands in the list twice"));
            }
            if !step.is_warper() && before.iter().any(|earlier| earlier.is_warper()) {
                return Some((
                    *step,
                    "must stand before temperature, top_k, top_p and min_p",
                ));
            }
        }
        let missing = |step: &Step| step.is_active(params) && !steps.contains(step);
        let reason = match self {
            Self::Named(_) => "is asked for and is no step of this pipeline",
            Self::Listed(_) => "is asked for and missing from the list",
        };
        Step::ALL
            .into_iter()
            .find(missing)
            .map(|step| (step, reason))
    }
}
