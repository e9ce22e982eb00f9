//! Where files keep the tensors of each family. Data only.

/// Names of tensors. `{}` stands for the layer's number; each name is followed by `.weight` or `.bias`. A name
/// that an architecture has no use for is empty.
#[derive(Debug, PartialEq, Eq)]
pub struct TensorNames {
    /// Token embedding.
    pub embed: &'static str,
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
    pub out: &'static str,
    /// Norm of what attention adds.
    pub post_attention_norm: &'static str,
    /// Norm before the MLP.
    pub mlp_norm: &'static str,
    /// Gate and up projections.
    pub gate_up: Projections,
    /// Down projection.
    pub down: &'static str,
    /// Norm of what the MLP adds.
    pub post_mlp_norm: &'static str,
}

/// Several projections of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projections {
    /// A tensor each.
    Apart(&'static [&'static str]),
    /// One tensor, their rows one after the other.
    Fused(&'static str),
}

impl Projections {
    /// The name of the first tensor.
    pub const fn first(self) -> &'static str {
        match self {
            Self::Apart(names) => names[0],
            Self::Fused(name) => name,
        }
    }
}

/// Names in Hugging Face checkpoints of Llama and its many kin.
pub static HF_LLAMA: TensorNames = HF;

const HF: TensorNames = TensorNames {
    embed: "model.embed_tokens",
    final_norm: "model.norm",
    head: "lm_head",
    layer: "model.layers.{}.",
    attention_norm: "input_layernorm",
    qkv: Projections::Apart(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    out: "self_attn.o_proj",
    post_attention_norm: "",
    mlp_norm: "post_attention_layernorm",
    gate_up: Projections::Apart(&["mlp.gate_proj", "mlp.up_proj"]),
    down: "mlp.down_proj",
    post_mlp_norm: "",
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

/// Names in GGUF files.
pub static GGUF: TensorNames = GGUF_PLAIN;

const GGUF_PLAIN: TensorNames = TensorNames {
    embed: "token_embd",
    final_norm: "output_norm",
    head: "output",
    layer: "blk.{}.",
    attention_norm: "attn_norm",
    qkv: Projections::Apart(&["attn_q", "attn_k", "attn_v"]),
    q_norm: "attn_q_norm",
    k_norm: "attn_k_norm",
    out: "attn_output",
    post_attention_norm: "post_attention_norm",
    mlp_norm: "ffn_norm",
    gate_up: Projections::Apart(&["ffn_gate", "ffn_up"]),
    down: "ffn_down",
    post_mlp_norm: "post_ffw_norm",
};

/// Phi-3 in GGUF files.
pub static GGUF_PHI3: TensorNames = TensorNames {
    qkv: Projections::Fused("attn_qkv"),
    gate_up: Projections::Fused("ffn_up"),
    ..GGUF_PLAIN
};
