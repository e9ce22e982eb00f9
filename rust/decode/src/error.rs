//! What a sampler can refuse. Every variant ends one request and nothing else.

use tokenmill_core::{HasKind, Kind, TokenId};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A row or a request that gives no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The model's row holds NaN or +inf.
    #[error(
        "the model's logits at position {position} hold NaN or +inf, finite values or -inf were expected"
    )]
    BrokenLogits {
        /// Index of the token that was to be drawn.
        position: u32,
    },
    /// A penalty or a bias left the range of f32.
    #[error(
        "the scores at position {position} left the range of f32, smaller penalties were expected"
    )]
    ScoreOverflow {
        /// Index of the token that was to be drawn.
        position: u32,
    },
    /// No token is left after the constraints that are never lifted.
    #[error("no token is allowed at position {position}: the constraints ban the whole vocabulary")]
    NoTokenAllowed {
        /// Index of the token that was to be drawn.
        position: u32,
    },
    /// The row is not one of this vocabulary.
    #[error("a row of {got} logits was given, {expected} were expected")]
    RowLength {
        /// Values given.
        got: usize,
        /// Length of the vocabulary.
        expected: usize,
    },
    /// The vocabulary is empty or above the bound that the exact sums rest on.
    #[error("a vocabulary of {got} tokens, 1 to {max} were expected")]
    VocabularyLength {
        /// Tokens.
        got: usize,
        /// Most tokens.
        max: usize,
    },
    /// A token id outside the vocabulary.
    #[error("{name} holds token {token}, an id below {vocab_len} was expected")]
    UnknownToken {
        /// The option at fault.
        name: &'static str,
        /// The id.
        token: TokenId,
        /// Length of the vocabulary.
        vocab_len: usize,
    },
    /// An option that acts on the ends of a text meets a vocabulary without one.
    #[error("{name} acts on the model's end tokens, and this model has none")]
    NoEnd {
        /// The option.
        name: &'static str,
    },
    /// What a caller brought failed, or gave what is no answer.
    #[error("{name} {fault}")]
    Callable {
        /// What its caller calls it.
        name: String,
        /// What it did.
        fault: String,
    },
    /// The list of steps has no meaning.
    #[error("pipeline: step {step} {reason}")]
    BadPipeline {
        /// Public name of the step at fault.
        step: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl HasKind for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::BrokenLogits { .. } => Kind::Corrupt,
            Self::VocabularyLength { .. } | Self::NoEnd { .. } => Kind::Unsupported,
            Self::RowLength { .. } => Kind::Internal,
            Self::ScoreOverflow { .. }
            | Self::NoTokenAllowed { .. }
            | Self::UnknownToken { .. }
            | Self::Callable { .. }
            | Self::BadPipeline { .. } => Kind::InvalidRequest,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::UnknownToken { name, .. } | Self::NoEnd { name } => Some(name),
            Self::BadPipeline { .. } => Some("pipeline"),
            _ => None,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::NoTokenAllowed { .. } => Some("no_token_allowed"),
            Self::Callable { .. } => Some("callable_failed"),
            _ => None,
        }
    }
}
