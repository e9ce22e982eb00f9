"""Tokenizer and chat template of a stranger, first read by a process of their own under limits.

A template is a program and a tokenizer file may grow what it is given; their engines bound time or
memory, not always both. What does not fit the limits is refused before this process touches it.
Models that are known by their hash are not probed, nor the same files twice.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenmill import _tokenmill
from tokenmill.errors import CorruptModelError, TokenmillError
from tokenmill.progress import say

_MEMORY_BYTES_MAX = 4 << 30
_CPU_S_MAX = 20
# Longer than the processor time, for a machine that has other work.
_WALL_S_MAX = 120
_STARTED, _DONE = "started", "done"
_OPTIONS = ("tokenizer", "chat_template")
# What a folder's words are made of; weights are not looked at.
_SIDE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
_CHILD = (
    "import sys; sys.path.insert(0, sys.argv[1]); from tokenmill.models import probe; probe.child()"
)

_passed: set[tuple[Any, ...]] = set()


def probe(path: Path, engine_options: Mapping[str, Any]) -> None:
    """Read them in a child; `CorruptModelError` if it dies or runs past its limits.

    An error that the child can tell is left to the load that follows, which meets it again.
    """
    asked = {
        name: value
        for name in _OPTIONS
        if isinstance(value := engine_options.get(name), str) and value
    }
    key = _fingerprint(path, asked)
    if key in _passed:
        return
    said = _run_child(path, asked)
    if _STARTED not in said:
        say("tokenizer and chat template could not be tried in a process of their own")
    elif _DONE not in said:
        raise CorruptModelError(
            f"{path}: reading its tokenizer and chat template takes more than "
            f"{_MEMORY_BYTES_MAX >> 30} GiB or {_CPU_S_MAX} s; the model is refused"
        )
    _passed.add(key)


def child() -> None:
    """The child's side: `ROOT PATH OPTIONS MEMORY_BYTES CPU_S` in, two words out."""
    path, asked, memory_bytes, cpu_s = sys.argv[2:]
    _limit(int(memory_bytes), int(cpu_s))
    _tell(_STARTED)
    with contextlib.suppress(TokenmillError):
        _tokenmill.check_text(path, json.loads(asked))
    _tell(_DONE)


def _tell(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def _run_child(path: Path, asked: Mapping[str, str]) -> list[str]:
    """The words that the child said. A module in a virtual environment needs none of its site."""
    if not sys.executable:
        return []
    root = Path(__file__).resolve().parents[2]
    absolute = {name: os.path.abspath(value) for name, value in asked.items()}
    limits = str(_MEMORY_BYTES_MAX), str(_CPU_S_MAX)
    command = [sys.executable, "-I", "-S", "-c", _CHILD, str(root)]
    try:
        done = subprocess.run(
            [*command, os.path.abspath(path), json.dumps(absolute), *limits],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_WALL_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [_STARTED]
    except OSError:
        return []
    return done.stdout.decode("ascii", "replace").split()


def _limit(memory_bytes: int, cpu_s: int) -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CPU, cpu_s)):
        hard = resource.getrlimit(kind)[1]
        own = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (own, hard))


def _fingerprint(path: Path, asked: Mapping[str, str]) -> tuple[Any, ...]:
    files = [path, *(path / name for name in _SIDE_FILES), *map(Path, asked.values())]
    if "tokenizer" in asked:
        files += [Path(asked["tokenizer"]) / name for name in _SIDE_FILES]
    return tuple((str(file), *_state(file)) for file in files)


def _state(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
