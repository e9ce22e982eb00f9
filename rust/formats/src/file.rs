//! An open weight file: a regular file, read at positions into owned memory, never mapped (a mapped file that
//! shrinks kills the process). Size and time stamp are compared with those at opening after every read, so
//! that what was read is what the header described, or an error.

use std::fs::{File, FileType, Metadata};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::time::SystemTime;

use crate::error::{Error, Result, echo, echo_path, file_name};

/// Anything with a length that can be read at a position: a file, or bytes in memory.
pub(crate) trait ReadAt {
    /// Name for messages.
    fn name(&self) -> &str;
    /// Total length in bytes.
    fn len(&self) -> u64;
    /// Fills `out` from `offset` on, or fails; the caller has compared both with `len`.
    fn read_at(&self, out: &mut [u8], offset: u64) -> Result<()>;
}

/// Bytes in memory behind the reader that files use.
pub(crate) struct InMemory<'a> {
    pub(crate) name: &'a str,
    pub(crate) bytes: &'a [u8],
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
        let changed = || Error::Changed {
            file: self.name.to_owned(),
        };
        out.copy_from_slice(source.ok_or_else(changed)?);
        Ok(())
    }
}

/// A regular file with the size and time stamp it had when it was opened.
#[derive(Debug)]
pub(crate) struct WeightFile {
    file: File,
    name: String,
    len: u64,
    modified: Option<SystemTime>,
}

impl WeightFile {
    /// Opens `path` if it is a regular file. The type is asked before opening: opening a pipe would wait.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::io(path, "a file", source);
        check_regular(path, &std::fs::metadata(path).map_err(io)?)?;
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        check_regular(path, &metadata)?;
        Ok(Self {
            file,
            name: file_name(path),
            len: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    /// Fails if size or time stamp are no longer those at opening.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let changed = || Error::Changed {
            file: self.name.clone(),
        };
        let now = self.file.metadata().map_err(|_| changed())?;
        if now.len() == self.len && now.modified().ok() == self.modified {
            Ok(())
        } else {
            Err(changed())
        }
    }
}

impl ReadAt for WeightFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> Result<()> {
        let outcome = self.file.read_exact_at(out, offset);
        self.check_unchanged()?;
        outcome.map_err(|source| Error::Io {
            path: self.name.clone(),
            source,
        })
    }
}

/// Reads a whole side file of at most `limit_bytes`. Folders, pipes and devices are refused by name.
pub fn read_small(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let file = WeightFile::open(path)?;
    let len = file.len;
    if len > limit_bytes {
        return Err(Error::corrupt(
            &file.name,
            "file size",
            format!("at most {limit_bytes} bytes"),
            len,
        ));
    }
    let mut bytes = zeroed(&file.name, len)?;
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A buffer of `len` bytes, or an error instead of an abort. `what` is named in it.
pub(crate) fn zeroed(what: &str, len: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    resize(what, &mut bytes, len)?;
    Ok(bytes)
}

/// Makes `bytes` exactly `len` long, or fails without aborting.
pub(crate) fn resize(what: &str, bytes: &mut Vec<u8>, len: u64) -> Result<()> {
    let refused = || Error::Memory {
        what: echo(what),
        needed_bytes: len,
    };
    let len = usize::try_from(len).map_err(|_| refused())?;
    bytes
        .try_reserve_exact(len.saturating_sub(bytes.len()))
        .map_err(|_| refused())?;
    bytes.resize(len, 0);
    Ok(())
}

/// Refuses what is no regular file, by its name and kind.
pub(crate) fn check_regular(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(Error::NotAFile {
        path: echo_path(path),
        got: describe(metadata.file_type()),
    })
}

fn describe(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "folder"
    } else if kind.is_fifo() {
        "pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}
