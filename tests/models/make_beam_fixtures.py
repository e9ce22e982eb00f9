"""Makes rust/decode/tests/beams/transformers.tsv: beam searches as transformers runs them.

Run with `torch` and `transformers` installed; the output is committed, so that the Rust test needs
no Python. The model is a hash of the whole prefix, the same as in rust/decode/tests/beams/model.rs:
logits are multiples of 2^-17 in -4..4, so they are exact in float32, and no two prefixes share a
row. One line a search: seed, vocabulary, end tokens, prompt, longest output, beams, outputs wanted,
length penalty, early_stopping, processors as name=value, then the outputs, each its tokens and its
`sequences_scores`. Blanks part the items of a list, tabs the fields.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

MASK = (1 << 64) - 1
OUT = Path(__file__).parents[2] / "rust/decode/tests/beams/transformers.tsv"
# What transformers gives a place that no output fills, whatever it was divided by.
PHANTOM = -1e6


def mixed(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def hashed(prefix: list[int], vocab: int, seed: int) -> list[float]:
    state = mixed(seed ^ 0x9E3779B97F4A7C15)
    for token in prefix:
        state = mixed(state ^ (token + 1))
    return [(mixed(state ^ ((token + 1) << 32)) >> 44) / 131072 - 4 for token in range(vocab)]


class HashConfig(PretrainedConfig):
    model_type = "hashed"

    def __init__(self, vocab_size: int = 6, seed: int = 0, **rest: Any) -> None:
        self.vocab_size = vocab_size
        self.seed = seed
        self.num_hidden_layers = 0
        super().__init__(**rest)


class HashModel(PreTrainedModel, GenerationMixin):
    config_class = HashConfig

    def __init__(self, config: HashConfig) -> None:
        super().__init__(config)
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids: torch.Tensor, **_: Any) -> CausalLMOutput:
        config = self.config
        rows = [hashed(row, config.vocab_size, config.seed) for row in input_ids.tolist()]
        return CausalLMOutput(logits=torch.tensor(rows, dtype=torch.float32)[:, None])


def processors(which: int, vocab: int) -> dict[str, Any]:
    """Of every kind that commutes with nothing, one or two at a time."""
    return [
        {},
        {"repetition_penalty": 1.3},
        {"no_repeat_ngram_size": 2},
        {"min_length": 5},
        {"min_new_tokens": 3, "repetition_penalty": 0.8},
        {"bad_words_ids": [[1, 2], [3]], "no_repeat_ngram_size": 3},
        {"sequence_bias": [[[2, 1], 1.5], [[0], -0.5]]},
        {"renormalize_logits": True, "repetition_penalty": 1.5},
        {"forced_eos_token_id": [vocab - 1]},
        {"suppress_tokens": [1], "begin_suppress_tokens": [2]},
        {"exponential_decay_length_penalty": [2, 1.25]},
        {"encoder_repetition_penalty": 1.4},
    ][which]


def search(row: dict[str, Any], asked: dict[str, Any]) -> list[tuple[list[int], float]]:
    torch.manual_seed(0)
    model = HashModel(HashConfig(vocab_size=row["vocab"], seed=row["seed"])).eval()
    named = {**asked}
    if "sequence_bias" in named:
        named["sequence_bias"] = {tuple(ids): bias for ids, bias in named["sequence_bias"]}
    if "exponential_decay_length_penalty" in named:
        named["exponential_decay_length_penalty"] = tuple(named["exponential_decay_length_penalty"])
    config = GenerationConfig(
        max_new_tokens=row["longest"],
        num_beams=row["beams"],
        num_return_sequences=row["wanted"],
        length_penalty=row["penalty"],
        early_stopping=row["stopping"],
        eos_token_id=row["ends"],
        # No token of the vocabulary, so that what follows an end is known from it.
        pad_token_id=row["vocab"],
        do_sample=False,
        use_cache=False,
        output_scores=True,
        return_dict_in_generate=True,
        **named,
    )
    found = model.generate(torch.tensor([row["prompt"]]), generation_config=config)
    outputs = []
    for tokens, score in zip(
        found.sequences.tolist(), found.sequences_scores.tolist(), strict=True
    ):
        output = [t for t in tokens[len(row["prompt"]) :] if t != row["vocab"]]
        if score > PHANTOM:
            outputs.append((output, score))
    return outputs


def shown(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(",".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return str(value)


def line(row: dict[str, Any], asked: dict[str, Any]) -> str:
    outputs = search(row, asked)
    lists = [" ".join(map(str, row[name])) for name in ("ends", "prompt")]
    named = []
    for name, value in asked.items():
        if name == "sequence_bias":
            value = [[*ids, bias] for ids, bias in value]
        named.append(f"{name}={shown(value)}")
    fields = [
        *(row["seed"], row["vocab"], *lists, row["longest"], row["beams"], row["wanted"]),
        *(row["penalty"], row["stopping"], " ".join(named)),
        *(" ".join([*map(str, tokens), repr(score)]) for tokens, score in outputs),
    ]
    return "\t".join(map(str, fields))


def main() -> None:
    transformers.logging.set_verbosity_error()
    chosen = random.Random(7)  # noqa: S311 (fixtures, not secrets)
    grid = itertools.product(range(2, 7), (-1.0, 0.0, 0.65, 1.0), (False, True, "never"), (1, 2))
    lines = []
    for repeat, (beams, penalty, stopping, ends) in itertools.product(range(6), list(grid)):
        vocab = chosen.randint(5, 12)
        row = {
            "seed": len(lines),
            "vocab": vocab,
            "ends": [vocab - 1, 2][:ends],
            "prompt": [chosen.randrange(vocab) for _ in range(chosen.randint(1, 4))],
            "longest": chosen.randint(3, 9),
            "beams": beams,
            "wanted": chosen.choice([1, beams, beams]),
            "penalty": penalty,
            "stopping": stopping,
        }
        which = chosen.randrange(1, 12) if repeat % 2 else 0
        lines.append(line(row, processors(which, vocab)))
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
