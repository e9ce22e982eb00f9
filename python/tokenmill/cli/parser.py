"""Arguments of one command, read strictly: no short forms, no unknown flags, hints for slips.

`--help` prints everything, `--help=WORD` what mentions the word. Errors are `InvalidRequestError`,
so that they look and exit like every other refusal.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from tokenmill.errors import InvalidRequestError, refusal
from tokenmill.options import is_utf8, nearest

Arguments = dict[str, Any]


# Names of files, which may be any bytes; everything else is text.
_PATHS = ("model", "name", "names", "config", "ppl", "choices", "html", "json")


class _Strict(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidRequestError(f"{message}; `{self.prog} --help` lists the options")


class Parser:
    """A thin face of argparse."""

    def __init__(self, program: str, summary: str) -> None:
        self._parser = _Strict(
            prog=program,
            usage=f"{program} [options]",
            description=summary,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(
                prog, max_help_position=32, width=100
            ),
        )
        self._groups: dict[str, Any] = {}

    def add(self, *names: str, group: str | None = None, **settings: Any) -> None:
        """One argument; `settings` are argparse's."""
        target: Any = self._parser
        if group is not None:
            if group not in self._groups:
                self._groups[group] = self._parser.add_argument_group(group)
            target = self._groups[group]
        target.add_argument(*names, **settings)

    def read(self, arguments: Sequence[str]) -> Arguments | None:
        """The values; None if help was asked for and printed."""
        for argument in arguments:
            if argument == "--":
                break
            if argument in ("-h", "--help"):
                sys.stdout.write(self._parser.format_help())
                return None
            if argument.startswith("--help="):
                sys.stdout.write(self._search(argument.removeprefix("--help=")))
                return None
        values, unknown = self._parser.parse_known_args(list(arguments))
        if unknown:
            raise self._unknown(unknown[0])
        _refuse_bytes(vars(values))
        return vars(values)

    def _unknown(self, argument: str) -> Exception:
        name = argument.split("=", 1)[0][:64]
        if not name.startswith("-"):
            return refusal("arguments", f"unexpected argument {name}; quote text that has spaces")
        known = [flag for action in self._parser._actions for flag in action.option_strings]
        close = nearest(name, known)
        hint = f"; did you mean {close}?" if close else f"; `{self._parser.prog} --help` lists them"
        return refusal(name.lstrip("-").replace("-", "_"), f"unknown option {name}{hint}")

    def _search(self, word: str) -> str:
        lines = []
        for action in self._parser._actions:
            about = action.help or ""
            text = f"{', '.join(action.option_strings) or action.dest}: {about}"
            if about != argparse.SUPPRESS and word.lower() in text.lower():
                lines.append("  " + text.replace("%%", "%"))
        return "\n".join(lines or [f"no option mentions {word}"]) + "\n"


def _refuse_bytes(values: Arguments) -> None:
    for name, value in values.items():
        # An argument's bytes that are not UTF-8 come as lone surrogates.
        texts = value if isinstance(value, list) else [value]
        if name in _PATHS or not any(isinstance(t, str) and not is_utf8(t) for t in texts):
            continue
        shown = {"prompts": "prompt"}.get(name, name.rpartition(":")[2])
        raise refusal(shown, f"{shown} must be UTF-8 text")
