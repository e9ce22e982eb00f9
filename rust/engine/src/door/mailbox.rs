//! The one queue from the engine to a caller: bounded, never blocking the engine, never losing a token.
//! A full queue coalesces: the newest event of a sample absorbs the next one, so its memory is bounded by
//! the tokens the request was priced for. The reader may block, poll with a time limit, or await.
//! It knows events and nothing of blocks or sequences.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokenmill_core::Event;

use crate::primitives::{Condvar, Mutex, MutexGuard};

/// The shared part: both ends hold an `Arc` of it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    arrived: Condvar,
    events_max: usize,
}

#[derive(Debug)]
struct State {
    events: VecDeque<Event>,
    /// Samples that have not sent their last event.
    samples_open: u32,
    is_reader_gone: bool,
    /// Of every task that waits; several may share one handle.
    wakers: Vec<Waker>,
}

/// What a read found.
#[derive(Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is read at once and never stored"
)]
pub enum Received {
    /// The next event.
    Event(Event),
    /// Nothing within the time given.
    TimedOut,
    /// Every sample has ended and every event was read.
    Ended,
}

impl Mailbox {
    /// A queue of at most `events_max` events for `samples` samples.
    pub(crate) fn new(samples: u32, events_max: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                events: VecDeque::new(),
                samples_open: samples,
                is_reader_gone: false,
                wakers: Vec::new(),
            }),
            arrived: Condvar::new(),
            events_max: events_max.max(1),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held can only be an allocation failure; the state stays consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event; the last one of a sample carries `finish`.
    // hop 6.2: the event is queued for the caller, never waiting for it
    pub(crate) fn send(&self, event: Event) {
        let mut state = self.lock();
        if state.is_reader_gone {
            return;
        }
        if event.finish.is_some() {
            state.samples_open = state.samples_open.saturating_sub(1);
        }
        if state.events.len() < self.events_max {
            state.events.push_back(event);
        } else {
            merge(&mut state.events, event);
        }
        let wakers = std::mem::take(&mut state.wakers);
        let is_over = state.samples_open == 0;
        drop(state);
        if is_over {
            // Whoever else waits would wait for ever.
            self.arrived.notify_all();
        } else {
            self.arrived.notify_one();
        }
        // All of them look; those that find nothing wait again.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether the caller dropped its end.
    pub(crate) fn is_reader_gone(&self) -> bool {
        self.lock().is_reader_gone
    }

    /// Whether a sample has not sent its last event.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().samples_open > 0
    }

    /// The caller's end is gone: events are dropped from now on, and whoever still reads finds the end.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.is_reader_gone = true;
        state.events = VecDeque::new();
        state.samples_open = 0;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.arrived.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits for the next event until `deadline`, or without limit.
    pub(crate) fn receive(&self, timeout: Option<Duration>) -> Received {
        // A time too far away to name is no limit.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                return Received::Event(event);
            }
            if state.samples_open == 0 {
                return Received::Ended;
            }
            #[cfg(loom)]
            if crate::primitives::has(crate::primitives::Bug::SleepWithoutLooking) {
                drop(state);
                state = self.lock();
            }
            state = match deadline {
                None => self
                    .arrived
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return Received::TimedOut;
                    }
                    let left = deadline - now;
                    self.arrived
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    /// The next event for an async reader; `None` at the end.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.lock();
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.samples_open == 0 {
            return Poll::Ready(None);
        }
        let waker = context.waker();
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        Poll::Pending
    }
}

/// Appends `event` to the newest queued event of its sample, or queues it: at most one extra per sample.
fn merge(events: &mut VecDeque<Event>, event: Event) {
    match events
        .iter_mut()
        .rev()
        .find(|queued| queued.index == event.index)
    {
        Some(queued) => queued.absorb(event),
        None => events.push_back(event),
    }
}

#[cfg(test)]
mod tests {
    use super::{Mailbox, Received};
    use std::time::Duration;
    use tokenmill_core::event::Finish;
    use tokenmill_core::{Event, FinishReason};

    fn event(index: u32, token: u32, is_last: bool) -> Event {
        let mut event = Event::new(index);
        event.tokens.push(token);
        event.text = token.to_string();
        event.finish = is_last.then_some(Finish::new(FinishReason::Length));
        event
    }

    #[test]
    fn a_full_mailbox_coalesces_and_loses_nothing() {
        let mailbox = Mailbox::new(2, 3);
        for token in 0..20 {
            mailbox.send(event(token % 2, token, token >= 18));
        }
        let (mut tokens, mut texts) = ([Vec::new(), Vec::new()], [String::new(), String::new()]);
        while let Received::Event(event) = mailbox.receive(None) {
            tokens[event.index as usize].extend(event.tokens);
            texts[event.index as usize].push_str(&event.text);
        }
        assert_eq!(tokens[0], (0..20).step_by(2).collect::<Vec<u32>>());
        assert_eq!(tokens[1], (1..20).step_by(2).collect::<Vec<u32>>());
        assert_eq!(texts[0], "024681012141618");
        assert_eq!(mailbox.receive(None), Received::Ended);
    }

    #[test]
    fn the_end_wakes_every_reader() {
        let mailbox = Mailbox::new(1, 3);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| mailbox.receive(Some(Duration::from_secs(20)))))
                .collect();
            // Readers that come late find the end without waiting; the others must be woken.
            std::thread::sleep(Duration::from_millis(50));
            mailbox.send(event(0, 1, true));
            let read: Vec<_> = readers.into_iter().map(|r| r.join().unwrap()).collect();
            assert!(!read.contains(&Received::TimedOut), "{read:?}");
        });
    }

    #[test]
    fn an_empty_mailbox_times_out_and_a_left_one_drops() {
        let mailbox = Mailbox::new(1, 3);
        assert_eq!(
            mailbox.receive(Some(Duration::from_millis(1))),
            Received::TimedOut
        );
        mailbox.leave();
        mailbox.send(event(0, 1, false));
        assert!(mailbox.is_reader_gone());
        assert_eq!(mailbox.receive(Some(Duration::ZERO)), Received::Ended);
    }
}
