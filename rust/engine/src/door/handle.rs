//! The caller's end of a request. Dropping it cancels: the engine sees that at its next plan and frees
//! the blocks there. It holds no lock while the caller is not reading.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokenmill_core::{Event, RequestId, SamplingParams, TokenId};

use crate::door::Shared;
use crate::door::mailbox::{Mailbox, Received};
use crate::error::{Error, Result};
use crate::primitives::AtomicBool;

/// One accepted request. Events are read by iterating (which blocks), with a time limit ([`Handle::receive`]) or
/// awaited ([`Handle::next_event`]), from any thread; dropping the handle cancels the request.
#[derive(Debug)]
pub struct Handle {
    pub(crate) id: RequestId,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) prompt: Arc<[TokenId]>,
    pub(crate) params: Arc<SamplingParams>,
    pub(crate) seed: i64,
    pub(crate) is_cancelled: AtomicBool,
}

impl Handle {
    /// The engine's number for this request.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// The prompt as the model sees it.
    pub fn prompt_tokens(&self) -> &[TokenId] {
        &self.prompt
    }

    /// The parameters after defaults.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// The seed in use, drawn at submit where none was given.
    pub fn seed(&self) -> i64 {
        self.seed
    }

    /// Whether the engine still owes events that it has not sent.
    pub fn is_open(&self) -> bool {
        !self.shared.is_forked() && self.mailbox.is_open()
    }

    /// Waits for the next event, at most `timeout`.
    // hop 6.3: the caller takes it
    pub fn receive(&self, timeout: Option<Duration>) -> Received {
        if self.shared.is_forked() {
            return Received::Ended;
        }
        self.mailbox.receive(timeout)
    }

    /// Ends the request, whoever still reads: readers find the end, and the engine frees its blocks at its
    /// next plan.
    pub fn cancel(&self) {
        if self.shared.is_forked() || self.is_cancelled.swap(true, Ordering::AcqRel) {
            return;
        }
        self.mailbox.leave();
        let handles = &self.shared.stats.handles_open;
        handles.fetch_sub(1, Ordering::Relaxed);
        // Only for an idle engine; the mailbox's flag is the truth.
        self.shared.wake();
    }

    /// Refuses a process that was forked from the one that loaded the engine.
    pub fn refuse_forked(&self) -> Result<()> {
        if self.shared.is_forked() {
            return Err(Error::Forked);
        }
        Ok(())
    }

    /// The next event for an async reader; `None` when every sample has ended.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.shared.is_forked() {
            return Poll::Ready(None);
        }
        self.mailbox.poll(context)
    }

    /// Awaits the next event; `None` when every sample has ended.
    pub async fn next_event(&self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }
}

impl Iterator for Handle {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        match self.receive(None) {
            Received::Event(event) => Some(event),
            Received::Ended | Received::TimedOut => None,
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.cancel();
    }
}
