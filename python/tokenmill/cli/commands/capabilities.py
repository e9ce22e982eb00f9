"""`tokenmill capabilities`: the table that validates requests, as lines, as data, as a page.

docs/capabilities.md is what `--markdown` writes; a test compares. It loads no model: what an engine
adds (its backend, its context) is in `LLM.capabilities()`.
"""

import json
import sys
from collections.abc import Iterator, Sequence

from tokenmill import options
from tokenmill.api.records import OptionRow
from tokenmill.cli.parser import Arguments, Parser
from tokenmill.cli.terminal import table
from tokenmill.errors import refusal

_TITLES = {"sampling": "Options of a request", "engine": "Options of an engine"}
_EVERY_BACKEND = 3
_INTRODUCTION = """\
# What can be asked for

Every option there is, from the table that validates requests: `tokenmill capabilities --markdown`
writes this page (`make pages`), and a test compares. `tokenmill capabilities --json` and
`LLM.capabilities()` give the same as data.

- An option combines with every other one that its column **refused with** does not name; a request
  that says both is refused with a sentence that names both.
- An option is the Python keyword `name`, the flag `--name`, the variable `TOKENMILL_SAMPLING_NAME`
  (of an engine `TOKENMILL_NAME`) and the field or value of that name in Rust, unless **doors** says
  which of these it is.
- What acts on logits runs on every backend (cpu, reference, sim); **only on** names those on which
  another value than the default runs, where that is not all.
- **Pipelines** are the named orders that run the option's step; under another one it is refused.
"""


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("name", nargs="?", metavar="OPTION", help="one option, whole")
    parser.add("--json", action="store_true", help="JSON instead of lines")
    parser.add("--markdown", action="store_true", help="the page docs/capabilities.md")


def run(arguments: Arguments) -> int:
    """Print them."""
    groups = options.capabilities()
    named = arguments["name"]
    if named is not None:
        groups = _only(groups, named)
    if arguments["json"]:
        sys.stdout.write(json.dumps(groups, indent=2) + "\n")
    elif arguments["markdown"]:
        sys.stdout.write(page(groups))
    elif named is not None:
        sys.stdout.writelines(_whole(row) for rows in groups.values() for row in rows.values())
    else:
        rows = [row for rows in groups.values() for row in rows.values()]
        cells = [(r["name"], r["group"], r["default"], r["bound"] or r["reason"]) for r in rows]
        sys.stdout.write(table(cells, ("option", "of", "default", "bound, or why it is refused")))
    return 0


def page(groups: dict[str, dict[str, OptionRow]]) -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for group, rows in groups.items():
        taken = [row for row in rows.values() if row["status"] == "supported"]
        parts.append(f"## {_TITLES[group]}\n")
        parts.append(_grid(_HEADER, [_cells(row) for row in taken]))
        parts.append(f"## {_TITLES[group]} that are known and refused\n")
        refused = [row for row in rows.values() if row["status"] != "supported"]
        cells = [(f"`{row['name']}`", row["status"], _safe(row["reason"])) for row in refused]
        parts.append(_grid(("option", "status", "why, or the way round"), cells))
    return "\n".join(parts)


_HEADER = (
    "option",
    "default",
    "bound",
    "refused with",
    "pipelines",
    "only on, needs",
    "what it does",
)


def _cells(row: OptionRow) -> tuple[str, ...]:
    pipelines = row["pipelines"]
    conditions = [] if len(row["backends"]) == _EVERY_BACKEND else [", ".join(row["backends"])]
    if row["needs_text"]:
        conditions.append("a tokenizer")
    if "command" not in row["doors"]:
        conditions.append("doors: " + ", ".join(row["doors"]))
    return (
        f"`{row['name']}`",
        f"`{row['default']}`",
        _safe(row["bound"]),
        "; ".join(_refusals(row)),
        "" if pipelines is None else ", ".join(pipelines),
        "; ".join(conditions),
        _safe(row["doc"]),
    )


def _refusals(row: OptionRow) -> Iterator[str]:
    """Each option it may contradict, those of one sentence together."""
    by_sentence: dict[str, list[str]] = {}
    for other, when in row["meets"]:
        by_sentence.setdefault(when, []).append(f"`{other}`")
    for when, others in by_sentence.items():
        yield f"{', '.join(others)} ({_safe(when)})"


def _whole(row: OptionRow) -> str:
    lines = [f"{row['name']} ({row['group']} option, {row['status']})"]
    if row["reason"]:
        return f"{lines[0]}: {row['reason']}\n"
    lines += [
        f"  {row['doc']}",
        f"  {row['bound']}; default {row['default']}",
        f"  {row['flag']}, {row['env']}; doors: {', '.join(row['doors'])}",
        f"  backends: {', '.join(row['backends'])}",
    ]
    if row["pipelines"] is not None:
        lines.append(f"  pipelines: {', '.join(row['pipelines'])}")
    if row["needs_text"]:
        lines.append("  needs a tokenizer")
    lines += [f"  refused with {other} {when}" for other, when in row["meets"]]
    return "\n".join(lines) + "\n"


def _grid(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _safe(text: str) -> str:
    return text.replace("|", "\\|")


def _only(groups: dict[str, dict[str, OptionRow]], name: str) -> dict[str, dict[str, OptionRow]]:
    """The rows of one name; a request and an engine may have the same one."""
    name = name.removeprefix("--").replace("-", "_")
    found = {group: {name: rows[name]} for group, rows in groups.items() if name in rows}
    if not found:
        known = [known for rows in groups.values() for known in rows]
        close = options.nearest(name, known)
        hint = f"; did you mean {close}?" if close else ""
        raise refusal("name", f"unknown option {name[:64]}{hint}")
    return found
