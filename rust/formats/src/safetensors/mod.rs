//! safetensors: one file, or shards named by an index.

mod dtype;
mod header;
mod index;

pub(crate) use header::read_header;
pub(crate) use index::read_index;
