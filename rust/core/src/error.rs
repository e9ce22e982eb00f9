//! Errors of option values: the only thing this crate can refuse.

use crate::kind::{HasKind, Kind};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A refused option.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The value is of the wrong type or outside the bound.
    #[error("{name} must be {expected}, got {got}")]
    BadValue {
        /// The option.
        name: String,
        /// Type and bound in words.
        expected: String,
        /// The value, cut to 64 characters.
        got: String,
    },
    /// No option has this name.
    #[error("unknown option {name}{}", hint.as_ref().map(|h| format!(": did you mean {h}?")).unwrap_or_default())]
    UnknownOption {
        /// As given, cut to 64 characters.
        name: String,
        /// The nearest known name.
        hint: Option<String>,
    },
    /// Two options contradict each other.
    #[error("{name} and {other}: {reason}")]
    Conflict {
        /// The option refused.
        name: String,
        /// The option it meets.
        other: String,
        /// Why they have no common meaning.
        reason: String,
    },
    /// The option exists elsewhere and is not supported here.
    #[error("{name} is not supported: {reason}")]
    Unsupported {
        /// The option.
        name: String,
        /// Why, or since when.
        reason: String,
    },
}

impl HasKind for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unsupported { .. } => Kind::Unsupported,
            _ => Kind::InvalidRequest,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::BadValue { name, .. }
            | Self::UnknownOption { name, .. }
            | Self::Conflict { name, .. }
            | Self::Unsupported { name, .. } => Some(name),
        }
    }
}
