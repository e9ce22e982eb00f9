//! The engine: one value, one `step()`. A step admits what arrived, drops what was cancelled, plans, runs
//! the backend, samples, and publishes. It owns the only mutable state; a thread or a test drives it. It
//! reads no clock but the one it was given, starts no thread, and frees blocks nowhere else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;
use tokenmill_core::{Failure, FinishReason, Kind, RequestId, SequenceId, TokenId};
use tokenmill_decode::{Scratch, Vocabulary};
use tokenmill_model::{Backend, StepBatch};
use tokenmill_sched::{NewSequence, Scheduler, Scope};

use crate::door::{Admitted, Command, Phase, Shared};
use crate::primitives::Receiver;
use crate::stats::Stats;
use crate::step::growth::beams::Beams;
use crate::step::growth::search::Search;
use crate::step::growth::sequence::Sequence;
use crate::step::growth::{Growth, Outcome};
use crate::step::live::Live;
use crate::step::meter::Meter;
use crate::step::planted::{Faults, Planted};
use crate::step::source::Sources;

/// What a step found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Rows were run.
    Ran,
    /// Nothing is runnable until a command arrives.
    Idle,
    /// Closed, or drained: the engine is done.
    Done,
}

/// The engine.
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) scheduler: Scheduler,
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) lives: FxHashMap<RequestId, Live>,
    pub(crate) sequences: FxHashMap<SequenceId, Growth>,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) next_sequence: u64,
    pub(crate) batch: StepBatch,
    pub(crate) scratch: Scratch,
    pub(crate) sources: Sources,
    pub(crate) outcomes: Vec<Outcome>,
    /// Rows of a group, one after another.
    pub(crate) group_rows: Vec<f32>,
    pub(crate) meter: Meter,
    /// Keys the scopes of the prefix cache.
    pub(crate) secret: [u8; 32],
    pub(crate) faults: Faults,
    pub(crate) was_idle: bool,
}

impl Engine {
    /// Does one turn.
    pub fn step(&mut self) -> Step {
        if !(self.was_idle && self.faults.has(Planted::LostWakeUp)) {
            self.receive();
        }
        self.sweep();
        if self.shared.phase() >= Phase::Closing {
            self.end_all();
            return Step::Done;
        }
        let has_run = self.run_plan();
        self.was_idle = !has_run;
        self.publish_gauges();
        if has_run {
            return Step::Ran;
        }
        if self.shared.phase() == Phase::Draining && self.lives.is_empty() {
            Step::Done
        } else {
            Step::Idle
        }
    }

    /// Whether every request has ended.
    pub fn is_idle(&self) -> bool {
        self.lives.is_empty()
    }

    /// Checks the books; panics if they do not balance.
    pub fn check(&self) {
        self.scheduler.check_full();
    }

    /// Stops the backend; every open request has ended.
    pub(crate) fn close(&mut self) {
        self.end_all();
        self.backend.close();
        self.sources.close();
    }

    fn receive(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
        if self.shared.is_reset_due.swap(false, Ordering::AcqRel) {
            self.scheduler.reset_prefix_cache();
        }
    }

    pub(crate) fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(admitted) => self.admit(*admitted),
            // Cleared before the engine looks around: what changes from here on sends another.
            Command::Wake => _ = self.shared.is_waking.swap(false, Ordering::AcqRel),
        }
    }

    // hop 2.2: on the engine's thread: the request becomes a sequence with its sampler
    fn admit(&mut self, admitted: Admitted) {
        let Admitted {
            id,
            prompt,
            negative,
            params,
            seed,
            output_len_max,
            priority,
            cache_salt,
            deadline_ns,
            compiled,
            explain,
            outbox,
        } = admitted;
        let live = Live {
            outbox,
            source: self.sources.of(&params, negative),
            output_len_min: params.output_len_min(prompt.len()),
            params,
            seed,
            prompt,
            output_len_max,
            deadline_ns,
            compiled,
            explain,
            prompt_logprobs: Vec::new(),
        };
        let growth = match self.growth(id, &live) {
            Ok(growth) => growth,
            Err(error) => return live.fail(&error),
        };
        let sequence_id = self.next_sequence_id();
        let new = NewSequence {
            id: sequence_id,
            tokens: live.prompt.to_vec(),
            // A prompt that is only scored ends with its last row.
            max_new: Some(output_len_max.max(1)),
            width: live.params.branches() as usize,
            second: live.source.second().map(<[TokenId]>::to_vec),
            priority,
            scope: self.scope(&live.source, cache_salt.as_deref()),
            // Cached blocks hold no hidden states.
            read_cache: live.params.skip_reading_prefix_cache != Some(true)
                && !live.params.is_contrastive_search(),
            scores_prompt: live.params.prompt_logprobs.is_some(),
        };
        if let Err(error) = self.scheduler.add(new) {
            return live.fail(&error);
        }
        let is_alone = self.lives.is_empty();
        self.sources.expect(&live.source, &live.params, is_alone);
        self.sequences.insert(sequence_id, growth);
        self.lives.insert(id, live);
    }

    /// How a request grows: as samples, or as the beams of one search.
    fn growth(&self, id: RequestId, live: &Live) -> tokenmill_decode::Result<Growth> {
        let (vocabulary, lexicon) = (&self.vocabulary, &self.shared.lexicon);
        if live.params.beams.is_on() {
            let beams = Beams::new(id, live, vocabulary, lexicon)?;
            return Ok(Growth::Beams(Box::new(beams)));
        }
        let sampler = live.sampler(0, vocabulary)?;
        let mut sequence = Sequence::new(id, 0, sampler, live, lexicon);
        if live.params.is_contrastive_search() {
            let search = Search::new(sequence, self.shared.capacity.hidden);
            return Ok(Growth::Search(Box::new(search)));
        }
        sequence.forks_due = live.params.samples() - 1;
        Ok(Growth::Sample(Box::new(sequence)))
    }

    pub(crate) fn next_sequence_id(&mut self) -> SequenceId {
        self.next_sequence += 1;
        SequenceId(self.next_sequence)
    }

    /// The cache scope of a salt: keyed, so that no caller can aim at another's.
    pub fn scope_of(secret: &[u8; 32], salt: Option<&str>) -> Scope {
        salt.map_or_else(Scope::default, |salt| {
            Scope::of_salt(secret, salt.as_bytes())
        })
    }

    /// Plants a bug.
    #[cfg(feature = "planted")]
    pub fn plant(&mut self, bug: Planted) {
        self.faults.planted = Some(bug);
        self.sources.faults = self.faults;
    }

    /// Ends the sequences of callers who went away.
    fn sweep(&mut self) {
        let gone: Vec<RequestId> = self
            .lives
            .iter()
            .filter(|(_, live)| live.outbox.is_reader_gone())
            .map(|(id, _)| *id)
            .collect();
        for request in gone {
            self.end_request(request, FinishReason::Abort, None);
        }
        self.sweep_late();
    }

    /// Ends the requests whose time is over. Without any the clock is not read.
    fn sweep_late(&mut self) {
        let deadlines = self.lives.iter();
        let timed: Vec<(RequestId, u64)> = deadlines
            .filter_map(|(id, live)| Some((*id, live.deadline_ns?)))
            .collect();
        if timed.is_empty() {
            return;
        }
        let now_ns = (self.shared.clock)();
        for (request, deadline_ns) in timed {
            if deadline_ns > now_ns {
                continue;
            }
            let ms = self.lives[&request].params.deadline_ms.unwrap_or(0);
            let message = format!("the request's deadline of {ms} ms is over");
            let mut failure = Failure::new(Kind::Deadline, message);
            failure.code = Some("deadline_exceeded");
            self.end_request(request, FinishReason::Error, Some(&failure));
        }
    }

    /// Ends every open sample of a request and frees its blocks.
    pub(crate) fn end_request(
        &mut self,
        request: RequestId,
        reason: FinishReason,
        error: Option<&Failure>,
    ) {
        let Some(mut live) = self.lives.remove(&request) else {
            return;
        };
        let scheduler = &mut self.scheduler;
        self.sequences.retain(|id, sequence| {
            let is_ended = sequence.request() == request;
            if is_ended {
                scheduler.finish(*id);
            }
            !is_ended
        });
        if reason == FinishReason::Error {
            Stats::add(&self.shared.stats.requests_failed, 1);
        }
        live.outbox.end(reason, error);
    }

    /// Ends every request of a closing engine.
    fn end_all(&mut self) {
        let closing = Failure::new(Kind::Draining, "the engine is closing");
        let all: Vec<RequestId> = self.lives.keys().copied().collect();
        for request in all {
            self.end_request(request, FinishReason::Error, Some(&closing));
        }
    }

    fn publish_gauges(&self) {
        let figures = self.scheduler.stats();
        let stats = &self.shared.stats;
        Stats::set(&stats.sequences_running, figures.running as u64);
        Stats::set(&stats.sequences_waiting, figures.waiting as u64);
        Stats::set(&stats.blocks_used, figures.blocks_used as u64);
        Stats::set(&stats.blocks_cached, figures.blocks_cached as u64);
        Stats::set(&stats.blocks_free, figures.blocks_free as u64);
        Stats::set(&stats.preemptions, figures.preemptions);
        Stats::set(&stats.cached_tokens, figures.cache_hit_tokens);
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("lives", &self.lives.len())
            .finish_non_exhaustive()
    }
}
