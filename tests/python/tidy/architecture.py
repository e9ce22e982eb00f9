"""ARCHITECTURE.md's tree against the real one: what it names exists, and what exists is named.

The tree is the first block of code; a line is a path, two spaces or more, and what it owns; depth
is two spaces. Named must be: everything at the root but dot files, every crate, every part of the
package.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tidy.tree import Tree, Violation

GUIDE = PurePosixPath("ARCHITECTURE.md")
_BLOCK = re.compile(r"```text\n(.*?)```", re.S)
_LINE = re.compile(r"( *)(\S+)(?:\s{2,}\S.*)?")
_UNNAMED = ("Cargo.lock", "py.typed")
_NAMED_FOLDERS = (".", "rust", "python/tokenmill", "tests", "docs")


def violations(tree: Tree) -> Iterator[Violation]:
    """Differences between the page and the tree."""
    if GUIDE not in tree.files:
        yield Violation("architecture", str(GUIDE), "ARCHITECTURE.md is missing")
        return
    block = _BLOCK.search(tree.read(GUIDE))
    named = set(_paths(block[1])) if block else set()
    for path in sorted(named):
        if not (tree.root / path).exists():
            message = f"ARCHITECTURE.md names {path}, which does not exist"
            yield Violation("architecture", path, message)
    for path in sorted(_expected(tree) - named):
        yield Violation("architecture", path, f"ARCHITECTURE.md does not name {path}")


def _paths(block: str) -> Iterator[str]:
    parents: list[str] = []
    for line in block.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        depth = len(match[1]) // 2
        name = match[2].rstrip("/")
        # A deeper line that starts no entry is the rest of a description.
        if depth > len(parents):
            continue
        parents[depth:] = [name]
        yield "/".join(parents)


def _expected(tree: Tree) -> set[str]:
    found = set()
    for path in tree.files:
        for folder in _NAMED_FOLDERS:
            base = PurePosixPath(folder)
            if folder == "." or path.is_relative_to(base):
                child = path.relative_to(base).parts[0]
                if not child.startswith((".", "_")) and child not in _UNNAMED:
                    found.add(str(base / child))
    return found
