//! The walk: a loaded model, and one step of it. Every worker walks the list of phases and meets the others
//! where the plan says so.
//!
//! Invariants: a step allocates nothing after its check; what a phase writes is read by other workers only
//! after a meeting; a failed step leaves the model usable.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokenmill_model::{BlockCopy, Error, MemoryPlan, Program, Result, StepBatch};

use super::check::{check_batch, check_copies};
use super::load::Model;
use super::memory::{Bank, Memory, SMALL_ROWS, Sizes, WorkerMemory};
use super::{Profile, internal};
use crate::isa::Level;
use crate::plan::{Arithmetic, Phase, Plan, WeightSource, plan};
use crate::pool::{Poisoned, Pool, Worker};

/// A model ready to run.
pub(crate) struct Loaded {
    level: Level,
    plan: Plan,
    model: Model,
    memory: Memory,
    pool: Pool,
    step: u64,
    /// Rows of logits that the last step left.
    logits_rows: usize,
    profile: Option<Profile>,
}

/// One step as one worker sees it.
pub(crate) struct Step<'a> {
    pub(crate) level: Level,
    pub(crate) plan: &'a Plan,
    pub(crate) model: &'a Model,
    pub(crate) memory: &'a Memory,
    pub(crate) batch: &'a StepBatch,
    pub(crate) worker: Worker<'a>,
    pub(crate) own: &'a WorkerMemory,
}

impl Loaded {
    /// Plans, packs and takes memory.
    pub(crate) fn new(program: &Program, source: &dyn WeightSource, request: &MemoryPlan, level: Level) -> Result<Self> {
        let arithmetic = Arithmetic { dtype: request.dtype, activations: request.activations, level };
        let plan = plan(program, source, arithmetic)?;
        let threads = request.threads.max(1);
        let pool = Pool::new(threads).map_err(|error| internal(format!("a thread did not start: {error}")))?;
        let model = Model::load(program, source, &plan, threads)?;
        let sizes = Sizes {
            rows_max: request.rows_max.max(1),
            logits_rows_max: request.logits_rows_max.max(1),
            context_len: request.context_len,
            threads,
            vocab_len: program.shape.vocab_len,
        };
        let memory = Memory::new(&plan, &model, &program.shape.kv, request, sizes)?;
        Ok(Self { level, plan, model, memory, pool, step: 0, logits_rows: 0, profile: None })
    }

    /// Starts counting time anew, or stops.
    pub(crate) fn set_profiling(&mut self, is_on: bool) {
        self.profile = is_on.then(Profile::default);
    }

    /// The time counted so far.
    pub(crate) fn profile(&self) -> Option<Profile> {
        self.profile
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
        self.memory.items.plan(batch);
        self.memory.counters.iter_mut().for_each(|counter| *counter.get_mut() = 0);
        self.memory.is_broken.iter_mut().for_each(|is_broken| *is_broken.get_mut() = false);

        let (level, plan, model, memory) = (self.level, &self.plan, &self.model, &self.memory);
        let profile = Mutex::new(self.profile.as_mut().map(|profile| (profile, start)));
        let outcome = self.pool.run(|worker| {
            let step = Step { level, plan, model, memory, batch, worker, own: &memory.workers[worker.index] };
            if worker.index != 0 {
                return step.walk();
            }
            // Only the caller's thread ever takes this lock.
            match &mut *profile.lock().unwrap_or_else(PoisonError::into_inner) {
                None => step.walk(),
                Some((profile, start)) => step.walk_timed(profile, start),
            }
        });
        drop(profile);
        outcome.map_err(|failed| internal(format!("a worker panicked: {}", failed.0)))?;
        self.logits_rows = batch.logits_rows.len();
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
        copies.iter().for_each(|copy| self.memory.cache.copy(copy));
        Ok(())
    }
}

impl Step<'_> {
    /// Whether every worker does the row work of all rows.
    pub(crate) fn is_small(&self) -> bool {
        self.batch.rows() <= SMALL_ROWS
    }

    /// Where this step's row operations write, and products read their activations.
    pub(crate) fn bank(&self) -> &Bank {
        if self.is_small() { &self.own.bank } else { &self.memory.shared }
    }

    /// Width of a register.
    pub(crate) fn width(&self, reg: usize) -> usize {
        self.plan.regs[reg]
    }

    fn walk(&self) -> std::result::Result<(), Poisoned> {
        for phase in &self.plan.phases {
            self.phase(phase);
            if self.meets_after(phase) {
                self.worker.meet()?;
            }
        }
        Ok(())
    }

    fn walk_timed(&self, profile: &mut Profile, start: &mut Instant) -> std::result::Result<(), Poisoned> {
        profile.steps += 1;
        Profile::lap(start, &mut profile.around);
        for phase in &self.plan.phases {
            self.phase(phase);
            Profile::lap(start, profile.of(phase));
            if self.meets_after(phase) {
                self.worker.meet()?;
                Profile::lap(start, &mut profile.waiting);
            }
        }
        Ok(())
    }

    fn meets_after(&self, phase: &Phase) -> bool {
        match phase {
            Phase::Rows { meets, .. } => *meets || !self.is_small(),
            Phase::Product(product) => !product.is_joined,
            _ => true,
        }
    }

    fn phase(&self, phase: &Phase) {
        match phase {
            Phase::Rows { ops, .. } => self.rows(ops),
            Phase::Project(project) => self.project(project),
            Phase::Product(product) => self.product(product),
            Phase::Finish(finish) => self.finish(finish),
            Phase::Attend(attend) => self.attend(attend),
            Phase::Gate(gate) => self.gate(gate),
            Phase::Head(head) => self.head(head),
        }
    }
}
