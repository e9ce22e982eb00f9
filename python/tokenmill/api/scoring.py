"""Continuations that a caller supplies, and how probable a model finds them.

A pair of prompt and continuation becomes a span: the tokens of both, and where the continuation
begins. All of a span but its last token is submitted as a prompt whose log-probs are reported, and
the last token is reported where one would be sampled; so a span may fill the context. This file
knows how texts become spans and events become scores; it refuses to know what scores are for.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenmill import _tokenmill
from tokenmill.api.prompts import Prompt, is_integer, read_prompts
from tokenmill.api.records import Event
from tokenmill.api.tokenizer import Tokenizer
from tokenmill.errors import failure, refusal
from tokenmill.options import is_utf8

# As many as the engine takes of a prompt.
TEXT_BYTES_MAX = 4 << 20
# What the environment says of sampling must not reach a score.
_SAMPLING: Mapping[str, Any] = {
    "max_tokens": 1,
    "temperature": 0.0,
    "logprobs_mode": "raw_logprobs",
    "ignore_eos": True,
    "detokenize": False,
}

Group = tuple[Prompt, list[Any]]
# What an error calls a prompt and its continuation.
Names = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ContinuationScore:
    """One continuation: its tokens and their natural log-probabilities.

    `logprob` is their sum; `is_greedy` says that each token was the most probable one at its place,
    so that greedy decoding gives this continuation. `text` is the continuation as it was given,
    None where token ids were.
    """

    token_ids: list[int]
    token_logprobs: list[float]
    logprob: float
    is_greedy: bool
    text: str | None

    @property
    def text_bytes(self) -> int | None:
        """Bytes of `text` in UTF-8, which every tokenizer counts alike."""
        return None if self.text is None else len(self.text.encode())

    @property
    def logprob_per_byte(self) -> float | None:
        """`logprob` over `text_bytes`, to compare continuations of different lengths."""
        return self.logprob / self.text_bytes if self.text_bytes else None


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of which those from `start` on are scored; `start` is at least 1."""

    token_ids: list[int]
    start: int
    text: str | None
    cache_salt: str | None

    @property
    def is_one_token(self) -> bool:
        """Whether the last token alone is scored, which needs no log-probs of the prompt.

        The engine reports those whole or not at all; without them a prompt costs a fraction, and
        may come from the prefix cache.
        """
        return self.start == len(self.token_ids) - 1

    @property
    def first(self) -> int:
        """The first token whose log-prob is asked for."""
        return self.start if self.is_one_token else 1


def sampling_of(span: Span) -> dict[str, Any]:
    """The sampling parameters of the request for a span, as the engine reads them."""
    values = {**_SAMPLING, "logprob_token_ids": span.token_ids[-1:]}
    return values if span.is_one_token else {**values, "prompt_logprobs": 0}


class ScoreCollector:
    """Gathers the log-probs of one span, without texts and candidates that nobody asked for."""

    def __init__(self, handle: _tokenmill.Handle, span: Span) -> None:
        self.handle = handle
        self._span = span
        # Of every token from the span's `first` on: value and rank.
        self._found: list[tuple[float, int]] = []
        self._error: tuple[str, str | None, str] | None = None

    def add(self, event: Event) -> None:
        """Take one event."""
        ids = self._span.token_ids
        for entries in (*event["prompt_logprobs"], *event["logprobs"]):
            wanted = ids[self._span.first + len(self._found)]
            self._found.append(next((v, rank) for token, v, rank in entries if token == wanted))
        if event["finish"] is not None:
            self._error = event["finish"]["error"]

    def finish(self) -> None:
        """A request that ended without its log-probs has no score to give."""
        if self._error is not None:
            kind, _, message = self._error
            raise failure(kind, message)
        if len(self._found) != len(self._span.token_ids) - self._span.first:
            raise failure("Cancelled", "the request was cancelled before it was scored")

    def output(self) -> ContinuationScore:
        """The score."""
        scored = self._found[self._span.start - self._span.first :]
        values = [value for value, _ in scored]
        return ContinuationScore(
            token_ids=self._span.token_ids[self._span.start :],
            token_logprobs=values,
            logprob=sum(values),
            is_greedy=all(rank == 1 for _, rank in scored),
            text=self._span.text,
        )


def read_groups(prompts: Any, continuations: Any) -> list[Group]:
    """Every prompt with its continuations, one or more."""
    items, count = read_prompts(prompts)
    if _is_one_prompt(prompts, count):
        return [(prompt, _read_list(continuations, 0)) for prompt in items]
    if isinstance(continuations, (str, bytes, Mapping)) or not hasattr(continuations, "__iter__"):
        kind = type(continuations).__name__
        raise refusal(
            "continuations", f"continuations must be a list that pairs with the prompts, got {kind}"
        )
    paired, listed = list(items), list(continuations)
    if len(paired) != len(listed):
        raise refusal(
            "continuations",
            f"continuations must pair with the prompts: {len(listed)} for {len(paired)}",
        )
    return [
        (prompt, _read_list(entry, index))
        for index, (prompt, entry) in enumerate(zip(paired, listed, strict=True))
    ]


def _by_number(prompt: int, continuation: int) -> Names:
    return f"prompt {prompt}", f"continuation {continuation} of prompt {prompt}"


def spans_of(
    groups: Iterable[Group],
    tokenizer: Tokenizer,
    len_max: int,
    called: Callable[[int, int], Names] = _by_number,
) -> Iterator[Span]:
    """The span of every pair, within the bound of the context; `called` names a pair in errors."""
    for number, (prompt, continuations) in enumerate(groups):
        for index, continuation in enumerate(continuations):
            names = called(number, index)
            span = _span(prompt, continuation, tokenizer, names)
            if len(span.token_ids) > len_max:
                raise refusal(
                    "continuations",
                    f"{names[1]} has {len(span.token_ids)} tokens with its prompt; together they "
                    f"must have at most max_model_len ({len_max})",
                )
            yield span


def _is_one_prompt(prompts: Any, count: int | None) -> bool:
    """Whether `prompts` is one prompt itself, and not a list that holds one."""
    if count != 1 or isinstance(prompts, (str, Mapping)):
        return count == 1
    # A list of token ids is one prompt. An iterator of ids was read to its end, and has no length.
    return not hasattr(prompts, "__len__") or all(is_integer(item) for item in prompts)


def _read_list(entry: Any, number: int) -> list[Any]:
    """The continuations of one prompt; one alone is a list of one."""
    if isinstance(entry, str):
        return [entry]
    if isinstance(entry, (bytes, bytearray, Mapping)) or not hasattr(entry, "__iter__"):
        kind = type(entry).__name__
        raise refusal(
            "continuations",
            f"continuations of prompt {number} must be text, token ids or a list of those, "
            f"got {kind}",
        )
    items = list(entry)
    if not items:
        raise refusal("continuations", f"continuations of prompt {number} must not be empty")
    return [items] if all(is_integer(item) for item in items) else items


def _span(prompt: Prompt, continuation: Any, tokenizer: Tokenizer, names: Names) -> Span:
    text, (before, where) = prompt.content, names
    if isinstance(text, str) != isinstance(continuation, str):
        raise refusal(
            "continuations", f"{where} must be text if its prompt is, and token ids if that is"
        )
    if isinstance(text, str):
        start, ids = _encoded(text, continuation, tokenizer, names)
        return Span(ids, start, continuation, prompt.cache_salt)
    known = _checked_ids(text, "prompt", before, tokenizer.vocab_size)
    scored = _checked_ids(continuation, "continuations", where, tokenizer.vocab_size)
    if not known:
        raise refusal("prompt", f"{before} must not be empty: a first token follows nothing")
    if not scored:
        raise refusal("continuations", f"{where} must not be empty")
    return Span(known + scored, len(known), None, prompt.cache_salt)


def _encoded(
    prompt: str, continuation: str, tokenizer: Tokenizer, names: Names
) -> tuple[int, list[int]]:
    """The tokens of both as one text, and how many of them are the prompt's."""
    before, where = names
    for param, name, text in (("prompt", before, prompt), ("continuations", where, continuation)):
        if not is_utf8(text):
            raise refusal(param, f"{name} must be text that UTF-8 can hold")
        if len(text.encode()) > TEXT_BYTES_MAX:
            raise refusal(param, f"{name} must have at most {TEXT_BYTES_MAX} bytes")
    if not continuation:
        raise refusal("continuations", f"{where} must not be empty")
    # "is " and "blue" are "is" and " blue": a word's token begins with the blank before it.
    context = prompt.rstrip()
    start = len(tokenizer.encode(context))
    if start == 0:
        raise refusal(
            "prompt",
            f"{before} must not be empty or blank: the model's tokenizer puts no token before a "
            "text",
        )
    ids = tokenizer.encode(prompt + continuation)
    if len(ids) <= start:
        raise refusal(
            "continuations",
            f"{where} becomes one token with the end of its prompt, so none is its own; "
            "give token ids",
        )
    return start, ids


def _checked_ids(items: Any, param: str, name: str, vocab_len: int) -> list[int]:
    if not isinstance(items, Sequence) and not hasattr(items, "__iter__"):
        raise refusal(param, f"{name} must be token ids, got {type(items).__name__}")
    ids = []
    for index, item in enumerate(items):
        token = operator.index(item) if is_integer(item) else -1
        if not 0 <= token < vocab_len:
            raise refusal(param, f"{name} must hold ids from 0 to {vocab_len - 1}, not at {index}")
        ids.append(token)
    return ids
