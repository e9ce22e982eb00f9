"""`tokenmill info [MODEL]`: a model from its headers alone, and the memory that it takes."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tokenmill import _tokenmill
from tokenmill.api.records import PlannedInfo
from tokenmill.cli import flags
from tokenmill.cli.parser import Arguments, Parser
from tokenmill.cli.terminal import harmless, table
from tokenmill.errors import refusal
from tokenmill.models.probe import probe
from tokenmill.models.resolve import resolve, with_amateur_path
from tokenmill.progress import format_bytes

# 64 sequences of 1,024 tokens, a busy service on a CPU.
_BATCH_TOKENS = 65_536


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("name", nargs="?", metavar="MODEL", help="a path, a known name or a hub name")
    parser.add("--json", action="store_true", help="JSON instead of lines")
    flags.add_model(parser)
    flags.add_options(parser, ("engine",))


def run(arguments: Arguments) -> int:
    """Print what the headers say and what an engine would hold; no weight is read.

    What a load would refuse ends it with the same error.
    """
    name = arguments["name"]
    if name is not None and arguments["model"] is not None:
        raise refusal("model", "info takes one model: its argument or --model, not both")
    values = with_amateur_path(flags.engine(arguments))
    resolved = resolve(flags.model_name(arguments) if name is None else name)
    path = os.fspath(resolved.path)
    found = _tokenmill.inspect(path, values)
    if arguments["json"]:
        out = json.dumps({"path": path, **found}, indent=2) + "\n"
    else:
        out = harmless(_text(path, found))
    # What a load would refuse is refused here, after the sizes that a person may still want.
    sys.stdout.write(out)
    sys.stdout.flush()
    if resolved.known is None or values.get("tokenizer") or values.get("chat_template"):
        probe(resolved.path, values)
    if "amateur_model" in values:
        probe(Path(values["amateur_model"]), {})
    _tokenmill.check_text(path, values)
    return 0


def _text(path: str, found: PlannedInfo) -> str:
    lines: list[tuple[str, Any]] = [
        ("file", path),
        ("architecture", found["architecture"]),
        ("parameters", f"{found['parameters'] / 1e6:.1f} M"),
        ("weights", format_bytes(found["weight_bytes"])),
        ("layers", found["layers"]),
        ("hidden", found["hidden"]),
        ("vocabulary", f"{found['vocab_len']:,} tokens"),
        ("context", f"{found['context_len']:,} tokens"),
        ("one token", f"reads {format_bytes(found['decode_weight_bytes'])} of weights"),
    ]
    text = "".join(f"{name:<13} {value}\n" for name, value in lines)
    encodings = [
        (name, str(entry["tensors"]), f"{entry['elements'] / 1e6:.1f} M")
        for name, entry in sorted(found["encodings"].items())
    ]
    parts = (
        text,
        table(encodings, ("encoding", "tensors", "elements")),
        _kv(found),
        _plan(found),
        *(f"note: {note}\n" for note in found["notes"]),
    )
    return "\n".join(parts)


def _plan(found: PlannedInfo) -> str:
    """What an engine under these options takes, before it takes it."""
    rows = [(what, format_bytes(size)) for what, size in found["memory_plan"].items()]
    rows.append(("together", format_bytes(found["memory_total_bytes"])))
    shape = (
        f"{found['max_num_seqs']} sequences at once, {found['max_model_len']:,} tokens each at "
        f"most, {found['blocks'] * found['block_size']:,} in the pool; "
        f"{found['max_num_batched_tokens']} tokens a step, {found['threads']} threads\n"
    )
    return table(rows, ("memory of an engine", "bytes")) + shape + _runs_on(found)


def _runs_on(found: PlannedInfo) -> str:
    """What would compute it, and in which arithmetic."""
    level = f" ({found['level']})" if found["level"] else ""
    parts = [f"{encoding} in {words}" for encoding, words in found["arithmetic"].items()]
    cache = f"keys and values in {found['kv_cache_dtype']}"
    return f"runs on {found['backend']}{level}: {'; '.join([*parts, cache])}\n"


def _kv(found: PlannedInfo) -> str:
    """What keys and values cost, so that a person can see what fits before loading."""
    context = found["context_len"]
    formats = ("bf16", found["kv_bytes_per_token_bf16"]), ("f32", found["kv_bytes_per_token_f32"])
    rows = [
        (name, format_bytes(one), format_bytes(one * context), format_bytes(one * _BATCH_TOKENS))
        for name, one in formats
    ]
    header = ("keys and values", "one token", f"{context:,} tokens", f"{_BATCH_TOKENS:,} tokens")
    return table(rows, header)
