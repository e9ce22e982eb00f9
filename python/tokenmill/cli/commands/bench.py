"""`tokenmill bench latency|throughput`: how fast, and which share of what this machine can do.

The limits are measured in the same run: read bandwidth for bytes, int8 or f32 peak for operations.
Bytes and operations are those the engine counted. Prompts are made of token ids by a fixed rule, so
that two runs ask the same. It compares with no other engine; benches/ does.
"""

import json
import statistics
import sys
import time
from typing import Any

from tokenmill import _tokenmill
from tokenmill.api import LLM, SamplingParams
from tokenmill.cli import flags
from tokenmill.cli.parser import Arguments, Parser
from tokenmill.cli.terminal import table

_MODES = ("latency", "throughput")
_MEASURE_S = 0.5
# Ids below this are control tokens in many vocabularies.
_FIRST_ID = 300


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("mode", choices=_MODES, help="one request after another, or many at once")
    parser.add("--input-len", metavar="N", default="512", help="prompt tokens (512)")
    parser.add("--output-len", metavar="N", default="128", help="tokens to generate (128)")
    parser.add("--num-prompts", metavar="N", default=None, help="requests (3, or 32 at once)")
    parser.add("--json", action="store_true", help="one JSON object instead of a table")
    flags.add_model(parser)
    flags.add_options(parser, ("engine",))


def run(arguments: Arguments) -> int:
    """Measure and print."""
    is_latency = arguments["mode"] == "latency"
    count = _positive(arguments, "num_prompts", 3 if is_latency else 32)
    lengths = _positive(arguments, "input_len", 512), _positive(arguments, "output_len", 128)
    started = time.perf_counter()
    with flags.load(arguments) as llm:
        loaded_s = time.perf_counter() - started
        figures = (_latency if is_latency else _throughput)(llm, count, *lengths)
        info = llm.info()
    limits = _tokenmill.measure_machine(_MEASURE_S, info["threads"])
    report = {
        "mode": arguments["mode"],
        "model": llm.model,
        "backend": f"{info['backend']} {info['level']}",
        "threads": info["threads"],
        "requests": count,
        "input_len": lengths[0],
        "output_len": lengths[1],
        "load_s": loaded_s,
        **figures,
        **_shares(figures, limits, activations=info["activations"]),
    }
    if arguments["json"]:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        rows = [(name, _shown(value)) for name, value in report.items()]
        sys.stdout.write(table(rows, ("figure", "value")))
    return 0


def _latency(llm: LLM, count: int, input_len: int, output_len: int) -> dict[str, float]:
    """Medians over single requests: time to the first token, and the pace after it."""
    params = _params(output_len)
    _one(llm, _prompt(llm, -1, input_len), params)
    before = llm.get_metrics()
    runs = [_one(llm, _prompt(llm, index, input_len), params) for index in range(count)]
    first_s = statistics.median(first for first, _ in runs)
    decode_s = statistics.median(last - first for first, last in runs)
    wall_s = sum(last for _, last in runs)
    figures = {
        "first_token_ms": first_s * 1e3,
        "prefill_tokens_per_s": input_len / first_s,
        "decode_tokens_per_s": (output_len - 1) / decode_s if output_len > 1 else 0.0,
        "total_ms": statistics.median(last for _, last in runs) * 1e3,
    }
    return {**figures, **_counted(before, llm.get_metrics(), wall_s)}


def _throughput(llm: LLM, count: int, input_len: int, output_len: int) -> dict[str, float]:
    """All requests at once."""
    params = _params(output_len)
    _one(llm, _prompt(llm, -1, input_len), params)
    prompts = [_prompt(llm, index, input_len) for index in range(count)]
    before = llm.get_metrics()
    started = time.perf_counter()
    outputs = llm.generate(prompts, params)
    wall_s = time.perf_counter() - started
    made = sum(len(output.outputs[0].token_ids) for output in outputs)
    figures = {
        "wall_s": wall_s,
        "requests_per_s": count / wall_s,
        "output_tokens_per_s": made / wall_s,
        "total_tokens_per_s": (made + count * input_len) / wall_s,
    }
    return {**figures, **_counted(before, llm.get_metrics(), wall_s)}


def _one(llm: LLM, prompt: list[int], params: SamplingParams) -> tuple[float, float]:
    """Seconds to the first and to the last token."""
    started = time.perf_counter()
    first = last = 0.0
    for chunk in llm.stream(prompt, params):
        if chunk.token_ids:
            last = time.perf_counter() - started
            first = first or last
    return first, last


def _params(output_len: int) -> SamplingParams:
    return SamplingParams(
        temperature=0.0, max_tokens=output_len, ignore_eos=True, skip_reading_prefix_cache=True
    )


def _prompt(llm: LLM, index: int, length: int) -> list[int]:
    """Ids that differ from request to request and repeat from run to run."""
    span = llm.get_tokenizer().vocab_size - _FIRST_ID
    if span <= 0:
        return [(position + index) % (span + _FIRST_ID) for position in range(length)]
    return [
        _FIRST_ID + (7919 * position + 104_729 * (index + 2)) % span for position in range(length)
    ]


def _counted(before: dict[str, int], after: dict[str, int], wall_s: float) -> dict[str, float]:
    """What the engine counted over the measured requests, as rates and shares of the time."""

    def grown(name: str) -> int:
        return after[name] - before[name]

    return {
        "steps": grown("steps"),
        "bytes_per_s": (grown("weight_bytes") + grown("kv_bytes")) / wall_s,
        "ops_per_s": grown("flops") / wall_s,
        "share_model": grown("model_ns") / 1e9 / wall_s,
        "share_sample": grown("sample_ns") / 1e9 / wall_s,
        "share_plan": grown("plan_ns") / 1e9 / wall_s,
        "share_publish": grown("publish_ns") / 1e9 / wall_s,
        **{
            f"share_{name.removesuffix('_ns')}": grown(name) / 1e9 / wall_s
            for name in after
            if name.startswith("model_") and name != "model_ns"
        },
    }


def _shares(
    figures: dict[str, float], limits: dict[str, float], *, activations: str
) -> dict[str, float]:
    """Rates over the measured limits of the machine."""
    peak = "f32_flops" if activations == "exact" else "int8_ops"
    return {
        "limit_bytes_per_s": limits["read_bytes_per_s"],
        "limit_ops_per_s": limits[peak],
        "share_of_bandwidth": figures["bytes_per_s"] / limits["read_bytes_per_s"],
        "share_of_peak": figures["ops_per_s"] / limits[peak],
    }


def _positive(arguments: Arguments, name: str, default: int) -> int:
    text = arguments[name]
    return default if text is None else flags.whole_number(name, text, 1, 1_000_000)


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    for unit, size in (("G", 1e9), ("M", 1e6)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
