"""Programs of their own that use the tiny model, with temporary files where they can be counted."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.checkpoints import Gguf, gguf_file

PREAMBLE = """
import os, sys
from tokenmill import LLM, SamplingParams
model = os.environ["MODEL"]
greedy = SamplingParams(temperature=0.0, max_tokens=24, ignore_eos=True)
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The tiny model as a GGUF file."""
    folder = tmp_path / "model"
    folder.mkdir()
    return gguf_file(folder, Gguf())


@pytest.fixture
def temporaries(tmp_path: Path) -> Path:
    """Where the programs put temporary files."""
    folder = tmp_path / "temporaries"
    folder.mkdir()
    return folder


@pytest.fixture
def program(
    repository: Path, tiny: Path, temporaries: Path, tmp_path: Path
) -> Callable[..., "subprocess.Popen[str]"]:
    """Start Python with the package, `LLM`, `model` and `greedy` at hand."""

    def start(code: str, **environment: str) -> "subprocess.Popen[str]":
        settings = {k: v for k, v in os.environ.items() if not k.startswith("TOKENMILL_")}
        settings |= {
            "PYTHONPATH": str(repository / "python"),
            "MODEL": str(tiny),
            "TMPDIR": str(temporaries),
            "XDG_CACHE_HOME": str(tmp_path / "cache-home"),
            "TOKENMILL_OFFLINE": "1",
            # Rust's report of a failed allocation waits for ever for a lock that it holds itself
            # while it writes a backtrace.
            "RUST_BACKTRACE": "0",
            **environment,
        }
        return subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=settings,
        )

    return start


@pytest.fixture
def answer(program: Callable[..., "subprocess.Popen[str]"]) -> str:
    """What the tiny model says, undisturbed."""
    child = program("print(LLM(model).generate('hello', greedy)[0].outputs[0].token_ids)")
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    return out.strip()
