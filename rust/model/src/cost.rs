//! What each operation of a step costs: floating-point operations and bytes. This is the one
//! implementation; the live statistics, the benchmarks and the analyser all call it. It knows programs,
//! formats and the shape of a step, no machine and no time.
//!
//! Rules: a multiply-add is 2 FLOP; every operand is read once and every result written once per operation
//! ("ideal" traffic); a fused operation counts its outer operands only; causal attention counts the visible
//! pairs; weights are read once for all rows of the step.

use crate::backend::KvFormat;
use crate::batch::StepBatch;
use crate::error::Result;
use crate::program::{
    Add, Affine, Attention, Embed, HeadNorm, KvShape, Linear, Logits, Mlp, Moe, Norm, Op, Program,
    Qkv, Reg, WeightId,
};
use crate::weights::Weights;

/// FLOP per element of a norm without the residual addition before it, which costs one more.
const NORM_FLOPS: u64 = 4;
/// FLOP per rotated element: two products and a sum.
const ROPE_FLOPS: u64 = 3;
/// FLOP per score for the softmax: maximum, difference, exponential, sum.
const SOFTMAX_FLOPS: u64 = 4;
/// Bytes of a logit.
const LOGIT_BYTES: u64 = 4;

/// The cost of one operation, or a sum of such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpCost {
    /// All floating-point operations.
    pub flops: u64,
    /// Those of matrix products and of attention's two products: what a matrix unit could do.
    pub matrix_flops: u64,
    /// Weights read, in the encoding of each.
    pub weight_bytes: u64,
    /// Activations read and written.
    pub activation_bytes: u64,
    /// K and V read.
    pub kv_read_bytes: u64,
    /// K and V written.
    pub kv_write_bytes: u64,
}

impl OpCost {
    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.weight_bytes + self.activation_bytes + self.kv_read_bytes + self.kv_write_bytes
    }

    /// FLOP per byte; 0 for an operation that moves nothing.
    pub fn intensity(&self) -> f64 {
        match self.bytes() {
            0 => 0.0,
            bytes => self.flops as f64 / bytes as f64,
        }
    }
}

impl std::ops::AddAssign for OpCost {
    fn add_assign(&mut self, other: Self) {
        self.flops += other.flops;
        self.matrix_flops += other.matrix_flops;
        self.weight_bytes += other.weight_bytes;
        self.activation_bytes += other.activation_bytes;
        self.kv_read_bytes += other.kv_read_bytes;
        self.kv_write_bytes += other.kv_write_bytes;
    }
}

impl std::iter::Sum for OpCost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |mut total, cost| {
            total += cost;
            total
        })
    }
}

/// The rows of one sequence in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanShape {
    /// Rows.
    pub rows: usize,
    /// Tokens of the sequence before the first of them.
    pub offset: usize,
}

/// The shape of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepShape {
    /// One entry per sequence.
    pub spans: Vec<SpanShape>,
    /// Rows that want logits.
    pub logits_rows: usize,
    /// Rows that leave early: each is one more row of the output head.
    pub exit_rows: usize,
    /// Bytes per element of K and V.
    pub kv_element_bytes: usize,
    /// Bytes per element of activations.
    pub activation_bytes: usize,
    /// Whether attention counts the full square of a chunk, as textbooks do, instead of the visible half.
    pub is_square: bool,
}

impl StepShape {
    /// The shape of a real batch, on a backend whose registers are f32.
    pub fn of(batch: &StepBatch, kv_format: KvFormat) -> Self {
        let spans = batch.spans.iter().map(|span| SpanShape {
            rows: span.rows as usize,
            offset: batch.positions[span.row as usize] as usize,
        });
        Self {
            spans: spans.collect(),
            logits_rows: batch.logits_rows.len(),
            exit_rows: batch.exit_rows.len(),
            kv_element_bytes: kv_format.element_bytes(),
            activation_bytes: size_of::<f32>(),
            is_square: false,
        }
    }

    /// Rows of all sequences.
    pub fn rows(&self) -> usize {
        self.spans.iter().map(|span| span.rows).sum()
    }
}

/// Bytes of each weight of a program, by `WeightId`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightBytes(Vec<u64>);

impl WeightBytes {
    /// As encoded in a checkpoint.
    pub fn of(weights: &Weights<'_>) -> Result<Self> {
        (0..weights.program().weights.len())
            .map(|index| weights.len_bytes(WeightId(index as u32)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// All weights in plain numbers of `element_bytes`.
    pub fn uniform(program: &Program, element_bytes: u64) -> Self {
        let bytes = program.weights.iter().map(|spec| {
            let elements: usize = spec.shape.iter().product();
            elements as u64 * element_bytes
        });
        Self(bytes.collect())
    }

    /// Bytes of one weight.
    pub fn get(&self, id: WeightId) -> u64 {
        self.0[id.0 as usize]
    }

    /// Bytes of all weights together: what the model takes in memory.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// The cost of every operation of a step, in the order of `Program::ops`.
pub fn step_cost(program: &Program, weights: &WeightBytes, shape: &StepShape) -> Vec<OpCost> {
    let mut counter = Counter {
        program,
        weights,
        shape,
        rows: shape.rows() as u64,
        seen: Vec::new(),
    };
    program.ops.iter().map(|op| counter.op(op)).collect()
}

/// Query-key pairs and distinct cached tokens of a step, for one window.
#[derive(Clone, Copy)]
struct Visible {
    window: Option<usize>,
    pairs: u64,
    tokens: u64,
}

struct Counter<'a> {
    program: &'a Program,
    weights: &'a WeightBytes,
    shape: &'a StepShape,
    rows: u64,
    /// One entry per window: layers share them, so that a step is counted once and not once per layer.
    seen: Vec<Visible>,
}

impl Counter<'_> {
    fn op(&mut self, op: &Op) -> OpCost {
        match op {
            Op::Embed(op) => self.embed(op),
            Op::Norm(op) => self.norm(op),
            Op::Qkv(op) => self.qkv(op),
            Op::Attention(op) => self.attention(op),
            Op::Linear(op) => self.linear(op),
            Op::Mlp(op) => self.mlp(op),
            Op::Moe(op) => self.moe(op),
            Op::Add(op) => self.add(op),
            // What it costs, it costs the head.
            Op::Exit(_) => OpCost::default(),
            Op::Logits(op) => self.logits(op),
        }
    }

    fn width(&self, reg: Reg) -> u64 {
        self.program.regs[reg.0 as usize] as u64
    }

    fn activations(&self, elements: u64) -> u64 {
        elements * self.shape.activation_bytes as u64
    }

    fn kv_shape(&self, layer: usize) -> KvShape {
        self.program.shape.kv[layer]
    }

    /// A product with a weight over `rows`, without its operands' traffic.
    fn product(&self, affine: &Affine, rows: u64) -> OpCost {
        let shape = &self.program.weights[affine.weight.0 as usize].shape;
        let elements: u64 = shape.iter().map(|&dim| dim as u64).product();
        let mut cost = OpCost {
            flops: 2 * rows * elements,
            matrix_flops: 2 * rows * elements,
            weight_bytes: self.weights.get(affine.weight),
            ..OpCost::default()
        };
        if let Some(bias) = affine.bias {
            cost.flops += rows * shape[0] as u64;
            cost.weight_bytes += self.weights.get(bias);
        }
        cost
    }

    /// A gather: no FLOP, and the rows of the table count as the activation that they become.
    fn embed(&self, op: &Embed) -> OpCost {
        let elements = self.rows * self.width(op.out);
        let gathers = 1 + u64::from(op.positions.is_some());
        OpCost {
            activation_bytes: self.activations(gathers * elements),
            ..OpCost::default()
        }
    }

    fn norm(&self, op: &Norm) -> OpCost {
        let elements = self.rows * self.width(op.input);
        let bias_bytes = op.bias.map_or(0, |bias| self.weights.get(bias));
        OpCost {
            flops: (NORM_FLOPS + u64::from(op.bias.is_some())) * elements,
            weight_bytes: self.weights.get(op.weight) + bias_bytes,
            activation_bytes: self.activations(2 * elements),
            ..OpCost::default()
        }
    }

    fn head_norm(&self, norm: Option<&HeadNorm>, elements: u64) -> OpCost {
        norm.map_or(OpCost::default(), |norm| OpCost {
            flops: NORM_FLOPS * elements,
            weight_bytes: self.weights.get(norm.weight),
            ..OpCost::default()
        })
    }

    fn qkv(&self, op: &Qkv) -> OpCost {
        let kv = self.kv_shape(op.layer);
        let kv_elements = self.rows * (kv.heads * kv.head_dim) as u64;
        let q_elements = self.rows * self.width(op.out);
        let mut cost: OpCost = [&op.q, &op.k, &op.v]
            .into_iter()
            .map(|affine| self.product(affine, self.rows))
            .sum();
        cost += self.head_norm(op.q_norm.as_ref(), q_elements);
        cost += self.head_norm(op.k_norm.as_ref(), kv_elements);
        if op.rope.is_some() {
            cost.flops += ROPE_FLOPS * (q_elements + kv_elements);
        }
        cost.activation_bytes = self.activations(self.rows * self.width(op.input) + q_elements);
        cost.kv_write_bytes = 2 * kv_elements * self.shape.kv_element_bytes as u64;
        cost
    }

    fn attention(&mut self, op: &Attention) -> OpCost {
        let kv = self.kv_shape(op.layer);
        let visible = self.visible(op.window);
        let scores = op.heads as u64 * visible.pairs;
        let matrix_flops = 4 * scores * kv.head_dim as u64;
        let kv_width = (kv.heads * kv.head_dim * self.shape.kv_element_bytes) as u64;
        OpCost {
            flops: matrix_flops + SOFTMAX_FLOPS * scores,
            matrix_flops,
            activation_bytes: self.activations(2 * self.rows * self.width(op.out)),
            kv_read_bytes: 2 * visible.tokens * kv_width,
            ..OpCost::default()
        }
    }

    fn visible(&mut self, window: Option<usize>) -> Visible {
        if let Some(&known) = self.seen.iter().find(|known| known.window == window) {
            return known;
        }
        let counts = self.shape.spans.iter().map(|span| {
            (
                visible_pairs(*span, window, self.shape.is_square),
                visible_tokens(*span, window),
            )
        });
        let (pairs, tokens) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        let visible = Visible {
            window,
            pairs,
            tokens,
        };
        self.seen.push(visible);
        visible
    }

    fn linear(&self, op: &Linear) -> OpCost {
        let mut cost = self.product(&op.affine, self.rows);
        let widths = self.width(op.input) + self.width(op.out);
        cost.activation_bytes = self.activations(self.rows * widths);
        cost
    }

    fn mlp(&self, op: &Mlp) -> OpCost {
        let mut cost = self.mlp_products(op, self.rows);
        cost.activation_bytes = self.mlp_activations(op, self.rows);
        cost
    }

    fn inner(&self, op: &Mlp) -> u64 {
        self.program.weights[op.up.weight.0 as usize].shape[0] as u64
    }

    fn mlp_products(&self, op: &Mlp, rows: u64) -> OpCost {
        let mut cost = self.product(&op.up, rows);
        cost += self.product(&op.down, rows);
        if let Some(gate) = &op.gate {
            cost += self.product(gate, rows);
        }
        cost.flops += 2 * rows * self.inner(op);
        cost
    }

    /// Two kernels: the wide vector is written once, after the activation, and read once.
    fn mlp_activations(&self, op: &Mlp, rows: u64) -> u64 {
        let widths = self.width(op.input) + 2 * self.inner(op) + self.width(op.out);
        self.activations(rows * widths)
    }

    /// Weights of the experts that are expected to be touched under uniform routing.
    fn moe(&self, op: &Moe) -> OpCost {
        let experts = op.experts.len() as u64;
        let router = Affine {
            weight: op.router,
            bias: None,
        };
        let mut cost = self.product(&router, self.rows);
        cost.activation_bytes = self.activations(self.rows * experts);
        let Some(expert) = op.experts.first() else {
            return cost;
        };
        let chosen = self.mlp_products(expert, self.rows * op.active as u64);
        let all_bytes: u64 = op
            .experts
            .iter()
            .map(|expert| self.mlp_products(expert, 0).weight_bytes)
            .sum();
        let share = touched_experts(experts, op.active as u64, self.rows) / experts as f64;
        cost.flops += chosen.flops;
        cost.matrix_flops += chosen.matrix_flops;
        cost.weight_bytes += (all_bytes as f64 * share).round() as u64;
        cost.activation_bytes += self.mlp_activations(expert, self.rows * op.active as u64);
        cost
    }

    /// Priced as fused into the norm beside it: together they read two operands and write one.
    fn add(&self, op: &Add) -> OpCost {
        let elements = self.rows * self.width(op.to);
        OpCost {
            flops: elements,
            activation_bytes: self.activations(elements),
            ..OpCost::default()
        }
    }

    fn logits(&self, op: &Logits) -> OpCost {
        let rows = (self.shape.logits_rows + self.shape.exit_rows) as u64;
        if rows == 0 {
            return OpCost::default();
        }
        let mut cost = self.product(&op.head, rows);
        cost.activation_bytes = LOGIT_BYTES * rows * self.program.shape.vocab_len as u64;
        cost
    }
}

/// Distinct experts that `rows` rows are expected to use, `active` each, under uniform routing.
pub fn touched_experts(experts: u64, active: u64, rows: u64) -> f64 {
    let missed = 1.0 - active as f64 / experts as f64;
    experts as f64 * (1.0 - missed.powf(rows as f64))
}

/// Query-key pairs of a span: the sum over its rows of the tokens that each sees.
fn visible_pairs(span: SpanShape, window: Option<usize>, is_square: bool) -> u64 {
    let (rows, end) = (span.rows as u64, (span.offset + span.rows) as u64);
    let window = window.map_or(u64::MAX, |window| window as u64);
    if is_square {
        return rows * end.min(window);
    }
    // Row i sees offset + i + 1 tokens until the window holds them back.
    let growing = window.saturating_sub(span.offset as u64).min(rows);
    let held = (rows - growing) * if growing < rows { window } else { 0 };
    growing * span.offset as u64 + growing * (growing + 1) / 2 + held
}

/// Cached tokens that at least one row of a span sees.
fn visible_tokens(span: SpanShape, window: Option<usize>) -> u64 {
    if span.rows == 0 {
        return 0;
    }
    let end = span.offset + span.rows;
    window.map_or(end, |window| end.min(window + span.rows - 1)) as u64
}
