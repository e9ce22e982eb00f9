//! How the engine's thread wakes an event loop of Python: it notes which request has news and writes one
//! byte to a socket that the loop watches. It never waits for the GIL, and never for the loop: a full socket
//! has woken it already.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use pyo3::prelude::*;

/// One event loop's end of all its requests.
#[pyclass(frozen, module = "tokenmill._tokenmill")]
pub(crate) struct Bell {
    heard: UnixStream,
    line: Arc<Line>,
}

struct Line {
    rung: UnixStream,
    /// Requests with news that the loop has not taken.
    keys: Mutex<Vec<u64>>,
}

/// Rings for one request.
struct Rope {
    line: Arc<Line>,
    key: u64,
}

impl Bell {
    /// What a mailbox wakes.
    pub(crate) fn waker(&self, key: u64) -> Waker {
        Waker::from(Arc::new(Rope {
            line: self.line.clone(),
            key,
        }))
    }
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        let keys = &self.line.keys;
        keys.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.key);
        // Nothing to do where it fails: the loop is closed, or bytes are waiting for it.
        let _ = (&self.line.rung).write(&[0]);
    }
}

#[pymethods]
impl Bell {
    #[new]
    fn new() -> PyResult<Self> {
        let (heard, rung) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let line = Line {
            rung,
            keys: Mutex::new(Vec::new()),
        };
        Ok(Self {
            heard,
            line: Arc::new(line),
        })
    }

    /// What an event loop watches for reading.
    fn fileno(&self) -> RawFd {
        self.heard.as_raw_fd()
    }

    /// The keys of requests with news since the last call.
    fn take(&self) -> Vec<u64> {
        let mut bytes = [0; 256];
        // Emptied first: a request that rings after its key is taken is heard again.
        while let Ok(256) = (&self.heard).read(&mut bytes) {}
        let keys = &self.line.keys;
        std::mem::take(&mut *keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
