//! A backend under test: how it is made, how it computes, how far it may be from the reference, and what it
//! is known to refuse; and the truth that it is held against.

use tokenmill_core::TokenId;
use tokenmill_model::{Activations, Backend, ComputeDtype, KvFormat, MemoryPlan, Weights};
use tokenmill_reference::ReferenceBackend;

use crate::driver::{Rig, blocks, distance, exact_plan};
use crate::sketch::Tiny;

/// What a group says: nothing, or what went wrong.
pub type Outcome = Result<(), String>;

/// A backend under test.
pub struct Subject {
    /// Its name, in messages.
    pub name: String,
    /// Makes one, not loaded.
    pub make: Box<dyn Fn() -> Box<dyn Backend>>,
    /// Arithmetic of plain weights.
    pub dtype: ComputeDtype,
    /// Arithmetic of integer weights.
    pub activations: Activations,
    /// Share of a row's range by which logits may differ from the reference.
    pub tolerance: f32,
    /// The same where K and V are bf16: the two round different sums.
    pub bf16_tolerance: f32,
    /// Groups that it refuses at load, by name.
    pub refuses: &'static [&'static str],
}

impl Subject {
    /// A backend that computes in float32 throughout.
    pub fn exact(name: &str, make: impl Fn() -> Box<dyn Backend> + 'static) -> Self {
        Self {
            name: name.to_owned(),
            make: Box::new(make),
            dtype: ComputeDtype::Float32,
            activations: Activations::Exact,
            tolerance: 1e-4,
            bf16_tolerance: 2e-2,
            refuses: &[],
        }
    }

    /// The plan that its groups start from.
    pub fn plan(&self, tiny: &Tiny, count: usize, block_size: usize) -> MemoryPlan {
        MemoryPlan {
            dtype: self.dtype,
            activations: self.activations,
            ..exact_plan(&tiny.program, count, block_size)
        }
    }

    /// A loaded backend with `count` blocks of 16.
    pub fn load(&self, tiny: &Tiny, count: usize) -> Result<Rig, String> {
        self.load_with(tiny, self.plan(tiny, count, 16))
    }

    /// A loaded backend.
    pub fn load_with(&self, tiny: &Tiny, plan: MemoryPlan) -> Result<Rig, String> {
        let weights = Weights::new(&tiny.program, &tiny.checkpoint).map_err(text)?;
        Rig::load((self.make)(), &weights, plan).map_err(text)
    }

    /// Compares the rows of positions `from..` with the truth.
    pub fn compare(
        &self,
        what: &str,
        from: usize,
        truth: &[Vec<f32>],
        got: &[Vec<f32>],
    ) -> Outcome {
        compare(self.tolerance, what, from, truth, got)
    }
}

/// Compares rows within a tolerance.
pub fn compare(
    tolerance: f32,
    what: &str,
    from: usize,
    truth: &[Vec<f32>],
    got: &[Vec<f32>],
) -> Outcome {
    for (index, row) in got.iter().enumerate() {
        let distance = distance(&truth[from + index], row);
        if distance.is_nan() || distance > tolerance {
            let position = from + index;
            return Err(format!(
                "{what}: position {position} is off by {distance:e}"
            ));
        }
    }
    Ok(())
}

/// The logits of every position of a sequence: the reference, alone, one row per step.
pub fn truth(tiny: &Tiny, tokens: &[TokenId], kv_format: KvFormat) -> Vec<Vec<f32>> {
    let weights = Weights::new(&tiny.program, &tiny.checkpoint).expect("a sketch's own weights");
    let count = tokens.len().div_ceil(16);
    let plan = MemoryPlan {
        kv_format,
        ..exact_plan(&tiny.program, count, 16)
    };
    let backend = Box::new(ReferenceBackend::new());
    let mut rig = Rig::load(backend, &weights, plan).expect("the reference loads all");
    let table = blocks(0, count as u32);
    rig.run_alone(tokens, &table, 1)
        .expect("the reference runs all")
}

/// An error in words.
pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
