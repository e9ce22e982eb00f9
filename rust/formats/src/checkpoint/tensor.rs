//! One tensor as its header announced it, after every check: its bytes lie inside its file, and their number
//! is exactly what encoding and shape need.

use crate::encoding::Encoding;
use crate::error::{Error, Result, echo};

/// A checked tensor header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the checkpoint.
    pub name: String,
    /// How its bytes encode elements.
    pub encoding: Encoding,
    /// Row-major: `[outputs, inputs]`, or `[n]`, or empty for a scalar.
    pub shape: Vec<usize>,
    /// Index of its file or memory piece.
    pub(crate) store: usize,
    /// Position of its first byte there.
    pub(crate) offset: u64,
    /// Number of its bytes.
    pub(crate) bytes: u64,
}

impl TensorInfo {
    /// Bytes in the file.
    pub const fn len_bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of elements. It cannot overflow: the header check bounded the bytes.
    pub fn elements(&self) -> usize {
        self.shape
            .iter()
            .fold(1, |product, &dim| product.saturating_mul(dim))
    }
}

/// Refuses names that are empty, too long, or could be taken for a path or break a message.
pub(crate) fn check_name(file: &str, what: &str, name: &str, len_max_bytes: usize) -> Result<()> {
    let is_plain =
        !name.is_empty() && !name.contains(['/', '\\']) && !name.contains(char::is_control);
    if is_plain && name.len() <= len_max_bytes {
        return Ok(());
    }
    let expected =
        format!("a name of 1 to {len_max_bytes} bytes without slashes and control characters");
    Err(Error::corrupt(
        file,
        what,
        expected,
        format!("{} ({} bytes)", echo(name), name.len()),
    ))
}
