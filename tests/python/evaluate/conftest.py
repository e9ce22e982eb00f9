"""Two tiny models over bytes, one whose tokenizer begins a text with BOS, and what transformers
computes with them in float64."""

import os

import numpy as np
import pytest

from fakes.checkpoints import Folder
from tokenmill import LLM

EXACT = {"dtype": "float32", "activations": "exact", "kv_cache_dtype": "float32", "threads": 1}
BOS = 256


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """No settings of the caller."""
    for name in list(os.environ):
        if name.startswith("TOKENMILL_") and name != "TOKENMILL_CACHE":
            monkeypatch.delenv(name)


def checkpoint(folder, **config):
    """A folder that both we and transformers can load."""
    return Folder(tokenizer_config={**config, "eos_token": "<|end|>"}).write(folder)


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    """The model whose tokenizer adds nothing."""
    return checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny(tiny_path):
    """It, loaded; a context of 128 tokens, a token a byte."""
    with LLM(tiny_path, **EXACT) as llm:
        yield llm


@pytest.fixture(scope="session")
def marked(tmp_path_factory):
    """The same weights; the tokenizer puts BOS before a text."""
    folder = tmp_path_factory.mktemp("marked")
    checkpoint(folder, bos_token="<|end|>", add_bos_token=True)
    with LLM(folder, **EXACT) as llm:
        assert llm.get_tokenizer().encode("a") == [BOS, ord("a")]
        yield llm


@pytest.fixture(scope="session")
def logprobs(tiny_path):
    """transformers' float64 log-probs: of each token but the first, given those before it."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_path).double().eval()

    def compute(ids) -> np.ndarray:
        with torch.no_grad():
            rows = model(torch.tensor([list(ids)]), use_cache=False).logits[0].log_softmax(-1)
        return rows[range(len(ids) - 1), list(ids[1:])].numpy()

    return compute
