//! The bounded channel of the standard library as the engine uses it, over loom's lock: loom has none of
//! its own. Senders are never counted, since an engine holds one itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{RecvError, SendError, TryRecvError, TrySendError};

use loom::sync::{Condvar, Mutex};

#[derive(Debug)]
struct Channel<T> {
    queue: Mutex<(VecDeque<T>, bool)>,
    changed: Condvar,
    room: usize,
}

/// The way in.
#[derive(Debug)]
pub(crate) struct SyncSender<T>(Arc<Channel<T>>);

/// The way out.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Channel<T>>);

/// A channel for `room` values.
pub(crate) fn sync_channel<T>(room: usize) -> (SyncSender<T>, Receiver<T>) {
    let channel = Arc::new(Channel {
        queue: Mutex::new((VecDeque::new(), false)),
        changed: Condvar::new(),
        room,
    });
    (SyncSender(channel.clone()), Receiver(channel))
}

impl<T> SyncSender<T> {
    pub(crate) fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut queue = self.0.queue.lock().unwrap();
        while !queue.1 && queue.0.len() == self.0.room {
            queue = self.0.changed.wait(queue).unwrap();
        }
        if queue.1 {
            return Err(SendError(value));
        }
        queue.0.push_back(value);
        drop(queue);
        self.0.changed.notify_all();
        Ok(())
    }

    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut queue = self.0.queue.lock().unwrap();
        if queue.1 {
            return Err(TrySendError::Disconnected(value));
        }
        if queue.0.len() == self.0.room {
            return Err(TrySendError::Full(value));
        }
        queue.0.push_back(value);
        drop(queue);
        self.0.changed.notify_all();
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        let mut queue = self.0.queue.lock().unwrap();
        loop {
            if let Some(value) = queue.0.pop_front() {
                drop(queue);
                self.0.changed.notify_all();
                return Ok(value);
            }
            queue = self.0.changed.wait(queue).unwrap();
        }
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let value = self.0.queue.lock().unwrap().0.pop_front();
        if value.is_some() {
            self.0.changed.notify_all();
        }
        value.ok_or(TryRecvError::Empty)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Values still queued are dropped outside the lock: their own ends may look at other locks.
        let left = {
            let mut queue = self.0.queue.lock().unwrap();
            queue.1 = true;
            std::mem::take(&mut queue.0)
        };
        drop(left);
        self.0.changed.notify_all();
    }
}
