//! What comes back: one event per step and sample, in order, the last one with a finish reason.

use crate::id::TokenId;
use crate::kind::Kind;

/// Why a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token, a stop id or a stop string.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
    /// Cancelled.
    Abort,
    /// The request failed; the event carries the kind and message.
    Error,
}

impl FinishReason {
    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
            Self::Error => "error",
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
pub struct Event {
    /// Which of the `n` samples.
    pub index: u32,
    /// Tokens committed since the last event.
    pub tokens: Vec<TokenId>,
    /// Text that is final now (stop strings that may still complete are held back).
    pub text: String,
    /// One entry per token, where asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// Present on the last event of this sample.
    pub finish: Option<Finish>,
}

/// The end of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// Why.
    pub reason: FinishReason,
    /// What made it stop.
    pub stop: Option<StopReason>,
    /// Kind and message, where the reason is `Error`.
    pub error: Option<(Kind, String)>,
    /// Prompt tokens taken from the prefix cache.
    pub cached_tokens: u32,
    /// Times this sample was preempted.
    pub preemptions: u32,
}
