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
use crate::file::ReadAt;
use crate::limits::HeaderLimits;

/// Parses a GGUF file that is already in memory; `file` names it in messages.
pub fn parse(
    file: &str,
    bytes: &[u8],
    limits: &HeaderLimits,
) -> Result<(Metadata, Vec<TensorInfo>)> {
    read_header(&InMemory { name: file, bytes }, limits)
}

/// Bytes in memory behind the reader that files use.
struct InMemory<'a> {
    name: &'a str,
    bytes: &'a [u8],
}

impl ReadAt for InMemory<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let source = start
            .checked_add(out.len())
            .and_then(|end| self.bytes.get(start..end));
        let changed = || crate::error::Error::Changed {
            file: self.name.to_owned(),
        };
        out.copy_from_slice(source.ok_or_else(changed)?);
        Ok(())
    }
}
