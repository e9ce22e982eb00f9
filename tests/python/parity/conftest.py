"""What the parity tests share: the default model in exact mode, and the switch for the full runs.

`PARITY_FULL=1` (`make parity`) adds the runs that ask transformers anew, compare whole rows and
read more text. `TOKENMILL_TEST_GGUF` names the default model's file where it is already at hand.
"""

import os
from pathlib import Path

import pytest

from tokenmill import LLM

IS_FULL = os.environ.get("PARITY_FULL") == "1"
# Taken out of the environment, where the engine would refuse a name that it does not know.
_GGUF = os.environ.pop("TOKENMILL_TEST_GGUF", None)
_TINY = os.environ.pop("TOKENMILL_TINY_DIR", None)
EXACT = {"dtype": "float32", "activations": "exact", "kv_cache_dtype": "float32"}

full = pytest.mark.skipif(not IS_FULL, reason="full parity only (PARITY_FULL=1)")


@pytest.fixture(scope="session")
def gguf(request) -> Path:
    """The default model's file."""
    return Path(_GGUF) if _GGUF else request.getfixturevalue("default_model")


@pytest.fixture(scope="session")
def exact(gguf):
    """The default model, computed in float32 throughout; whole rows may be asked for."""
    with LLM(gguf, **EXACT, max_logprobs=-1) as llm:
        yield llm
