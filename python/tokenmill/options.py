"""The option table as Python reads it: looked up, parsed from text, filled from the environment.

The rows come from the compiled module and are the only definition of an option; how a value is
written as text and what values are allowed is decided there too. This file knows what the
environment may say.
"""

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenmill import _tokenmill
from tokenmill.errors import InvalidRequestError, UnsupportedError, refusal

if TYPE_CHECKING:
    from tokenmill.api.records import OptionRow

ENV_PREFIX = "TOKENMILL_"
# Variables that are no option of an engine or a request, with what reads them.
OTHER_VARIABLES = {
    "TOKENMILL_CACHE": "folder of the model cache",
    "TOKENMILL_OFFLINE": "1 forbids the network",
    "TOKENMILL_CPU_ISA": "highest instruction set the CPU backend may use",
}
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


def capabilities() -> "dict[str, dict[str, OptionRow]]":
    """Every row of the table by group and name, with what the option can be combined with."""
    groups: dict[str, dict[str, OptionRow]] = {"sampling": {}, "engine": {}}
    for row in _tokenmill.options():
        groups[row["group"]][row["name"]] = row
    return groups


def supported(group: str) -> list[Option]:
    """The options of one group that can be given, in the table's order."""
    return [option for option in table() if option.group == group and option.is_supported]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, if any is like it at all."""
    import difflib

    matches = difflib.get_close_matches(name, list(known), 1, 0.6)
    return matches[0] if matches else None


def parse(option: Option, text: str) -> Any:
    """The value that `text` writes for an option, within its bound."""
    return _tokenmill.parse_text(option.group, option.name, text)


def is_utf8(text: str) -> bool:
    """Whether this can be written as UTF-8: an argument's foreign bytes come as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def environment(group: str) -> dict[str, Any]:
    """The options of one group that the environment sets.

    A `TOKENMILL_` name that nothing reads is refused, and so is a bad value of either group.
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
        try:
            value = parse(option, text)
        except InvalidRequestError as error:
            raise refusal(option.name, f"{variable}: {error}") from error
        if option.group == group:
            values[option.name] = value
    return values


def _unknown_variable(variable: str, known: list[str]) -> Exception:
    close = nearest(variable, known)
    hint = f"; did you mean {close}?" if close else ""
    return refusal(variable[:_SHOWN_MAX], f"unknown variable {variable[:_SHOWN_MAX]}{hint}")


def _from_row(row: "OptionRow") -> Option:
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
