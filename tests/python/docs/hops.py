"""The stops of docs/what-happens-to-a-request.md, from markers in the sources.

A marker is a comment above a function, `hop 4.2: why one would stop here`; hop and place in it give
the order. `make pages` writes the page's generated parts anew; a test compares. gdb gets its break
points from here too (`hops_gdb.py`), so no line number is written down.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tidy.tree import Tree

PAGE = PurePosixPath("docs/what-happens-to-a-request.md")
HOPS = {1: "door", 2: "submit", 3: "plan", 4: "run", 5: "sample", 6: "publish"}
_MARKER = re.compile(r"^\s*(?://|#) hop (\d)\.(\d): (.+)$")
_FUNCTION = re.compile(r"^\s*(?:pub(?:\([a-z]+\))? )?(?:const )?(?:async )?(?:fn|def) (\w+)")
_OWNER = re.compile(r"^(?:class|impl(?:<[^>]*>)?(?: [\w:]+(?:<[^>]*>)? for)?) (\w+)")
_GENERATED = re.compile(r"(<!-- (\w+): made by `make pages` -->\n).*?(<!-- end -->)", re.S)
# A marker and its function may have attributes and the rest of a comment between them.
_REACH = 6


@dataclass(frozen=True, order=True)
class Stop:
    """One place where a request can be watched."""

    hop: int
    place: int
    path: PurePosixPath
    name: str
    owner: str
    why: str
    line: int

    @property
    def label(self) -> str:
        """As a debugger tells it."""
        return f"hop {self.hop}.{self.place} {HOPS[self.hop]}: {self.why}"

    @property
    def in_python(self) -> str:
        """What `pdb` knows the function by."""
        module = ".".join(self.path.relative_to("python").with_suffix("").parts)
        return f"{module}.{self.owner}.{self.name}"


def stops(tree: Tree) -> list[Stop]:
    """Every marked function, in the order of a request."""
    found = []
    for path in tree.sources(".rs", ".py"):
        if path.parts[0] not in ("rust", "python"):
            continue
        lines = tree.read(path).splitlines()
        for at, line in enumerate(lines):
            if match := _MARKER.match(line):
                name, line_of = _function(path, lines, at)
                hop, place, owner = int(match[1]), int(match[2]), _owner(lines, at)
                found.append(Stop(hop, place, path, name, owner, match[3], line_of))
    return sorted(found)


def _function(path: PurePosixPath, lines: list[str], at: int) -> tuple[str, int]:
    for below in range(at + 1, min(at + 1 + _REACH, len(lines))):
        if match := _FUNCTION.match(lines[below]):
            return match[1], below + 1
    raise ValueError(f"{path}:{at + 1}: no function below the marker")


def _owner(lines: list[str], at: int) -> str:
    for line in reversed(lines[:at]):
        if match := _OWNER.match(line):
            return match[1]
    return ""


def page(text: str, found: list[Stop]) -> str:
    """The page with its generated parts made anew."""
    parts = {"stops": _table(found), "breaks": _breaks(found)}
    return _GENERATED.sub(lambda match: match[1] + parts[match[2]] + match[3], text)


def _table(found: list[Stop]) -> str:
    rows = ["| hop | where | what happens |", "|---|---|---|"]
    for stop in found:
        hop = f"{stop.hop}.{stop.place} {HOPS[stop.hop]}"
        where = f"`{stop.owner}::{stop.name}`" if stop.path.suffix == ".rs" else ""
        where = where or f"`{stop.owner}.{stop.name}`"
        rows.append(f"| {hop} | {where} in [{stop.path}](../{stop.path}) | {stop.why} |")
    return "".join(f"{row}\n" for row in rows)


def _breaks(found: list[Stop]) -> str:
    names = [f"break {stop.in_python}" for stop in found if stop.path.suffix == ".py"]
    return "```text\n" + "\n".join(names) + "\n```\n"


if __name__ == "__main__":
    repository = Path(__file__).resolve().parents[3]
    old = (repository / PAGE).read_text("utf-8")
    new = page(old, stops(Tree(repository)))
    (repository / PAGE).write_text(new, "utf-8")
    sys.stdout.write(f"{PAGE} {'is as it was' if new == old else 'was renewed'}\n")
