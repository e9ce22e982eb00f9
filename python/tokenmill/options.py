"""The option table as Python reads it: looked up, parsed from text, filled from the environment.

The rows come from the compiled module and are the only definition of an option. This file knows how
a value is written on a command line, in an environment variable or in a file; what values are
allowed is decided where the table lives.
"""

import functools
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenmill import _tokenmill
from tokenmill.api.records import OptionRow
from tokenmill.errors import UnsupportedError, refusal

ENV_PREFIX = "TOKENMILL_"
# Variables that are no option of an engine or a request, with what reads them.
OTHER_VARIABLES = {
    "TOKENMILL_CACHE": "folder of the model cache",
    "TOKENMILL_OFFLINE": "1 forbids the network",
    "TOKENMILL_CPU_ISA": "highest instruction set the CPU backend may use",
}
_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
_INTEGER = re.compile(r"([+-]?\d+)([kmgKMG]?)")
_SHOWN_MAX = 64


@dataclass(frozen=True)
class Option:
    """One row of the table."""

    name: str
    group: str
    type: str
    default: str
    bound: str
    is_nullable: bool
    doc: str
    flag: str
    env: str
    is_supported: bool
    reason: str


@functools.cache
def table() -> tuple[Option, ...]:
    """Every option, those included that are known and not taken."""
    return tuple(_from_row(row) for row in _tokenmill.options())


def supported(group: str) -> list[Option]:
    """The options of one group that can be given, in the table's order."""
    return [option for option in table() if option.group == group and option.is_supported]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, if any is like it at all."""
    import difflib

    matches = difflib.get_close_matches(name, list(known), 1, 0.6)
    return matches[0] if matches else None


def parse(option: Option, text: str) -> Any:
    """The value that `text` writes for an option; its bounds are not checked here."""
    if option.is_nullable and text.lower() in ("none", "null"):
        return None
    try:
        return _PARSERS[option.type](text)
    except ValueError as error:
        expected = _EXPECTED[option.type]
        shown = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
        message = f"{option.name} must be {expected}, got {json.dumps(shown)}"
        raise refusal(option.name, message) from error


def environment(group: str) -> dict[str, Any]:
    """The options of one group that the environment sets.

    A `TOKENMILL_` name that nothing reads is refused, and so is a value of the wrong type.
    """
    by_variable = {option.env: option for option in table()}
    values = {}
    for variable, text in sorted(os.environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable in OTHER_VARIABLES:
            continue
        option = by_variable.get(variable)
        if option is None:
            raise _unknown_variable(variable, [*OTHER_VARIABLES, *by_variable])
        if not option.is_supported:
            raise UnsupportedError(f"{variable}: {option.name} is not supported: {option.reason}")
        if option.group == group:
            values[option.name] = parse(option, text)
    return values


def _unknown_variable(variable: str, known: list[str]) -> Exception:
    close = nearest(variable, known)
    hint = f"; did you mean {close}?" if close else ""
    return refusal(variable[:_SHOWN_MAX], f"unknown variable {variable[:_SHOWN_MAX]}{hint}")


def _from_row(row: OptionRow) -> Option:
    return Option(
        name=row["name"],
        group=row["group"],
        type=row["type"],
        default=row["default"],
        bound=row["bound"],
        is_nullable=row["nullable"],
        doc=row["doc"],
        flag=row["flag"],
        env=row["env"],
        is_supported=row["status"] == "supported",
        reason=row["reason"],
    )


def parse_integer(text: str) -> int:
    """An integer, with k, m, g for thousands and K, M, G for powers of 1,024."""
    match = _INTEGER.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return int(match[1]) * _SUFFIXES.get(match[2], 1)


def _parse_bool(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError(text)


def _parse_string(text: str) -> list[str]:
    """One string as it is; a list is written by repeating the flag."""
    return [text]


def _parse_integers(text: str) -> list[int]:
    return [parse_integer(part) for part in text.strip("[] ").split(",")]


def _parse_bias(text: str) -> dict[int, float]:
    values = json.loads(text) if text.lstrip().startswith("{") else _pairs(text)
    return {int(token): float(bias) for token, bias in values.items()}


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.split(":") for part in text.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(text)
    return {token: bias for token, bias in pairs}


_PARSERS: Mapping[str, Any] = {
    "int": parse_integer,
    "float": float,
    "bool": _parse_bool,
    "str": str,
    "choice": str,
    "str_list": _parse_string,
    "int_list": _parse_integers,
    "bias": _parse_bias,
}
_EXPECTED: Mapping[str, str] = {
    "int": "an integer (k, m, g or K, M, G may follow)",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "choice": "one of its names",
    "str_list": "text",
    "int_list": "integers separated by commas",
    "bias": "pairs ID:BIAS separated by commas",
}
