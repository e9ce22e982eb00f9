//! What rows give beside their logits: hidden states after the final norm, which are read where they lie, and the
//! logits of early layers. Of those a step keeps the residual streams alone; the output head runs over a window of them
//! when somebody asks, so that the memory of many layers' logits is never needed. Reference: `reference`, through the
//! conformance suite.
//!
//! Invariant: nothing here runs, and nothing is read, for rows that did not ask.

use std::sync::atomic::{AtomicBool, Ordering};

use tokenmill_model::{Error, Hidden, Result, StepBatch};

use super::internal;
use super::memory::{Memory, Sizes};
use super::walk::{Loaded, Step};
use crate::memory::Buffer;
use crate::plan::{Head, Phase, Plan};

/// Rows of early logits that are computed together: the head's weights are read once for all.
const WINDOW: usize = 16;

/// The memory of what rows give beside their logits.
pub(crate) struct HiddenMemory {
    /// `[exit_rows_max][hidden]`: residual streams where rows left.
    streams: Buffer,
    /// `[window][vocab_len]`.
    logits: Buffer,
    is_broken: Vec<AtomicBool>,
    /// Rows that `logits` has room for.
    window: usize,
    /// Exits that a step may have.
    exits_max: usize,
    /// Exits of the last step.
    exits: usize,
    /// First exit in `logits`, where there is one.
    first: Option<usize>,
    /// Rows of the last step whose states are wanted.
    rows: Vec<u32>,
}

impl HiddenMemory {
    /// Room for `exits_max` exits of a step.
    pub(crate) fn new(plan: &Plan, exits_max: usize, sizes: Sizes) -> Result<Self> {
        let window = WINDOW.min(exits_max).min(sizes.rows_max);
        let width = head_of(plan).map_or(0, |head| plan.regs[head.input].width);
        Ok(Self {
            streams: Buffer::new(exits_max, width)?,
            logits: Buffer::new(window, sizes.vocab_len)?,
            is_broken: (0..window).map(|_| AtomicBool::new(false)).collect(),
            window,
            exits_max,
            exits: 0,
            first: None,
            rows: Vec::with_capacity(sizes.rows_max),
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.streams.bytes() + self.logits.bytes()
    }

    /// Notes what a step is asked for. Everything of the step before is gone.
    pub(crate) fn begin(&mut self, batch: &StepBatch, plan: &Plan) -> Result<()> {
        (self.exits, self.first) = (0, None);
        self.rows.clear();
        if batch.exit_rows.len() > self.exits_max {
            return Err(internal(format!(
                "{} early exits planned, {} asked",
                self.exits_max,
                batch.exit_rows.len()
            )));
        }
        let rows = batch.rows();
        let is_inside = |row: u32| (row as usize) < rows;
        let is_right = batch.hidden_rows.is_sorted_by(|a, b| a < b)
            && batch.hidden_rows.last().is_none_or(|row| is_inside(*row))
            && batch.exit_rows.is_sorted_by(|a, b| a < b)
            && batch
                .exit_rows
                .last()
                .is_none_or(|exit| is_inside(exit.row));
        let has_layer = |layer: u32| (layer as usize) < plan.exits;
        if !is_right || !batch.exit_rows.iter().all(|exit| has_layer(exit.layer)) {
            return Err(internal(
                "hidden or exit rows are not ascending rows, or leave from no layer",
            ));
        }
        Ok(())
    }

    /// The step has run.
    pub(crate) fn finish(&mut self, batch: &StepBatch) {
        self.exits = batch.exit_rows.len();
        self.rows.extend_from_slice(&batch.hidden_rows);
    }
}

impl Step<'_> {
    /// Keeps the stream of a row that leaves here.
    pub(super) fn leave(&self, layer: usize, from: usize, row: usize) {
        let exits = &self.batch.exit_rows;
        if exits.is_empty() {
            return;
        }
        let wanted = (row as u32, layer as u32);
        let Ok(index) = exits.binary_search_by_key(&wanted, |exit| (exit.row, exit.layer)) else {
            return;
        };
        let width = self.plan.regs[from].width;
        let (source, kept) = (
            self.memory.regs[from].row(row),
            self.memory.hidden.streams.row(index),
        );
        // SAFETY: both rows have the width of the stream; this worker alone has the row, and so this exit of it.
        unsafe { std::ptr::copy_nonoverlapping(source, kept, width) };
    }
}

impl Loaded {
    /// A vector beside the logits of the last step.
    pub(crate) fn hidden(&mut self, step: u64, what: Hidden) -> Result<&[f32]> {
        if step != self.step {
            return Err(internal("hidden states of another step"));
        }
        match what {
            Hidden::State(index) => self.state(index),
            Hidden::Exit(index) => self.exit(index),
        }
    }

    fn state(&self, index: usize) -> Result<&[f32]> {
        let row = self.memory.hidden.rows.get(index).copied();
        let head = head_of(&self.plan);
        let (Some(row), Some(head)) = (row, head) else {
            return Err(internal("a hidden state that was not asked for"));
        };
        let width = self.plan.regs[head.input].width;
        // SAFETY: the step has ended and wrote this row of the head's input; the next one needs `&mut self`.
        let state = unsafe { self.memory.regs[head.input].slice(row as usize, width) };
        if state.iter().all(|value| value.is_finite()) {
            Ok(state)
        } else {
            Err(Error::NotFinite)
        }
    }

    fn exit(&mut self, index: usize) -> Result<&[f32]> {
        let hidden = &self.memory.hidden;
        if index >= hidden.exits {
            return Err(internal("an early exit that was not asked for"));
        }
        let first = index / hidden.window * hidden.window;
        if hidden.first != Some(first) {
            self.run_head(first)?;
        }
        let hidden = &self.memory.hidden;
        let row = index - first;
        if hidden.is_broken[row].load(Ordering::Relaxed) {
            return Err(Error::NotFinite);
        }
        // SAFETY: the head has run over this row; the next run needs `&mut self`.
        Ok(unsafe { hidden.logits.slice(row, self.memory.sizes.vocab_len) })
    }

    /// Runs the output head over the exits from `first` on, as many as the window holds.
    fn run_head(&mut self, first: usize) -> Result<()> {
        let hidden = &mut self.memory.hidden;
        hidden.first = None;
        let rows = hidden.window.min(hidden.exits - first);
        for is_broken in &mut hidden.is_broken {
            *is_broken.get_mut() = false;
        }
        let (level, plan, model) = (self.level, &self.plan, &self.model);
        let memory = &self.memory;
        let head = *head_of(plan).ok_or_else(|| internal("a model without an output head"))?;
        let batch = StepBatch::default();
        let step = |index: usize| Step {
            level,
            plan,
            model,
            memory,
            batch: &batch,
            own: &memory.workers[index],
        };
        let width = plan.regs[head.input].width;
        for row in 0..rows {
            // SAFETY: the step wrote this stream; the logits of the step, which the same activations served, are
            // done.
            unsafe {
                let stream = memory.hidden.streams.slice(first + row, width);
                step(0).prepare_values(stream, head.act, row);
            }
        }
        let outcome = self.pool.run(|mut worker| {
            let step = step(worker.index);
            let out = (&memory.hidden.logits, &memory.hidden.is_broken[..]);
            worker.begin(step.head_cut_of(&head, rows).units(), false)?;
            while let Some(unit) = worker.claim() {
                step.head_of(&head, rows, out, unit);
            }
            worker.end();
            Ok(())
        });
        outcome.map_err(|failed| internal(format!("a worker panicked: {}", failed.0)))?;
        self.memory.hidden.first = Some(first);
        Ok(())
    }
}

fn head_of(plan: &Plan) -> Option<&Head> {
    plan.phases.iter().rev().find_map(|phase| match phase {
        Phase::Head(head) => Some(head),
        _ => None,
    })
}

impl Memory {
    /// Bytes of what rows give beside their logits.
    pub(super) fn hidden_bytes(&self) -> usize {
        self.hidden.bytes()
    }
}
