"""`tokenmill explain PROMPT`: how every token came to be.

It prints the distribution behind each step of the pipeline and what decided at the end, and writes
the same as one HTML page or as JSON. What a step does is decided by the engine.
"""

import dataclasses
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

from tokenmill.cli import flags
from tokenmill.cli.parser import Arguments, Parser
from tokenmill.cli.views import page, text
from tokenmill.errors import TokenmillIoError, refusal

_DEFAULTS = {"max_tokens": 8}
_TOP = 10
_TOP_MAX = 50


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("prompt", metavar="PROMPT", help="text to continue")
    parser.add(
        "--top", metavar="M", help=f"tokens shown of each step, 1 to {_TOP_MAX} (default {_TOP})"
    )
    parser.add("--html", metavar="FILE", help="also write one HTML page, complete in itself")
    parser.add("--json", metavar="FILE", help="also write one JSON object")
    flags.add_model(parser)
    flags.add_options(parser, ("sampling", "engine"), _DEFAULTS)


def run(arguments: Arguments) -> int:
    """Explain, and show it."""
    params = flags.sampling(arguments, _DEFAULTS)
    flags.refuse_logprobs(params, "by `tokenmill generate --json`")
    asked = arguments["top"]
    top = _TOP if asked is None else flags.whole_number("top", asked, 1, _TOP_MAX)
    files = {name: _target(arguments, name) for name in ("html", "json")}
    with flags.load(arguments) as llm:
        explained = llm.explain(arguments["prompt"], params, top=top)
        model = llm.model
    if files["html"] is not None:
        _write(files["html"], page.render(explained, model))
    if files["json"] is not None:
        fields = {"model": model, **dataclasses.asdict(explained)}
        _write(files["json"], json.dumps(_json_value(fields), allow_nan=False) + "\n")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    sys.stdout.write(text.render(explained, width))
    return 0


def _target(arguments: Arguments, name: str) -> Path | None:
    """A file that can be written, tried before a model is loaded."""
    file = arguments[name]
    if file is None:
        return None
    if not file:
        raise refusal(name, f"{name} must name a file, got an empty name")
    path = Path(file)
    if path.is_dir() or not path.parent.is_dir():
        raise refusal(name, f"{name} must name a file in a folder that exists, got {file}")
    return path


def _write(path: Path, content: str) -> None:
    try:
        path.write_bytes(content.encode("utf-8", "replace"))
    except OSError as error:
        raise TokenmillIoError(f"cannot write {path}: {error.strerror}") from error


def _json_value(value: Any) -> Any:
    """JSON has no infinity, and only texts as keys."""
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
