//! The table of known architectures: for each its names in files, the names of its tensors, and where it
//! departs from the plain decoder (RMS norm, rotary attention with grouped heads, gated MLP). Data only;
//! `config` reads sizes by it and `build` writes programs by it.

mod known;
mod names;

use crate::fields::Key;
use crate::program::{Activation, NormKind};

pub use known::KNOWN;
pub use names::{ExpertNames, Projections, TensorNames};

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
    /// Norms of q and k before the rotation.
    pub head_norms: HeadNorms,
    /// Where the norms of a layer stand.
    pub norms: NormPlacement,
    /// What the norms compute; layer norms have biases.
    pub norm_kind: NormKind,
    /// Epsilon of the norms where config.json does not say.
    pub norm_eps_default: f64,
    /// Added to every norm's weight of a safetensors file (Gemma: 1); GGUF files hold the sum.
    pub norm_offset: f32,
    /// Multiplier of the embedding.
    pub embed_scale: EmbedScale,
    /// Whether positions are learned vectors, and the number of the first one; the layers then do not rotate.
    pub first_position: Option<usize>,
    /// Whether attention and MLP read the same stream, where the file does not say (GPT-NeoX).
    pub is_parallel: bool,
    /// Multiplier of the scores.
    pub attention_scale: AttentionScale,
    /// Whether the configuration may cap scores and logits.
    pub has_soft_caps: bool,
    /// Whether the configuration has Granite's four multipliers.
    pub has_multipliers: bool,
    /// Which layers rotate.
    pub rotation: RotationRule,
    /// Share of a head's elements that rotate where the file does not say; `None`: all, whatever it says.
    pub rotated_share: Option<f64>,
    /// Base of the rotation where the file does not say.
    pub theta_default: f64,
    /// Non-linearity of the MLP where the file does not say.
    pub activation: Activation,
    /// Width of the MLP over that of the stream, where the file does not say.
    pub inner_factor: Option<usize>,
    /// Its mixtures of experts.
    pub experts: Option<ExpertRule>,
    /// Whether q, k and v may be clamped.
    pub has_qkv_clip: bool,
    /// Names of keys that it has in place of the usual ones: (usual, its own).
    pub aliases: &'static [(&'static str, &'static str)],
    /// Flags that must have a value, as they do where they are absent: others are not computed.
    pub required_flags: &'static [(&'static str, bool)],
    /// Names of its tensors in Hugging Face checkpoints.
    pub hf_tensors: &'static TensorNames,
    /// Names of its tensors in GGUF files.
    pub gguf_tensors: &'static TensorNames,
    /// Elements per head where config.json does not say; `None`: hidden / heads.
    pub head_dim_default: Option<usize>,
    /// Which layers look through a window.
    pub window: WindowRule,
}

/// Mixtures of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertRule {
    /// The flag of config.json that says whether the weights of a row's experts sum to 1; `None`: they do.
    pub renormalised_flag: Option<&'static str>,
    /// The same in GGUF files, which have no flag.
    pub is_renormalised_in_gguf: bool,
    /// Whether experts have a width of their own, beside that of the MLPs of other layers.
    pub has_own_width: bool,
}

/// Whether a bias exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// Never.
    Never,
    /// Always.
    Always,
    /// If this flag of config.json says so, or by the value given where it is absent; as below in GGUF files.
    FlagElse(&'static str, bool),
    /// If this flag of config.json says so; GGUF files have no flag, there the tensor's presence decides.
    Flag(&'static str),
}

/// Which norms a layer has. "Branch" is what attention or the MLP adds to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlacement {
    /// Before each branch.
    Before,
    /// Before each branch, and on what it adds (Gemma 2 and 3).
    Around,
    /// On what each branch adds (OLMo 2).
    After,
}

/// The norms of q and k before the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadNorms {
    /// None.
    None,
    /// Each head by itself.
    PerHead,
    /// All heads as one vector.
    Whole,
}

/// What the embedding is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbedScale {
    /// 1.
    One,
    /// The root of the width.
    RootOfWidth,
}

/// What the scores are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionScale {
    /// 1 over the root of a head's elements.
    HeadDim,
    /// 1 over the root of `query_pre_attn_scalar`. GGUF files leave it out: there it is `HeadDim`, but in the size
    /// of so many layers hidden / heads, as in llama.cpp.
    Scalar {
        /// Layers of the 27B model.
        wide_layers: usize,
    },
}

/// Which layers rotate q and k, and by which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationRule {
    /// All, by one table.
    All,
    /// All; those with a window by a table of their own (Gemma 3).
    LocalBase,
    /// Those that `no_rope_layers` marks with 1; where that is absent all but every n-th, n of
    /// `no_rope_layer_interval` (SmolLM3).
    Marked,
}

/// Which layers have a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowRule {
    /// All, if `sliding_window` is a number; `default` where config.json does not have the key.
    Uniform {
        /// In tokens.
        default: Option<usize>,
    },
    /// All, if a GGUF file says so: Mistral's call themselves llama there. A Llama of config.json has none,
    /// whatever it says.
    GgufOnly,
    /// Those of `layer_types`, or from `max_window_layers` on; only if `use_sliding_window`.
    UpperLayers,
    /// All, if `use_sliding_window`.
    IfUsed,
    /// Those of `layer_types`; where that is absent all but every n-th.
    Pattern {
        /// n, where neither `sliding_window_pattern` nor the file says.
        every: usize,
    },
    /// Never: `sliding_window` in a file means nothing.
    Never,
}

impl Architecture {
    /// The names of its tensors in one kind of file.
    pub const fn names(&self, is_gguf: bool) -> &'static TensorNames {
        if is_gguf {
            self.gguf_tensors
        } else {
            self.hf_tensors
        }
    }
}

/// The names of all known architectures, for messages.
pub fn known_names() -> String {
    KNOWN
        .iter()
        .map(|architecture| architecture.name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Factors of the rotary frequencies in a GGUF file, f32, one per pair.
pub const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Factors of a LongRoPE in a GGUF file, f32, one per pair: for contexts up to the original one, and longer.
pub const LONG_ROPE_FACTORS: [&str; 2] = ["rope_factors_short.weight", "rope_factors_long.weight"];

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
    /// Experts of a mixture.
    pub const EXPERTS: Key = Key::new("num_experts", "expert_count");
    /// The other name of it.
    pub const EXPERTS_LOCAL: Key = Key::new("num_local_experts", "expert_count");
    /// Experts that a row goes through.
    pub const EXPERTS_ACTIVE: Key = Key::new("num_experts_per_tok", "expert_used_count");
    /// Width of an expert.
    pub const EXPERT_INNER: Key = Key::new("moe_intermediate_size", "expert_feed_forward_length");
    /// Longest context.
    pub const CONTEXT: Key = Key::new("max_position_embeddings", "context_length");
    /// Epsilon of the norms.
    pub const NORM_EPS: Key = Key::new("rms_norm_eps", "attention.layer_norm_rms_epsilon");
    /// Base of the rotation.
    pub const THETA: Key = Key::new("rope_theta", "rope.freq_base");
    /// Base of the rotation of layers with a window.
    pub const THETA_LOCAL: Key = Key::new("rope_local_base_freq", "rope.freq_base_swa");
    /// Tokens that a layer sees.
    pub const WINDOW: Key = Key::new("sliding_window", "attention.sliding_window");
}
