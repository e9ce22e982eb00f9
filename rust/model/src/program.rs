//! A model as data: a short list of coarse operations over named registers, and the weights they read.
//! The Program knows no request, no block and no backend; a backend plans it once (packing, fusion,
//! buffers) and runs it for every step. A new architecture is a new list, not a new forward function.
//!
//! Registers are f32 matrices `[rows of the step, width]`. An operation reads its inputs, writes its
//! output register whole, and touches nothing else; `Add` alone accumulates.

/// Index into `Program::regs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reg(pub u16);

/// Index into `Program::weights`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightId(pub u32);

/// A whole model.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Name of the architecture, as in the table of known ones.
    pub architecture: &'static str,
    /// Sizes that the engine and the memory plan need.
    pub shape: ModelShape,
    /// Width of each register, in f32 elements.
    pub regs: Vec<usize>,
    /// Weights, in the order of first use.
    pub weights: Vec<WeightSpec>,
    /// Rotary tables, shared by layers.
    pub ropes: Vec<Rope>,
    /// The operations, in order.
    pub ops: Vec<Op>,
}

/// Sizes of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelShape {
    /// Rows of the output head.
    pub vocab_len: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Longest context the model was made for, in tokens.
    pub context_len: usize,
    /// KV geometry of each layer that caches, by `layer` index of `Qkv` and `Attention`.
    pub kv: Vec<KvShape>,
}

/// One layer's KV cache: `heads` heads of `head_dim` for each of K and V.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// KV heads.
    pub heads: usize,
    /// Elements per head.
    pub head_dim: usize,
}

/// A weight: where it is in the file, its shape, and how the file's rows map to ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSpec {
    /// Tensor name in the checkpoint.
    pub name: String,
    /// `[outputs, inputs]`, or `[n]` for vectors.
    pub shape: Vec<usize>,
    /// Rows to take, if the tensor is a fusion of several (Phi-3, GPT-NeoX); `None`: all.
    pub rows: Option<RowSlice>,
    /// Undo of a file's row order.
    pub order: RowOrder,
    /// Whether the file holds `[inputs, outputs]` (GPT-2's Conv1D).
    pub is_transposed: bool,
}

/// Rows `start .. start + len` of the file's tensor, repeated every `stride` rows for `len * repeat` rows in
/// all (`repeat` 1: one run). Of a tensor of three dimensions, such as a stack of experts, the rows are counted
/// through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSlice {
    /// First row.
    pub start: usize,
    /// Rows in a run.
    pub len: usize,
    /// Distance between the starts of runs.
    pub stride: usize,
    /// Runs.
    pub repeat: usize,
    /// Rows that the tensor must have.
    pub total: usize,
}

/// The order of rows in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowOrder {
    /// As we use them.
    #[default]
    Plain,
    /// Per head of `head_dim` rows, file row 2i + s is our row s * head_dim / 2 + i (llama.cpp's Q/K rows).
    RopePairs {
        /// Rows per head.
        head_dim: usize,
    },
}

/// A rotary table: angle of position p and pair i is `p * inv_freq[i]`, rounded to f32; both sine and cosine are
/// multiplied by `attention_factor`. Halves are rotated: element i pairs with i + `inv_freq.len()`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// One frequency per pair, radians per token, after any scaling.
    pub inv_freq: Vec<f32>,
    /// 1 except for scalings that say otherwise (yarn, longrope).
    pub attention_factor: f32,
    /// What `inv_freq` becomes when a longer context is served.
    pub long: Option<LongRope>,
}

/// The other frequencies of a LongRoPE.
#[derive(Clone, Debug, PartialEq)]
pub struct LongRope {
    /// As in `Rope`.
    pub inv_freq: Vec<f32>,
    /// They hold for contexts longer than this.
    pub original_context: usize,
}

impl Program {
    /// Layers after which rows may leave early: 0, the embedding, up to this number less one.
    pub fn exits(&self) -> usize {
        let is_exit = |op: &&Op| matches!(op, Op::Exit(_));
        self.ops.iter().filter(is_exit).count()
    }

    /// Whether the output head is the embedding.
    pub fn is_tied(&self) -> bool {
        let table = self.ops.iter().find_map(|op| match op {
            Op::Embed(embed) => Some(embed.table),
            _ => None,
        });
        let is_head =
            |op: &Op| matches!(op, Op::Logits(logits) if Some(logits.head.weight) == table);
        self.ops.iter().any(is_head)
    }

    /// Settles what depends on the longest context that will be served. A choice by the length of each sequence
    /// would rotate the keys of one cache in two ways, and a sequence's tokens would depend on where its cache
    /// was filled.
    pub fn serve_context(&mut self, context_len: usize) {
        for rope in &mut self.ropes {
            if let Some(long) = &rope.long
                && context_len > long.original_context
            {
                rope.inv_freq.clone_from(&long.inv_freq);
            }
        }
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Token ids to vectors.
    Embed(Embed),
    /// Normalisation of each row.
    Norm(Norm),
    /// Q, K and V of one input: product, bias, per-head norm, rotation; K and V go to their slots.
    Qkv(Qkv),
    /// Attention of q over the cache.
    Attention(Attention),
    /// A matrix product.
    Linear(Linear),
    /// An MLP, gated or plain.
    Mlp(Mlp),
    /// A mixture of gated experts.
    Moe(Moe),
    /// `to += scale * from`.
    Add(Add),
    /// A place where rows may leave early: backends keep the rows that ask for it.
    Exit(Exit),
    /// The output head, on the rows that want logits.
    Logits(Logits),
}

/// `out[r] = table[token[r]] * scale (+ positions[position[r] + position_offset])`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed {
    /// `[vocab_len, hidden]`.
    pub table: WeightId,
    /// Learned positions, `[context_len + offset, hidden]`.
    pub positions: Option<WeightId>,
    /// Added to the position before the look-up (OPT: 2).
    pub position_offset: usize,
    /// Multiplier of the embedding (Gemma: sqrt(hidden), Granite: a config value), 1 elsewhere.
    pub scale: f32,
    /// Destination.
    pub out: Reg,
}

/// The normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// x / rms(x).
    Rms,
    /// (x - mean) / std.
    Layer,
}

/// `out = norm(input) * (weight + weight_offset) (+ bias)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Which.
    pub kind: NormKind,
    /// Scale, `[width]`.
    pub weight: WeightId,
    /// Shift, `[width]`.
    pub bias: Option<WeightId>,
    /// Added to the weight (Gemma from safetensors: 1), 0 elsewhere.
    pub weight_offset: f32,
    /// Inside the root.
    pub eps: f32,
    /// Source.
    pub input: Reg,
    /// Destination; may equal `input`.
    pub out: Reg,
}

/// A weight with an optional bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affine {
    /// `[outputs, inputs]`.
    pub weight: WeightId,
    /// `[outputs]`.
    pub bias: Option<WeightId>,
}

/// Normalisation of each head of q or k before the rotation (Qwen3, Gemma 3), or of the whole vector (OLMo-2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadNorm {
    /// `[head_dim]`, or `[heads * head_dim]` for the whole vector.
    pub weight: WeightId,
    /// As in `Norm`.
    pub weight_offset: f32,
    /// Inside the root.
    pub eps: f32,
    /// Whether the sum of squares runs over all heads together.
    pub is_whole: bool,
}

/// Fused projection, rotation and cache write of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Qkv {
    /// Index into `ModelShape::kv`.
    pub layer: usize,
    /// Source.
    pub input: Reg,
    /// Query projection, `[heads * head_dim, input width]`.
    pub q: Affine,
    /// Key projection, `[kv heads * head_dim, input width]`.
    pub k: Affine,
    /// Value projection.
    pub v: Affine,
    /// Clamp of the three products, behind their norms and before the rotation (OLMoE), where one is.
    pub clip: Option<f32>,
    /// Norm of q.
    pub q_norm: Option<HeadNorm>,
    /// Norm of k.
    pub k_norm: Option<HeadNorm>,
    /// Index into `Program::ropes`; `None`: no rotation in this layer.
    pub rope: Option<usize>,
    /// Query heads.
    pub heads: usize,
    /// Destination of q, `[rows, heads * head_dim]`, head-major.
    pub out: Reg,
}

/// Causal attention over the block-paged cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Index into `ModelShape::kv`.
    pub layer: usize,
    /// The rotated query.
    pub input: Reg,
    /// Query heads; query head h reads KV head `h / (heads / kv heads)`.
    pub heads: usize,
    /// Multiplier of the scores.
    pub scale: f32,
    /// `cap * tanh(score / cap)` after the scale.
    pub soft_cap: Option<f32>,
    /// A row at position p sees positions `> p - window`; `None`: all.
    pub window: Option<usize>,
    /// Destination.
    pub out: Reg,
}

/// `out = input * weight^T (+ bias)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// The matrix.
    pub affine: Affine,
    /// Source.
    pub input: Reg,
    /// Destination.
    pub out: Reg,
}

/// The non-linearity of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x * sigmoid(x).
    Silu,
    /// Exact GELU (erf).
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// `out = down(act(gate(x)) * up(x))`, or `down(act(up(x)))` without a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    /// `[inner, hidden]`.
    pub gate: Option<Affine>,
    /// `[inner, hidden]`.
    pub up: Affine,
    /// `[hidden, inner]`.
    pub down: Affine,
    /// Of the gate, or of up where there is none.
    pub activation: Activation,
    /// Source.
    pub input: Reg,
    /// Destination.
    pub out: Reg,
}

/// A mixture of gated experts: the `active` best of the router's logits, weighted by softmax.
#[derive(Clone, Debug, PartialEq)]
pub struct Moe {
    /// `[experts, hidden]`.
    pub router: WeightId,
    /// One per expert.
    pub experts: Vec<Mlp>,
    /// Experts per row.
    pub active: usize,
    /// Whether the softmax is over the chosen ones only (Mixtral, Qwen3-MoE with norm_topk_prob).
    pub is_renormalised: bool,
    /// Source.
    pub input: Reg,
    /// Destination.
    pub out: Reg,
}

/// `to += scale * from`.
#[derive(Clone, Debug, PartialEq)]
pub struct Add {
    /// Source.
    pub from: Reg,
    /// Accumulator.
    pub to: Reg,
    /// Multiplier (Granite), 1 elsewhere.
    pub scale: f32,
}

/// The residual stream after `layer` layers, 0 being the embedding. Rows that ask for its logits get those of the
/// output head on it as it is, with no final norm between.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// Layers before it.
    pub layer: usize,
    /// The stream.
    pub input: Reg,
}

/// `logits = cap(scale * head(input))` on the rows that want them.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// `[vocab_len, hidden]`; often the embedding.
    pub head: Affine,
    /// Multiplier (Granite: 1 / logits_scaling), 1 elsewhere.
    pub scale: f32,
    /// `cap * tanh(logit / cap)`.
    pub soft_cap: Option<f32>,
    /// Source, already normalised.
    pub input: Reg,
}
