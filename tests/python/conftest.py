"""What every Python test shares: no hub, no settings of the caller, the default model.

Tests that need the real model ask for `default_model`; it is fetched once into the user's own
cache.
"""

import os
import signal
from pathlib import Path

import pytest

# A shell that starts us in the background lets its children ignore Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for name in ("TOKENMILL_OFFLINE", "TOKENMILL_CONFIG"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def default_model() -> Path:
    """The default model's file."""
    from tokenmill.models import resolve

    return resolve().path
