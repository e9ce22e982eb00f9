//! Everything that can refuse a load or a request, with the data a caller needs to act on it.

use tokenmill_core::{HasKind, Kind};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal or failure. Callers branch on [`HasKind::kind`], `param` and `code`; what a variant wraps belongs to
/// the part that found the fault and may change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option value.
    #[error(transparent)]
    Option(#[from] tokenmill_core::Error),
    /// A weight file.
    #[error(transparent)]
    Format(#[from] tokenmill_formats::Error),
    /// A file that an option names.
    #[error("{option}: {source}")]
    OptionFile {
        /// The option.
        option: &'static str,
        /// What is wrong with the file.
        source: tokenmill_formats::Error,
    },
    /// An architecture or a backend.
    #[error(transparent)]
    Model(#[from] tokenmill_model::Error),
    /// A tokenizer or template.
    #[cfg(feature = "text")]
    #[error(transparent)]
    Text(#[from] tokenmill_text::Error),
    /// Sampling.
    #[error(transparent)]
    Decode(#[from] tokenmill_decode::Error),
    /// Scheduling.
    #[error(transparent)]
    Sched(#[from] tokenmill_sched::Error),
    /// The prompt has no tokens.
    #[error("prompt must not be empty")]
    EmptyPrompt,
    /// The prompt text is over the byte limit.
    #[error("prompt must be at most {limit_bytes} bytes, got {len_bytes}")]
    PromptBytes {
        /// The limit.
        limit_bytes: usize,
        /// What was given.
        len_bytes: usize,
    },
    /// A field is none that may be, such as a text that is only hashed, or a list that Rust callers write by hand.
    #[error("{param} {fault}")]
    Field {
        /// The field.
        param: &'static str,
        /// What is wrong with it.
        fault: String,
    },
    /// The request's log-probs alone may pass the memory set aside for all.
    #[error(
        "{param} of this request may take {needed} bytes (tokens x alternatives, n times those of the output), \
         logprobs_memory_bytes is {limit}"
    )]
    LogprobBytes {
        /// The option that asks for them.
        param: &'static str,
        /// Bytes it may come to hold.
        needed: u64,
        /// Bytes for all requests.
        limit: u64,
    },
    /// The request's token lists alone pass the memory set aside for all.
    #[error(
        "{param} and the other token lists of this request take {needed} bytes, {limit} are there for all"
    )]
    ListBytes {
        /// The option with the longest ones.
        param: &'static str,
        /// Bytes they take.
        needed: u64,
        /// Bytes for all requests.
        limit: u64,
    },
    /// A token id outside the vocabulary.
    #[error("{param} must hold ids below {vocab_len}, got {token} at index {index}")]
    TokenId {
        /// The field.
        param: &'static str,
        /// Where in it.
        index: usize,
        /// The id.
        token: u32,
        /// The vocabulary's size.
        vocab_len: usize,
    },
    /// Prompt and output do not fit the context.
    #[error(
        "prompt and max_tokens must fit the context of {context_len} tokens, got {prompt_len} + {max_tokens}"
    )]
    ContextLen {
        /// The context (`max_model_len`).
        context_len: usize,
        /// Prompt tokens.
        prompt_len: usize,
        /// Output tokens asked for (at least one).
        max_tokens: usize,
    },
    /// The request could never have its blocks.
    #[error("the request needs {needed} KV blocks of {block_size} tokens, the pool has {total}")]
    Blocks {
        /// Blocks needed.
        needed: usize,
        /// Blocks in the pool.
        total: usize,
        /// Tokens per block.
        block_size: usize,
    },
    /// The queue is full.
    #[error("{live} requests are running or waiting, the limit is {limit}: try again later")]
    Overloaded {
        /// Requests in the engine.
        live: usize,
        /// Its limit.
        limit: usize,
    },
    /// The log-probs of others take the memory for them.
    #[error(
        "live requests may hold {held} bytes of log-probs, the limit is {limit}: try again later"
    )]
    LogprobsOverloaded {
        /// Bytes that live requests may come to hold.
        held: u64,
        /// Bytes for all requests.
        limit: u64,
    },
    /// The token lists of others take the memory for them.
    #[error(
        "live requests hold {held} bytes of token lists, the limit is {limit}: try again later"
    )]
    ListsOverloaded {
        /// Bytes that live requests hold.
        held: u64,
        /// Bytes for all requests.
        limit: u64,
    },
    /// The engine takes no more requests.
    #[error("the engine is closing")]
    Draining,
    /// The engine's thread is in the process that this one was forked from.
    #[error("this process was forked from the one that loaded the engine; load it here")]
    Forked,
    /// The engine was closed.
    #[error("the engine is closed")]
    Closed,
    /// Done by no backend or build here.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// The feature.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// Files contradict each other.
    #[error("{what}")]
    Corrupt {
        /// What, in words.
        what: String,
    },
    /// The memory plan does not fit.
    #[error("{param} must be at least {smallest} for this model, got {got}")]
    Memory {
        /// The option to change.
        param: &'static str,
        /// The smallest value that works.
        smallest: u64,
        /// The value.
        got: u64,
    },
    /// The plan is more than the machine has.
    #[error(
        "the engine would hold {needed} bytes, this machine has {available}: lower kv_cache_memory_bytes, \
         max_num_seqs or logprobs_memory_bytes, or take a smaller model"
    )]
    MachineMemory {
        /// All lines of the ledger.
        needed: u64,
        /// The machine's memory, or the control group's.
        available: u64,
    },
    /// A thread could not be started, or the like.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An invariant broke; the engine is dead.
    #[error("the engine stopped: {what}")]
    Internal {
        /// What broke.
        what: String,
    },
}

impl HasKind for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Option(error) => error.kind(),
            Self::Format(error) | Self::OptionFile { source: error, .. } => error.kind(),
            Self::Model(error) => error.kind(),
            #[cfg(feature = "text")]
            Self::Text(error) => error.kind(),
            Self::Decode(error) => error.kind(),
            Self::Sched(error) => error.kind(),
            Self::EmptyPrompt
            | Self::PromptBytes { .. }
            | Self::Field { .. }
            | Self::LogprobBytes { .. }
            | Self::ListBytes { .. }
            | Self::TokenId { .. }
            | Self::ContextLen { .. }
            | Self::Blocks { .. }
            | Self::Memory { .. }
            | Self::MachineMemory { .. } => Kind::InvalidRequest,
            Self::Overloaded { .. }
            | Self::LogprobsOverloaded { .. }
            | Self::ListsOverloaded { .. } => Kind::Overloaded,
            Self::Draining | Self::Closed | Self::Forked => Kind::Draining,
            Self::Unsupported { .. } => Kind::Unsupported,
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::Io { .. } => Kind::Io,
            Self::Internal { .. } => Kind::Internal,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::Option(error) => error.param(),
            Self::Format(error) => error.param(),
            Self::Model(error) => error.param(),
            #[cfg(feature = "text")]
            Self::Text(error) => error.param(),
            Self::Decode(error) => error.param(),
            Self::OptionFile { option, .. } => Some(option),
            Self::EmptyPrompt | Self::PromptBytes { .. } => Some("prompt"),
            Self::MachineMemory { .. } => Some("kv_cache_memory_bytes"),
            Self::Unsupported { what, .. } => Some(what),
            Self::Field { param, .. }
            | Self::LogprobBytes { param, .. }
            | Self::ListBytes { param, .. }
            | Self::TokenId { param, .. }
            | Self::Memory { param, .. } => Some(param),
            Self::ContextLen { .. } | Self::Blocks { .. } => Some("max_tokens"),
            _ => None,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::ContextLen { .. } => Some("context_length_exceeded"),
            Self::Decode(error) => error.code(),
            _ => None,
        }
    }
}
