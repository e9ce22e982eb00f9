"""The oracle: transformers in float32 on the weights that it dequantises from the same GGUF file.

It knows torch, transformers and the default model's file, and nothing of our engine. The tokenizer
that transformers makes from this file is mended first: it loses the splitter named `smollm`, which
takes every digit alone. Answers are kept on disk under what they depend on, because a run over all
prompts takes minutes.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import pre_tokenizers

from parity.texts import prompts

GREEDY_LEN = 64


@dataclass(frozen=True)
class Answer:
    """One prompt: its ids, the greedy continuation, and how far the best stood above the next."""

    name: str
    prompt: list[int]
    tokens: list[int]
    margins: list[float]


@dataclass(frozen=True)
class Answers:
    """Every prompt's answer, and the whole rows of logits at `rows`: (prompt name, tokens read)."""

    answers: list[Answer]
    rows: list[tuple[str, int]]
    logits: np.ndarray

    def save(self, folder: Path) -> None:
        """Write both files, the one that marks the folder as whole last."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "logits.npy", self.logits)
        content = {"answers": [vars(answer) for answer in self.answers], "rows": self.rows}
        part = folder / "answers.json.part"
        part.write_text(json.dumps(content))
        part.rename(folder / "answers.json")

    @classmethod
    def load(cls, folder: Path) -> "Answers":
        """What `save` wrote."""
        content = json.loads((folder / "answers.json").read_text())
        answers = [Answer(**answer) for answer in content["answers"]]
        rows = [(name, cut) for name, cut in content["rows"]]
        return cls(answers, rows, np.load(folder / "logits.npy"))


def load_tokenizer(gguf: Path) -> Any:
    """The file's tokenizer as llama.cpp reads it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    return tokenizer


def load_model(gguf: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The file's weights, dequantised."""
    transformers.logging.disable_progress_bar()
    return transformers.AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=dtype
    ).eval()


class Oracle:
    """The model and its tokenizer."""

    def __init__(self, gguf: Path) -> None:
        self._tokenizer = load_tokenizer(gguf)
        self._model = load_model(gguf)
        # What a request leaves open is taken from here, the end token included.
        self._model.generation_config.eos_token_id = None

    def encode(self, prompt: prompts.Prompt) -> list[int]:
        """Ids of a text, or of what the chat template makes of a conversation."""
        text = prompt.content
        if not isinstance(text, str):
            text = self._tokenizer.apply_chat_template(
                text, tokenize=False, add_generation_prompt=True
            )
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def greedy(self, name: str, ids: list[int]) -> Answer:
        """Generate past any end token, so that every prompt gives the same number of tokens."""
        config = transformers.GenerationConfig(
            do_sample=False,
            max_new_tokens=GREEDY_LEN,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
        with torch.no_grad():
            made = self._model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                generation_config=config,
            )
        best = [torch.topk(step[0], 2).values for step in made.logits]
        margins = [float(values[0] - values[1]) for values in best]
        return Answer(name, ids, made.sequences[0, len(ids) :].tolist(), margins)

    def logits(self, ids: list[int], cuts: list[int]) -> np.ndarray:
        """The rows after `cuts` tokens, from one pass without a cache."""
        with torch.no_grad():
            rows = self._model(torch.tensor([ids]), use_cache=False).logits[0]
        return rows[[cut - 1 for cut in cuts]].numpy()


def compute(gguf: Path) -> Answers:
    """Ask everything."""
    oracle = Oracle(gguf)
    answers, rows, logits = [], [], []
    for prompt in prompts.PROMPTS:
        ids = oracle.encode(prompt)
        answers.append(oracle.greedy(prompt.name, ids))
        if prompt.name in prompts.CUTS:
            cuts = [*prompts.CUTS[prompt.name], len(ids)]
            rows += [(prompt.name, cut) for cut in cuts]
            logits.append(oracle.logits(ids, cuts))
    return Answers(answers, rows, np.concatenate(logits))


def ask(gguf: Path) -> Answers:
    """The answers from the disk if the same question was asked before, else from the model."""
    folder = cache_folder() / key(gguf)
    if (folder / "answers.json").exists():
        return Answers.load(folder)
    answers = compute(gguf)
    answers.save(folder)
    return answers


def cache_folder() -> Path:
    """Outside the repository, and no part of the engine's own cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "tokenmill-oracle"


def key(gguf: Path) -> str:
    """All that an answer depends on but the processor."""
    with gguf.open("rb") as file:
        model = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    versions = f"transformers-{transformers.__version__}-torch-{torch.__version__}"
    return f"{model}-{versions}-{prompts.digest()}-{GREEDY_LEN}"
