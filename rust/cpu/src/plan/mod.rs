//! A program planned for this backend: which weights are packed together, and a list of phases with as few
//! meetings of the workers as the data allow.
//!
//! The work of a single row (norms, adds, making activations ready) is gathered into `Phase::Rows`. In a small
//! step whoever ends the phase before does all of it at once, which costs less than sharing it out. Attention
//! and the gated product make their outputs ready for the next product themselves, where groups allow it.
//! Products, attention and everything else that is split over outputs is a phase of its own.

mod experts;
mod lower;
mod matrices;
mod ready;

pub(crate) use experts::Routing;
pub(crate) use lower::plan;
pub(crate) use matrices::{Arithmetic, MatrixSpec, WeightSource};

use tokenmill_model::{Activation, Add, Embed, HeadNorm, Norm, WeightId};

use crate::attend::Rule;

/// Index into the plan's packed matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatrixId(pub(crate) usize);

/// Index into the plan's activation buffers; each is used for one register and one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ActId(pub(crate) usize);

/// What the backend runs.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The program's registers, then those that the plan added.
    pub(crate) regs: Vec<RegSpec>,
    /// Packed matrices.
    pub(crate) matrices: Vec<MatrixSpec>,
    /// Activation buffers.
    pub(crate) acts: Vec<ActSpec>,
    /// Attention operations that differ in their items.
    pub(crate) classes: Vec<AttendClass>,
    /// Layers that rows may leave from: 0 up to this number less one.
    pub(crate) exits: usize,
    /// In order.
    pub(crate) phases: Vec<Phase>,
}

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegSpec {
    /// Values of a row.
    pub(crate) width: usize,
    /// Rows for each row of the step: 1, or the experts that a row goes through.
    pub(crate) copies: usize,
}

/// An activation buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActSpec {
    /// A matrix that it is for, which decides form and width.
    pub(crate) matrix: MatrixId,
    /// As in `RegSpec`.
    pub(crate) copies: usize,
}

/// What decides the items of an attention operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AttendClass {
    /// Shape, scale, cap and window.
    pub(crate) rule: Rule,
    /// KV heads.
    pub(crate) kv_heads: usize,
}

/// A part of a step: it starts when the one before is done, and its units may be done in any order.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Operations that concern one row at a time. Never two in a row.
    Rows(Vec<RowOp>),
    /// Q, K and V by whole heads, with everything up to the cache.
    Project(Project),
    /// Products into registers, none of which needs another.
    Products(Vec<Product>),
    /// What `Project` does after its products, from registers, where heads are no whole blocks.
    Finish(Finish),
    /// Attention.
    Attend(Attend),
    /// Gate and up with their activation.
    Gate(Gate),
    /// The order of all rows' choices: one unit.
    Sort(Routing),
    /// Gate and up of each expert, on its picks.
    ExpertGates(Vec<Gate>),
    /// A product of each expert, on its picks.
    ExpertProducts(Vec<Product>),
    /// The output head.
    Head(Head),
}

/// Work of one row.
#[derive(Debug)]
pub(crate) enum RowOp {
    /// Cosines and sines of the row's position, for each rotary table.
    Angles,
    /// Token to vector.
    Embed(Embed),
    /// A norm; its weights are among the model's vectors.
    Norm(Norm),
    /// `to += scale * from`.
    Add(Add),
    /// `out = activation(gate) * up`, by register.
    Activate {
        gate: usize,
        up: usize,
        activation: Activation,
        out: usize,
    },
    /// The row's experts and their weights.
    Choose(Routing),
    /// Copies activations to the row's picks.
    Pick {
        from: ActId,
        to: ActId,
        active: usize,
    },
    /// `Activate`, of every pick.
    ActivatePicks {
        gate: usize,
        up: usize,
        activation: Activation,
        out: usize,
        active: usize,
    },
    /// `Prepare`, of every pick.
    PreparePicks {
        from: usize,
        act: ActId,
        active: usize,
    },
    /// `out = sum of weight * from` over the row's picks.
    Combine {
        from: usize,
        out: usize,
        active: usize,
    },
    /// Keeps the register's row for the rows that leave after so many layers.
    Leave { layer: usize, from: usize },
    /// Makes activations ready for products.
    Prepare { from: usize, act: ActId },
    /// The same for the rows that want logits alone, packed together.
    PrepareHead { from: usize, act: ActId },
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
    pub(crate) dim: usize,
    /// Query heads.
    pub(crate) q_count: usize,
    /// KV heads.
    pub(crate) kv_count: usize,
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
    /// Register of q.
    pub(crate) input: usize,
    /// Destination register.
    pub(crate) out: usize,
    /// Activations that the heads of an item are made into at once.
    pub(crate) ready: Option<ActId>,
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
    pub(crate) bias: Option<WeightId>,
    /// Of up.
    pub(crate) up_bias: Option<WeightId>,
    /// The non-linearity.
    pub(crate) activation: Activation,
    /// Destination register.
    pub(crate) out: usize,
    /// Its width.
    pub(crate) inner: usize,
    /// Activations that the outputs are made into at once, without a way through the register.
    pub(crate) ready: Option<ActId>,
    /// Outputs per unit are a multiple of this many blocks.
    pub(crate) block_unit: usize,
}

/// The output head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// `[vocabulary, hidden]`.
    pub(crate) matrix: MatrixId,
    /// Register of the rows behind the final norm.
    pub(crate) input: usize,
    /// The rows that want logits, packed.
    pub(crate) act: ActId,
    /// `[vocabulary]`.
    pub(crate) bias: Option<WeightId>,
    /// Multiplier.
    pub(crate) scale: f32,
    /// `cap * tanh(x / cap)`.
    pub(crate) soft_cap: Option<f32>,
}
