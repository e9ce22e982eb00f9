"""Whole rows of logits out of the engine: one request for one token at every cut of a prompt.

It speaks to the compiled engine, because `LLM` gives every candidate its text, which is wasted on
49,152 of them. The prefix cache makes a cut cheap when the one before it was asked in order.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from tokenmill import LLM

# In flight at once; each row is a few megabytes of Python objects until it is an array.
_WINDOW = 8


def logits(llm: LLM, prompts: Iterable[Sequence[int]], *, is_cached: bool = False) -> np.ndarray:
    """The engine's row of logits after each prompt; `llm` was made with `max_logprobs=-1`."""
    rows, handles = [], []
    for prompt in prompts:
        handles.append(_submit(llm, prompt, 1, is_cached))
        if len(handles) == _WINDOW:
            rows += [_rows(handle, llm)[0] for handle in handles]
            handles.clear()
    rows += [_rows(handle, llm)[0] for handle in handles]
    return np.stack(rows)


def greedy(llm: LLM, prompt: Sequence[int], count: int) -> tuple[list[int], np.ndarray]:
    """`count` greedy tokens, and the row that each was chosen from."""
    tokens: list[int] = []
    rows = _rows(_submit(llm, prompt, count, False), llm, tokens)
    return tokens, np.stack(rows)


def _submit(llm: LLM, prompt: Sequence[int], count: int, is_cached: bool):
    sampling = {
        "temperature": 0.0,
        "max_tokens": count,
        "ignore_eos": True,
        "logprobs": -1,
        "logprobs_mode": "raw_logits",
        "skip_reading_prefix_cache": not is_cached,
        "detokenize": False,
    }
    return llm._engine.submit(list(prompt), sampling)


def _rows(handle, llm: LLM, tokens: list[int] | None = None) -> list[np.ndarray]:
    rows = []
    while (event := handle.next(120)) is not None:
        if tokens is not None:
            tokens.extend(event["tokens"])
        for entries in event["logprobs"]:
            ids, values, _ = zip(*entries, strict=True)
            row = np.full(llm.get_tokenizer().vocab_size, np.nan, dtype=np.float64)
            row[np.array(ids)] = values
            rows.append(row)
        if event["finish"] and event["finish"]["error"]:
            raise AssertionError(event["finish"]["error"])
    return rows
