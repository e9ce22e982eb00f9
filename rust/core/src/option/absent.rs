//! Names that other engines take and we do not, or not yet: refused by name, with the reason or the way
//! round. Where a script spells out the value that is also our behaviour, that value is taken.

use crate::option::kind::OptionType;
use crate::option::spec::{Access, Group, OptionSpec, Status};

const fn absent(
    name: &'static str,
    group: Group,
    neutral: &'static str,
    status: Status,
) -> OptionSpec {
    let access = Access::Absent { neutral };
    OptionSpec {
        name,
        group,
        kind: OptionType::Untyped,
        is_nullable: true,
        doc: "",
        status,
        access,
    }
}

/// Of a request, not built yet.
const fn later(name: &'static str, neutral: &'static str, reason: &'static str) -> OptionSpec {
    absent(name, Group::Sampling, neutral, Status::Later(reason))
}

/// Of a request, refused for good.
const fn refused(name: &'static str, neutral: &'static str, reason: &'static str) -> OptionSpec {
    absent(name, Group::Sampling, neutral, Status::Refused(reason))
}

/// Of an engine, not built yet.
const fn engine_later(
    name: &'static str,
    neutral: &'static str,
    reason: &'static str,
) -> OptionSpec {
    absent(name, Group::Engine, neutral, Status::Later(reason))
}

/// Of an engine, refused for good.
const fn engine_refused(
    name: &'static str,
    neutral: &'static str,
    reason: &'static str,
) -> OptionSpec {
    absent(name, Group::Engine, neutral, Status::Refused(reason))
}

const PROMPT: &str = "prompt log-probs are those of the whole prompt, best tokens first";
const GRAMMAR: &str = "structured outputs are not built yet";
const DRAFTS: &str = "speculation is not built yet";
const PLUGINS: &str = "there are no plug-ins that could read it";
const ONE_MACHINE: &str = "one process serves one machine; run replicas instead";
const DEVICES: &str = "this build computes on the CPU";
const TEXT_ONLY: &str = "models of text only";
const ADAPTERS: &str = "adapters are not built yet";
const FORMATS: &str = "the model's files say how they are quantised";
const NOTHING: &str = "nothing is needed here: leave it out";
const OFFLOAD: &str = "weights and KV stay where the backend computes";
const PROFILER: &str = "the option profile counts the time of operations, and get_metrics shows it";

/// Every known name that is not taken.
pub(super) const ROWS: &[OptionSpec] = &[
    // vLLM's sampling parameters.
    later("prompt_logprob_token_ids", "none", PROMPT),
    later("prompt_logprob_start", "none", PROMPT),
    later("flat_logprobs", "false", "flat log-probs are not built yet"),
    later("structured_outputs", "none", GRAMMAR),
    later("watermarking", "none", "watermarks are not built yet"),
    refused("extra_args", "none", PLUGINS),
    refused(
        "routed_experts_prompt_start",
        "none",
        "experts are not reported",
    ),
    refused(
        "trace_decode_token_ids",
        "none",
        "forced replay is not offered",
    ),
    // transformers' names.
    later(
        "watermarking_config",
        "none",
        "watermarks are not built yet",
    ),
    refused(
        "force_words_ids",
        "none",
        "constrained beams are not offered: use a grammar",
    ),
    refused(
        "constraints",
        "none",
        "constrained beams are not offered: use a grammar",
    ),
    // llama.cpp's names.
    refused("keep_alive", "none", NOTHING),
    refused("id_slot", "-1", NOTHING),
    refused("cache_prompt", "true", NOTHING),
    refused("n_keep", "0", NOTHING),
    // Ours.
    later("speculation", "\"off\"", DRAFTS),
    later("verify", "none", DRAFTS),
    later("exit", "none", "early exit is not built yet"),
    // vLLM's engine arguments: the same behaviour, or not yet.
    engine_later(
        "tokenizer_mode",
        "\"auto\"",
        "the model's files say which tokenizer it has",
    ),
    engine_later(
        "skip_tokenizer_init",
        "false",
        "pass token ids: no text is made of them",
    ),
    engine_later("revision", "none", "name the folder of the revision"),
    engine_later(
        "tokenizer_revision",
        "none",
        "name the folder of the revision",
    ),
    engine_later("quantization", "none", FORMATS),
    engine_later("load_format", "\"auto\"", FORMATS),
    engine_later(
        "enable_chunked_prefill",
        "true",
        "prompts are always computed in chunks that fit a step",
    ),
    engine_later("enable_lora", "false", ADAPTERS),
    engine_later("max_loras", "1", ADAPTERS),
    engine_later("max_lora_rank", "16", ADAPTERS),
    engine_later("max_cpu_loras", "none", ADAPTERS),
    engine_later("tensor_parallel_size", "1", DEVICES),
    engine_later(
        "gpu_memory_utilization",
        "0.9",
        "this build computes on the CPU: use kv_cache_memory_bytes",
    ),
    engine_later("enforce_eager", "false", DEVICES),
    engine_later(
        "logprobs_mode",
        "\"raw_logprobs\"",
        "it is an option of each request",
    ),
    engine_later("served_model_name", "none", "the server is not built yet"),
    engine_later(
        "disable_log_stats",
        "false",
        "statistics are read, not logged",
    ),
    engine_later("hf_token", "none", "log in with the hub's own client"),
    engine_later("structured_outputs_config", "none", GRAMMAR),
    engine_later(
        "max_num_queued_tokens",
        "none",
        "the queue is bounded by max_num_queued_reqs",
    ),
    engine_later(
        "override_generation_config",
        "none",
        "set the fields on the request",
    ),
    engine_later(
        "logits_processors",
        "none",
        "give them to a request: SamplingParams(logits_processors=[...])",
    ),
    engine_later(
        "trust_remote_code",
        "false",
        "code of a model repository is never run",
    ),
    engine_later("speculative_config", "none", DRAFTS),
    engine_later("spec_method", "none", DRAFTS),
    engine_later("spec_model", "none", DRAFTS),
    engine_later("spec_tokens", "none", DRAFTS),
    // vLLM's engine arguments that are refused for good.
    engine_refused("pipeline_parallel_size", "1", ONE_MACHINE),
    engine_refused("data_parallel_size", "1", ONE_MACHINE),
    engine_refused("enable_expert_parallel", "false", ONE_MACHINE),
    engine_refused("distributed_executor_backend", "none", ONE_MACHINE),
    engine_refused("disable_custom_all_reduce", "false", ONE_MACHINE),
    engine_refused("cpu_offload_gb", "0", OFFLOAD),
    engine_refused("offload_backend", "none", OFFLOAD),
    engine_refused("offload_group_size", "none", OFFLOAD),
    engine_refused("offload_num_in_group", "none", OFFLOAD),
    engine_refused("offload_prefetch_step", "none", OFFLOAD),
    engine_refused("offload_params", "none", OFFLOAD),
    engine_refused(
        "swap_space",
        "0",
        "preempted sequences are computed again: leave it out",
    ),
    engine_refused(
        "max_seq_len_to_capture",
        "none",
        "it is gone from vLLM too: leave it out",
    ),
    engine_refused(
        "hf_overrides",
        "none",
        "edit config.json in a copy of the folder",
    ),
    engine_refused("mm_processor_kwargs", "none", TEXT_ONLY),
    engine_refused("limit_mm_per_prompt", "none", TEXT_ONLY),
    engine_refused("allowed_local_media_path", "none", TEXT_ONLY),
    engine_refused("allowed_media_domains", "none", TEXT_ONLY),
    engine_refused("pooler_config", "none", "pooling models are not offered"),
    engine_refused("runner", "\"auto\"", "pooling models are not offered"),
    engine_refused("convert", "\"auto\"", "pooling models are not offered"),
    engine_refused("profiler_config", "none", PROFILER),
    engine_refused(
        "attention_config",
        "none",
        "the backend chooses its kernels",
    ),
    engine_refused("compilation_config", "none", "nothing is compiled at start"),
    engine_refused("quantization_config", "none", FORMATS),
    engine_refused(
        "enable_sleep_mode",
        "false",
        "close the engine and load again",
    ),
    engine_refused("return_sampling_mask", "false", "masks are not reported"),
    engine_refused(
        "enable_return_routed_experts",
        "false",
        "experts are not reported",
    ),
];
