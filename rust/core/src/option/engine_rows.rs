//! The rows of the engine options. Defaults are those of `EngineOptions::default`.

use crate::option::choice::{
    ActivationsChoice, BackendChoice, DtypeChoice, GenerationConfigChoice, KvCacheDtypeChoice,
    SchedulingPolicyChoice,
};
use crate::option::engine::EngineOptions;
use crate::option::kind::OptionType;
use crate::option::spec::{Access, Group, OptionSpec, Status};
use crate::option::value::Value;

type Set = fn(&mut EngineOptions, &Value) -> Option<()>;
type Get = fn(&EngineOptions) -> Value;

const fn row(
    name: &'static str,
    kind: OptionType,
    doc: &'static str,
    set: Set,
    get: Get,
) -> OptionSpec {
    let access = Access::Engine { set, get };
    OptionSpec {
        name,
        group: Group::Engine,
        kind,
        is_nullable: false,
        doc,
        status: Status::Supported,
        access,
    }
}

const fn nullable(
    name: &'static str,
    kind: OptionType,
    doc: &'static str,
    set: Set,
    get: Get,
) -> OptionSpec {
    OptionSpec {
        is_nullable: true,
        ..row(name, kind, doc, set, get)
    }
}

const fn int(min: i64, max: i64) -> OptionType {
    OptionType::Int { min, max }
}

const fn choice(names: &'static [&'static str]) -> OptionType {
    OptionType::Choice(names)
}

fn optional_int(int: Option<u32>) -> Value {
    int.map_or(Value::Null, |int| Value::Int(int.into()))
}

fn optional_text(text: Option<&String>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.clone()))
}

fn name(name: &str) -> Value {
    Value::Text(name.into())
}

/// Every engine option that is taken.
pub(super) const ROWS: &[OptionSpec] = &[
    row(
        "model",
        OptionType::Text,
        "a GGUF file, a folder of safetensors, a known name or a hub name",
        |options, value| value.as_text().map(|text| options.model = text.into()),
        |options| name(&options.model),
    ),
    nullable(
        "amateur_model",
        OptionType::Text,
        "a weaker model with the same tokenizer, which contrastive requests are set against",
        |options, value| {
            options.amateur_model = value.as_text().map(str::to_owned);
            Some(())
        },
        |options| optional_text(options.amateur_model.as_ref()),
    ),
    nullable(
        "tokenizer",
        OptionType::Text,
        "a tokenizer.json, or the folder of one, in place of the model's own",
        |options, value| {
            options.tokenizer = value.as_text().map(str::to_owned);
            Some(())
        },
        |options| optional_text(options.tokenizer.as_ref()),
    ),
    nullable(
        "chat_template",
        OptionType::Text,
        "a file with a chat template, in place of the model's own",
        |options, value| {
            options.chat_template = value.as_text().map(str::to_owned);
            Some(())
        },
        |options| optional_text(options.chat_template.as_ref()),
    ),
    nullable(
        "reasoning_start_str",
        OptionType::Text,
        "what begins the model's thinking, for thinking_token_budget; none: a mark that its vocabulary is known to have",
        |options, value| {
            options.reasoning_start_str = value.as_text().map(str::to_owned);
            Some(())
        },
        |options| optional_text(options.reasoning_start_str.as_ref()),
    ),
    nullable(
        "reasoning_end_str",
        OptionType::Text,
        "what ends the model's thinking; it is forced where the budget is used up",
        |options, value| {
            options.reasoning_end_str = value.as_text().map(str::to_owned);
            Some(())
        },
        |options| optional_text(options.reasoning_end_str.as_ref()),
    ),
    row(
        "dtype",
        choice(DtypeChoice::NAMES),
        "what unquantised weights and activations are computed in; auto: the weights' own",
        |options, value| {
            DtypeChoice::from_name(value.as_text()?).map(|dtype| options.dtype = dtype)
        },
        |options| name(options.dtype.name()),
    ),
    row(
        "activations",
        choice(ActivationsChoice::NAMES),
        "how activations meet integer weights; auto: int8",
        |options, value| {
            ActivationsChoice::from_name(value.as_text()?).map(|mode| options.activations = mode)
        },
        |options| name(options.activations.name()),
    ),
    row(
        "kv_cache_dtype",
        choice(KvCacheDtypeChoice::NAMES),
        "storage of K and V; auto: with dtype",
        |options, value| {
            KvCacheDtypeChoice::from_name(value.as_text()?)
                .map(|dtype| options.kv_cache_dtype = dtype)
        },
        |options| name(options.kv_cache_dtype.name()),
    ),
    row(
        "block_size",
        int(1, 1024),
        "tokens per KV block",
        |options, value| value.as_u32().map(|size| options.block_size = size),
        |options| Value::Int(options.block_size.into()),
    ),
    row(
        "enable_prefix_caching",
        OptionType::Bool,
        "keep the KV blocks of finished prefixes and reuse them",
        |options, value| {
            value
                .as_bool()
                .map(|flag| options.enable_prefix_caching = flag)
        },
        |options| Value::Bool(options.enable_prefix_caching),
    ),
    nullable(
        "max_model_len",
        int(1, u32::MAX as i64),
        "longest sequence in tokens; none: the model's, lowered to what the KV pool holds",
        |options, value| {
            options.max_model_len = value.as_u32();
            Some(())
        },
        |options| optional_int(options.max_model_len),
    ),
    nullable(
        "max_num_seqs",
        int(1, 65_536),
        "sequences running at once; none: 64",
        |options, value| {
            options.max_num_seqs = value.as_u32();
            Some(())
        },
        |options| optional_int(options.max_num_seqs),
    ),
    nullable(
        "max_num_batched_tokens",
        int(1, 1 << 20),
        "tokens of one step; none: 512",
        |options, value| {
            options.max_num_batched_tokens = value.as_u32();
            Some(())
        },
        |options| optional_int(options.max_num_batched_tokens),
    ),
    nullable(
        "max_num_queued_reqs",
        int(1, 1 << 20),
        "requests running or waiting before new ones are refused; none: max_num_seqs and 256 more",
        |options, value| {
            options.max_num_queued_reqs = value.as_u32();
            Some(())
        },
        |options| optional_int(options.max_num_queued_reqs),
    ),
    nullable(
        "kv_cache_memory_bytes",
        int(1, 1 << 50),
        "bytes of the KV pool; none: from the memory that is free",
        |options, value| {
            options.kv_cache_memory_bytes =
                value.as_int().and_then(|bytes| u64::try_from(bytes).ok());
            Some(())
        },
        |options| {
            options
                .kv_cache_memory_bytes
                .map_or(Value::Null, |bytes| Value::Int(bytes as i64))
        },
    ),
    row(
        "scheduling_policy",
        choice(SchedulingPolicyChoice::NAMES),
        "who is admitted first: by arrival, or by priority number",
        |options, value| {
            SchedulingPolicyChoice::from_name(value.as_text()?)
                .map(|policy| options.scheduling_policy = policy)
        },
        |options| name(options.scheduling_policy.name()),
    ),
    nullable(
        "seed",
        int(i64::MIN, i64::MAX),
        "gives requests without a seed theirs, in order of submission; none: the system's randomness does",
        |options, value| {
            options.seed = value.as_int();
            Some(())
        },
        |options| options.seed.map_or(Value::Null, Value::Int),
    ),
    nullable(
        "threads",
        int(1, 1024),
        "worker threads; none: the processors there are",
        |options, value| {
            options.threads = value.as_u32();
            Some(())
        },
        |options| optional_int(options.threads),
    ),
    row(
        "backend",
        choice(BackendChoice::NAMES),
        "what computes the model",
        |options, value| {
            BackendChoice::from_name(value.as_text()?).map(|backend| options.backend = backend)
        },
        |options| name(options.backend.name()),
    ),
    row(
        "profile",
        OptionType::Bool,
        "count the time of the model's operations by kind, in the metrics; cpu backend, costs about a percent",
        |options, value| value.as_bool().map(|flag| options.profile = flag),
        |options| Value::Bool(options.profile),
    ),
    row(
        "max_logprobs",
        int(-1, 1 << 20),
        "most alternatives a request may ask for; -1: the whole vocabulary",
        |options, value| {
            options.max_logprobs = value.as_u32();
            Some(())
        },
        |options| {
            options
                .max_logprobs
                .map_or(Value::Int(-1), |count| Value::Int(count.into()))
        },
    ),
    row(
        "logprobs_memory_bytes",
        int(0, 1 << 50),
        "bytes of log-probs that live requests may come to hold together, priced when they are admitted",
        |options, value| {
            options.logprobs_memory_bytes =
                value.as_int().and_then(|bytes| u64::try_from(bytes).ok())?;
            Some(())
        },
        |options| Value::Int(options.logprobs_memory_bytes as i64),
    ),
    row(
        "generation_config",
        choice(GenerationConfigChoice::NAMES),
        "auto: the model's generation_config.json fills in what a request leaves out; neutral: it does not",
        |options, value| {
            GenerationConfigChoice::from_name(value.as_text()?)
                .map(|choice| options.generation_config = choice)
        },
        |options| name(options.generation_config.name()),
    ),
];
