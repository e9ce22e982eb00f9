//! One step between a model's logits and the draw: its name, the option that asks for it, and what kind of step
//! it is. Orders of steps are `pipeline`'s.

use crate::params::SamplingParams;

/// One step, by its public name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Scores away from those without the prompt.
    Guidance,
    /// Scores away from those of a weaker model.
    Contrastive,
    /// Scores away from those of an early layer.
    Dola,
    /// Bans all but a list.
    AllowedTokenIds,
    /// Adds to what would complete a sequence.
    SequenceBias,
    /// Adds to chosen logits; exactly -100 bans.
    LogitBias,
    /// Scales the logits of tokens of the prompt, the other way.
    EncoderRepetitionPenalty,
    /// Scales the logits of tokens seen in prompt and output.
    RepetitionPenalty,
    /// Subtracts per occurrence in the output.
    FrequencyPenalty,
    /// Subtracts once from what occurred in the output.
    PresencePenalty,
    /// Subtracts the more the longer the stretch is that would go on repeating.
    Dry,
    /// Bans what would repeat an n-gram.
    NoRepeatNgram,
    /// Bans what would repeat an n-gram of the prompt.
    EncoderNoRepeatNgram,
    /// Bans what would complete a word.
    BadWords,
    /// Bans the ends until prompt and output are long enough.
    MinLength,
    /// Bans the ends until enough tokens are there.
    MinTokens,
    /// Bans all but what a callable allows.
    PrefixAllowedTokens,
    /// Bans all but one token behind a prompt of one.
    ForcedBos,
    /// Bans all but some tokens at the last place there is.
    ForcedEos,
    /// Replaces NaN and +inf.
    RemoveInvalid,
    /// Adds to the ends, the more the longer the output is.
    ExponentialDecayLength,
    /// Bans a list.
    Suppress,
    /// Bans a list as first token.
    BeginSuppress,
    /// Forces the end of thinking that lasts too long.
    ThinkingBudget,
    /// Does what the caller brought.
    Custom,
    /// Divides the scores.
    Temperature,
    /// Divides the scores by a number that follows the entropy.
    DynamicTemperature,
    /// Keeps what is within so many standard deviations of the best.
    TopNSigma,
    /// Keeps the first up to a share of the entropy.
    TopH,
    /// Keeps the k first.
    TopK,
    /// Keeps the shortest prefix with enough mass.
    TopP,
    /// Keeps what has a share of the best probability.
    MinP,
    /// Keeps what surprises about as much as expected.
    TypicalP,
    /// Drops what is less likely than a bound.
    EpsilonCutoff,
    /// Drops what is less likely than a bound that follows the entropy.
    EtaCutoff,
    /// Leaves out the likeliest, now and then.
    Xtc,
    /// Keeps so many that the surprise meets its target.
    Mirostat,
    /// Prefers a probability that follows its target.
    AdaptiveP,
    /// Reports normalised scores.
    Renormalize,
}

impl Step {
    /// Every step, in the order of the pipeline `tokenmill`.
    pub const ALL: [Self; 39] = [
        Self::Guidance,
        Self::Contrastive,
        Self::Dola,
        Self::AllowedTokenIds,
        Self::SequenceBias,
        Self::LogitBias,
        Self::EncoderRepetitionPenalty,
        Self::RepetitionPenalty,
        Self::FrequencyPenalty,
        Self::PresencePenalty,
        Self::Dry,
        Self::NoRepeatNgram,
        Self::EncoderNoRepeatNgram,
        Self::BadWords,
        Self::MinLength,
        Self::MinTokens,
        Self::PrefixAllowedTokens,
        Self::ForcedBos,
        Self::ForcedEos,
        Self::RemoveInvalid,
        Self::ExponentialDecayLength,
        Self::Suppress,
        Self::BeginSuppress,
        Self::ThinkingBudget,
        Self::Custom,
        Self::Temperature,
        Self::DynamicTemperature,
        Self::TopNSigma,
        Self::TopH,
        Self::TopK,
        Self::TopP,
        Self::MinP,
        Self::TypicalP,
        Self::EpsilonCutoff,
        Self::EtaCutoff,
        Self::Xtc,
        Self::Mirostat,
        Self::AdaptiveP,
        Self::Renormalize,
    ];

    /// Steps that make the scores out of two rows; at most one runs, before all others.
    pub const SOURCES: [Self; 3] = [Self::Guidance, Self::Contrastive, Self::Dola];

    /// Bans that are lifted, in this order, when nothing is left.
    pub const SOFT: [Self; 5] = [
        Self::NoRepeatNgram,
        Self::EncoderNoRepeatNgram,
        Self::BadWords,
        Self::MinLength,
        Self::MinTokens,
    ];

    /// The public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guidance => "guidance",
            Self::Contrastive => "contrastive",
            Self::Dola => "dola",
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
            Self::PrefixAllowedTokens => "prefix_allowed_tokens",
            Self::ThinkingBudget => "thinking_budget",
            Self::Custom => "custom",
            Self::Temperature => "temperature",
            Self::TopK => "top_k",
            Self::TopP => "top_p",
            Self::MinP => "min_p",
            Self::SequenceBias => "sequence_bias",
            Self::EncoderRepetitionPenalty => "encoder_repetition_penalty",
            Self::Dry => "dry",
            Self::EncoderNoRepeatNgram => "encoder_no_repeat_ngram",
            Self::ForcedBos => "forced_bos",
            Self::ForcedEos => "forced_eos",
            Self::RemoveInvalid => "remove_invalid",
            Self::ExponentialDecayLength => "exponential_decay_length",
            Self::DynamicTemperature => "dynamic_temperature",
            Self::TopNSigma => "top_n_sigma",
            Self::TopH => "top_h",
            Self::TypicalP => "typical_p",
            Self::EpsilonCutoff => "epsilon_cutoff",
            Self::EtaCutoff => "eta_cutoff",
            Self::Xtc => "xtc",
            Self::Mirostat => "mirostat",
            Self::AdaptiveP => "adaptive_p",
            Self::Renormalize => "renormalize",
        }
    }

    /// The step of a public name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    /// The option that makes it active.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Guidance => "guidance_scale",
            Self::Dola => "dola_layers",
            Self::NoRepeatNgram => "no_repeat_ngram_size",
            Self::Suppress => "suppress_tokens",
            Self::BeginSuppress => "begin_suppress_tokens",
            Self::EncoderNoRepeatNgram => "encoder_no_repeat_ngram_size",
            Self::PrefixAllowedTokens => "prefix_allowed_tokens_fn",
            Self::ThinkingBudget => "thinking_token_budget",
            Self::Custom => "logits_processors",
            Self::Dry => "dry_multiplier",
            Self::ForcedBos => "forced_bos_token_id",
            Self::ForcedEos => "forced_eos_token_id",
            Self::RemoveInvalid => "remove_invalid_values",
            Self::ExponentialDecayLength => "exponential_decay_length_penalty",
            Self::DynamicTemperature => "dynatemp_range",
            Self::Xtc => "xtc_probability",
            Self::AdaptiveP => "adaptive_target",
            Self::Renormalize => "renormalize_logits",
            _ => self.name(),
        }
    }

    /// Whether the step drops tokens, so that it means nothing beside a cut that moves by itself.
    pub const fn is_truncation(self) -> bool {
        self.is_warper()
            && !matches!(
                self,
                Self::Temperature | Self::DynamicTemperature | Self::Renormalize
            )
    }

    /// Whether the step may drop the best token, so that it means nothing to a greedy request.
    pub const fn may_drop_best(self) -> bool {
        matches!(
            self,
            Self::TypicalP | Self::Xtc | Self::Mirostat | Self::AdaptiveP
        )
    }

    /// Whether the step makes the scores that all others act on.
    pub const fn is_source(self) -> bool {
        matches!(self, Self::Guidance | Self::Contrastive | Self::Dola)
    }

    /// Whether the step belongs after the point where a greedy request takes its argmax.
    pub const fn is_warper(self) -> bool {
        self as usize >= Self::Temperature as usize
    }

    /// Whether the parameters ask for the step; none is active at its default.
    pub fn is_active(self, params: &SamplingParams) -> bool {
        // Normalising changes what is reported, not what is chosen.
        let is_reporting = matches!(self, Self::Renormalize);
        if self.is_warper() && params.is_greedy() && !is_reporting {
            return false;
        }
        self.is_asked_for(params)
    }

    /// The same, whether or not the request is greedy.
    pub fn is_asked_for(self, params: &SamplingParams) -> bool {
        let is_dynamic = params.dynatemp_range > 0.0;
        match self {
            Self::Guidance => params.guidance.scale != 1.0,
            Self::Contrastive => params.contrastive.is_some(),
            Self::Dola => params.dola.layers.is_some(),
            Self::AllowedTokenIds => params.allowed_token_ids.is_some(),
            Self::LogitBias => !params.logit_bias.is_empty(),
            Self::RepetitionPenalty => params.repetition_penalty != 1.0,
            Self::FrequencyPenalty => params.frequency_penalty != 0.0,
            Self::PresencePenalty => params.presence_penalty != 0.0,
            Self::NoRepeatNgram => params.no_repeat_ngram_size > 0,
            Self::BadWords => {
                !params.bad_words.is_empty()
                    || !params.bad_word_tokens.is_empty()
                    || !params.bad_words_ids.is_empty()
            }
            Self::MinLength => params.min_length > 0,
            Self::MinTokens => params.min_tokens > 0,
            Self::Suppress => !params.suppress_tokens.is_empty(),
            Self::BeginSuppress => !params.begin_suppress_tokens.is_empty(),
            Self::PrefixAllowedTokens => params.prefix_allowed_tokens_fn.is_some(),
            Self::ThinkingBudget => params.thinking.budget.is_some(),
            Self::Custom => !params.logits_processors.is_empty(),
            Self::Temperature => params.temperature != 1.0 && !is_dynamic,
            Self::DynamicTemperature => is_dynamic,
            Self::SequenceBias => !params.sequence_bias.is_empty(),
            Self::EncoderRepetitionPenalty => params.encoder_repetition_penalty != 1.0,
            Self::Dry => params.dry.multiplier > 0.0 && params.dry.last_n != 0,
            Self::EncoderNoRepeatNgram => params.encoder_no_repeat_ngram_size > 0,
            Self::ForcedBos => params.forced_bos_token_id.is_some(),
            Self::ForcedEos => params.forced_eos_token_id.is_some(),
            Self::RemoveInvalid => params.remove_invalid_values,
            Self::ExponentialDecayLength => params.exponential_decay_length_penalty.is_some(),
            Self::TopNSigma => params.top_n_sigma > 0.0,
            Self::TopH => params.top_h.is_some(),
            Self::TypicalP => params.typical_p < 1.0,
            Self::EpsilonCutoff => params.epsilon_cutoff > 0.0,
            Self::EtaCutoff => params.eta_cutoff > 0.0,
            Self::Xtc => params.xtc.probability > 0.0,
            Self::Mirostat => params.mirostat.version > 0,
            Self::AdaptiveP => params.adaptive.target.is_some(),
            Self::Renormalize => params.renormalize_logits,
            // Candidates of contrastive search are no cut: they are all there is to choose from.
            Self::TopK => params.top_k > 0 && !params.is_contrastive_search(),
            Self::TopP => params.top_p < 1.0,
            Self::MinP => params.min_p > 0.0,
        }
    }
}
