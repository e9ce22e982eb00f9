"""The files that the rules look at: what git tracks or would track, or all files of a fixture."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

SOURCE_SUFFIXES = (".rs", ".py", ".pyi", ".cu", ".cuh")


@dataclass(frozen=True)
class Violation:
    """One broken rule: `key` names the place for the ratchet, `amount` is what was measured."""

    rule: str
    key: str
    message: str
    amount: int = 0


@dataclass(frozen=True)
class Tree:
    """A repository or a fixture that looks like one."""

    root: Path

    @cached_property
    def files(self) -> list[PurePosixPath]:
        """Every file, relative to the root, in order; files that git ignores are not there."""
        if not (self.root / ".git").exists():
            found = (
                PurePosixPath(os.path.relpath(os.path.join(parent, name), self.root))
                for parent, _, names in os.walk(self.root)
                for name in names
            )
            return sorted(found)
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=self.root, capture_output=True, check=True).stdout
        names = filter(None, listed.decode("utf-8").split("\0"))
        return sorted({PurePosixPath(n) for n in names if (self.root / n).is_file()})

    def sources(self, *suffixes: str) -> Iterator[PurePosixPath]:
        """The source files with one of these suffixes, or all of them."""
        for path in self.files:
            if path.suffix in (suffixes or SOURCE_SUFFIXES):
                yield path

    def read(self, path: PurePosixPath) -> str:
        """A file's text."""
        return (self.root / path).read_text("utf-8")


def is_test(path: PurePosixPath) -> bool:
    """Whether this is test code."""
    parts = path.parts
    return "tests" in parts or "benches" in parts or path.stem in ("tests", "conftest")
