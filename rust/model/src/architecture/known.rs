//! The table itself: each row is the plain decoder with its departures.

use super::names::{GGUF, GGUF_PHI3, HF_GEMMA, HF_LLAMA, HF_OLMO2, HF_PHI3};
use super::{
    Architecture, AttentionScale, Bias, EmbedScale, HeadNorms, NormPlacement, RotationRule,
    WindowRule,
};
use crate::program::Activation;

/// What most have in common. Never matched: it has no names.
const PLAIN: Architecture = Architecture {
    name: "",
    classes: &[],
    model_types: &[],
    gguf_names: &[],
    is_gguf_paired: false,
    qkv_bias: Bias::Never,
    out_bias: Bias::Never,
    mlp_bias: Bias::Never,
    head_norms: HeadNorms::None,
    norms: NormPlacement::Before,
    norm_offset: 0.0,
    embed_scale: EmbedScale::One,
    attention_scale: AttentionScale::HeadDim,
    has_soft_caps: false,
    has_multipliers: false,
    rotation: RotationRule::All,
    theta_default: 10_000.0,
    head_dim_default: None,
    window: WindowRule::Never,
    activation: Activation::Silu,
    hf_tensors: &HF_LLAMA,
    gguf_tensors: &GGUF,
};

/// Every architecture that `build` knows.
pub static KNOWN: [Architecture; 10] = [
    Architecture {
        name: "llama",
        classes: &["LlamaForCausalLM", "LLaMAForCausalLM"],
        model_types: &["llama"],
        gguf_names: &["llama"],
        is_gguf_paired: true,
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        mlp_bias: Bias::Flag("mlp_bias"),
        ..PLAIN
    },
    Architecture {
        name: "mistral",
        classes: &["MistralForCausalLM"],
        model_types: &["mistral"],
        is_gguf_paired: true,
        window: WindowRule::Uniform {
            default: Some(4096),
        },
        ..PLAIN
    },
    Architecture {
        name: "qwen2",
        classes: &["Qwen2ForCausalLM"],
        model_types: &["qwen2"],
        gguf_names: &["qwen2"],
        qkv_bias: Bias::Always,
        window: WindowRule::UpperLayers,
        ..PLAIN
    },
    Architecture {
        name: "qwen3",
        classes: &["Qwen3ForCausalLM"],
        model_types: &["qwen3"],
        gguf_names: &["qwen3"],
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        head_norms: HeadNorms::PerHead,
        head_dim_default: Some(128),
        window: WindowRule::UpperLayers,
        ..PLAIN
    },
    Architecture {
        name: "gemma2",
        classes: &["Gemma2ForCausalLM"],
        model_types: &["gemma2"],
        gguf_names: &["gemma2"],
        has_soft_caps: true,
        window: WindowRule::Pattern { every: 2 },
        ..GEMMA
    },
    Architecture {
        name: "gemma3",
        classes: &["Gemma3ForCausalLM"],
        model_types: &["gemma3_text"],
        gguf_names: &["gemma3"],
        head_norms: HeadNorms::PerHead,
        window: WindowRule::Pattern { every: 6 },
        rotation: RotationRule::LocalBase,
        theta_default: 1_000_000.0,
        ..GEMMA
    },
    Architecture {
        name: "phi3",
        classes: &["Phi3ForCausalLM"],
        model_types: &["phi3"],
        gguf_names: &["phi3"],
        window: WindowRule::Uniform { default: None },
        hf_tensors: &HF_PHI3,
        gguf_tensors: &GGUF_PHI3,
        ..PLAIN
    },
    Architecture {
        name: "olmo2",
        classes: &["Olmo2ForCausalLM"],
        model_types: &["olmo2"],
        gguf_names: &["olmo2"],
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        head_norms: HeadNorms::Whole,
        norms: NormPlacement::After,
        hf_tensors: &HF_OLMO2,
        ..PLAIN
    },
    Architecture {
        name: "smollm3",
        classes: &["SmolLM3ForCausalLM"],
        model_types: &["smollm3"],
        gguf_names: &["smollm3"],
        is_gguf_paired: true,
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        mlp_bias: Bias::Flag("mlp_bias"),
        rotation: RotationRule::Marked,
        theta_default: 2_000_000.0,
        window: WindowRule::UpperLayers,
        ..PLAIN
    },
    Architecture {
        name: "granite",
        classes: &["GraniteForCausalLM"],
        model_types: &["granite"],
        gguf_names: &["granite"],
        is_gguf_paired: true,
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        mlp_bias: Bias::Flag("mlp_bias"),
        has_multipliers: true,
        ..PLAIN
    },
];

/// What Gemma 2 and 3 share.
const GEMMA: Architecture = Architecture {
    qkv_bias: Bias::Flag("attention_bias"),
    out_bias: Bias::Flag("attention_bias"),
    norms: NormPlacement::Around,
    norm_offset: 1.0,
    embed_scale: EmbedScale::RootOfWidth,
    attention_scale: AttentionScale::Scalar,
    head_dim_default: Some(256),
    activation: Activation::GeluTanh,
    hf_tensors: &HF_GEMMA,
    ..PLAIN
};
