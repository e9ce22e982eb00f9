//! Where files keep the tensors of each family. Data only.

/// Names of tensors. `{}` stands for the layer's number; each name is followed by `.weight` or `.bias`. A name
/// that an architecture has no use for is empty.
#[derive(Debug, PartialEq, Eq)]
pub struct TensorNames {
    /// What all names but the head's start with, unless the inner model was saved by itself.
    pub base: &'static str,
    /// Token embedding.
    pub embed: &'static str,
    /// Learned positions.
    pub positions: &'static str,
    /// Norm before the head.
    pub final_norm: &'static str,
    /// Output head, where it is not the embedding.
    pub head: &'static str,
    /// What the names of a layer start with.
    pub layer: &'static str,
    /// Norm before attention.
    pub attention_norm: &'static str,
    /// Query, key and value projections.
    pub qkv: Projections,
    /// Norm of the queries' heads.
    pub q_norm: &'static str,
    /// Norm of the keys' heads.
    pub k_norm: &'static str,
    /// Output projection of attention.
    pub out: Projections,
    /// Norm of what attention adds.
    pub post_attention_norm: &'static str,
    /// Norm before the MLP.
    pub mlp_norm: &'static str,
    /// Gate and up projections.
    pub gate_up: Projections,
    /// Down projection.
    pub down: Projections,
    /// Norm of what the MLP adds.
    pub post_mlp_norm: &'static str,
    /// Router of a mixture.
    pub router: &'static str,
    /// Gate, up and down projections of its experts.
    pub experts: ExpertNames,
}

/// Several projections of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projections {
    /// A tensor each.
    Apart(&'static [&'static str]),
    /// One tensor, their rows one after the other.
    Fused(&'static str),
    /// One tensor that holds `[inputs, outputs]` (GPT-2's Conv1D), the outputs one after the other.
    FusedTransposed(&'static str),
    /// One tensor, head by head the rows of q, k and v.
    FusedByHead(&'static str),
    /// A single tensor that holds `[inputs, outputs]`.
    Transposed(&'static str),
}

/// The three projections of the experts of a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpertNames {
    /// Three tensors for every expert, whose number stands for `{}`.
    Apart([&'static str; 3]),
    /// Three tensors for all experts, `[experts, outputs, inputs]`.
    Stacked([&'static str; 3]),
}

impl Projections {
    /// The name of the first tensor.
    pub const fn first(self) -> &'static str {
        match self {
            Self::Apart(names) => names[0],
            Self::Fused(name)
            | Self::FusedTransposed(name)
            | Self::FusedByHead(name)
            | Self::Transposed(name) => name,
        }
    }

    /// Whether there is one matrix only: an MLP without a gate.
    pub const fn is_single(self) -> bool {
        match self {
            Self::Apart(names) => names.len() == 1,
            Self::Transposed(_) => true,
            _ => false,
        }
    }
}

/// Names in Hugging Face checkpoints of Llama and its many kin.
pub static HF_LLAMA: TensorNames = HF;

const HF: TensorNames = TensorNames {
    base: "model.",
    embed: "embed_tokens",
    positions: "",
    final_norm: "norm",
    head: "lm_head",
    layer: "layers.{}.",
    attention_norm: "input_layernorm",
    qkv: Projections::Apart(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    out: Projections::Apart(&["self_attn.o_proj"]),
    post_attention_norm: "",
    mlp_norm: "post_attention_layernorm",
    gate_up: Projections::Apart(&["mlp.gate_proj", "mlp.up_proj"]),
    down: Projections::Apart(&["mlp.down_proj"]),
    post_mlp_norm: "",
    router: "mlp.gate",
    experts: ExpertNames::Apart([
        "mlp.experts.{}.gate_proj",
        "mlp.experts.{}.up_proj",
        "mlp.experts.{}.down_proj",
    ]),
};

/// Mixtral.
pub static HF_MIXTRAL: TensorNames = TensorNames {
    router: "block_sparse_moe.gate",
    experts: ExpertNames::Apart([
        "block_sparse_moe.experts.{}.w1",
        "block_sparse_moe.experts.{}.w3",
        "block_sparse_moe.experts.{}.w2",
    ]),
    ..HF
};

/// Gemma 2 and 3.
pub static HF_GEMMA: TensorNames = TensorNames {
    post_attention_norm: "post_attention_layernorm",
    mlp_norm: "pre_feedforward_layernorm",
    post_mlp_norm: "post_feedforward_layernorm",
    ..HF
};

/// OLMo 2.
pub static HF_OLMO2: TensorNames = TensorNames {
    attention_norm: "",
    post_attention_norm: "post_attention_layernorm",
    mlp_norm: "",
    post_mlp_norm: "post_feedforward_layernorm",
    ..HF
};

/// Phi-3.
pub static HF_PHI3: TensorNames = TensorNames {
    qkv: Projections::Fused("self_attn.qkv_proj"),
    gate_up: Projections::Fused("mlp.gate_up_proj"),
    ..HF
};

/// GPT-2.
pub static HF_GPT2: TensorNames = TensorNames {
    base: "transformer.",
    embed: "wte",
    positions: "wpe",
    final_norm: "ln_f",
    layer: "h.{}.",
    attention_norm: "ln_1",
    qkv: Projections::FusedTransposed("attn.c_attn"),
    out: Projections::Transposed("attn.c_proj"),
    mlp_norm: "ln_2",
    gate_up: Projections::Transposed("mlp.c_fc"),
    down: Projections::Transposed("mlp.c_proj"),
    ..HF
};

/// OPT.
pub static HF_OPT: TensorNames = TensorNames {
    base: "model.decoder.",
    positions: "embed_positions",
    final_norm: "final_layer_norm",
    attention_norm: "self_attn_layer_norm",
    out: Projections::Apart(&["self_attn.out_proj"]),
    mlp_norm: "final_layer_norm",
    gate_up: Projections::Apart(&["fc1"]),
    down: Projections::Apart(&["fc2"]),
    ..HF
};

/// GPT-NeoX, Pythia.
pub static HF_GPT_NEOX: TensorNames = TensorNames {
    base: "gpt_neox.",
    embed: "embed_in",
    final_norm: "final_layer_norm",
    head: "embed_out",
    qkv: Projections::FusedByHead("attention.query_key_value"),
    out: Projections::Apart(&["attention.dense"]),
    gate_up: Projections::Apart(&["mlp.dense_h_to_4h"]),
    down: Projections::Apart(&["mlp.dense_4h_to_h"]),
    ..HF
};

/// Names in GGUF files.
pub static GGUF: TensorNames = GGUF_PLAIN;

const GGUF_PLAIN: TensorNames = TensorNames {
    base: "",
    embed: "token_embd",
    positions: "position_embd",
    final_norm: "output_norm",
    head: "output",
    layer: "blk.{}.",
    attention_norm: "attn_norm",
    qkv: Projections::Apart(&["attn_q", "attn_k", "attn_v"]),
    q_norm: "attn_q_norm",
    k_norm: "attn_k_norm",
    out: Projections::Apart(&["attn_output"]),
    post_attention_norm: "post_attention_norm",
    mlp_norm: "ffn_norm",
    gate_up: Projections::Apart(&["ffn_gate", "ffn_up"]),
    down: Projections::Apart(&["ffn_down"]),
    post_mlp_norm: "post_ffw_norm",
    router: "ffn_gate_inp",
    experts: ExpertNames::Stacked(["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"]),
};

/// Phi-3 in GGUF files.
pub static GGUF_PHI3: TensorNames = TensorNames {
    qkv: Projections::Fused("attn_qkv"),
    gate_up: Projections::Fused("ffn_up"),
    ..GGUF_PLAIN
};

/// The older kind in GGUF files.
pub static GGUF_FUSED: TensorNames = TensorNames {
    qkv: Projections::Fused("attn_qkv"),
    gate_up: Projections::Apart(&["ffn_up"]),
    ..GGUF_PLAIN
};
