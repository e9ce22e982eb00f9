//! The table of known architectures: for each its names in files, the names of its tensors, and where it
//! departs from the plain decoder (RMS norm, rotary attention with grouped heads, gated MLP). Data only;
//! `config` reads sizes by it and `build` writes programs by it.

use crate::fields::Key;

/// One architecture.
#[derive(Debug, PartialEq)]
pub struct Architecture {
    /// Our name for it.
    pub name: &'static str,
    /// Entries of `architectures` in config.json.
    pub classes: &'static [&'static str],
    /// `model_type` in config.json.
    pub model_types: &'static [&'static str],
    /// `general.architecture` in GGUF files.
    pub gguf_names: &'static [&'static str],
    /// Whether GGUF files hold the rows of q and k (and their biases) as rotation pairs.
    pub is_gguf_paired: bool,
    /// Biases of q, k and v.
    pub qkv_bias: Bias,
    /// Bias of the attention's output projection.
    pub out_bias: Bias,
    /// Biases of the MLP.
    pub mlp_bias: Bias,
    /// Whether each head of q and k is normalised before the rotation.
    pub has_head_norms: bool,
    /// Elements per head where config.json does not say; `None`: hidden / heads.
    pub head_dim_default: Option<usize>,
    /// Which layers look through a window.
    pub window: WindowRule,
}

/// Whether a bias exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// Never.
    Never,
    /// Always.
    Always,
    /// If this flag of config.json says so; GGUF files have no flag, there the tensor's presence decides.
    Flag(&'static str),
}

/// Which layers have a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowRule {
    /// All, if `sliding_window` is a number; `default` where config.json does not have the key.
    Uniform {
        /// In tokens.
        default: usize,
    },
    /// All, if a GGUF file says so: Mistral's call themselves llama there. A Llama of config.json has none,
    /// whatever it says.
    GgufOnly,
    /// Those of `layer_types`, or from `max_window_layers` on; only if `use_sliding_window`.
    UpperLayers,
}

/// Every architecture that `build` knows.
pub static KNOWN: [Architecture; 4] = [
    Architecture {
        name: "llama",
        classes: &["LlamaForCausalLM", "LLaMAForCausalLM"],
        model_types: &["llama"],
        gguf_names: &["llama"],
        is_gguf_paired: true,
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        mlp_bias: Bias::Flag("mlp_bias"),
        has_head_norms: false,
        head_dim_default: None,
        window: WindowRule::GgufOnly,
    },
    Architecture {
        name: "mistral",
        classes: &["MistralForCausalLM"],
        model_types: &["mistral"],
        gguf_names: &[],
        is_gguf_paired: true,
        qkv_bias: Bias::Never,
        out_bias: Bias::Never,
        mlp_bias: Bias::Never,
        has_head_norms: false,
        head_dim_default: None,
        window: WindowRule::Uniform { default: 4096 },
    },
    Architecture {
        name: "qwen2",
        classes: &["Qwen2ForCausalLM"],
        model_types: &["qwen2"],
        gguf_names: &["qwen2"],
        is_gguf_paired: false,
        qkv_bias: Bias::Always,
        out_bias: Bias::Never,
        mlp_bias: Bias::Never,
        has_head_norms: false,
        head_dim_default: None,
        window: WindowRule::UpperLayers,
    },
    Architecture {
        name: "qwen3",
        classes: &["Qwen3ForCausalLM"],
        model_types: &["qwen3"],
        gguf_names: &["qwen3"],
        is_gguf_paired: false,
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        mlp_bias: Bias::Never,
        has_head_norms: true,
        head_dim_default: Some(128),
        window: WindowRule::UpperLayers,
    },
];

/// The names of all known architectures, for messages.
pub fn known_names() -> String {
    KNOWN
        .iter()
        .map(|architecture| architecture.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Where a file keeps the tensors of the plain decoder. `{}` stands for the layer's number; each name is
/// followed by `.weight` or `.bias`.
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
    /// Query projection.
    pub q: &'static str,
    /// Key projection.
    pub k: &'static str,
    /// Value projection.
    pub v: &'static str,
    /// Norm of each query head.
    pub q_norm: &'static str,
    /// Norm of each key head.
    pub k_norm: &'static str,
    /// Output projection of attention.
    pub out: &'static str,
    /// Norm before the MLP.
    pub mlp_norm: &'static str,
    /// Gate projection.
    pub gate: &'static str,
    /// Up projection.
    pub up: &'static str,
    /// Down projection.
    pub down: &'static str,
}

/// Names in Hugging Face checkpoints.
pub static HUGGING_FACE: TensorNames = TensorNames {
    embed: "model.embed_tokens",
    final_norm: "model.norm",
    head: "lm_head",
    layer: "model.layers.{}.",
    attention_norm: "input_layernorm",
    q: "self_attn.q_proj",
    k: "self_attn.k_proj",
    v: "self_attn.v_proj",
    q_norm: "self_attn.q_norm",
    k_norm: "self_attn.k_norm",
    out: "self_attn.o_proj",
    mlp_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
};

/// Names in GGUF files.
pub static GGUF: TensorNames = TensorNames {
    embed: "token_embd",
    final_norm: "output_norm",
    head: "output",
    layer: "blk.{}.",
    attention_norm: "attn_norm",
    q: "attn_q",
    k: "attn_k",
    v: "attn_v",
    q_norm: "attn_q_norm",
    k_norm: "attn_k_norm",
    out: "attn_output",
    mlp_norm: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    down: "ffn_down",
};

/// Factors of the rotary frequencies in a GGUF file, f32, one per pair.
pub const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Keys of sizes, in both kinds of file.
pub mod keys {
    use super::Key;

    /// Rows of the embedding.
    pub const VOCAB: Key = Key::new("vocab_size", "vocab_size");
    /// Width of the residual stream.
    pub const HIDDEN: Key = Key::new("hidden_size", "embedding_length");
    /// Number of layers.
    pub const LAYERS: Key = Key::new("num_hidden_layers", "block_count");
    /// Query heads.
    pub const HEADS: Key = Key::new("num_attention_heads", "attention.head_count");
    /// Key and value heads.
    pub const KV_HEADS: Key = Key::new("num_key_value_heads", "attention.head_count_kv");
    /// Elements per head.
    pub const HEAD_DIM: Key = Key::new("head_dim", "attention.key_length");
    /// Width of the MLP.
    pub const INNER: Key = Key::new("intermediate_size", "feed_forward_length");
    /// Longest context.
    pub const CONTEXT: Key = Key::new("max_position_embeddings", "context_length");
    /// Epsilon of the norms.
    pub const NORM_EPS: Key = Key::new("rms_norm_eps", "attention.layer_norm_rms_epsilon");
    /// Base of the rotation.
    pub const THETA: Key = Key::new("rope_theta", "rope.freq_base");
    /// Tokens that a layer sees.
    pub const WINDOW: Key = Key::new("sliding_window", "attention.sliding_window");
}
