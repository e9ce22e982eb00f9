//! Sampling parameters of one request, after defaults and validation. Values here are in range; ids are
//! checked against the vocabulary by the engine's validator, which is the only one that knows it.

use crate::id::TokenId;

mod beams;
mod custom;
mod pipeline;
pub(crate) mod rules;
mod source;
mod step;
mod strategy;

pub use beams::{Beams, EarlyStopping, LengthPenaltyKind};
pub use custom::{Action, Callable, Callback, Edit, Processor};
pub use pipeline::{NamedPipeline, PipelineChoice};
pub use source::{Contrastive, ContrastiveMode, Divergence, Dola, DolaLayers, Guidance};
pub use step::Step;
pub use strategy::{Adaptive, Dry, LengthDecay, Mirostat, MirostatVariant, Thinking, Xtc};

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

/// What an output that is read while it grows holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputKind {
    /// All there is so far.
    #[default]
    Cumulative,
    /// What is new since the last one.
    Delta,
    /// All, once, at the end.
    FinalOnly,
}

impl OutputKind {
    /// The public names, in the order of the variants.
    pub const NAMES: [&'static str; 3] = ["cumulative", "delta", "final_only"];

    const VARIANTS: [Self; 3] = [Self::Cumulative, Self::Delta, Self::FinalOnly];

    /// The public name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The variant of a public name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::VARIANTS.into_iter().find(|kind| kind.name() == name)
    }
}

/// When an output is taken to have fallen into a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepetitionDetection {
    /// Longest pattern looked for, in tokens.
    pub max_pattern_size: u32,
    /// Shortest one, at least 1.
    pub min_pattern_size: u32,
    /// Copies in a row that end the output, at least 2.
    pub min_count: u32,
}

impl RepetitionDetection {
    /// Whether the last tokens of `output` are copies of one pattern.
    pub fn finds(&self, output: &[TokenId]) -> bool {
        let copies = self.min_count as usize;
        // A caller's own struct may say 0, which is no pattern.
        (self.min_pattern_size.max(1) as usize..=self.max_pattern_size as usize).any(|size| {
            // Every token but those of the first copy equals the one a pattern before it.
            let compared = size * (copies - 1);
            let Some(start) = output.len().checked_sub(compared + size) else {
                return false;
            };
            (start + size..output.len())
                .rev()
                .all(|at| output[at] == output[at - size])
        })
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
    /// Whether the prefix cache is left unread; absent: where that is needed.
    pub skip_reading_prefix_cache: Option<bool>,
    /// Alternatives reported per prompt token, besides the token itself; `u32::MAX`: the vocabulary.
    pub prompt_logprobs: Option<u32>,
    /// Tokens reported at each position instead of the best ones.
    pub logprob_token_ids: Option<Vec<TokenId>>,
    /// What outputs that are read while they grow hold.
    pub output_kind: OutputKind,
    /// Least new tokens of an event that is neither the first nor the last.
    pub stream_interval: Option<u32>,
    /// All others are banned.
    pub allowed_token_ids: Option<Vec<TokenId>>,
    /// Words that must not appear.
    pub bad_words: Vec<String>,
    /// Token sequences that must not appear: what the engine's tokenizer makes of `bad_words`. No option.
    pub bad_word_tokens: Vec<Vec<TokenId>>,
    /// Tokens that are banned.
    pub suppress_tokens: Vec<TokenId>,
    /// Tokens that are banned as the first of the output.
    pub begin_suppress_tokens: Vec<TokenId>,
    /// End tokens, stop ids and stop strings wait until prompt and output have this many tokens.
    pub min_length: u32,
    /// When the output is taken to be a loop.
    pub repetition_detection: Option<RepetitionDetection>,
    /// Whether control tokens may be set apart by spaces.
    pub spaces_between_special_tokens: bool,
    /// Tokens at the end of the sequence that the penalties look at; -1: all; absent: the pipeline's own.
    pub penalty_last_n: Option<i32>,
    /// The order of the steps.
    pub pipeline: PipelineChoice,
    /// Milliseconds from submit after which the request ends with an error.
    pub deadline_ms: Option<u32>,
    /// Keep the tokens nearest to the expected surprise that have this mass, (0, 1]; 1 is off.
    pub typical_p: f32,
    /// Drop tokens less likely than this, [0, 1); 0 is off.
    pub epsilon_cutoff: f32,
    /// The same, with a bound that sinks where the choice is wide; 0 is off.
    pub eta_cutoff: f32,
    /// Keep the best tokens up to this share of the entropy of the hundred best, (0, 1].
    pub top_h: Option<f32>,
    /// Keep logits within so many standard deviations of the best; 0 and below: off.
    pub top_n_sigma: f32,
    /// Leaving out the likeliest tokens.
    pub xtc: Xtc,
    /// How far the temperature moves with the entropy, either way; 0 is off.
    pub dynatemp_range: f32,
    /// The bend of that.
    pub dynatemp_exponent: f32,
    /// A penalty on what goes on repeating.
    pub dry: Dry,
    /// Multiplies positive and divides negative logits of tokens of the prompt, > 0; 1 is off.
    pub encoder_repetition_penalty: f32,
    /// Ban every token that would repeat an n-gram of the prompt; 0 is off.
    pub encoder_no_repeat_ngram_size: u32,
    /// Added to the last token of a sequence whose beginning was met.
    pub sequence_bias: Vec<(Vec<TokenId>, f32)>,
    /// Token sequences that must not appear, besides the words.
    pub bad_words_ids: Vec<Vec<TokenId>>,
    /// The second token of a sequence whose prompt is one token.
    pub forced_bos_token_id: Option<TokenId>,
    /// Tokens of which the last one of a longest output is one.
    pub forced_eos_token_id: Option<Vec<TokenId>>,
    /// The end grows more likely with the length.
    pub exponential_decay_length_penalty: Option<LengthDecay>,
    /// Whether NaN and +inf are replaced instead of ending the request.
    pub remove_invalid_values: bool,
    /// Whether reported scores are normalised after the last step.
    pub renormalize_logits: bool,
    /// A cut that moves towards a wanted surprise.
    pub mirostat: Mirostat,
    /// A preference that moves towards a wanted probability.
    pub adaptive: Adaptive,
    /// A search for the likeliest outputs, instead of a draw or an argmax at every token.
    pub beams: Beams,
    /// A second row: without the prompt.
    pub guidance: Guidance,
    /// A second row: of a weaker model.
    pub contrastive: Option<Contrastive>,
    /// A second row: of an early layer.
    pub dola: Dola,
    /// Weight of the penalty on what resembles the text so far, [0, 1]; above 0 the token is the best of `top_k`
    /// candidates under it.
    pub penalty_alpha: f32,
    /// Whether the text begins with the prompt.
    pub echo: bool,
    /// Samples drawn, of which the `n` best are handed out; absent: `n`.
    pub best_of: Option<u32>,
    /// A bound on thinking.
    pub thinking: Thinking,
    /// The caller's own steps, in order.
    pub logits_processors: Vec<Processor>,
    /// Says which tokens may come.
    pub prefix_allowed_tokens_fn: Option<Callable>,
}

impl SamplingParams {
    /// Output tokens for which end tokens, stop ids and stop strings wait, after `prompt_len` prompt tokens.
    pub fn output_len_min(&self, prompt_len: usize) -> usize {
        let by_length = (self.min_length as usize).saturating_sub(prompt_len);
        by_length.max(self.min_tokens as usize)
    }

    /// Outputs that grow: samples that are drawn, or what a beam search returns.
    pub fn samples(&self) -> u32 {
        if self.beams.is_on() {
            self.beams.returned()
        } else {
            self.best_of.unwrap_or(self.n).max(self.n)
        }
    }

    /// Whether more samples are drawn than handed out.
    pub fn is_ranked(&self) -> bool {
        self.samples() > self.outputs()
    }

    /// Every token id in the parameters, by the option it came from.
    pub fn token_ids(&self) -> [(&'static str, Vec<TokenId>); 15] {
        let mut edited = Vec::new();
        for processor in &self.logits_processors {
            if let Processor::Declared(edit) = processor {
                edited.extend([&edit.tokens[..], &edit.after, &edit.matched].concat());
            }
        }
        let thinking = [&self.thinking.start_tokens[..], &self.thinking.end_tokens].concat();
        let optional = |ids: &Option<Vec<TokenId>>| ids.clone().unwrap_or_default();
        let biased = self.logit_bias.iter().map(|&(token, _)| token);
        let sequences = self.sequence_bias.iter().flat_map(|(ids, _)| ids.clone());
        [
            ("stop_token_ids", self.stop_token_ids.clone()),
            ("logit_bias", biased.collect()),
            ("allowed_token_ids", optional(&self.allowed_token_ids)),
            ("suppress_tokens", self.suppress_tokens.clone()),
            ("begin_suppress_tokens", self.begin_suppress_tokens.clone()),
            ("logprob_token_ids", optional(&self.logprob_token_ids)),
            ("bad_words", self.bad_word_tokens.concat()),
            ("bad_words_ids", self.bad_words_ids.concat()),
            ("sequence_bias", sequences.collect()),
            (
                "forced_bos_token_id",
                self.forced_bos_token_id.into_iter().collect(),
            ),
            ("forced_eos_token_id", optional(&self.forced_eos_token_id)),
            ("dry_sequence_breakers", self.dry.breaker_tokens.concat()),
            (
                "negative_prompt_token_ids",
                optional(&self.guidance.negative_prompt_token_ids),
            ),
            ("logits_processors", edited),
            ("thinking_token_budget", thinking),
        ]
    }

    /// Whether anything is reported of each generated token.
    pub fn wants_logprobs(&self) -> bool {
        self.logprobs.is_some() || self.logprob_token_ids.is_some()
    }

    /// Most sequences of a request that are in a step together: beams, or candidates of a contrastive search.
    pub fn branches(&self) -> u32 {
        let candidates = if self.is_contrastive_search() {
            self.top_k
        } else {
            1
        };
        self.beams.width.unwrap_or(candidates)
    }

    /// Outputs of a request: its samples, or what its beam search returns at most.
    pub fn outputs(&self) -> u32 {
        if self.beams.is_on() {
            self.beams.returned()
        } else {
            self.n
        }
    }

    /// Whether the choice is the argmax after the processors, or made among the best of them, without noise.
    pub fn is_greedy(&self) -> bool {
        self.temperature < 1e-5
    }

    /// Whether candidates are compared with the text so far.
    pub fn is_contrastive_search(&self) -> bool {
        self.penalty_alpha > 0.0
    }

    /// The step whose second row the scores come from, if any.
    pub fn source(&self) -> Option<Step> {
        Step::SOURCES.into_iter().find(|step| step.is_active(self))
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
            skip_reading_prefix_cache: None,
            prompt_logprobs: None,
            logprob_token_ids: None,
            output_kind: OutputKind::Cumulative,
            stream_interval: None,
            allowed_token_ids: None,
            bad_words: Vec::new(),
            bad_word_tokens: Vec::new(),
            suppress_tokens: Vec::new(),
            begin_suppress_tokens: Vec::new(),
            min_length: 0,
            repetition_detection: None,
            spaces_between_special_tokens: true,
            penalty_last_n: None,
            pipeline: PipelineChoice::default(),
            deadline_ms: None,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            top_h: None,
            top_n_sigma: -1.0,
            xtc: Xtc::default(),
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            dry: Dry::default(),
            encoder_repetition_penalty: 1.0,
            encoder_no_repeat_ngram_size: 0,
            sequence_bias: Vec::new(),
            bad_words_ids: Vec::new(),
            forced_bos_token_id: None,
            forced_eos_token_id: None,
            exponential_decay_length_penalty: None,
            remove_invalid_values: false,
            renormalize_logits: false,
            mirostat: Mirostat::default(),
            adaptive: Adaptive::default(),
            beams: Beams::default(),
            guidance: Guidance::default(),
            contrastive: None,
            dola: Dola::default(),
            penalty_alpha: 0.0,
            echo: false,
            best_of: None,
            thinking: Thinking::default(),
            logits_processors: Vec::new(),
            prefix_allowed_tokens_fn: None,
        }
    }
}
