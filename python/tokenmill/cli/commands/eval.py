"""`tokenmill eval --ppl FILE...` and `tokenmill eval --choices FILE`: how well a model does.

It reads files and prints figures; what they mean is told in `tokenmill.evaluate`. Every file is
read and checked before the model is loaded.
"""

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

from tokenmill.api import LLM
from tokenmill.api.scoring import TEXT_BYTES_MAX
from tokenmill.cli import flags
from tokenmill.cli.parser import Arguments, Parser
from tokenmill.cli.terminal import harmless, table
from tokenmill.errors import TokenmillIoError, refusal
from tokenmill.evaluate import (
    Accuracy,
    ChoiceQuestion,
    Interval,
    Perplexity,
    choice_accuracy,
    perplexity,
    read_questions,
)
from tokenmill.evaluate.perplexity import bounds

_TOKENS_MAX = 1 << 30
# Flags of `--ppl` and the least that each may be.
_ONLY_PPL = {"window": 2, "stride": 1, "limit_tokens": 2}


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("--ppl", nargs="+", metavar="FILE", help="perplexity of UTF-8 texts")
    parser.add(
        "--choices",
        metavar="FILE",
        help="accuracy on JSON lines with prompt (or question, which becomes a prompt of the form "
        "`Question: ... Answer:`), choices, answer (an index from 0, or a letter), perhaps id",
    )
    parser.add("--window", metavar="N", help="tokens seen at once (512, or max_model_len if less)")
    parser.add(
        "--stride",
        metavar="N",
        help="tokens from one window to the next (half of the window); each window scores what no "
        "window before it scored",
    )
    parser.add("--limit-tokens", metavar="N", help="only the first N tokens of each text (all)")
    parser.add("--json", action="store_true", help="one JSON object instead of a table")
    flags.add_model(parser)
    flags.add_options(parser, ("engine",))


def run(arguments: Arguments) -> int:
    """Measure and print."""
    if (arguments["ppl"] is None) == (arguments["choices"] is None):
        raise refusal("ppl", "eval takes either --ppl FILE... or --choices FILE")
    report = _choices(arguments) if arguments["ppl"] is None else _ppl(arguments)
    if arguments["json"]:
        sys.stdout.write(json.dumps(_json_value(report.figures), indent=2, allow_nan=False) + "\n")
    else:
        sys.stdout.write(report.text)
    return 0


@dataclasses.dataclass(frozen=True)
class _Report:
    """The same for programs and for people."""

    figures: dict[str, Any]
    text: str


def _ppl(arguments: Arguments) -> _Report:
    asked = {name: _number(arguments, name, low) for name, low in _ONLY_PPL.items()}
    names: list[str] = arguments["ppl"]
    texts = [_read(name) for name in names]
    with flags.load(arguments) as llm:
        window, stride = bounds(llm.info()["max_model_len"], asked["window"], asked["stride"])
        total, each = perplexity(
            llm,
            texts,
            window=window,
            stride=stride,
            limit_tokens=asked["limit_tokens"],
            names=names,
        )
        shape = {**_model(llm), "window": window, "stride": stride}
    files = [
        {"file": name, **dataclasses.asdict(one)} for name, one in zip(names, each, strict=True)
    ]
    figures = {**shape, **dataclasses.asdict(total), "files": files}
    rows = [_row(harmless(name), one) for name, one in zip(names, each, strict=True)]
    if len(names) > 1:
        rows.append(_row("together", total))
    header = ("text", "perplexity", "95 % interval", "bits a byte", "tokens scored", "windows")
    return _Report(figures, table(rows, header) + _shown(shape))


def _number(arguments: Arguments, name: str, low: int) -> int | None:
    text = arguments[name]
    return None if text is None else flags.whole_number(name, text, low, _TOKENS_MAX)


def _row(name: str, found: Perplexity) -> tuple[str, ...]:
    return (
        name,
        f"{found.perplexity:.4f}",
        "one window" if found.interval is None else _ends(found.interval),
        f"{found.bits_per_byte:.4f}",
        f"{found.tokens_scored:,} of {found.tokens:,}",
        str(found.windows),
    )


def _choices(arguments: Arguments) -> _Report:
    for name in _ONLY_PPL:
        if arguments[name] is not None:
            raise refusal(name, f"{name} goes with --ppl only")
    if not arguments["choices"]:
        raise refusal("choices", "choices must name a file, got an empty name")
    questions = read_questions(arguments["choices"])
    with flags.load(arguments) as llm:
        found = choice_accuracy(llm, questions)
        shape = _model(llm)
    figures = {**shape, **dataclasses.asdict(found), "answers": _answers(found, questions)}
    ways = {"sum of log-probs": found.by_sum, "log-prob a byte": found.by_byte}
    shown = [
        (way, f"{s.accuracy:.4f}", _ends(s.interval), f"{s.correct:,} of {found.questions:,}")
        for way, s in ways.items()
    ]
    text = table(shown, ("chosen by", "accuracy", "95 % interval", "right"))
    return _Report(figures, f"{text}chance {found.chance:.4f}\n{_shown(shape)}")


def _answers(found: Accuracy, questions: list[ChoiceQuestion]) -> list[dict[str, Any]]:
    """One entry a line of the file."""
    return [
        {"line": line, "id": one.id, "answer": one.answer, **dataclasses.asdict(chosen)}
        for line, (one, chosen) in enumerate(zip(questions, found.answers, strict=True), 1)
    ]


def _read(name: str) -> str:
    if not name:
        raise refusal("ppl", "ppl must name files, got an empty name")
    try:
        with Path(name).open("rb") as file:
            content = file.read(TEXT_BYTES_MAX + 1)
    except OSError as error:
        raise TokenmillIoError(f"cannot read {name}: {error.strerror}") from error
    if len(content) > TEXT_BYTES_MAX:
        raise refusal("ppl", f"{name} must have at most {TEXT_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refusal("ppl", f"{name} is not UTF-8 at byte {error.start}") from error


def _model(llm: LLM) -> dict[str, Any]:
    """What was measured: figures of other arithmetic are not the same figures."""
    info = llm.info()
    return {
        "model": llm.model,
        "backend": info["backend"],
        "dtype": info["dtype"],
        "activations": info["activations"],
        "kv_cache_dtype": info["kv_cache_dtype"],
    }


def _shown(shape: dict[str, Any]) -> str:
    return harmless(", ".join(f"{name} {value}" for name, value in shape.items())) + "\n"


def _ends(interval: Interval) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}"


def _json_value(value: Any) -> Any:
    """JSON has no infinity: a perplexity that no float holds is null."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
