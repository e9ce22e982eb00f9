//! The sizes of a model, read from config.json or GGUF metadata and checked. Every value is hostile: it is
//! bounded before anything is multiplied or allocated, and an error names the key in the file. It knows
//! the architecture table, but writes no program. Keys that would change the computation in a way we do
//! not do are refused by name; `auto_map` (code beside the weights) is never followed: a known
//! architecture runs natively, an unknown one is refused.

mod experts;
mod factors;
mod layers;
pub(crate) mod rope;
mod rotation;
mod windows;

use std::ops::RangeInclusive;

use tokenmill_formats::{Checkpoint, Config, gguf};

use crate::architecture::{
    Architecture, Bias, KNOWN, LONG_ROPE_FACTORS, TensorNames, keys, known_names,
};
use crate::error::{Error, Result};
use crate::fields::{Fields, Key, Value, quote};
use crate::program::Activation;

pub use experts::ExpertConfig;
pub use factors::Factors;
pub use rope::{Llama3Scaling, LongScaling, RopeConfig, RopeScaling, YarnScaling};
use rotation::{Place, read_ropes};

const WIDTH: RangeInclusive<usize> = 1..=(1 << 24);
const VOCAB: RangeInclusive<usize> = 1..=(1 << 24);
const CONTEXT: RangeInclusive<usize> = 1..=(1 << 30);
/// Zero would divide by zero on a zero row; one is far above any model's.
const NORM_EPS: RangeInclusive<f64> = 1e-30..=1.0;
/// A model's sizes and switches, the same for every kind of file.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Its row of the table.
    pub architecture: &'static Architecture,
    /// Whether the file is GGUF, which decides tensor names and row order.
    pub is_gguf: bool,
    /// What the names of its tensors start with, but for the head's.
    pub base: &'static str,
    /// Rows of the embedding and of the head.
    pub vocab_len: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Longest context the model was made for, in tokens.
    pub context_len: usize,
    /// Sizes of each layer; all alike except in pruned models.
    pub layers: Vec<LayerConfig>,
    /// Epsilon of every norm.
    pub norm_eps: f32,
    /// Non-linearity of the MLP.
    pub activation: Activation,
    /// Whether attention and MLP read the same stream.
    pub is_parallel: bool,
    /// Elements of a head that rotate, the first ones; even.
    pub rotated: usize,
    /// The rotations; layers name theirs by its index.
    pub ropes: Vec<RopeConfig>,
    /// Multipliers and caps.
    pub factors: Factors,
    /// Whether the head is the embedding.
    pub is_tied: bool,
    /// Clamp of q, k and v.
    pub clip_qkv: Option<f32>,
    /// Whether q, k and v have biases.
    pub has_qkv_bias: bool,
    /// Whether attention's output projection has a bias.
    pub has_out_bias: bool,
    /// Whether the MLP has biases.
    pub has_mlp_bias: bool,
}

/// Sizes of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerConfig {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements per head, even.
    pub head_dim: usize,
    /// Width of the MLP, where it has one.
    pub inner: usize,
    /// Its mixture of experts, in place of the MLP.
    pub experts: Option<ExpertConfig>,
    /// Tokens that the layer sees; `None`: all.
    pub window: Option<usize>,
    /// Index of its rotation; `None`: it has none.
    pub rope: Option<usize>,
}

impl ModelConfig {
    /// Reads and checks the configuration of a checkpoint.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let (architecture, fields) = identify(checkpoint.config())?;
        Reader {
            architecture,
            fields,
            checkpoint,
        }
        .read()
    }

    /// The names of its tensors.
    pub fn names(&self) -> &'static TensorNames {
        self.architecture.names(self.is_gguf)
    }
}

/// Finds the architecture by what the file calls itself.
fn identify(config: &Config) -> Result<(&'static Architecture, Fields<'_>)> {
    match config {
        Config::Gguf(metadata) => {
            let name = match metadata.get("general.architecture") {
                Some(gguf::Value::String(name)) => name,
                _ => "(none)",
            };
            let fields = Fields::gguf(metadata, name);
            // Mixtral's files call themselves llama.
            let has_experts = fields.count(keys::EXPERTS, 0..=65_536)?.unwrap_or(0) > 0;
            let mut named = KNOWN.iter().filter(|row| row.gguf_names.contains(&name));
            let first = named.clone().next();
            let found = named
                .find(|row| row.experts.is_some() == has_experts)
                .or(first);
            let found = found.ok_or_else(|| unknown(name))?;
            Ok((found, fields.with_aliases(found.aliases)))
        }
        Config::Json { config, .. } => {
            let fields = Fields::json(config);
            let (name, found) = if let Some(class) = first_class(&fields)? {
                let found = KNOWN.iter().find(|row| row.classes.contains(&class));
                (class, found)
            } else {
                let kind = fields.text(Key::new("model_type", ""))?.unwrap_or("(none)");
                let found = KNOWN.iter().find(|row| row.model_types.contains(&kind));
                (kind, found)
            };
            let found = found.ok_or_else(|| unknown(name))?;
            Ok((found, fields.with_aliases(found.aliases)))
        }
    }
}

/// The first entry of `architectures`.
fn first_class<'a>(fields: &Fields<'a>) -> Result<Option<&'a str>> {
    let key = Key::new("architectures", "");
    match fields.value(key) {
        None => Ok(None),
        Some(Value::List(list)) => match list.first() {
            None => Ok(None),
            Some(Value::Text(class)) => Ok(Some(class)),
            Some(_) => Err(fields.error(key, "a list of strings", "another type")),
        },
        Some(other) => Err(fields.error(key, "a list of strings", &other.to_string())),
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownArchitecture {
        name: quote(name),
        known: known_names(),
    }
}

/// An error for something that the file asks for and we do not do.
pub(crate) fn unsupported(what: String) -> Error {
    Error::Unsupported {
        what,
        by: "tokenmill".to_owned(),
    }
}

struct Reader<'a> {
    architecture: &'static Architecture,
    fields: Fields<'a>,
    checkpoint: &'a Checkpoint,
}

impl Reader<'_> {
    fn read(&self) -> Result<ModelConfig> {
        self.refuse_what_we_do_not_do()?;
        let fields = &self.fields;
        let hidden = self.required(keys::HIDDEN, WIDTH)?;
        let context_len = self.required(keys::CONTEXT, CONTEXT)?;
        let layers = self.layers(hidden)?;
        let head_dim = layers.first().map_or(0, |layer| layer.head_dim);
        let rotated = self.rotated(head_dim)?;
        let norm_eps = match fields.number(keys::NORM_EPS, NORM_EPS)? {
            None if fields.is_gguf() => return Err(fields.missing(keys::NORM_EPS)),
            eps => eps.unwrap_or(self.architecture.norm_eps_default),
        };
        let factors = self.factors(hidden, &layers)?;
        let place = Place {
            context_len,
            pairs: rotated / 2,
            has_gguf_factors: fields.is_gguf() && self.has_tensor(LONG_ROPE_FACTORS[0]),
        };
        Ok(ModelConfig {
            architecture: self.architecture,
            is_gguf: fields.is_gguf(),
            base: self.base(),
            is_parallel: self.is_parallel()?,
            rotated,
            vocab_len: self.vocab_len()?,
            hidden,
            context_len,
            layers,
            norm_eps: norm_eps as f32,
            activation: self.activation()?,
            ropes: read_ropes(fields, self.architecture, place)?,
            factors,
            is_tied: self.is_tied()?,
            clip_qkv: self.clip_qkv()?,
            has_qkv_bias: self.has_bias(self.architecture.qkv_bias, self.names().qkv.first())?,
            has_out_bias: self.has_bias(self.architecture.out_bias, self.names().out.first())?,
            has_mlp_bias: self
                .has_bias(self.architecture.mlp_bias, self.names().gate_up.first())?,
        })
    }

    fn names(&self) -> &'static TensorNames {
        self.architecture.names(self.fields.is_gguf())
    }

    /// The prefix of the inner model's names: none where it was saved by itself.
    fn base(&self) -> &'static str {
        let names = self.names();
        let is_bare = self.has_tensor(&format!("{}.weight", names.embed));
        if is_bare { "" } else { names.base }
    }

    fn is_parallel(&self) -> Result<bool> {
        let key = Key::new("use_parallel_residual", "use_parallel_residual");
        if !self.architecture.is_parallel {
            return Ok(false);
        }
        Ok(self.fields.flag(key)?.unwrap_or(true))
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.checkpoint.tensor(name).is_some()
    }

    fn required(&self, key: Key, bounds: RangeInclusive<usize>) -> Result<usize> {
        self.fields
            .count(key, bounds)?
            .ok_or_else(|| self.fields.missing(key))
    }

    /// Keys that change the computation in ways that no program of ours has yet.
    fn refuse_what_we_do_not_do(&self) -> Result<()> {
        let fields = &self.fields;
        let architecture = self.architecture.name;
        if let Some(scheme) = fields.object("quantization_config")? {
            let method = scheme.text(Key::new("quant_method", ""))?;
            let method = quote(method.unwrap_or("of no name"));
            return Err(unsupported(format!("quantization_config {method}")));
        }
        if let Some(ours) = fields.object("tokenmill")?
            && ours.value(Key::new("sparsity", "")).is_some()
        {
            return Err(unsupported("tokenmill.sparsity".to_owned()));
        }
        for &(name, value) in self.architecture.required_flags {
            if !fields.is_gguf()
                && fields
                    .flag(Key::new(name, ""))?
                    .is_some_and(|is| is != value)
            {
                return Err(unsupported(format!(
                    "{name} = {} in {architecture}",
                    !value
                )));
            }
        }
        self.refuse_other_experts()?;
        if fields.is_gguf() {
            let causal = Key::new("", "attention.causal");
            if fields.flag(causal)? == Some(false) {
                return Err(unsupported(format!("{} = false", fields.name(causal))));
            }
        }
        Ok(())
    }

    fn clip_qkv(&self) -> Result<Option<f32>> {
        let key = Key::new("clip_qkv", "attention.clamp_kqv");
        let clip = self.fields.number(key, 0.0..=f64::from(f32::MAX))?;
        match clip.map(|clip| clip as f32) {
            // A file says 0 for none.
            None | Some(0.0) => Ok(None),
            clip if self.architecture.has_qkv_clip => Ok(clip),
            Some(clip) => {
                let what = format!(
                    "{} = {clip} in {}",
                    self.fields.name(key),
                    self.architecture.name
                );
                Err(unsupported(what))
            }
        }
    }

    /// The embedding's rows, which the configuration may repeat but not contradict.
    fn vocab_len(&self) -> Result<usize> {
        let stated = self.fields.count(keys::VOCAB, VOCAB)?;
        if stated.is_none() && !self.fields.is_gguf() {
            return Err(self.fields.missing(keys::VOCAB));
        }
        let name = format!("{}{}.weight", self.base(), self.names().embed);
        let rows = self
            .checkpoint
            .tensor(&name)
            .and_then(|info| info.shape.first().copied());
        match (stated, rows) {
            (Some(stated), Some(rows)) if stated != rows => {
                let expected = format!("the {rows} rows of {name}");
                Err(self
                    .fields
                    .error(keys::VOCAB, &expected, &stated.to_string()))
            }
            (Some(stated), _) => Ok(stated),
            (None, Some(rows)) if VOCAB.contains(&rows) => Ok(rows),
            (None, _) => Err(Error::Tensors {
                architecture: self.architecture.name.to_owned(),
                problems: format!("missing {name}"),
            }),
        }
    }

    fn activation(&self) -> Result<Activation> {
        // Gemma spells it its own way and means it where both are there.
        let name = match self.fields.text(Key::new("hidden_activation", ""))? {
            Some(name) => Some(name),
            None => self.fields.text(Key::new("hidden_act", ""))?,
        };
        match name {
            _ if self.fields.is_gguf() => Ok(self.architecture.activation),
            None => Ok(self.architecture.activation),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu") => Ok(Activation::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh") => Ok(Activation::GeluTanh),
            Some("relu") => Ok(Activation::Relu),
            Some(other) => Err(unsupported(format!("hidden_act {}", quote(other)))),
        }
    }

    /// Tied where the flag says so, and where there is neither a flag nor a head.
    fn is_tied(&self) -> Result<bool> {
        let flag = if self.fields.is_gguf() {
            None
        } else {
            self.fields.flag(Key::new("tie_word_embeddings", ""))?
        };
        let head = format!("{}.weight", self.names().head);
        Ok(flag.unwrap_or_else(|| !self.has_tensor(&head)))
    }

    fn has_bias(&self, bias: Bias, tensor: &str) -> Result<bool> {
        match bias {
            Bias::Never => Ok(false),
            Bias::Always => Ok(true),
            Bias::Flag(_) | Bias::FlagElse(..) if self.fields.is_gguf() => {
                let layer = self.names().layer.replace("{}", "0");
                Ok(self.has_tensor(&format!("{layer}{tensor}.bias")))
            }
            Bias::FlagElse(flag, default) => {
                Ok(self.fields.flag(Key::new(flag, ""))?.unwrap_or(default))
            }
            Bias::Flag(flag) => Ok(self.fields.flag(Key::new(flag, ""))?.unwrap_or(false)),
        }
    }
}
