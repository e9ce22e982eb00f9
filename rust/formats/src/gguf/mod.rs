//! GGUF 2 and 3: header, metadata, tensor table. Big-endian files, version 1 and split files are refused by
//! name, as are the element types whose code books we do not carry.

mod cursor;
mod element_type;
mod header;
mod metadata;
mod value;

pub(crate) use header::read_header;
pub use metadata::Metadata;
pub use value::{Array, Value};

use crate::checkpoint::TensorInfo;
use crate::error::Result;
use crate::file::InMemory;
use crate::limits::HeaderLimits;

/// Parses a GGUF file that is already in memory; `file` names it in messages.
pub fn parse(
    file: &str,
    bytes: &[u8],
    limits: &HeaderLimits,
) -> Result<(Metadata, Vec<TensorInfo>)> {
    read_header(&InMemory { name: file, bytes }, limits)
}
