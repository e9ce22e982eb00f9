"""Python's own part of the API, on an engine that echoes; `real` loads the default model once."""

import os
import time

import pytest

from fakes.engine import FakeEngine
from tokenmill import LLM, _tokenmill


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """No settings of the caller."""
    for name in list(os.environ):
        if name.startswith("TOKENMILL_") and name != "TOKENMILL_CACHE":
            monkeypatch.delenv(name)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """An LLM on an engine that echoes; gives both."""
    monkeypatch.setattr(_tokenmill, "Engine", FakeEngine)
    for name, value in (("pause", staticmethod(lambda index: None)), ("error", None), ("room", 8)):
        monkeypatch.setattr(FakeEngine, name, value)
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    llm = LLM(path)
    return llm, FakeEngine.instances[-1]


@pytest.fixture(scope="session")
def real(default_model):
    """The default model on the real engine, exact so that results can be compared."""
    with LLM(default_model, activations="exact", kv_cache_dtype="float32") as llm:
        yield llm


@pytest.fixture(scope="session")
def wait_until():
    """Wait for what the engine does at its next plan."""

    def wait(condition, seconds=10.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.01)

    return wait
