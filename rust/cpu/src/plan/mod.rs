//! A program planned for this backend: which weights are packed together, and a list of phases with as few
//! meetings of the workers as the data allow.
//!
//! The work of a single row (norms, adds, making activations ready) is gathered into `Phase::Rows`. In a large
//! step the workers share its rows and meet after it; in a small step each worker does all rows into memory of
//! its own, which costs less than a meeting. Both give the same bits, because a row's work is the same.
//! Products, attention and everything else that is split over outputs is a phase of its own.

mod lower;
mod matrices;

pub(crate) use lower::plan;
pub(crate) use matrices::{Arithmetic, MatrixSpec, WeightSource};

use tokenmill_model::{Activation, Embed, HeadNorm, Norm, WeightId};

use crate::attend::Rule;

/// Index into the plan's packed matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatrixId(pub(crate) usize);

/// Index into the plan's activation buffers; each is used for one register and one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ActId(pub(crate) usize);

/// A register as a row operation sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the register.
    pub(crate) reg: usize,
    /// Whether its content was written by row operations, so that in a small step every worker has its own.
    pub(crate) is_own: bool,
}

/// What the backend runs.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Width of each register: the program's, then those that the plan added.
    pub(crate) regs: Vec<usize>,
    /// Packed matrices.
    pub(crate) matrices: Vec<MatrixSpec>,
    /// The matrix and the input width of each activation buffer.
    pub(crate) acts: Vec<MatrixId>,
    /// Attention operations that differ in their items.
    pub(crate) classes: Vec<AttendClass>,
    /// In order.
    pub(crate) phases: Vec<Phase>,
}

/// What decides the items of an attention operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AttendClass {
    /// Shape, scale, cap and window.
    pub(crate) rule: Rule,
    /// KV heads.
    pub(crate) kv_heads: usize,
}

/// A part of a step between two meetings.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Row operations. `meets`: even in a small step, because the next phase writes what this one reads.
    Rows { ops: Vec<RowOp>, meets: bool },
    /// Q, K and V by whole heads, with everything up to the cache.
    Project(Project),
    /// Products into registers.
    Product(Product),
    /// What `Project` does after its products, from registers, where heads are no whole blocks.
    Finish(Finish),
    /// Attention.
    Attend(Attend),
    /// Gate and up with their activation.
    Gate(Gate),
    /// The output head.
    Head(Head),
}

/// Work of one row.
#[derive(Debug)]
pub(crate) enum RowOp {
    /// Cosines and sines of the row's position, for each rotary table.
    Angles,
    /// Token to vector; always to the worker's own place.
    Embed(Embed),
    /// A norm; the weight is one of the backend's vectors.
    Norm { norm: Norm, input: Place },
    /// `to += scale * from`.
    Add { from: Place, to: Place, scale: f32 },
    /// `out = activation(gate) * up`, to the worker's own place.
    Activate { gate: Place, up: Place, activation: Activation, out: usize },
    /// Makes activations ready for products.
    Prepare { from: Place, act: ActId },
    /// The same for the rows that want logits alone, packed together.
    PrepareHead { from: Place, act: ActId },
}

impl RowOp {
    /// Whether it reads the shared content of a register in a small step.
    fn reads_shared(&self, reg: usize) -> bool {
        let is_it = |place: &Place| !place.is_own && place.reg == reg;
        match self {
            Self::Angles | Self::Embed(_) => false,
            Self::Norm { input: from, .. } | Self::Prepare { from, .. } | Self::PrepareHead { from, .. } => is_it(from),
            Self::Add { from, to, .. } => is_it(from) || is_it(to),
            Self::Activate { gate, up, .. } => is_it(gate) || is_it(up),
        }
    }
}

impl Phase {
    /// The register that it writes, unless it is `Rows`.
    fn output(&self) -> Option<usize> {
        match self {
            Self::Rows { .. } | Self::Head(_) => None,
            Self::Project(project) => Some(project.heads.out),
            Self::Finish(finish) => Some(finish.heads.out),
            Self::Product(product) => Some(product.reg),
            Self::Attend(attend) => Some(attend.out),
            Self::Gate(gate) => Some(gate.out),
        }
    }

    /// Whether no meeting follows it.
    fn is_joined(&self) -> bool {
        matches!(self, Self::Product(product) if product.is_joined)
    }
}

/// A product into a register, bias included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    /// The weights.
    pub(crate) matrix: MatrixId,
    /// The input.
    pub(crate) act: ActId,
    /// Destination register.
    pub(crate) reg: usize,
    /// `[outputs]`.
    pub(crate) bias: Option<WeightId>,
    /// Whether the next phase needs nothing of this one, so that nobody waits.
    pub(crate) is_joined: bool,
}

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Rotated, to its register.
    Query,
    /// Rotated, to the cache.
    Key,
    /// To the cache.
    Value,
}

/// What happens to the three products of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Heads {
    /// Index into the cache's layers.
    pub(crate) layer: usize,
    /// Elements per head.
    pub(crate) head_dim: usize,
    /// Query heads.
    pub(crate) heads: usize,
    /// KV heads.
    pub(crate) kv_heads: usize,
    /// Biases of q, k, v.
    pub(crate) biases: [Option<WeightId>; 3],
    /// Clamp.
    pub(crate) clip: Option<f32>,
    /// Norms of q and k.
    pub(crate) norms: [Option<HeadNorm>; 2],
    /// Rotary table.
    pub(crate) rope: Option<usize>,
    /// Where q goes.
    pub(crate) out: usize,
}

/// Heads of one part that lie side by side in one matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadRun {
    /// The weights.
    pub(crate) matrix: MatrixId,
    /// The input.
    pub(crate) act: ActId,
    /// Which part.
    pub(crate) part: Part,
    /// Its first block in the matrix.
    pub(crate) first_block: usize,
    /// Heads.
    pub(crate) heads: usize,
}

/// Projection by whole heads.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    /// What is done with a head.
    pub(crate) heads: Heads,
    /// q, k, v.
    pub(crate) runs: [HeadRun; 3],
}

/// The second half of a projection, from registers.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    /// What is done with a head.
    pub(crate) heads: Heads,
    /// Registers of the products of q, k, v (biases included).
    pub(crate) regs: [usize; 3],
}

/// Attention of one layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attend {
    /// Index into the cache's layers.
    pub(crate) layer: usize,
    /// Index into `Plan::classes`.
    pub(crate) class: usize,
    /// Which attention operation of the step this is (for its counter).
    pub(crate) index: usize,
    /// Register of q.
    pub(crate) input: usize,
    /// Destination register.
    pub(crate) out: usize,
}

/// `out = act(gate) * up`, or `act(up)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// Gate and up interleaved by blocks of 16, or up alone.
    pub(crate) matrix: MatrixId,
    /// Whether there is a gate.
    pub(crate) is_gated: bool,
    /// The input.
    pub(crate) act: ActId,
    /// Of the gate.
    pub(crate) gate_bias: Option<WeightId>,
    /// Of up.
    pub(crate) up_bias: Option<WeightId>,
    /// The non-linearity.
    pub(crate) activation: Activation,
    /// Destination register.
    pub(crate) out: usize,
    /// Its width.
    pub(crate) inner: usize,
}

/// The output head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// `[vocabulary, hidden]`.
    pub(crate) matrix: MatrixId,
    /// The rows that want logits, packed.
    pub(crate) act: ActId,
    /// `[vocabulary]`.
    pub(crate) bias: Option<WeightId>,
    /// Multiplier.
    pub(crate) scale: f32,
    /// `cap * tanh(x / cap)`.
    pub(crate) soft_cap: Option<f32>,
}
