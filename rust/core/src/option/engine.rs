//! The options of an engine, fixed at its start. What a null means is decided by the engine, from the
//! model and the machine.

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::option::choice::{
    ActivationsChoice, BackendChoice, DtypeChoice, GenerationConfigChoice, KvCacheDtypeChoice,
    SchedulingPolicyChoice,
};
use crate::option::spec::{Access, Group, OPTIONS, checked};
use crate::option::value::Value;

/// How one engine is started. Names, bounds and docs: the option table. Fields are added over time, so write
/// `..EngineOptions::default()` behind those you set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// A path, a known name or a hub name.
    pub model: String,
    /// A weaker model on the same tokenizer, for contrastive decoding: a path, a known name or a hub name.
    pub amateur_model: Option<String>,
    /// A tokenizer other than the model's: file or folder.
    pub tokenizer: Option<String>,
    /// A chat template other than the model's: file.
    pub chat_template: Option<String>,
    /// What begins the model's thinking, in place of the marks that its vocabulary has.
    pub reasoning_start_str: Option<String>,
    /// What ends it.
    pub reasoning_end_str: Option<String>,
    /// Arithmetic of unquantised weights.
    pub dtype: DtypeChoice,
    /// Arithmetic of integer weights.
    pub activations: ActivationsChoice,
    /// Storage of K and V.
    pub kv_cache_dtype: KvCacheDtypeChoice,
    /// Tokens per KV block.
    pub block_size: u32,
    /// Whether finished prefixes are kept for reuse.
    pub enable_prefix_caching: bool,
    /// Longest sequence; `None`: the model's, lowered to what the pool holds.
    pub max_model_len: Option<u32>,
    /// Sequences running at once; `None`: 64.
    pub max_num_seqs: Option<u32>,
    /// Tokens of one step; `None`: 512.
    pub max_num_batched_tokens: Option<u32>,
    /// Requests running or waiting; `None`: those running and 256 more.
    pub max_num_queued_reqs: Option<u32>,
    /// Bytes of the KV pool; `None`: from the memory that is free.
    pub kv_cache_memory_bytes: Option<u64>,
    /// Who is admitted first.
    pub scheduling_policy: SchedulingPolicyChoice,
    /// Key from which requests without a seed get theirs, in order; `None`: from the system's randomness.
    pub seed: Option<i64>,
    /// Worker threads; `None`: the processors there are.
    pub threads: Option<u32>,
    /// What computes the model.
    pub backend: BackendChoice,
    /// Whether the time of the model's operations is counted.
    pub profile: bool,
    /// Most alternatives a request may ask for; `None`: the whole vocabulary.
    pub max_logprobs: Option<u32>,
    /// Bytes of log-probs that live requests may come to hold together.
    pub logprobs_memory_bytes: u64,
    /// Whether the model's own sampling defaults apply.
    pub generation_config: GenerationConfigChoice,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            model: "smollm2-135m-instruct".into(),
            amateur_model: None,
            tokenizer: None,
            chat_template: None,
            reasoning_start_str: None,
            reasoning_end_str: None,
            dtype: DtypeChoice::Auto,
            activations: ActivationsChoice::Auto,
            kv_cache_dtype: KvCacheDtypeChoice::Auto,
            block_size: 16,
            enable_prefix_caching: true,
            max_model_len: None,
            max_num_seqs: None,
            max_num_batched_tokens: None,
            max_num_queued_reqs: None,
            kv_cache_memory_bytes: None,
            scheduling_policy: SchedulingPolicyChoice::Fcfs,
            seed: Some(0),
            threads: None,
            backend: BackendChoice::Auto,
            profile: false,
            max_logprobs: Some(20),
            logprobs_memory_bytes: 256 << 20,
            generation_config: GenerationConfigChoice::Auto,
        }
    }
}

impl EngineOptions {
    /// The defaults with `values` over them, refused as sampling values are.
    pub fn from_values(values: &[(String, Value)]) -> Result<Self> {
        let limits = Limits::default();
        let mut options = Self::default();
        for (spec, value) in checked(Group::Engine, values, &limits)? {
            let Access::Engine { set, .. } = spec.access else {
                continue;
            };
            set(&mut options, &value).ok_or_else(|| spec.bad_value(&value, &limits))?;
        }
        options.check_combinations()?;
        Ok(options)
    }

    /// Every option with its value, in the order of the table.
    pub fn to_values(&self) -> Vec<(&'static str, Value)> {
        OPTIONS
            .iter()
            .filter_map(|spec| match spec.access {
                Access::Engine { get, .. } => Some((spec.name, get(self))),
                _ => None,
            })
            .collect()
    }

    /// The limits of requests under these options.
    pub fn limits(&self) -> Limits {
        Limits {
            logprobs_max: self.max_logprobs.unwrap_or(u32::MAX),
            ..Limits::default()
        }
    }

    fn check_combinations(&self) -> Result<()> {
        let (Some(queued), Some(running)) = (self.max_num_queued_reqs, self.max_num_seqs) else {
            return Ok(());
        };
        if queued >= running {
            return Ok(());
        }
        let [(name, other, _)] = MEETS;
        Err(Error::Conflict {
            name: name.into(),
            other: other.into(),
            reason: format!("{queued} requests cannot keep {running} sequences running"),
        })
    }
}

/// The engine options that may contradict each other, and when.
pub(super) const MEETS: [(&str, &str, &str); 1] = [(
    "max_num_queued_reqs",
    "max_num_seqs",
    "fewer: they cannot keep so many sequences running",
)];
