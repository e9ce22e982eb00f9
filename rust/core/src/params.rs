//! Sampling parameters of one request, after defaults and validation. Values here are in range; ids are
//! checked against the vocabulary by the engine's validator, which is the only one that knows it.

use crate::id::TokenId;

/// What the reported log-probabilities are taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogprobsMode {
    /// log-softmax of the model's own logits.
    #[default]
    RawLogprobs,
    /// log-softmax of the scores after the last step of the pipeline.
    ProcessedLogprobs,
    /// The model's own logits.
    RawLogits,
    /// The scores after the last step of the pipeline.
    ProcessedLogits,
}

impl LogprobsMode {
    /// The public names, in the order of the variants.
    pub const NAMES: [&'static str; 4] = [
        "raw_logprobs",
        "processed_logprobs",
        "raw_logits",
        "processed_logits",
    ];

    const VARIANTS: [Self; 4] = [
        Self::RawLogprobs,
        Self::ProcessedLogprobs,
        Self::RawLogits,
        Self::ProcessedLogits,
    ];

    /// The public name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The variant of a public name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::VARIANTS.into_iter().find(|mode| mode.name() == name)
    }
}

/// How one request wants its tokens chosen. Names, defaults and bounds: the option table. Fields are added
/// over time, so write `..SamplingParams::default()` behind those you set.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Samples drawn from the same prompt, 1..=`Limits::n_max`.
    pub n: u32,
    /// Subtracted once from the logit of every generated token, [-2, 2].
    pub presence_penalty: f32,
    /// Subtracted from a token's logit once per occurrence in the output, [-2, 2].
    pub frequency_penalty: f32,
    /// Divides positive and multiplies negative logits of tokens seen in prompt or output, > 0.
    pub repetition_penalty: f32,
    /// Softmax temperature, [0, 100]; below 1e-5 greedy.
    pub temperature: f32,
    /// Keep exactly the k best tokens; 0 is off.
    pub top_k: u32,
    /// Keep the shortest prefix of the order with this mass, (0, 1].
    pub top_p: f32,
    /// Keep tokens of at least this share of the best probability, [0, 1].
    pub min_p: f32,
    /// Key of the noise; absent: drawn once at submit and echoed.
    pub seed: Option<i64>,
    /// Strings that end the output.
    pub stop: Vec<String>,
    /// Tokens that end the output, besides the model's own.
    pub stop_token_ids: Vec<TokenId>,
    /// Whether the model's end tokens are ordinary tokens.
    pub ignore_eos: bool,
    /// Most tokens to generate; `None`: to the end of the context.
    pub max_tokens: Option<u32>,
    /// End tokens, stop ids and stop strings wait for this many tokens.
    pub min_tokens: u32,
    /// Alternatives reported per generated token, besides the sampled one; `u32::MAX`: the vocabulary.
    pub logprobs: Option<u32>,
    /// What those are taken from.
    pub logprobs_mode: LogprobsMode,
    /// Ban every token that would repeat an n-gram of this size; 0 is off.
    pub no_repeat_ngram_size: u32,
    /// Added to the logits; exactly -100 bans.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Whether text is produced at all.
    pub detokenize: bool,
    /// Whether control tokens are left out of the text.
    pub skip_special_tokens: bool,
    /// Whether the stop string stays in the text.
    pub include_stop_str_in_output: bool,
    /// Do not read the prefix cache.
    pub skip_reading_prefix_cache: bool,
}

impl SamplingParams {
    /// Whether the choice is the argmax after the processors.
    pub fn is_greedy(&self) -> bool {
        self.temperature < 1e-5
    }
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            n: 1,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: None,
            stop: Vec::new(),
            stop_token_ids: Vec::new(),
            ignore_eos: false,
            max_tokens: Some(16),
            min_tokens: 0,
            logprobs: None,
            logprobs_mode: LogprobsMode::RawLogprobs,
            no_repeat_ngram_size: 0,
            logit_bias: Vec::new(),
            detokenize: true,
            skip_special_tokens: true,
            include_stop_str_in_output: false,
            skip_reading_prefix_cache: false,
        }
    }
}
