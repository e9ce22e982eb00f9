//! A forward reader over a GGUF header. It fetches the file piecewise, knows how many bytes are left before
//! the end of the file or the header limit, and refuses a claim larger than that before allocating for it.

use crate::error::{Error, Result};
use crate::file::{ReadAt, resize};

/// Bytes fetched at a time, and the least number kept in memory.
const CHUNK_LEN: usize = 256 << 10;

/// Reads integers and strings in order.
pub(super) struct Cursor<'a, R: ReadAt> {
    source: &'a R,
    /// Bytes `position - buffer.len() + start ..` of the file.
    buffer: Vec<u8>,
    /// First unread byte of `buffer`.
    start: usize,
    /// File position behind `buffer`.
    position: u64,
    /// End of the file, or of what the header may take.
    end: u64,
}

impl<'a, R: ReadAt> Cursor<'a, R> {
    /// At the start of `source`; the header may take `len_max` bytes.
    pub(super) fn new(source: &'a R, len_max: u64) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
            position: 0,
            end: source.len().min(len_max),
        }
    }

    /// Name of the file.
    pub(super) fn file(&self) -> &str {
        self.source.name()
    }

    /// Position of the next byte in the file.
    pub(super) fn at(&self) -> u64 {
        self.position.saturating_sub(self.buffered() as u64)
    }

    /// Bytes that may still be read.
    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.at())
    }

    fn buffered(&self) -> usize {
        self.buffer.len().saturating_sub(self.start)
    }

    /// The next `len` bytes, which belong to `field`.
    pub(super) fn bytes(&mut self, len: usize, field: &str) -> Result<&[u8]> {
        if len as u64 > self.left() {
            let expected = format!("{len} bytes inside the header");
            return Err(self.corrupt(field, expected, format!("{} bytes left", self.left())));
        }
        if len > self.buffered() {
            self.fill(len)?;
        }
        let start = self.start;
        let end = start.saturating_add(len);
        self.start = end;
        // `fill` made the range valid; were it not, the answer would be a refusal and not a panic.
        let file = self.source.name();
        self.buffer.get(start..end).ok_or_else(|| Error::Changed {
            file: file.to_owned(),
        })
    }

    /// Drops what was read and fetches until `len` bytes are there.
    fn fill(&mut self, len: usize) -> Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let have = self.buffer.len();
        let room = self.end.saturating_sub(self.position);
        let more = (len.max(CHUNK_LEN).saturating_sub(have) as u64).min(room);
        resize(
            self.source.name(),
            &mut self.buffer,
            (have as u64).saturating_add(more),
        )?;
        if let Some(fresh) = self.buffer.get_mut(have..) {
            self.source.read_at(fresh, self.position)?;
        }
        self.position = self.position.saturating_add(more);
        Ok(())
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        let file = self.source.name();
        let bytes = self.bytes(N, field)?;
        bytes.try_into().map_err(|_| Error::Changed {
            file: file.to_owned(),
        })
    }

    /// A little-endian u32.
    pub(super) fn u32(&mut self, field: &str) -> Result<u32> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A little-endian u64.
    pub(super) fn u64(&mut self, field: &str) -> Result<u64> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A count of things that take at least `least_bytes` each: bounded by `max` and by the bytes left.
    pub(super) fn count(&mut self, field: &str, least_bytes: u64, max: usize) -> Result<usize> {
        let count = self.u64(field)?;
        let fits = self.left().checked_div(least_bytes).unwrap_or(0);
        match usize::try_from(count) {
            Ok(count) if count as u64 <= fits && count <= max => Ok(count),
            _ => Err(self.corrupt(
                field,
                format!("a count of at most {}", fits.min(max as u64)),
                count,
            )),
        }
    }

    /// A length-prefixed UTF-8 string of at most `max` bytes.
    pub(super) fn string(&mut self, field: &str, max: usize) -> Result<String> {
        let len = self.count(field, 1, max)?;
        let bytes = self.bytes(len, field)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.corrupt(field, "valid UTF-8", "other bytes"))
    }

    /// A contradiction in this file.
    pub(super) fn corrupt(
        &self,
        field: &str,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Error {
        Error::corrupt(self.source.name(), field, expected, got)
    }
}
