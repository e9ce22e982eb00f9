//! The engine's end of a request: sends events and makes sure that every sample ends exactly once. Dropping
//! it ends the samples still open, so a request lost on the way (a closing engine, a full shutdown) never
//! leaves its caller waiting. It also holds the request's seat.

use std::sync::Arc;

use tokenmill_core::event::Finish;
use tokenmill_core::{Event, Failure, FinishReason, Kind, SamplingParams};

use crate::door::mailbox::Mailbox;
use crate::door::pace::Pace;
use crate::door::ranking::Ranking;
use crate::door::seat::Seat;
use crate::stats::Stats;

/// Sends to one caller.
#[derive(Debug)]
pub(crate) struct Outbox {
    mailbox: Arc<Mailbox>,
    open: Vec<bool>,
    pace: Option<Pace>,
    ranking: Option<Ranking>,
    /// The prompt's text, and which samples still begin with it.
    echo: Option<(String, Vec<bool>)>,
    seat: Seat,
}

impl Outbox {
    /// For the samples of a request; takes over the seat.
    pub fn new(mailbox: Arc<Mailbox>, params: &SamplingParams, seat: Seat) -> Self {
        Self {
            mailbox,
            open: vec![true; params.samples() as usize],
            pace: Pace::of(params),
            ranking: Ranking::of(params),
            echo: None,
            seat,
        }
    }

    /// The same for a request whose text begins with its prompt.
    pub fn with_echo(mut self, prompt: Option<String>) -> Self {
        self.echo = prompt.map(|prompt| (prompt, vec![true; self.open.len()]));
        self
    }

    /// Whether the caller went away.
    pub fn is_reader_gone(&self) -> bool {
        self.mailbox.is_reader_gone()
    }

    /// Whether every sample has ended.
    pub fn is_done(&self) -> bool {
        !self.open.contains(&true)
    }

    /// Sends an event of an open sample.
    pub fn send(&mut self, mut event: Event) {
        let index = event.index as usize;
        assert!(self.open[index], "an event after the end of sample {index}");
        if event.finish.is_some() {
            self.open[index] = false;
        }
        self.begin_with_prompt(&mut event);
        let Some(ranking) = &mut self.ranking else {
            return self.pass(event);
        };
        ranking.hold(event);
        if self.is_done() {
            let best = self.ranking.as_mut().map(Ranking::best);
            best.into_iter()
                .flatten()
                .for_each(|event| self.pass(event));
        }
    }

    /// What failed before its first token has no text.
    fn begin_with_prompt(&mut self, event: &mut Event) {
        let is_failed = event
            .finish
            .as_ref()
            .is_some_and(|finish| finish.error.is_some());
        let Some((prompt, is_due)) = self.echo.as_mut().filter(|_| !is_failed) else {
            return;
        };
        if std::mem::take(&mut is_due[event.index as usize]) {
            event.text.insert_str(0, prompt);
        }
    }

    fn pass(&mut self, event: Event) {
        let due = match &mut self.pace {
            None => Some(event),
            Some(pace) => pace.pass(event),
        };
        if let Some(event) = due {
            self.mailbox.send(event);
        }
    }

    /// Ends every open sample.
    pub fn end(&mut self, reason: FinishReason, error: Option<&Failure>) {
        for index in 0..self.open.len() {
            if self.open[index] {
                let mut finish = Finish::new(reason);
                finish.error = error.cloned().map(Box::new);
                let mut event = Event::new(index as u32);
                event.finish = Some(finish);
                self.send(event);
            }
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let closing = Failure::new(Kind::Draining, "the engine is closing");
        self.end(FinishReason::Error, Some(&closing));
        Stats::add(&self.seat.stats().requests_ended, 1);
    }
}
