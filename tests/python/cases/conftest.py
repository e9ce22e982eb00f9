"""The doors with no settings of the caller and no network."""

import os

import pytest


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    """An empty cache, no network, nothing set."""
    for name in list(os.environ):
        if name.startswith("TOKENMILL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TOKENMILL_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("TOKENMILL_OFFLINE", "1")
