//! safetensors: one file, or shards named by an index.

mod dtype;
mod header;
mod index;

pub(crate) use header::read_header;
pub(crate) use index::read_index;

use crate::checkpoint::TensorInfo;
use crate::error::Result;
use crate::file::InMemory;
use crate::limits::HeaderLimits;

/// Parses a safetensors file that is already in memory; `file` names it in messages.
pub fn parse(file: &str, bytes: &[u8], limits: &HeaderLimits) -> Result<Vec<TensorInfo>> {
    read_header(&InMemory { name: file, bytes }, 0, limits)
}
