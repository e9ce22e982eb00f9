"""Commands run in this process, against an engine without a model."""

import io
import os
from collections.abc import Callable

import pytest

from fakes.engine import FakeEngine
from tokenmill import _tokenmill
from tokenmill.cli import main


class Ran:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


class Input(io.TextIOWrapper):
    """Standard input that is no terminal."""


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """No settings of the caller, an empty cache, a model that is a file, no network."""
    for name in list(os.environ):
        if name.startswith("TOKENMILL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TOKENMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TOKENMILL_OFFLINE", "1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(_tokenmill, "Engine", FakeEngine)
    for name, value in (("pause", staticmethod(lambda index: None)), ("error", None), ("room", 8)):
        monkeypatch.setattr(FakeEngine, name, value)
    FakeEngine.instances.clear()


@pytest.fixture
def model(tmp_path) -> str:
    """A path that exists."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    return str(path)


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., Ran]:
    """Run `tokenmill ARGUMENTS` with `stdin`."""

    def run(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr("sys.stdin", Input(io.BytesIO(stdin)))
        code = main(list(arguments))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
