"""Random models of three architectures, in transformers and in our engine."""

import contextlib

from parity.conftest import EXACT
from tokenmill import LLM

VOCAB, EOS = 97, 2
# Random heads say almost the same of every token; wider logits have fewer near-ties.
HEAD_GAIN = 40
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": EOS,
    "pad_token_id": EOS,
    "tie_word_embeddings": False,
}
NAMES = ("Llama", "Qwen2", "Mistral")


def made(name):
    """A random model of transformers."""
    import torch
    import transformers

    config = getattr(transformers, f"{name}Config")(**SHAPE)
    torch.manual_seed(5)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(HEAD_GAIN)
    return model


@contextlib.contextmanager
def both(name, folder):
    """The model, and an engine over the file that it is saved to."""
    model = made(name)
    model.save_pretrained(folder)
    with LLM(folder, **EXACT, threads=1, kv_cache_memory_bytes=8 << 20) as llm:
        yield model, llm


def prompt(index, least=2):
    """Prompt `index`, without an end in it."""
    ids = [1, *((7 * index + 11 * k) % VOCAB for k in range(least + index % 5))]
    return [1 if token == EOS else token for token in ids]
