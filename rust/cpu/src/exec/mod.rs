//! Running a plan: the loaded model, the memory of a step, and the phases. Knows rows, blocks and slots; knows
//! no request and no file format.

mod check;
mod hidden;
mod items;
mod load;
mod memory;
mod phases;
mod preview;
mod routes;
mod rows;
#[cfg(test)]
mod tests;
mod walk;

pub use preview::Preview;
pub(crate) use walk::Loaded;

use tokenmill_model::Error;

/// The backend's name in errors.
pub(crate) const NAME: &str = "cpu";

/// An invariant broke.
pub(crate) fn internal(what: impl Into<String>) -> Error {
    Error::Internal {
        backend: NAME,
        what: what.into(),
    }
}

/// Understood, but not done here.
pub(crate) fn unsupported(what: impl Into<String>) -> Error {
    Error::Unsupported {
        what: what.into(),
        by: NAME.to_owned(),
    }
}
