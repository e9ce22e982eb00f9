//! The table itself: each row is the plain decoder with its departures.

use super::names::{
    GGUF, GGUF_FUSED, GGUF_PHI3, HF_GEMMA, HF_GPT_NEOX, HF_GPT2, HF_LLAMA, HF_MIXTRAL, HF_OLMO2,
    HF_OPT, HF_PHI3,
};
use super::{
    Architecture, AttentionScale, Bias, EmbedScale, ExpertRule, HeadNorms, NormPlacement,
    RotationRule, WindowRule,
};
use crate::program::{Activation, NormKind};

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
    norm_kind: NormKind::Rms,
    norm_eps_default: 1e-6,
    norm_offset: 0.0,
    embed_scale: EmbedScale::One,
    first_position: None,
    is_parallel: false,
    attention_scale: AttentionScale::HeadDim,
    has_soft_caps: false,
    has_multipliers: false,
    rotation: RotationRule::All,
    rotated_share: None,
    theta_default: 10_000.0,
    head_dim_default: None,
    window: WindowRule::Never,
    activation: Activation::Silu,
    inner_factor: None,
    experts: None,
    has_qkv_clip: false,
    aliases: &[],
    required_flags: &[],
    hf_tensors: &HF_LLAMA,
    gguf_tensors: &GGUF,
};

/// Every architecture that `build` knows.
pub static KNOWN: [Architecture; 16] = [
    Architecture {
        name: "llama",
        classes: &["LlamaForCausalLM", "LLaMAForCausalLM"],
        model_types: &["llama"],
        gguf_names: &["llama"],
        is_gguf_paired: true,
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        mlp_bias: Bias::Flag("mlp_bias"),
        window: WindowRule::GgufOnly,
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
        name: "mixtral",
        classes: &["MixtralForCausalLM"],
        model_types: &["mixtral"],
        gguf_names: &["llama"],
        is_gguf_paired: true,
        theta_default: 1_000_000.0,
        norm_eps_default: 1e-5,
        window: WindowRule::Uniform { default: None },
        experts: Some(ExpertRule {
            renormalised_flag: None,
            is_renormalised_in_gguf: true,
            has_own_width: false,
        }),
        hf_tensors: &HF_MIXTRAL,
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
        name: "qwen3moe",
        classes: &["Qwen3MoeForCausalLM"],
        model_types: &["qwen3_moe"],
        gguf_names: &["qwen3moe"],
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        head_norms: HeadNorms::PerHead,
        window: WindowRule::IfUsed,
        experts: Some(ExpertRule {
            renormalised_flag: Some("norm_topk_prob"),
            is_renormalised_in_gguf: true,
            has_own_width: true,
        }),
        ..PLAIN
    },
    Architecture {
        name: "olmoe",
        classes: &["OlmoeForCausalLM"],
        model_types: &["olmoe"],
        gguf_names: &["olmoe"],
        qkv_bias: Bias::Flag("attention_bias"),
        out_bias: Bias::Flag("attention_bias"),
        head_norms: HeadNorms::Whole,
        norm_eps_default: 1e-5,
        has_qkv_clip: true,
        experts: Some(ExpertRule {
            renormalised_flag: Some("norm_topk_prob"),
            is_renormalised_in_gguf: false,
            has_own_width: false,
        }),
        ..PLAIN
    },
    Architecture {
        name: "gemma2",
        classes: &["Gemma2ForCausalLM"],
        model_types: &["gemma2"],
        gguf_names: &["gemma2"],
        has_soft_caps: true,
        attention_scale: AttentionScale::Scalar { wide_layers: 46 },
        window: WindowRule::Pattern { every: 2 },
        ..GEMMA
    },
    Architecture {
        name: "gemma3",
        classes: &["Gemma3ForCausalLM"],
        model_types: &["gemma3_text"],
        gguf_names: &["gemma3"],
        head_norms: HeadNorms::PerHead,
        attention_scale: AttentionScale::Scalar { wide_layers: 62 },
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
        rotated_share: Some(1.0),
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
    Architecture {
        name: "gpt2",
        classes: &["GPT2LMHeadModel"],
        model_types: &["gpt2"],
        gguf_names: &["gpt2"],
        activation: Activation::GeluTanh,
        first_position: Some(0),
        aliases: &[
            ("hidden_size", "n_embd"),
            ("num_hidden_layers", "n_layer"),
            ("num_attention_heads", "n_head"),
            ("num_key_value_heads", "n_head"),
            ("intermediate_size", "n_inner"),
            ("max_position_embeddings", "n_positions"),
            ("rms_norm_eps", "layer_norm_epsilon"),
            ("hidden_act", "activation_function"),
            LAYER_NORM_EPS_GGUF,
        ],
        required_flags: &[
            ("scale_attn_weights", true),
            ("scale_attn_by_inverse_layer_idx", false),
            ("add_cross_attention", false),
        ],
        hf_tensors: &HF_GPT2,
        ..GPT
    },
    Architecture {
        name: "opt",
        classes: &["OPTForCausalLM"],
        model_types: &["opt"],
        qkv_bias: Bias::FlagElse("enable_bias", true),
        out_bias: Bias::FlagElse("enable_bias", true),
        mlp_bias: Bias::FlagElse("enable_bias", true),
        activation: Activation::Relu,
        first_position: Some(2),
        aliases: &[
            UNGROUPED,
            ("intermediate_size", "ffn_dim"),
            ("hidden_act", "activation_function"),
        ],
        required_flags: &[
            ("do_layer_norm_before", true),
            ("_remove_final_layer_norm", false),
            ("layer_norm_elementwise_affine", true),
        ],
        hf_tensors: &HF_OPT,
        ..GPT
    },
    Architecture {
        name: "gpt_neox",
        classes: &["GPTNeoXForCausalLM"],
        model_types: &["gpt_neox"],
        gguf_names: &["gptneox"],
        qkv_bias: Bias::FlagElse("attention_bias", true),
        out_bias: Bias::FlagElse("attention_bias", true),
        activation: Activation::Gelu,
        is_parallel: true,
        rotated_share: Some(0.25),
        aliases: &[
            UNGROUPED,
            ("rms_norm_eps", "layer_norm_eps"),
            ("rope_theta", "rotary_emb_base"),
            ("partial_rotary_factor", "rotary_pct"),
            LAYER_NORM_EPS_GGUF,
        ],
        hf_tensors: &HF_GPT_NEOX,
        ..GPT
    },
];

/// As many key heads as query heads, whatever a file says.
const UNGROUPED: (&str, &str) = ("num_key_value_heads", "num_attention_heads");
const LAYER_NORM_EPS_GGUF: (&str, &str) = (
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
);

/// What the older kind has in common: layer norms, biases everywhere, an MLP without a gate.
const GPT: Architecture = Architecture {
    qkv_bias: Bias::Always,
    out_bias: Bias::Always,
    mlp_bias: Bias::Always,
    norm_kind: NormKind::Layer,
    norm_eps_default: 1e-5,
    inner_factor: Some(4),
    gguf_tensors: &GGUF_FUSED,
    ..PLAIN
};

/// What Gemma 2 and 3 share.
const GEMMA: Architecture = Architecture {
    qkv_bias: Bias::Flag("attention_bias"),
    out_bias: Bias::Flag("attention_bias"),
    norms: NormPlacement::Around,
    norm_offset: 1.0,
    embed_scale: EmbedScale::RootOfWidth,
    head_dim_default: Some(256),
    activation: Activation::GeluTanh,
    hf_tensors: &HF_GEMMA,
    ..PLAIN
};
