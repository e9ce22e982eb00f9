//! Errors of architectures and backends.

use tokenmill_core::{HasKind, Kind};

/// Result of this crate and of every backend.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong between a checkpoint and logits.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is malformed.
    #[error(transparent)]
    Format(#[from] tokenmill_formats::Error),
    /// The architecture is not in the table.
    #[error("unknown architecture {name}; known are {known}")]
    UnknownArchitecture {
        /// As in the file, cut to 64 characters.
        name: String,
        /// The table's names.
        known: String,
    },
    /// A config value is absent or out of range.
    #[error("{key} must be {expected}, got {got}")]
    Config {
        /// The key in the file.
        key: String,
        /// Type and bound in words.
        expected: String,
        /// The value, cut to 64 characters.
        got: String,
    },
    /// Tensors that do not fit the architecture; up to ten are listed.
    #[error("the tensors do not fit {architecture}: {problems}")]
    Tensors {
        /// Its name.
        architecture: String,
        /// `missing x`, `x is [..], expected [..]`, ..., joined by `; `.
        problems: String,
    },
    /// A weight that is not a number, or infinite: no answer could be right.
    #[error("{name} holds numbers that are not finite")]
    NotFiniteWeight {
        /// The tensor.
        name: String,
    },
    /// Understood, but not done by this build or backend.
    #[error("{what} is not supported by {by}")]
    Unsupported {
        /// The feature, format or value.
        what: String,
        /// The backend or `tokenmill`.
        by: String,
    },
    /// The plan does not fit the machine.
    #[error("{what} needs {needed_bytes} bytes")]
    Memory {
        /// Which line of the ledger.
        what: String,
        /// How many bytes it asked for.
        needed_bytes: u64,
    },
    /// The model gave something that is not a number.
    #[error("the model's logits are not finite")]
    NotFinite,
    /// An invariant of a backend broke; the text names it.
    #[error("{backend}: {what}")]
    Internal {
        /// Which backend.
        backend: &'static str,
        /// What broke.
        what: String,
    },
}

impl HasKind for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Format(error) => error.kind(),
            Self::UnknownArchitecture { .. } | Self::Unsupported { .. } => Kind::Unsupported,
            Self::Config { .. } | Self::Tensors { .. } | Self::NotFiniteWeight { .. } => {
                Kind::Corrupt
            }
            Self::Memory { .. } => Kind::InvalidRequest,
            Self::NotFinite | Self::Internal { .. } => Kind::Internal,
        }
    }
}
