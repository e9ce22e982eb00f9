//! The seam between the engine and whatever computes a model. A backend knows programs, blocks and rows;
//! it knows no request. Every backend passes one conformance suite against `reference`.
//!
//! Contract: the result of a row depends on the token prefix of its sequence and on nothing else: not on
//! the other rows, their number, the chunk borders, the block size or the thread count.

use std::sync::Arc;

use crate::batch::{BlockCopy, StepBatch};
use crate::error::{Error, Result};
use crate::program::Program;
use crate::timing::OpTimes;
use crate::weights::Weights;

/// Storage of K and V.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// 4 bytes an element.
    F32,
    /// 2 bytes an element.
    Bf16,
}

impl KvFormat {
    /// Bytes per element.
    pub const fn element_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// What unquantised weights and activations are computed in (`dtype`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ComputeDtype {
    /// The weights' own: bf16 for 16-bit files where the machine multiplies bf16, else f32.
    #[default]
    Auto,
    /// f32 throughout.
    Float32,
    /// bf16 weights, f32 sums.
    Bfloat16,
}

/// How activations meet integer weights (`activations`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activations {
    /// int8 for integer weights, exact elsewhere.
    #[default]
    Auto,
    /// Weights are expanded, activations stay f32 (or bf16 under `ComputeDtype::Bfloat16`).
    Exact,
    /// Activations are quantised per row and group.
    Int8,
}

/// What `load` may use.
#[derive(Clone, Debug)]
pub struct MemoryPlan {
    /// KV blocks.
    pub blocks: usize,
    /// Slots per block.
    pub block_size: usize,
    /// Most rows of a step.
    pub rows_max: usize,
    /// Most rows with logits of a step.
    pub logits_rows_max: usize,
    /// Most rows that leave early in a step; a row that leaves at several layers counts at each.
    pub exit_rows_max: usize,
    /// Longest sequence, in tokens.
    pub context_len: usize,
    /// KV storage.
    pub kv_format: KvFormat,
    /// Arithmetic of unquantised weights.
    pub dtype: ComputeDtype,
    /// Arithmetic of integer weights.
    pub activations: Activations,
    /// Worker threads, the caller's included.
    pub threads: usize,
    /// Where to count the time of operations; a backend that cannot refuses it.
    pub op_times: Option<Arc<OpTimes>>,
}

/// What a backend can do, and how it would do it on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// `reference`, `cpu`, `sim`.
    pub name: &'static str,
    /// The level in use (`scalar`, `avx2`, `avx512`), empty where there is none.
    pub level: String,
    /// Block sizes must be multiples of this.
    pub block_multiple: usize,
    /// KV formats it stores.
    pub kv_formats: Vec<KvFormat>,
    /// Whether it gives hidden states and the logits of early layers.
    pub gives_hidden: bool,
    /// Bytes of weights as it holds them; 0 before `load`.
    pub weight_bytes: u64,
}

/// A vector beside the logits that a step's batch asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The hidden state after the final norm, `[hidden]`, of this entry of `hidden_rows`.
    State(usize),
    /// Early logits, `[vocab_len]`, of this entry of `exit_rows`: the output head, its scale and cap included, on
    /// the residual stream as it is. Entries asked for in ascending order are computed several at a time.
    Exit(usize),
}

/// A step under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u64);

/// Computes a model.
pub trait Backend: Send {
    /// What it can do.
    fn caps(&self) -> Caps;

    /// Packs the weights and allocates everything a step needs. Called once, before anything else.
    fn load(&mut self, program: &Program, weights: &Weights<'_>, plan: &MemoryPlan) -> Result<()>;

    /// Runs a step. On an error nothing of the step counts; the cache may hold garbage in its write slots.
    fn run(&mut self, batch: &StepBatch) -> Result<Ticket>;

    /// Logits of entry `index` of the batch's `logits_rows`, `[vocab_len]`, f32. Waits for the step.
    fn logits(&mut self, ticket: Ticket, index: usize) -> Result<&[f32]>;

    /// A vector that the batch asked for, f32. Waits for the step.
    fn hidden(&mut self, ticket: Ticket, what: Hidden) -> Result<&[f32]> {
        let _ = (ticket, what);
        Err(Error::Unsupported {
            what: "hidden states".to_owned(),
            by: self.caps().name.to_owned(),
        })
    }

    /// Copies slots between blocks, in order, before the next step.
    fn copy_blocks(&mut self, copies: &[BlockCopy]) -> Result<()>;

    /// Stops threads and frees memory; later calls are errors.
    fn close(&mut self);
}
