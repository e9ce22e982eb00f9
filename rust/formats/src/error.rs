//! What can be wrong with a file. A message says which file, which field, what was expected and what was
//! met; text taken from a file is cut and its control characters are replaced before it gets here.

use std::io;
use std::path::Path;

use tokenmill_core::{HasKind, Kind};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Longest piece of a file's own text in a message, in characters.
const ECHO_LEN_MAX: usize = 64;

/// A file that cannot be used, or a read that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file contradicts itself or its format.
    #[error("{file}: {field} must be {expected}, got {got}")]
    Corrupt {
        /// File name without its folder.
        file: String,
        /// Key, tensor or part of the header.
        field: String,
        /// Type and bound in words.
        expected: String,
        /// The value met, cut.
        got: String,
    },
    /// Well-formed, but this build does not read it.
    #[error("{file}: {what} is not supported: {advice}")]
    Unsupported {
        /// File name without its folder.
        file: String,
        /// The type, version or format, by name.
        what: String,
        /// What to do instead.
        advice: String,
    },
    /// Nothing is there.
    #[error("{path} does not exist: expected {expected}")]
    NotFound {
        /// As the caller gave it, or a file name expected beside another.
        path: String,
        /// What should have been there.
        expected: String,
    },
    /// A folder, pipe, socket or device where a file was expected.
    #[error("{path} must be a regular file, got a {got}")]
    NotAFile {
        /// As the caller gave it.
        path: String,
        /// What it is.
        got: &'static str,
    },
    /// The operating system refused a read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// As the caller gave it.
        path: String,
        /// Its reason.
        source: io::Error,
    },
    /// Size or time stamp differ from those at opening.
    #[error("{file} changed while in use: expected the size and time stamp it was opened with")]
    Changed {
        /// File name without its folder.
        file: String,
    },
    /// No tensor has this name.
    #[error("the checkpoint has no tensor {name}")]
    NoTensor {
        /// As asked for, cut.
        name: String,
    },
    /// A read outside a tensor, or buffers whose lengths do not belong together.
    #[error("{what} must be {expected}, got {got}")]
    BadLength {
        /// Which length.
        what: String,
        /// What would fit.
        expected: String,
        /// What came.
        got: u64,
    },
    /// The operating system has no memory for a tensor that the file really holds.
    #[error("{what} needs {needed_bytes} bytes of memory")]
    Memory {
        /// Which tensor or file.
        what: String,
        /// Its size.
        needed_bytes: u64,
    },
}

impl HasKind for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Corrupt { .. } | Self::NoTensor { .. } => Kind::Corrupt,
            Self::Unsupported { .. } => Kind::Unsupported,
            Self::NotFound { .. } => Kind::NotFound,
            Self::NotAFile { .. }
            | Self::Io { .. }
            | Self::Changed { .. }
            | Self::Memory { .. } => Kind::Io,
            Self::BadLength { .. } => Kind::InvalidRequest,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::Corrupt { field, .. } => Some(field),
            Self::NoTensor { name } => Some(name),
            _ => None,
        }
    }
}

impl Error {
    /// A contradiction in `file` at `field`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers pass numbers and temporaries"
    )]
    pub(crate) fn corrupt(
        file: &str,
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            field: field.into(),
            expected: expected.into(),
            got: got.to_string(),
        }
    }

    /// A failed system call on `path`; absence is told apart.
    pub(crate) fn io(path: &Path, expected: &str, source: io::Error) -> Self {
        let path = echo_path(path);
        if source.kind() == io::ErrorKind::NotFound {
            return Self::NotFound {
                path,
                expected: expected.to_owned(),
            };
        }
        Self::Io { path, source }
    }
}

/// Text of a file made fit for a message: at most 64 characters, none of them a control character.
pub(crate) fn echo(text: &str) -> String {
    let mut cut: String = text
        .chars()
        .take(ECHO_LEN_MAX)
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if text.chars().nth(ECHO_LEN_MAX).is_some() {
        cut.push('…');
    }
    cut
}

/// A path made fit for a message: its last 200 characters, none of them a control character.
pub(crate) fn echo_path(path: &Path) -> String {
    const LEN_MAX: usize = 200;
    let text = path.to_string_lossy().replace(char::is_control, "\u{fffd}");
    let cut = text.chars().count().saturating_sub(LEN_MAX);
    if cut == 0 {
        return text;
    }
    std::iter::once('…').chain(text.chars().skip(cut)).collect()
}

/// The last component of a path, fit for a message.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(
        || echo(&path.to_string_lossy()),
        |name| echo(&name.to_string_lossy()),
    )
}
