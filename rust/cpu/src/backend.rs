//! `CpuBackend`: the door of this crate. Owns the life cycle (made, loaded, closed) and the choice of the
//! instruction level; everything else is `exec`'s.

use tokenmill_model::{
    Activations, Backend, BlockCopy, Caps, ComputeDtype, Error, Hidden, KvFormat, MemoryPlan,
    Program, Result, StepBatch, Ticket, Weights,
};

use crate::exec::{Loaded, NAME, Preview, internal};
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
    /// What `load` would make of these weights, with nothing read but their headers.
    pub fn preview(
        &self,
        program: &Program,
        weights: &Weights<'_>,
        dtype: ComputeDtype,
        activations: Activations,
    ) -> Result<Preview> {
        Preview::new(program, weights, (dtype, activations), self.level)
    }

    /// A backend at the machine's level, lowered by `TOKENMILL_CPU_ISA` where that is set. An unknown name is
    /// an error.
    pub fn new() -> Result<Self> {
        let requested = std::env::var_os(ISA_VARIABLE);
        Self::requested(requested.map(|name| name.to_string_lossy().into_owned()))
    }

    fn requested(name: Option<String>) -> Result<Self> {
        let level = Level::choose(name.as_deref()).ok_or_else(|| Error::Unsupported {
            what: format!("{ISA_VARIABLE}={}", name.unwrap_or_default()),
            by: format!(
                "{NAME}, whose levels are {}",
                Level::ALL.map(Level::name).join(", ")
            ),
        })?;
        Ok(Self::with_level(level))
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
            gives_hidden: true,
            weight_bytes: self
                .memory_use()
                .map_or(0, |held| held.weights_bytes as u64),
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

    // hop 4.2: the batch goes through the layers, on the pool
    fn run(&mut self, batch: &StepBatch) -> Result<Ticket> {
        self.loaded()?.run(batch).map(Ticket)
    }

    fn logits(&mut self, ticket: Ticket, index: usize) -> Result<&[f32]> {
        self.loaded()?.logits(ticket.0, index)
    }

    fn hidden(&mut self, ticket: Ticket, what: Hidden) -> Result<&[f32]> {
        self.loaded()?.hidden(ticket.0, what)
    }

    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<()> {
        self.loaded()?.copy_blocks(copies)
    }

    fn close(&mut self) {
        self.loaded = None;
    }
}

#[cfg(test)]
mod tests {
    use tokenmill_model::{Backend, Error, StepBatch, Ticket};

    use super::CpuBackend;
    use crate::isa::Level;

    #[test]
    fn an_unknown_level_is_refused_with_the_known_ones() {
        let requested = |name: &str| CpuBackend::requested(Some(name.to_owned()));
        assert_eq!(requested("scalar").unwrap().caps().level, "scalar");
        let error = requested("avx3").err().unwrap();
        assert_eq!(
            error.to_string(),
            "TOKENMILL_CPU_ISA=avx3 is not supported by cpu, whose levels are scalar, avx2, avx512, avx512vnni, \
             avx512bf16"
        );
        assert_eq!(
            CpuBackend::requested(None).unwrap().level(),
            Level::detect()
        );
    }

    #[test]
    fn nothing_runs_before_load_or_after_close() {
        let mut backend = CpuBackend::with_level(Level::Scalar);
        for _ in 0..2 {
            assert!(matches!(
                backend.run(&StepBatch::default()),
                Err(Error::Internal { .. })
            ));
            assert!(backend.logits(Ticket(0), 0).is_err());
            assert!(backend.copy_blocks(&[]).is_err());
            assert_eq!(backend.memory_use(), None);
            backend.close();
        }
    }
}
