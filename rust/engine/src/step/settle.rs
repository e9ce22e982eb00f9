//! The end of a step: what it found out goes to the scheduler, into the samples, and to the callers.

use tokenmill_core::{Event, Failure, FinishReason, SequenceId, TokenLogprobs};
use tokenmill_decode::{Choice, Sampler, Selection};

use crate::stats::Stats;
use crate::step::engine::Engine;
use crate::step::growth::search::Found;
use crate::step::growth::sequence::Sequence;
use crate::step::growth::{Grown, Growth, Outcome};
use crate::step::meter::Part;

impl Engine {
    /// Tells the scheduler and the callers what the step found out.
    pub(super) fn settle(&mut self) {
        self.meter.start();
        let outcomes = std::mem::take(&mut self.outcomes);
        // Failed sequences leave before the commit: what they computed must not be published.
        for outcome in &outcomes {
            if let Outcome::Failed(id, failure) = outcome
                && let Some(growth) = self.sequences.get(id)
            {
                let request = growth.request();
                self.end_request(request, FinishReason::Error, Some(failure));
            }
        }
        self.scheduler.commit();
        let mut outcomes = outcomes;
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Grown(id, Grown::Token(choice, forks)) => {
                    for (index, sampler, choice) in forks {
                        self.settle_fork(id, index, sampler, choice);
                    }
                    self.settle_token(id, choice);
                }
                Outcome::Grown(id, Grown::Beams(selection)) => self.settle_beams(id, &selection),
                Outcome::Grown(id, Grown::Search(found)) => self.settle_search(id, found),
                Outcome::Scored(id, entries) => self.settle_score(id, entries),
                Outcome::Failed(..) => {}
            }
        }
        self.outcomes = outcomes;
        self.scheduler.check();
        Stats::add(&self.shared.stats.steps, 1);
        self.meter.end(Part::Publish, &self.shared.stats);
    }

    fn settle_score(&mut self, id: SequenceId, entries: TokenLogprobs) {
        let live = self
            .sequences
            .get(&id)
            .and_then(|growth| self.lives.get_mut(&growth.request()));
        if let Some(live) = live {
            live.prompt_logprobs.push(entries);
        }
    }

    fn settle_token(&mut self, id: SequenceId, choice: Choice) {
        let Some(Growth::Sample(sequence)) = self.sequences.get_mut(&id) else {
            return;
        };
        let Some(live) = self.lives.get_mut(&sequence.request) else {
            return;
        };
        sequence.forks_due = 0;
        let token = choice.token;
        let mut event = sequence.commit(choice, live, self.vocabulary.eos(), self.faults);
        if event.index == 0 {
            event.prompt_logprobs = std::mem::take(&mut live.prompt_logprobs);
        }
        Stats::add(
            &self.shared.stats.tokens,
            u64::from(live.output_len_max > 0),
        );
        let request = sequence.request;
        if event.finish.is_some() {
            self.add_figures(id, &mut event);
            self.scheduler.finish(id);
            self.sequences.remove(&id);
        } else {
            self.scheduler.append(id, token);
        }
        self.send(request, event);
    }

    fn settle_fork(&mut self, parent: SequenceId, index: u32, sampler: Sampler, choice: Choice) {
        let Some(request) = self.sequences.get(&parent).map(Growth::request) else {
            return;
        };
        let Some(live) = self.lives.get(&request) else {
            return;
        };
        let mut child = Sequence::new(request, index, sampler, live, &self.shared.lexicon);
        let token = choice.token;
        let mut event = child.commit(choice, live, self.vocabulary.eos(), self.faults);
        Stats::add(
            &self.shared.stats.tokens,
            u64::from(live.output_len_max > 0),
        );
        if event.finish.is_some() {
            self.add_figures(parent, &mut event);
        } else {
            let id = self.next_sequence_id();
            let forked = self.scheduler.fork(parent, id, token);
            forked.expect("a sequence that was just sampled can be forked");
            self.sequences.insert(id, Growth::Sample(Box::new(child)));
        }
        self.send(request, event);
    }

    /// The beams that go on take the places of those there were; at the end of the search all outputs end.
    fn settle_beams(&mut self, id: SequenceId, selection: &Selection) {
        let Some(Growth::Beams(beams)) = self.sequences.get_mut(&id) else {
            return;
        };
        let request = beams.request;
        let Some(live) = self.lives.get_mut(&request) else {
            return;
        };
        let mut events = if selection.is_done {
            match self.sequences.remove(&id) {
                Some(Growth::Beams(beams)) => beams.finish(live, self.vocabulary.eos()),
                _ => Vec::new(),
            }
        } else {
            beams.settled_events()
        };
        if let Some(event) = events.first_mut() {
            event.prompt_logprobs = std::mem::take(&mut live.prompt_logprobs);
        }
        let tokens: usize = events.iter().map(|event| event.tokens.len()).sum();
        Stats::add(&self.shared.stats.tokens, tokens as u64);
        for event in &mut events {
            self.add_figures(id, event);
        }
        if selection.is_done {
            self.scheduler.finish(id);
        } else {
            self.scheduler.branch(id, &selection.children);
        }
        for event in events {
            self.send(request, event);
        }
    }

    /// A search's chosen candidate is committed, and those behind it take its place.
    fn settle_search(&mut self, id: SequenceId, found: Found) {
        let Some(Growth::Search(search)) = self.sequences.get_mut(&id) else {
            return;
        };
        let request = search.sequence.request;
        let Some(live) = self.lives.get_mut(&request) else {
            return;
        };
        let (event, children) = search.settle(found, live, self.vocabulary.eos(), self.faults);
        if let Some(mut event) = event {
            event.prompt_logprobs = std::mem::take(&mut live.prompt_logprobs);
            Stats::add(&self.shared.stats.tokens, 1);
            let is_end = event.finish.is_some();
            if is_end {
                self.add_figures(id, &mut event);
                self.scheduler.finish(id);
                self.sequences.remove(&id);
            }
            self.send(request, event);
            if is_end {
                return;
            }
        }
        match children {
            Ok(children) => self.scheduler.branch(id, &children),
            Err(error) => {
                let failure = Failure::of(&error);
                self.end_request(request, FinishReason::Error, Some(&failure));
            }
        }
    }

    fn add_figures(&self, id: SequenceId, event: &mut Event) {
        if let Some(finish) = &mut event.finish {
            finish.cached_tokens = self.scheduler.cached_tokens(id).unwrap_or(0) as u32;
            finish.created_tokens = self.scheduler.created_tokens(id).unwrap_or(0) as u32;
            finish.preemptions = self.scheduler.preemptions(id).unwrap_or(0);
        }
    }

    fn send(&mut self, request: tokenmill_core::RequestId, event: Event) {
        let Some(live) = self.lives.get_mut(&request) else {
            return;
        };
        live.outbox.send(event);
        if live.outbox.is_done() {
            self.lives.remove(&request);
        }
    }
}
