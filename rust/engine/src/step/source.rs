//! Second rows of logits in a step. What rows are asked for beside their logits, the amateur's share of a step, and
//! the scores that a sequence's sampler starts from. How rows are mixed is `decode`'s.
//!
//! The amateur mirrors the pool: it has as many blocks as the model, under the same numbers, and runs the same rows
//! of the requests that asked for it over the same tables. So the scheduler knows nothing of it, and those requests
//! have a cache scope of their own: blocks that others filled hold nothing of the amateur's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenmill_core::{Failure, Kind, SamplingParams, TokenId};
use tokenmill_decode::source::{DolaMixer, MixBuffers, Mixed, mix};
use tokenmill_model::{Backend, BlockCopy, ExitRow, Hidden, Program, Span, StepBatch, Ticket};
use tokenmill_sched::Scope;

use crate::step::engine::Engine;
use crate::step::planted::{Faults, Planted};
use crate::step::rows::{Turn, Turns};

/// Where a request's scores come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The model's own row.
    Model,
    /// That and the same model's behind other tokens in place of the prompt: a member of the same group.
    Guided(Vec<TokenId>),
    /// That and the amateur's.
    Amateur,
    /// That and those of these layers, of which the model's last is the row itself.
    Layers(Vec<u32>),
}

impl Source {
    /// Sequences of each branch of the request's group.
    pub fn lanes(&self) -> usize {
        1 + usize::from(matches!(self, Self::Guided(_)))
    }

    /// The prompt of the second one.
    pub fn second(&self) -> Option<&[TokenId]> {
        match self {
            Self::Guided(tokens) => Some(tokens),
            _ => None,
        }
    }
}

/// What the engine holds for second rows.
pub(crate) struct Sources {
    amateur: Option<Amateur>,
    buffers: MixBuffers,
    /// The model's own row, while the other one is read.
    own: Vec<f32>,
    /// Layers that rows may leave from.
    exits: u32,
    is_tied: bool,
    /// Whether a live request may read more than its row of logits; while none does, a step does nothing for them.
    is_asked: bool,
    pub faults: Faults,
}

/// The weaker model.
struct Amateur {
    backend: Box<dyn Backend>,
    batch: StepBatch,
    ticket: Ticket,
    /// The model's rows of `batch.logits_rows`.
    rows: Vec<u32>,
    /// The model's first row of each span.
    firsts: Vec<u32>,
}

/// A row of the step that ran.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedRow {
    pub ticket: Ticket,
    /// Its entry of the batch's `logits_rows`.
    pub index: usize,
    /// Position of the token to be drawn.
    pub position: u32,
}

impl Sources {
    pub fn new(program: &Program, amateur: Option<Box<dyn Backend>>) -> Self {
        Self {
            amateur: amateur.map(|backend| Amateur {
                backend,
                batch: StepBatch::default(),
                ticket: Ticket(0),
                rows: Vec::new(),
                firsts: Vec::new(),
            }),
            buffers: MixBuffers::new(),
            own: Vec::new(),
            exits: program.exits() as u32,
            is_tied: program.is_tied(),
            is_asked: false,
            faults: Faults::default(),
        }
    }

    /// Where the scores of a validated request come from; `negative`: the prompt of its guidance, if it has any.
    pub fn of(&self, params: &SamplingParams, negative: Option<Vec<TokenId>>) -> Source {
        if let Some(negative) = negative {
            return Source::Guided(negative);
        }
        if params.contrastive.is_some() {
            return Source::Amateur;
        }
        let layers = params.dola.layers.as_ref();
        layers.map_or(Source::Model, |layers| {
            Source::Layers(layers.of_model(self.exits, self.is_tied))
        })
    }

    /// A request comes; `is_alone`: no other is live.
    pub fn expect(&mut self, source: &Source, params: &SamplingParams, is_alone: bool) {
        let is_asking = *source != Source::Model || params.is_contrastive_search();
        self.is_asked = is_asking || (self.is_asked && !is_alone);
    }

    /// Copies the amateur's K and V as the model's were.
    pub fn copy_blocks(&mut self, copies: &[BlockCopy]) {
        if let Some(amateur) = &mut self.amateur
            && !self.faults.has(Planted::UncopiedAmateur)
            && let Err(error) = amateur.backend.copy_blocks(copies)
        {
            panic!("the amateur's backend could not copy blocks: {error}");
        }
    }

    pub fn close(&mut self) {
        if let Some(amateur) = &mut self.amateur {
            amateur.backend.close();
        }
    }

    /// The row of a sampled sequence with its scores.
    pub fn read<'a>(
        &'a mut self,
        backend: &'a mut dyn Backend,
        (batch, asked): (&StepBatch, AskedRow),
        (source, params): (&Source, &SamplingParams),
    ) -> Result<Mixed<'a>, Failure> {
        let row = batch.logits_rows[asked.index];
        let Self {
            amateur,
            buffers,
            own,
            exits,
            faults,
            ..
        } = self;
        // Each arm reads the row for itself: one goes on to read others from the same backend.
        match source {
            Source::Model => Ok(Mixed::plain(logits(backend, asked)?)),
            Source::Guided(_) => {
                own.clear();
                own.extend_from_slice(logits(backend, asked)?);
                // The second member of the branch stands behind the first.
                let index = asked.index + 1;
                let other = logits(backend, AskedRow { index, ..asked })?;
                let mut rows = (&own[..], other);
                if faults.has(Planted::SwappedLanes) {
                    rows = (rows.1, rows.0);
                }
                mix(params, rows, asked.position, buffers).map_err(|error| Failure::of(&error))
            }
            Source::Amateur => {
                let model = logits(backend, asked)?;
                guarded(|| {
                    let amateur = amateur.as_mut().ok_or_else(no_amateur)?;
                    let other = amateur.logits(row)?;
                    mix(params, (model, other), asked.position, buffers)
                        .map_err(|error| Failure::of(&error))
                })
            }
            Source::Layers(layers) => {
                let model = logits(backend, asked)?;
                let mixer = DolaMixer::begin(params, model, asked.position, buffers);
                let first = batch.exit_rows.partition_point(|exit| exit.row < row);
                guarded(|| {
                    let mut mixer = mixer.map_err(|error| Failure::of(&error))?;
                    for (place, layer) in layers.iter().enumerate() {
                        let met = if *layer < *exits {
                            let what = Hidden::Exit(first + place);
                            let early = backend.hidden(asked.ticket, what);
                            mixer.meet(early.map_err(|error| Failure::of(&error))?)
                        } else {
                            mixer.meet_last()
                        };
                        met.map_err(|error| Failure::of(&error))?;
                    }
                    mixer.finish().map_err(|error| Failure::of(&error))
                })
            }
        }
    }
}

impl Amateur {
    /// Runs the rows that were gathered.
    fn run(&mut self) -> Result<(), Failure> {
        if self.batch.spans.is_empty() {
            return Ok(());
        }
        self.ticket = guarded(|| {
            let ran = self.backend.run(&self.batch);
            ran.map_err(|error| Failure::of(&error))
        })?;
        Ok(())
    }

    fn logits(&mut self, row: u32) -> Result<&[f32], Failure> {
        let index = self.rows.binary_search(&row).map_err(|_| no_amateur())?;
        let logits = self.backend.logits(self.ticket, index);
        logits.map_err(|error| Failure::of(&error))
    }

    fn clear(&mut self) {
        self.batch.clear();
        self.rows.clear();
        self.firsts.clear();
    }

    /// Takes over a span of the model's batch.
    fn take(&mut self, from: &StepBatch, span: &Span) {
        self.firsts.push(span.row);
        let batch = &mut self.batch;
        let rows = span.row as usize..(span.row + span.rows) as usize;
        batch.spans.push(Span {
            row: batch.tokens.len() as u32,
            table: batch.tables.len() as u32,
            ..*span
        });
        batch.tokens.extend_from_slice(&from.tokens[rows.clone()]);
        batch
            .positions
            .extend_from_slice(&from.positions[rows.clone()]);
        batch.slots.extend_from_slice(&from.slots[rows]);
        batch.tables.extend_from_slice(from.table(span));
    }

    /// Wants the logits of a row of a span that was taken, by its number in the model's batch.
    fn want(&mut self, row: u32) {
        let span = self.firsts.partition_point(|first| *first <= row) - 1;
        let own = self.batch.spans[span].row + row - self.firsts[span];
        self.batch.logits_rows.push(own);
        self.rows.push(row);
    }
}

impl Engine {
    /// Adds to the batch what its sampled rows ask for beside their logits, and gathers the amateur's batch. `first`:
    /// the first span of the plan that is in the batch.
    pub(crate) fn ask_beside(&mut self, first: usize) {
        let plan = self.scheduler.planned();
        let batch = &mut self.batch;
        if let Some(amateur) = &mut self.sources.amateur {
            amateur.clear();
        }
        if !self.sources.is_asked {
            return;
        }
        let source_of = |id| {
            let growth = self.sequences.get(&id)?;
            self.lives.get(&growth.request()).map(|live| &live.source)
        };
        if let Some(amateur) = &mut self.sources.amateur {
            for (span, planned) in batch.spans.iter().zip(&plan.spans[first..]) {
                if source_of(planned.id) == Some(&Source::Amateur) {
                    amateur.take(batch, span);
                }
            }
        }
        let mut turns = Turns::new(plan, first);
        while let Some(turn) = turns.next(plan, &batch.logits_rows) {
            // A prompt's tokens are scored by the model's own row.
            let Turn::Sample(id, rows) = turn else {
                continue;
            };
            let source = source_of(id);
            for &row in &batch.logits_rows[rows] {
                match (source, &mut self.sources.amateur) {
                    (Some(Source::Layers(layers)), _) => {
                        let early = layers.iter().filter(|layer| **layer < self.sources.exits);
                        let exits = early.map(|&layer| ExitRow { row, layer });
                        batch.exit_rows.extend(exits);
                    }
                    (Some(Source::Amateur), Some(amateur)) => amateur.want(row),
                    _ => {}
                }
            }
        }
        self.ask_states(first);
    }

    /// Runs the amateur's share of the batch.
    pub(crate) fn run_amateur(&mut self) -> Result<(), Failure> {
        self.sources.amateur.as_mut().map_or(Ok(()), Amateur::run)
    }

    /// The cache scope of a request: of its salt, and apart from all others where blocks must hold the amateur's K
    /// and V too. The key differs, so no salt of another request can meet it.
    pub(crate) fn scope(&self, source: &Source, salt: Option<&str>) -> Scope {
        match source {
            Source::Amateur => {
                let key = self.secret.map(|byte| !byte);
                Scope::of_salt(&key, salt.unwrap_or_default().as_bytes())
            }
            _ => Self::scope_of(&self.secret, salt),
        }
    }
}

fn logits(backend: &mut dyn Backend, asked: AskedRow) -> Result<&[f32], Failure> {
    let logits = backend.logits(asked.ticket, asked.index);
    logits.map_err(|error| Failure::of(&error))
}

fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let message = "the second row of logits panicked on this request";
        Err(Failure::new(Kind::Internal, message))
    })
}

fn no_amateur() -> Failure {
    Failure::new(Kind::Internal, "a row that the amateur did not run")
}
