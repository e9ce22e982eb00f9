"""Flags made from the option table, and the values they leave behind.

A value comes from the flag, else from the file named by `--config`, else from the environment, else
from the table's default. The table's own checks run later, in one place for every door.
"""

import argparse
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenmill import _tokenmill, options
from tokenmill.api import LLM, SamplingParams
from tokenmill.cli.parser import Arguments, Parser
from tokenmill.errors import InvalidRequestError, TokenmillIoError, refusal
from tokenmill.options import Option

_METAVARS = {
    "int": "N",
    "float": "X",
    "str": "TEXT",
    "choice": "NAME",
    "str_list": "TEXT",
    "int_list": "N,N",
    "int_lists": "N N,N",
    "bias": "ID:X,..",
    "sequence_bias": "N N:X,..",
    "length_decay": "N,X",
    "early_stopping": "true|false|never",
    "repetition": "KEY:N,..",
    "contrastive": "KEY:X,..",
    "layers": "NAME or N,N",
    "pipeline": "NAME or STEP,..",
    "processors": "JSON",
}
# `model` has its own flag, and `--seed` is the request's.
_NOT_FLAGS = {("engine", "model"), ("engine", "seed")}
_TITLES = {"engine": "engine options", "sampling": "sampling options"}
_CONFIG_BYTES_MAX = 1 << 20


def add_model(parser: Parser) -> None:
    """`--model` and `--config`."""
    parser.add(
        "-m",
        "--model",
        metavar="MODEL",
        help="a path, a known name or a hub name (the default model)",
    )
    parser.add("--config", metavar="FILE", help="TOML with tables [engine] and [sampling]")


def add_options(
    parser: Parser, groups: Iterable[str], defaults: Mapping[str, Any] | None = None
) -> None:
    """A flag for every option of these groups that can be given.

    `defaults` are those in which the command differs from the table; they are shown.
    """
    for group in groups:
        for option in options.supported(group):
            if (group, option.name) not in _NOT_FLAGS and option.type != "callable":
                default = (defaults or {}).get(option.name, option.default)
                _add(parser, group, option, "none" if default is None else str(default))


def sampling(arguments: Arguments, defaults: Mapping[str, Any]) -> SamplingParams:
    """The sampling parameters; `defaults` are the command's own, below everything a person set."""
    return SamplingParams(**{**defaults, **_values(arguments, "sampling")})


def refuse_logprobs(params: SamplingParams, where: str) -> None:
    """Refuse whatever is shown by `where` alone."""
    for name in ("logprobs", "logprob_token_ids", "prompt_logprobs"):
        if getattr(params, name) is not None:
            raise refusal(name, f"{name} are shown {where} only")


def load(arguments: Arguments) -> LLM:
    """The model that the arguments name, loaded with their engine options."""
    return LLM(model_name(arguments), **engine(arguments))


def model_name(arguments: Arguments) -> str | None:
    """The model that a person named in any way."""
    named: str | None = arguments["model"]
    return _values(arguments, "engine").get("model") if named is None else named


def engine(arguments: Arguments) -> dict[str, Any]:
    """The engine options that a person set, checked before any model is looked for."""
    values = {name: v for name, v in _values(arguments, "engine").items() if name != "model"}
    _tokenmill.check_engine(values)
    return values


def whole_number(name: str, text: str, low: int, high: int) -> int:
    """A number of tokens or requests, written as everywhere, within a command's own bound."""
    count = next(option for option in options.supported("sampling") if option.name == "max_tokens")
    try:
        value: int = options.parse(count, text) or 0
    except InvalidRequestError:
        value = -1
    if not low <= value <= high:
        raise refusal(name, f"{name} must be an integer from {low} to {high}, got {text[:64]!r}")
    return value


def _add(parser: Parser, group: str, option: Option, default: str) -> None:
    about = f"{option.doc} ({option.bound}; default {default})".replace("%", "%%")
    settings: dict[str, Any] = {
        "dest": _key(group, option),
        "default": None,
        "group": _TITLES[group],
    }
    if option.type == "bool":
        # Both are taken; the help shows the one that changes something.
        for flag, value in ((option.flag, "true"), (f"--no-{option.flag[2:]}", "false")):
            shown = argparse.SUPPRESS if default == value else about
            parser.add(flag, action="store_const", const=value, help=shown, **settings)
        return
    action = "append" if option.type == "str_list" else "store"
    parser.add(option.flag, action=action, metavar=_METAVARS[option.type], help=about, **settings)


def _key(group: str, option: Option) -> str:
    return f"{group}:{option.name}"


def _values(arguments: Arguments, group: str) -> dict[str, Any]:
    values = options.environment(group)
    if arguments.get("config") is not None:
        values.update(_from_file(arguments["config"], group))
    for option in options.supported(group):
        text = arguments.get(_key(group, option))
        if text is None:
            continue
        if isinstance(text, list):
            values[option.name] = [options.parse(option, one) for one in text]
        else:
            values[option.name] = options.parse(option, text)
    return values


def _from_file(name: str, group: str) -> dict[str, Any]:
    if not name:
        raise refusal("config", "config must name a file, got an empty name")
    try:
        with Path(name).open("rb") as file:
            content = file.read(_CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise TokenmillIoError(f"cannot read {name}: {error.strerror}") from error
    if len(content) > _CONFIG_BYTES_MAX:
        raise InvalidRequestError(f"{name} is larger than 1 MiB")
    try:
        tables = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{name} is not TOML: {error}") from error
    except RecursionError:
        raise InvalidRequestError(f"{name} is nested too deeply") from None
    for table, values in tables.items():
        if table not in _TITLES or not isinstance(values, dict):
            raise refusal(
                table[:64], f"{name}: only the tables engine and sampling, got {table[:64]}"
            )
        _check_names(name, table, values)
    found: dict[str, Any] = tables.get(group, {})
    return found


def _check_names(file: str, table: str, values: Mapping[str, Any]) -> None:
    known = [option.name for option in options.supported(table)]
    for key in values:
        if key not in known:
            close = options.nearest(key, known)
            hint = f"; did you mean {close}?" if close else ""
            raise refusal(key[:64], f"{file}: unknown option {table}.{key[:64]}{hint}")
