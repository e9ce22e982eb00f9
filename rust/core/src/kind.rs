//! The ten kinds of failure. Callers branch on a kind; people read the variant's data. One table maps a
//! kind to its HTTP status, Python class, exit code and retry advice, so that all doors agree.

use serde::{Deserialize, Serialize};

/// What class of failure an error belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The caller's value is wrong; the message names the field and the bound.
    InvalidRequest,
    /// A named model, file or id does not exist.
    NotFound,
    /// Well-formed, but this build, model or backend cannot do it.
    Unsupported,
    /// A model file contradicts itself or its format.
    Corrupt,
    /// The queue is full; try again later.
    Overloaded,
    /// The engine is shutting down or still loading.
    Draining,
    /// The request's time ran out.
    Deadline,
    /// The caller went away.
    Cancelled,
    /// Reading, writing or fetching failed.
    Io,
    /// An invariant of ours broke.
    Internal,
}

/// What every door says about a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindRow {
    /// The kind itself.
    pub kind: Kind,
    /// HTTP status, 0 where no reply is possible.
    pub http_status: u16,
    /// Name of the Python exception, under `TokenmillError`.
    pub python: &'static str,
    /// Exit code of the command line.
    pub exit_code: u8,
    /// Whether trying again may help.
    pub is_retryable: bool,
}

const fn row(
    kind: Kind,
    http_status: u16,
    python: &'static str,
    exit_code: u8,
    is_retryable: bool,
) -> KindRow {
    KindRow {
        kind,
        http_status,
        python,
        exit_code,
        is_retryable,
    }
}

impl Kind {
    /// Every kind with its faces, in the order of the enum.
    pub const TABLE: [KindRow; 10] = [
        row(Kind::InvalidRequest, 400, "InvalidRequestError", 2, false),
        row(Kind::NotFound, 404, "NotFoundError", 2, false),
        row(Kind::Unsupported, 400, "UnsupportedError", 3, false),
        row(Kind::Corrupt, 500, "CorruptModelError", 3, false),
        row(Kind::Overloaded, 429, "OverloadedError", 4, true),
        row(Kind::Draining, 503, "DrainingError", 4, true),
        row(Kind::Deadline, 504, "DeadlineError", 4, false),
        row(Kind::Cancelled, 0, "CancelledError", 130, false),
        row(Kind::Io, 500, "TokenmillIoError", 3, true),
        row(Kind::Internal, 500, "InternalError", 1, false),
    ];

    /// This kind's row of the table.
    pub const fn row(self) -> KindRow {
        Self::TABLE[self as usize]
    }
}

/// Implemented by the `Error` enum of every crate.
pub trait HasKind {
    /// The class of this failure.
    fn kind(&self) -> Kind;

    /// The option or field at fault, where one is.
    fn param(&self) -> Option<&str> {
        None
    }

    /// What a client can test for, finer than the kind: a snake_case name.
    fn code(&self) -> Option<&'static str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn table_is_in_the_order_of_the_enum() {
        for (index, row) in Kind::TABLE.iter().enumerate() {
            assert_eq!(row.kind as usize, index);
            assert_eq!(row.kind.row(), *row);
        }
    }
}
