//! What comes back: events of each sample in order, one a step unless they are bundled, the last one with a
//! finish reason.

pub mod explain;

use crate::id::TokenId;
use crate::kind::{HasKind, Kind};
use explain::Explanation;

/// Why a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// An end token, a stop id or a stop string.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
    /// Cancelled.
    Abort,
    /// The request failed; the event carries the kind and message.
    Error,
    /// The output had fallen into a loop, as `repetition_detection` describes one.
    Repetition,
    /// There is no such output: a beam search found fewer than were asked for.
    Absent,
}

impl FinishReason {
    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
            Self::Error => "error",
            Self::Repetition => "repetition",
            Self::Absent => "absent",
        }
    }
}

/// What made it stop, where that was asked for by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// One of `stop_token_ids`.
    Token(TokenId),
    /// One of `stop`.
    Text(String),
}

/// One alternative of a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: TokenId,
    /// Its log-probability, or logit, by the request's mode.
    pub logprob: f32,
    /// 1 + the number of tokens before it in the total order.
    pub rank: u32,
}

/// The sampled token's entry and the best alternatives, in the total order.
pub type TokenLogprobs = Vec<TokenLogprob>;

/// One step of one sample.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Which of the `n` samples.
    pub index: u32,
    /// Tokens committed since the last event.
    pub tokens: Vec<TokenId>,
    /// Text that is final now (stop strings that may still complete are held back).
    pub text: String,
    /// One entry per token, where asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// One entry per prompt token but the first, where asked for: whole, with the first event of sample 0.
    pub prompt_logprobs: Vec<TokenLogprobs>,
    /// One entry per token, where asked for; of a beam search one per step, with the last event of sample 0.
    pub explained: Vec<Explanation>,
    /// Present on the last event of this sample.
    pub finish: Option<Finish>,
}

impl Event {
    /// Appends what came next in the same sample.
    pub fn absorb(&mut self, next: Self) {
        self.tokens.extend(next.tokens);
        self.text.push_str(&next.text);
        self.logprobs.extend(next.logprobs);
        self.prompt_logprobs.extend(next.prompt_logprobs);
        self.explained.extend(next.explained);
        self.finish = next.finish;
    }

    /// An event of sample `index` that says nothing yet.
    pub const fn new(index: u32) -> Self {
        Self {
            index,
            tokens: Vec::new(),
            text: String::new(),
            logprobs: Vec::new(),
            prompt_logprobs: Vec::new(),
            explained: Vec::new(),
            finish: None,
        }
    }
}

/// The end of a sample.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finish {
    /// Why.
    pub reason: FinishReason,
    /// What made it stop.
    pub stop: Option<StopReason>,
    /// What went wrong, where the reason is `Error`.
    pub error: Option<Box<Failure>>,
    /// Prompt tokens taken from the prefix cache.
    pub cached_tokens: u32,
    /// Prompt tokens in blocks that this request was the first to bring into the prefix cache.
    pub created_tokens: u32,
    /// Times this sample was preempted.
    pub preemptions: u32,
    /// Soft bans (`min_tokens`, `no_repeat_ngram`, ..) that left no token at some step and were lifted
    /// for it, and forcing that met a banned token and was skipped, each named once.
    pub lifted: Vec<&'static str>,
    /// Of an output of a beam search: the sum of its log-probabilities, weighed by the length.
    pub score: Option<f32>,
    /// Of the same: the sum as it is.
    pub cumulative_logprob: Option<f32>,
}

impl Finish {
    /// An end without figures.
    pub const fn new(reason: FinishReason) -> Self {
        Self {
            reason,
            stop: None,
            error: None,
            cached_tokens: 0,
            created_tokens: 0,
            preemptions: 0,
            lifted: Vec::new(),
            score: None,
            cumulative_logprob: None,
        }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// Who is at fault, and so the status code.
    pub kind: Kind,
    /// What a client can test for, finer than the kind.
    pub code: Option<&'static str>,
    /// For people.
    pub message: String,
}

impl Failure {
    /// Without a code.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
        }
    }

    /// What an error says of itself.
    pub fn of(error: &(impl HasKind + std::fmt::Display)) -> Self {
        Self {
            kind: error.kind(),
            code: error.code(),
            message: error.to_string(),
        }
    }
}
