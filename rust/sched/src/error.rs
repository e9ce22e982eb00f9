//! What this crate refuses: configurations that contradict themselves and sequences that can never run.
//! Broken invariants are not errors: they are assertions, on in release too.

use tokenmill_core::{HasKind, Kind, SequenceId};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field of `SchedConfig` is out of range.
    #[error("{name} must be {expected}, got {got}")]
    BadConfig {
        /// The field.
        name: &'static str,
        /// Its bound in words.
        expected: String,
        /// The value.
        got: String,
    },
    /// The prompt has no token, so there is no row to sample from.
    #[error("the prompt must have at least 1 token, got 0")]
    EmptyPrompt,
    /// The prompt is longer than the context.
    #[error("the prompt must have at most {context_len} tokens (the context), got {prompt_len}")]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt_len: usize,
        /// Most tokens of a sequence.
        context_len: usize,
    },
    /// Prompt and output need more blocks than the pool can ever give one sequence.
    #[error(
        "prompt of {prompt_len} tokens and output of {max_new} need {blocks_needed} blocks{}, \
         the pool gives one request at most {blocks_total} blocks of {block_size} tokens",
        in_sequences(*sequences)
    )]
    TooLarge {
        /// Tokens of the prompt.
        prompt_len: usize,
        /// Most tokens of output.
        max_new: usize,
        /// Sequences of the group.
        sequences: usize,
        /// Blocks of all of them together.
        blocks_needed: usize,
        /// Blocks of the pool less its reserve.
        blocks_total: usize,
        /// Tokens of a block.
        block_size: usize,
    },
    /// A group has more sequences than can ever be in one step, or none.
    #[error("a request must have 1 to {most} sequences at once (the {what}), got {sequences}")]
    TooWide {
        /// Sequences of the group.
        sequences: usize,
        /// What bounds them.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// As many sequences wait as may.
    #[error("the queue is full: {queue_len_max} sequences are waiting, try again later")]
    QueueFull {
        /// The bound.
        queue_len_max: usize,
    },
    /// The engine gave one id to two sequences.
    #[error("sequence {} exists already", id.0)]
    DuplicateId {
        /// The id.
        id: SequenceId,
    },
    /// A fork of a sequence that is not running, or not at a token border.
    #[error("sequence {} cannot be forked: it must be running with its prompt computed", id.0)]
    NotForkable {
        /// The parent.
        id: SequenceId,
    },
}

/// How many sequences share a price, where it is more than one.
fn in_sequences(sequences: usize) -> String {
    if sequences > 1 {
        format!(" in {sequences} sequences")
    } else {
        String::new()
    }
}

impl HasKind for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::BadConfig { .. }
            | Self::EmptyPrompt
            | Self::PromptTooLong { .. }
            | Self::TooLarge { .. }
            | Self::TooWide { .. } => Kind::InvalidRequest,
            Self::QueueFull { .. } => Kind::Overloaded,
            Self::DuplicateId { .. } | Self::NotForkable { .. } => Kind::Internal,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::BadConfig { name, .. } => Some(name),
            Self::EmptyPrompt | Self::PromptTooLong { .. } => Some("prompt"),
            Self::TooLarge { .. } => Some("max_tokens"),
            Self::TooWide { .. } => Some("beam_width"),
            _ => None,
        }
    }
}
