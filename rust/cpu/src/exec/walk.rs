//! The walk: a loaded model, and one step of it. Every worker walks the list of phases and does what units of
//! each it can get.
//!
//! Invariants: a step allocates nothing; what a phase writes is read in later phases alone; a failed step leaves
//! the model usable.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokenmill_model::{
    BlockCopy, Error, MemoryPlan, OpTimes, Program, Result, StepBatch, TimedPart,
};

use super::check::{check_batch, check_copies};
use super::internal;
use super::load::Model;
use super::memory::{Memory, SMALL_ROWS, Sizes, WorkerMemory};
use crate::isa::Level;
use crate::plan::{Arithmetic, Phase, Plan, Product, RowOp, WeightSource, plan};
use crate::pool::{Poisoned, Pool, Worker};

/// A model ready to run.
pub(crate) struct Loaded {
    pub(super) level: Level,
    pub(super) plan: Plan,
    pub(super) model: Model,
    pub(super) memory: Memory,
    pub(super) pool: Pool,
    pub(super) step: u64,
    /// Rows of logits that the last step left.
    logits_rows: usize,
    op_times: Option<Arc<OpTimes>>,
}

/// One step as one worker sees it.
pub(crate) struct Step<'a> {
    pub(crate) level: Level,
    pub(crate) plan: &'a Plan,
    pub(crate) model: &'a Model,
    pub(crate) memory: &'a Memory,
    pub(crate) batch: &'a StepBatch,
    pub(crate) own: &'a WorkerMemory,
}

impl Loaded {
    /// Plans, packs and takes memory.
    pub(crate) fn new(
        program: &Program,
        source: &dyn WeightSource,
        request: &MemoryPlan,
        level: Level,
    ) -> Result<Self> {
        let arithmetic = Arithmetic {
            dtype: request.dtype,
            activations: request.activations,
            level,
        };
        let plan = plan(program, source, arithmetic)?;
        let threads = request.threads.max(1);
        let pool = Pool::new(threads, plan.phases.len())
            .map_err(|error| internal(format!("a thread did not start: {error}")))?;
        let model = Model::load(program, source, &plan, threads)?;
        let sizes = Sizes {
            rows_max: request.rows_max.max(1),
            logits_rows_max: request.logits_rows_max.max(1),
            context_len: request.context_len,
            threads,
            vocab_len: program.shape.vocab_len,
        };
        let memory = Memory::new(&plan, &model, &program.shape.kv, request, sizes)?;
        Ok(Self {
            level,
            plan,
            model,
            memory,
            pool,
            step: 0,
            logits_rows: 0,
            op_times: request.op_times.clone(),
        })
    }

    /// Bytes of packed weights, of the cache, and of everything else a step writes.
    pub(crate) fn bytes(&self) -> [usize; 3] {
        let (cache, rest) = self.memory.bytes();
        [self.model.bytes(), cache, rest]
    }

    /// Runs a step and gives its number.
    pub(crate) fn run(&mut self, batch: &StepBatch) -> Result<u64> {
        let start = Instant::now();
        self.step += 1;
        self.logits_rows = 0;
        check_batch(batch, &mut self.memory, self.step)?;
        self.memory.hidden.begin(batch, &self.plan)?;
        self.memory.items.plan(batch);
        self.memory
            .is_broken
            .iter_mut()
            .for_each(|is_broken| *is_broken.get_mut() = false);

        let (level, plan, model, memory) = (self.level, &self.plan, &self.model, &self.memory);
        let op_times = self.op_times.as_deref();
        let outcome = self.pool.run(|worker| {
            let step = Step {
                level,
                plan,
                model,
                memory,
                batch,
                own: &memory.workers[worker.index],
            };
            // The caller's thread alone looks at the clock.
            let times = op_times.filter(|_| worker.index == 0);
            step.walk(worker, times.map(|times| Clock { times, last: start }))
        });
        outcome.map_err(|failed| internal(format!("a worker panicked: {}", failed.0)))?;
        self.logits_rows = batch.logits_rows.len();
        self.memory.hidden.finish(batch);
        Ok(self.step)
    }

    /// Logits of the last step.
    pub(crate) fn logits(&self, step: u64, index: usize) -> Result<&[f32]> {
        if step != self.step || index >= self.logits_rows {
            return Err(internal("logits of another step or row"));
        }
        if self.memory.is_broken[index].load(Ordering::Relaxed) {
            return Err(Error::NotFinite);
        }
        // SAFETY: the step has ended and wrote this row; the next one needs `&mut self`.
        Ok(unsafe { self.memory.logits.slice(index, self.memory.sizes.vocab_len) })
    }

    /// Copies slots.
    pub(crate) fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<()> {
        check_copies(copies, &self.memory)?;
        for copy in copies {
            self.memory.cache.copy(copy);
        }
        Ok(())
    }
}

/// The caller's clock, where it is asked for.
struct Clock<'a> {
    times: &'a OpTimes,
    last: Instant,
}

impl Clock<'_> {
    /// Gives the time since the last lap to `part`.
    fn lap(&mut self, part: TimedPart) {
        let now = Instant::now();
        let ns = now.duration_since(self.last).as_nanos();
        self.times.add(part, u64::try_from(ns).unwrap_or(u64::MAX));
        self.last = now;
    }
}

/// The part that a phase counts under.
fn part(phase: &Phase) -> TimedPart {
    match phase {
        Phase::Rows(_) | Phase::Sort(_) => TimedPart::Rows,
        Phase::Project(_) | Phase::Finish(_) => TimedPart::Qkv,
        Phase::Attend(_) => TimedPart::Attention,
        Phase::Products(_) | Phase::ExpertProducts(_) => TimedPart::Linear,
        Phase::Gate(_) | Phase::ExpertGates(_) => TimedPart::Gate,
        Phase::Head(_) => TimedPart::Head,
    }
}

impl Step<'_> {
    /// Whether one worker does the row work of all rows.
    fn is_small(&self) -> bool {
        self.batch.rows() <= SMALL_ROWS
    }

    fn walk(
        &self,
        mut worker: Worker<'_>,
        mut clock: Option<Clock<'_>>,
    ) -> std::result::Result<(), Poisoned> {
        if let Some(clock) = &mut clock {
            clock.lap(TimedPart::Around);
        }
        let mut phases = self.plan.phases.iter().peekable();
        while let Some(phase) = phases.next() {
            let tail = phases.next_if(|next| self.is_small() && matches!(next, Phase::Rows(_)));
            worker.begin(self.units(phase), tail.is_some())?;
            if let Some(clock) = &mut clock {
                clock.lap(TimedPart::Waiting);
            }
            while let Some(unit) = worker.claim() {
                self.unit(phase, unit);
            }
            let is_last = worker.end();
            if let Some(clock) = &mut clock {
                clock.lap(part(phase));
            }
            if let (true, Some(Phase::Rows(ops))) = (is_last, tail) {
                self.rows(ops, 0..self.batch.rows());
                worker.end_tail();
                if let Some(clock) = &mut clock {
                    clock.lap(TimedPart::Rows);
                }
            }
        }
        Ok(())
    }

    /// Units of a phase: the same for every worker.
    fn units(&self, phase: &Phase) -> usize {
        match phase {
            Phase::Rows(_) | Phase::Finish(_) => self.row_cut().units(),
            Phase::Project(project) => self.project_cut(project).units(),
            Phase::Products(products) => products
                .iter()
                .map(|product| self.product_cut(product).units())
                .sum(),
            Phase::Attend(attend) => self.memory.items.of(attend.class).len(),
            Phase::Gate(gate) => self.gate_cut(gate).units(),
            Phase::Sort(_) => 1,
            Phase::ExpertGates(gates) => self.expert_gate_cut(gates).units(),
            Phase::ExpertProducts(products) => self.expert_product_cut(products).units(),
            Phase::Head(head) => self.head_cut(head).units(),
        }
    }

    fn unit(&self, phase: &Phase, unit: usize) {
        match phase {
            Phase::Rows(ops) => self.row_unit(ops, unit),
            Phase::Project(project) => self.project(project, unit),
            Phase::Products(products) => self.product_unit(products, unit),
            Phase::Finish(finish) => self.finish(finish, unit),
            Phase::Attend(attend) => self.attend(attend, unit),
            Phase::Gate(gate) => self.gate(gate, unit),
            Phase::Sort(routing) => self.memory.routes.sort(routing, self.batch.rows()),
            Phase::ExpertGates(gates) => self.expert_gate(gates, unit),
            Phase::ExpertProducts(products) => self.expert_product(products, unit),
            Phase::Head(head) => self.head(head, unit),
        }
    }

    fn row_unit(&self, ops: &[RowOp], unit: usize) {
        let (rows, _) = self.row_cut().ranges(unit);
        self.rows(ops, rows);
    }

    fn product_unit(&self, products: &[Product], mut unit: usize) {
        for product in products {
            let cut = self.product_cut(product);
            if unit < cut.units() {
                return self.product(product, cut.ranges(unit));
            }
            unit -= cut.units();
        }
    }
}
