//! The `Backend` of the oracle: loads every weight as f32, checks each batch, runs the interpreter at
//! once, keeps the logits of the last step. It does no bf16 arithmetic and quantises no activation, and says
//! so at load.

use tokenmill_model::{
    Activations, Backend, BlockCopy, Caps, ComputeDtype, Error, Hidden, KvFormat, MemoryPlan,
    Program, Result, StepBatch, Ticket, Weights,
};

use crate::cache::LayerCache;
use crate::interpreter::{Answers, Interpreter};
use crate::product::{Matrix, Parameters};

const NAME: &str = "reference";

/// The oracle. Threads are candle's own: `MemoryPlan::threads` does not bound them.
#[derive(Debug, Default)]
pub struct ReferenceBackend {
    loaded: Option<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    program: Program,
    plan: MemoryPlan,
    parameters: Parameters,
    caches: Vec<LayerCache>,
    answers: Answers,
    steps: u64,
}

impl ReferenceBackend {
    /// A backend without a model.
    pub fn new() -> Self {
        Self::default()
    }

    /// A row of what the last step left.
    fn answer(
        &mut self,
        ticket: Ticket,
        index: usize,
        of: impl Fn(&Answers) -> &Matrix,
    ) -> Result<&[f32]> {
        let loaded = self.loaded()?;
        let rows = of(&loaded.answers);
        if ticket.0 != loaded.steps || index >= rows.rows() {
            return Err(broken("no such row in the last step"));
        }
        let row = rows.row(index);
        if row.iter().all(|value| value.is_finite()) {
            Ok(row)
        } else {
            Err(Error::NotFinite)
        }
    }

    fn loaded(&mut self) -> Result<&mut Loaded> {
        self.loaded
            .as_mut()
            .ok_or_else(|| broken("no model is loaded"))
    }
}

/// An error of candle is a broken invariant of ours: shapes were checked before.
#[allow(clippy::needless_pass_by_value)] // the shape that `map_err` takes
pub(crate) fn internal(error: candle_core::Error) -> Error {
    broken(&error.to_string())
}

pub(crate) fn broken(what: &str) -> Error {
    Error::Internal {
        backend: NAME,
        what: what.to_owned(),
    }
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported {
        what: what.to_owned(),
        by: NAME.to_owned(),
    }
}

impl Backend for ReferenceBackend {
    fn caps(&self) -> Caps {
        Caps {
            name: NAME,
            level: String::new(),
            block_multiple: 1,
            kv_formats: vec![KvFormat::F32, KvFormat::Bf16],
            gives_hidden: true,
            weight_bytes: self
                .loaded
                .as_ref()
                .map_or(0, |loaded| loaded.parameters.bytes()),
        }
    }

    fn load(&mut self, program: &Program, weights: &Weights<'_>, plan: &MemoryPlan) -> Result<()> {
        if self.loaded.is_some() {
            return Err(broken("a model is loaded already"));
        }
        if plan.dtype == ComputeDtype::Bfloat16 {
            return Err(unsupported("dtype bfloat16"));
        }
        if plan.activations == Activations::Int8 {
            return Err(unsupported("activations int8"));
        }
        if plan.op_times.is_some() {
            return Err(unsupported("profile"));
        }
        let caches = program.shape.kv.iter();
        self.loaded = Some(Loaded {
            program: program.clone(),
            plan: plan.clone(),
            parameters: Parameters::read(weights)?,
            caches: caches.map(|shape| LayerCache::new(*shape, plan)).collect(),
            answers: Answers::default(),
            steps: 0,
        });
        Ok(())
    }

    fn run(&mut self, batch: &StepBatch) -> Result<Ticket> {
        let loaded = self.loaded()?;
        batch
            .check(&loaded.program.shape, &loaded.plan)
            .map_err(|what| broken(&what))?;
        loaded.steps += 1;
        let regs = loaded.program.regs.iter();
        let mut interpreter = Interpreter {
            program: &loaded.program,
            parameters: &loaded.parameters,
            caches: &mut loaded.caches,
            batch,
            block_size: loaded.plan.block_size,
            regs: regs
                .map(|&width| Matrix::zeros(batch.rows(), width))
                .collect(),
            exits: Vec::new(),
        };
        loaded.answers = interpreter.run()?;
        Ok(Ticket(loaded.steps))
    }

    fn logits(&mut self, ticket: Ticket, index: usize) -> Result<&[f32]> {
        self.answer(ticket, index, |answers| &answers.logits)
    }

    fn hidden(&mut self, ticket: Ticket, what: Hidden) -> Result<&[f32]> {
        match what {
            Hidden::State(index) => self.answer(ticket, index, |answers| &answers.states),
            Hidden::Exit(index) => self.answer(ticket, index, |answers| &answers.exits),
        }
    }

    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<()> {
        let loaded = self.loaded()?;
        let plan = &loaded.plan;
        for copy in copies {
            let is_inside = |block: u32, slot: u32| {
                let end = slot as usize + copy.len as usize;
                (block as usize) < plan.blocks && end <= plan.block_size
            };
            if !is_inside(copy.from.0, copy.from_slot) || !is_inside(copy.to.0, copy.to_slot) {
                return Err(broken("a copy leaves its block"));
            }
            for cache in &mut loaded.caches {
                cache.copy(copy, plan.block_size);
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        self.loaded = None;
    }
}
