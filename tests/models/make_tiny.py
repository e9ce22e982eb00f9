"""Makes random tiny checkpoints of every known architecture, and what transformers says of them.

    python tests/models/make_tiny.py DIR

writes for each case DIR/<case>/model/ (safetensors as transformers saves it), DIR/<case>/model.gguf
where GGUF knows the architecture, and DIR/<case>/expected.json: prompts, the logits of every
position, and the greedy continuation, in float32 and without a cache. The weights are random but
seeded, and large enough that positions, windows, biases and norms show in the logits. Nothing is
downloaded.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers

VOCAB = 96
HIDDEN = 64
PROMPT_LENS = (1, 7, 24, 50)
GREEDY_LEN = 16
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}


def long_rope(original: int, share: float = 1.0) -> dict[str, Any]:
    """Options of a model whose context of 512 is `512 / original` times the first one."""
    pairs = int(8 * share)
    known = {"original_max_position_embeddings": original}
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0 + 0.1 * pair for pair in range(pairs)],
        "long_factor": [1.5 + 0.7 * pair for pair in range(pairs)],
        "partial_rotary_factor": share,
    }
    return {"rope_parameters": rope | known} | known


GEMMA = {"head_dim": 24, "query_pre_attn_scalar": 24}
GRANITE = {
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.4,
    "attention_multiplier": 0.2,
    "logits_scaling": 2.0,
}
MIXTRAL = {"num_local_experts": 5, "num_experts_per_tok": 2, "intermediate_size": 64}
QWEN3_MOE = {
    "num_experts": 7,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 32,
    "norm_topk_prob": True,
    "head_dim": 32,
}
OLMOE = {"num_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 64}
NEOX = {"rope_parameters": {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}}


@dataclass(frozen=True)
class Case:
    """One checkpoint: the transformers classes, what differs from SIZES, and how GGUF stores it."""

    name: str
    family: str
    options: dict[str, Any] = field(default_factory=dict)
    gguf_arch: str | None = None
    gguf_type: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32
    dtype: torch.dtype = torch.float32


CASES = (
    Case("llama", "Llama", {}, "llama"),
    Case("llama-tied", "Llama", {"tie_word_embeddings": True, "num_key_value_heads": 4}, "llama"),
    Case(
        "llama-bias",
        "Llama",
        {"attention_bias": True, "mlp_bias": True, "head_dim": 24, "rope_theta": 500.0},
        "llama",
    ),
    Case("llama3-rope", "Llama", {"rope_parameters": LLAMA3_ROPE}, "llama"),
    Case(
        "llama-linear-rope",
        "Llama",
        {"rope_parameters": LINEAR_ROPE},
        "llama",
    ),
    Case("llama-yarn-rope", "Llama", {"rope_parameters": YARN_ROPE}, "llama"),
    Case("llama-q4_1", "Llama", {}, "llama", gguf.GGMLQuantizationType.Q4_1),
    Case("llama-q8_0", "Llama", {}, "llama", gguf.GGMLQuantizationType.Q8_0),
    Case("llama-f16", "Llama", {}, "llama", gguf.GGMLQuantizationType.F16, torch.float16),
    Case("mistral-window", "Mistral", {"sliding_window": 8}),
    Case("mistral-wide", "Mistral", {"sliding_window": 270}),
    Case("mistral", "Mistral", {"sliding_window": None}, "llama"),
    Case("qwen2", "Qwen2", {}, "qwen2"),
    Case(
        "qwen2-window",
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    Case("qwen3", "Qwen3", {"head_dim": 32}, "qwen3"),
    Case("qwen3-bias", "Qwen3", {"head_dim": 16, "attention_bias": True}),
    Case("qwen3-bf16", "Qwen3", {"head_dim": 32}, "qwen3", dtype=torch.bfloat16),
    Case("gemma2", "Gemma2", GEMMA | {"sliding_window": 8}, "gemma2"),
    Case(
        "gemma2-uncapped",
        "Gemma2",
        GEMMA
        | {
            "sliding_window": 8,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "query_pre_attn_scalar": 40,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
    ),
    Case("gemma3", "Gemma3", GEMMA | {"sliding_window": 8, "num_hidden_layers": 7}, "gemma3"),
    Case("gemma3-wide", "Gemma3", GEMMA | {"sliding_window": 270}, "gemma3"),
    Case("phi3", "Phi3", {}, "phi3"),
    Case("phi3-window", "Phi3", {"sliding_window": 8, "num_key_value_heads": 4}),
    Case("phi3-longrope", "Phi3", long_rope(16), "phi3"),
    Case("phi3-shortrope", "Phi3", long_rope(512), "phi3"),
    Case("phi3-longrope-part", "Phi3", long_rope(16, share=0.75)),
    Case("olmo2", "Olmo2", {}, "olmo2"),
    Case("smollm3", "SmolLM3", {"num_hidden_layers": 5}, "smollm3"),
    Case(
        "smollm3-marked",
        "SmolLM3",
        {
            "no_rope_layers": [0, 1, 0],
            "use_sliding_window": True,
            "sliding_window": 8,
            "attention_bias": True,
        },
    ),
    Case("granite", "Granite", GRANITE, "granite"),
    Case("gpt2", "GPT2", {}, "gpt2"),
    Case("gpt2-inner", "GPT2", {"n_inner": 96, "tie_word_embeddings": False}, "gpt2"),
    Case("opt", "OPT", {"ffn_dim": 128}),
    Case("opt-bare", "OPT", {"ffn_dim": 128, "enable_bias": False}),
    Case("mixtral", "Mixtral", MIXTRAL, "llama"),
    Case("mixtral-q8_0", "Mixtral", MIXTRAL, "llama", gguf.GGMLQuantizationType.Q8_0),
    Case("mixtral-window", "Mixtral", MIXTRAL | {"sliding_window": 8}),
    Case("qwen3-moe", "Qwen3Moe", QWEN3_MOE, "qwen3moe"),
    Case(
        "qwen3-moe-dense",
        "Qwen3Moe",
        QWEN3_MOE
        | {
            "norm_topk_prob": False,
            "mlp_only_layers": [1],
            "use_sliding_window": True,
            "sliding_window": 8,
            "attention_bias": True,
        },
    ),
    Case("olmoe", "Olmoe", OLMOE, "olmoe"),
    Case("olmoe-clip", "Olmoe", OLMOE | {"clip_qkv": 0.4, "norm_topk_prob": True}),
    Case("gpt-neox", "GPTNeoX", NEOX, "gptneox"),
    Case(
        "gpt-neox-serial",
        "GPTNeoX",
        NEOX | {"use_parallel_residual": False, "attention_bias": False},
    ),
)

GGUF_NAMES = (
    ("model.embed_tokens", "token_embd"),
    ("model.layers.", "blk."),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
)
# Read before the others, by architecture.
SPECIAL_GGUF_NAMES = {
    "gemma2": (
        ("post_attention_layernorm", "post_attention_norm"),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
    ),
    "olmo2": (
        ("post_attention_layernorm", "post_attention_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
    ),
    "phi3": (("self_attn.qkv_proj", "attn_qkv"), ("mlp.gate_up_proj", "ffn_up")),
}
EXPERT_GGUF_NAMES = (
    ("mlp.gate.", "ffn_gate_inp."),
    ("mlp.experts.down_proj", "ffn_down_exps.weight"),
)
SPECIAL_GGUF_NAMES["gpt2"] = (
    ("transformer.wte", "token_embd"),
    ("transformer.wpe", "position_embd"),
    ("transformer.h.", "blk."),
    ("transformer.ln_f", "output_norm"),
    ("ln_1", "attn_norm"),
    ("ln_2", "ffn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
)
SPECIAL_GGUF_NAMES["gptneox"] = (
    ("gpt_neox.embed_in", "token_embd"),
    ("embed_out", "output"),
    ("gpt_neox.layers.", "blk."),
    ("gpt_neox.final_layer_norm", "output_norm"),
    ("attention.query_key_value", "attn_qkv"),
    ("attention.dense", "attn_output"),
    ("mlp.dense_h_to_4h", "ffn_up"),
    ("mlp.dense_4h_to_h", "ffn_down"),
)
SPECIAL_GGUF_NAMES["gemma3"] = SPECIAL_GGUF_NAMES["gemma2"]
UNGROUPED = ("gpt2", "gptneox")
PAIRED = ("llama", "smollm3", "granite")


def make_model(case: Case, seed: int) -> transformers.PreTrainedModel:
    """A model with random weights, norms and biases included."""
    text_config = getattr(transformers, f"{case.family}TextConfig", None)
    config_class = text_config or getattr(transformers, f"{case.family}Config")
    model_class = getattr(
        transformers,
        f"{case.family}ForCausalLM",
        getattr(transformers, f"{case.family}LMHeadModel", None),
    )
    torch.manual_seed(seed)
    config = config_class(**(SIZES | case.options), attn_implementation="eager")
    model: transformers.PreTrainedModel = model_class(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.5)
            elif "norm" in name or ".ln_" in name:
                parameter.uniform_(0.5, 1.5)
            elif is_router(name):
                parameter.normal_(0.0, 0.5)
            if case.dtype != torch.float32:
                parameter.copy_(parameter.to(case.dtype).float())
            if is_quantised(case) and parameter.dim() >= 2 and not is_router(name):
                parameter.copy_(torch.from_numpy(through_blocks(parameter.numpy(), case.gguf_type)))
    settle_rope(model)
    return model


def settle_rope(model: transformers.PreTrainedModel) -> None:
    """One list of LongRoPE factors for every length, chosen by the context, as engines serve it."""
    rope = getattr(model.config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return
    original, context = (
        rope["original_max_position_embeddings"],
        model.config.max_position_embeddings,
    )
    if context > original:
        rotary = model.model.rotary_emb
        compute = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["longrope"]
        long, _ = compute(model.config, None, seq_len=context)
        rotary.original_inv_freq.copy_(long)
        rotary.inv_freq.copy_(long)


def is_quantised(case: Case) -> bool:
    """Whether the GGUF file holds blocks; the safetensors file then holds what the blocks say."""
    return case.gguf_type in (gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.Q8_0)


def is_router(name: str) -> bool:
    """Routers stay floats in GGUF files."""
    return "mlp.gate." in name


def through_blocks(weight: np.ndarray, kind: gguf.GGMLQuantizationType) -> np.ndarray:
    """Quantised and dequantised."""
    return gguf.quants.dequantize(gguf.quants.quantize(weight, kind), kind)


def pair_rows(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's row order of q and k: row i of each half of a head beside the other."""
    head_dim = weight.shape[0] // heads
    halves = weight.reshape(heads, 2, head_dim // 2, -1)
    return halves.swapaxes(1, 2).reshape(weight.shape)


def rope_factors(rope: dict[str, Any], head_dim: int) -> np.ndarray:
    """What llama.cpp divides the plain frequencies by."""
    factors = []
    context = rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    for index in range(0, head_dim, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (index / head_dim)
        kept = (context / wavelength - low) / (high - low)
        kept = min(max(kept, 0.0), 1.0)
        factors.append(1.0 / ((1.0 - kept) / rope["factor"] + kept))
    return np.array(factors, dtype=np.float32)


def write_gguf(arch: str, case: Case, model: transformers.PreTrainedModel, path: Path) -> None:
    """The model as llama.cpp's converter would write it."""
    config = model.config
    head_dim = getattr(config, "head_dim", None) or HIDDEN // config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or {"rope_type": "default", "rope_theta": 1e4}
    rope = rope.get("full_attention", rope)
    rotated = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    inner = config.n_inner or 4 * HIDDEN if arch == "gpt2" else config.intermediate_size
    heads = config.num_attention_heads
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads if arch in UNGROUPED else config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(rotated)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_factors(rope, head_dim))
    if rope["rope_type"] == "longrope":
        add_long_rope(writer, rope, config.max_position_embeddings)
    add_special_keys(writer, arch, config)
    for name, weight in tensors(model):
        if config.tie_word_embeddings and name == "lm_head.weight":
            continue
        if arch.startswith("gemma") and "norm" in name:
            weight = weight + 1.0
        if arch == "gpt2" and ".c_" in name and weight.ndim == 2:
            weight = weight.T
        if arch == "gptneox" and "query_key_value" in name:
            split = weight.reshape(heads, 3, head_dim, -1)
            weight = split.swapaxes(0, 1).reshape(weight.shape)
        if arch in PAIRED and "q_proj" in name:
            weight = pair_rows(weight, config.num_attention_heads)
        if arch in PAIRED and "k_proj" in name:
            weight = pair_rows(weight, config.num_key_value_heads)
        is_plain = weight.ndim < 2 or is_router(name)
        for ours, theirs in (*SPECIAL_GGUF_NAMES.get(arch, ()), *EXPERT_GGUF_NAMES, *GGUF_NAMES):
            name = name.replace(ours, theirs)
        kind = gguf.GGMLQuantizationType.F32 if is_plain else case.gguf_type
        data = gguf.quants.quantize(np.ascontiguousarray(weight), kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_long_rope(writer: gguf.GGUFWriter, rope: dict[str, Any], context: int) -> None:
    """Both lists of factors as tensors, and the growth of attention as a number."""
    original = rope["original_max_position_embeddings"]
    growth = math.log(context / original) / math.log(original)
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_scaling_attn_factors(math.sqrt(1.0 + growth))
    for kind in ("short", "long"):
        factors = np.array(rope[f"{kind}_factor"], dtype=np.float32)
        writer.add_tensor(f"rope_factors_{kind}.weight", factors)


def tensors(model: transformers.PreTrainedModel) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values; the stacked gates and ups of experts apart, as GGUF files have them."""
    for name, parameter in model.state_dict().items():
        weight = parameter.float().numpy()
        if name.endswith("mlp.experts.gate_up_proj"):
            gate, up = np.split(weight, 2, axis=1)
            layer = name.removesuffix("mlp.experts.gate_up_proj")
            yield f"{layer}ffn_gate_exps.weight", gate
            yield f"{layer}ffn_up_exps.weight", up
        else:
            yield name, weight


def add_special_keys(writer: gguf.GGUFWriter, arch: str, config: Any) -> None:
    """What single architectures add to the metadata."""
    if arch == "gpt2":
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    elif arch == "gptneox":
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_parallel_residual(config.use_parallel_residual)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
    if experts is not None:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if arch == "qwen3moe":
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if arch.startswith("gemma"):
        writer.add_sliding_window(config.sliding_window)
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if arch == "granite":
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_logit_scale(config.logits_scaling)


def expect(model: transformers.PreTrainedModel, seed: int) -> list[dict[str, Any]]:
    """Prompts with the logits of every position and the greedy continuation."""
    generator = np.random.default_rng(seed)
    rows = []
    with torch.no_grad():
        for length in PROMPT_LENS:
            tokens = generator.integers(0, VOCAB, length).tolist()
            logits = model(torch.tensor([tokens]), use_cache=False).logits[0]
            known = list(tokens)
            for _ in range(GREEDY_LEN):
                last = model(torch.tensor([known]), use_cache=False).logits[0, -1]
                known.append(int(last.argmax()))
            rows.append({"tokens": tokens, "logits": logits.tolist(), "greedy": known[length:]})
    return rows


def make(case: Case, folder: Path, seed: int) -> None:
    """Everything of one case."""
    folder.mkdir(parents=True, exist_ok=True)
    model = make_model(case, seed)
    expected = expect(model, seed)
    if case.gguf_arch is not None:
        write_gguf(case.gguf_arch, case, model, folder / "model.gguf")
    torch.nn.Module.to(model, case.dtype)
    model.save_pretrained(folder / "model")
    (folder / "expected.json").write_text(json.dumps(expected))


def main() -> None:
    """Makes all cases."""
    if len(sys.argv) != 2:
        sys.exit("usage: make_tiny.py DIR")
    for seed, case in enumerate(CASES):
        make(case, Path(sys.argv[1]) / case.name, seed)


if __name__ == "__main__":
    main()
