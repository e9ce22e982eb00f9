//! `CpuBackend`: the door of this crate. Owns the life cycle (made, loaded, closed) and the choice of the
//! instruction level; everything else is `exec`'s.

use tokenmill_model::{
    Backend, BlockCopy, Caps, Error, KvFormat, MemoryPlan, Program, Result, StepBatch, Ticket,
    Weights,
};

use crate::exec::{Loaded, NAME, Profile, internal};
use crate::isa::Level;
use crate::memory::TILE;

/// Lowers the instruction level; never raises it.
const ISA_VARIABLE: &str = "TOKENMILL_CPU_ISA";

/// The CPU backend.
pub struct CpuBackend {
    level: Level,
    loaded: Option<Loaded>,
}

/// Bytes that a loaded backend holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Packed weights: what one decoded token reads, but for the rows of the embedding.
    pub weights_bytes: usize,
    /// The cache of K and V.
    pub cache_bytes: usize,
    /// Registers, activations, logits and scratch.
    pub step_bytes: usize,
}

impl CpuBackend {
    /// A backend at the machine's level, lowered by `TOKENMILL_CPU_ISA` where that is set. An unknown name is
    /// an error.
    pub fn new() -> Result<Self> {
        let requested = std::env::var_os(ISA_VARIABLE);
        let requested = requested.as_ref().map(|name| name.to_string_lossy());
        match Level::choose(requested.as_deref()) {
            Some(level) => Ok(Self::with_level(level)),
            None => Err(Error::Unsupported {
                what: format!("{ISA_VARIABLE}={}", requested.unwrap_or_default()),
                by: format!(
                    "{NAME}, whose levels are {}",
                    Level::ALL.map(Level::name).join(", ")
                ),
            }),
        }
    }

    /// A backend at `level`, or at the machine's where that is lower.
    pub fn with_level(level: Level) -> Self {
        Self {
            level: level.min(Level::detect()),
            loaded: None,
        }
    }

    /// The instruction level in use.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Starts counting where time goes, from zero, or stops. Nothing before `load`.
    pub fn set_profiling(&mut self, is_on: bool) {
        if let Some(loaded) = &mut self.loaded {
            loaded.set_profiling(is_on);
        }
    }

    /// Where time went, if counting.
    pub fn profile(&self) -> Option<Profile> {
        self.loaded.as_ref().and_then(Loaded::profile)
    }

    /// What is held, once loaded.
    pub fn memory_use(&self) -> Option<MemoryUse> {
        self.loaded.as_ref().map(|loaded| {
            let [weights_bytes, cache_bytes, step_bytes] = loaded.bytes();
            MemoryUse {
                weights_bytes,
                cache_bytes,
                step_bytes,
            }
        })
    }

    fn loaded(&mut self) -> Result<&mut Loaded> {
        self.loaded
            .as_mut()
            .ok_or_else(|| internal("not loaded, or closed"))
    }
}

impl Backend for CpuBackend {
    fn caps(&self) -> Caps {
        Caps {
            name: NAME,
            level: self.level.name().to_owned(),
            block_multiple: TILE,
            kv_formats: vec![KvFormat::F32, KvFormat::Bf16],
        }
    }

    fn load(&mut self, program: &Program, weights: &Weights<'_>, plan: &MemoryPlan) -> Result<()> {
        if self.loaded.is_some() {
            return Err(internal("loaded twice"));
        }
        if plan.block_size == 0 || !plan.block_size.is_multiple_of(TILE) {
            return Err(internal(format!(
                "block size {} is no multiple of {TILE}",
                plan.block_size
            )));
        }
        self.loaded = Some(Loaded::new(program, weights, plan, self.level)?);
        Ok(())
    }

    fn run(&mut self, batch: &StepBatch) -> Result<Ticket> {
        self.loaded()?.run(batch).map(Ticket)
    }

    fn logits(&mut self, ticket: Ticket, index: usize) -> Result<&[f32]> {
        self.loaded()?.logits(ticket.0, index)
    }

    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<()> {
        self.loaded()?.copy_blocks(copies)
    }

    fn close(&mut self) {
        self.loaded = None;
    }
}
