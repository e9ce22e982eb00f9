"""Perplexity of texts by strided windows.

    tokens    0 . . . . . . . . . . . n     window 8, stride 4
    window 0  s s s s s s s s
    window 1          c c c c s s s s       c: context alone, s: scored
    window 2                  c c c c s

Each window scores the tokens that no window before it scored; what it has before them is context.
A token with nothing before it in its window is never scored: the first of a text and, where the
stride is the whole window, the first of every window. Where the model's tokenizer puts a BOS token
before a text, every window begins with it, so that every token is scored and none follows nothing.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenmill.api import LLM
from tokenmill.api.scoring import TEXT_BYTES_MAX
from tokenmill.errors import refusal
from tokenmill.evaluate.intervals import Interval, of_ratio
from tokenmill.options import is_utf8

WINDOW_DEFAULT = 512


@dataclass(frozen=True, slots=True)
class Perplexity:
    """What one text or several together cost a model.

    `nats` is the sum of the negative log-probs of `tokens_scored` tokens, `perplexity` the
    exponential of their mean. `interval` holds it with 95 % confidence if windows are taken as
    independent: the ends are exp(m -+ t * sqrt(V)), m the mean, V its variance as the ratio of two
    sums over the k windows, k / (k - 1) * sum((s_i - m n_i)^2) / (sum n_i)^2, t Student's quantile;
    None for one window. `bits_per_byte` is m / ln 2 times tokens over bytes of the whole texts.
    """

    perplexity: float
    interval: Interval | None
    bits_per_byte: float
    nats: float
    tokens_scored: int
    tokens: int
    text_bytes: int
    windows: int


@dataclass(frozen=True, slots=True)
class _Text:
    """One text's tokens without BOS, and what stands before every window."""

    ids: list[int]
    before: list[int]
    tokens: int
    text_bytes: int


@dataclass(frozen=True, slots=True)
class _Window:
    """Tokens of which those from `start` on are scored."""

    ids: list[int]
    start: int


def perplexity(
    llm: LLM,
    texts: Sequence[str],
    *,
    window: int | None = None,
    stride: int | None = None,
    limit_tokens: int | None = None,
    names: Sequence[str] | None = None,
    use_tqdm: bool | Callable[..., Any] = True,
) -> tuple[Perplexity, list[Perplexity]]:
    """The perplexity of all texts together, and of each.

    `window` is how many tokens are seen at once (512, or `max_model_len` if that is less), `stride`
    how far the next one begins behind it (half of the window), `limit_tokens` reads no more than
    the first of each text. `names` are what errors call the texts.

    >>> from tokenmill import LLM
    >>> with LLM(max_model_len=256) as llm:
    ...     known, _ = perplexity(llm, ["The sun rises in the east and sets in the west."])
    ...     odd, _ = perplexity(llm, ["West the sets in and east sun the rises the in."])
    >>> known.perplexity < odd.perplexity, known.tokens_scored == known.tokens - 1
    (True, True)
    """
    if isinstance(texts, str):
        raise refusal("texts", "texts must be a list of texts, got one text")
    called = list(names) if names is not None else [f"text {at}" for at in range(len(texts))]
    if not texts or len(called) != len(texts):
        raise refusal("texts", f"texts must be 1 or more with as many names, got {len(texts)}")
    window, stride = bounds(llm.info()["max_model_len"], window, stride)
    _check("limit_tokens", limit_tokens, 2, None)
    read = [_read(llm, text, name, limit_tokens) for text, name in zip(texts, called, strict=True)]
    cut = [list(_windows(text, window, stride)) for text in read]
    flat = [one for windows in cut for one in windows]
    scores = llm.score(
        [one.ids[: one.start] for one in flat],
        [one.ids[one.start :] for one in flat],
        use_tqdm=use_tqdm,
    )
    blocks = iter([(-score.logprob, len(score.token_ids)) for (score,) in scores])
    by_text = [[next(blocks) for _ in windows] for windows in cut]
    each = [_sum(found, [text]) for found, text in zip(by_text, read, strict=True)]
    return _sum([block for found in by_text for block in found], read), each


def bounds(len_max: int, window: int | None, stride: int | None) -> tuple[int, int]:
    """Window and stride, those by default included, for a context of `len_max` tokens."""
    _check("window", window, 2, len_max)
    window = min(WINDOW_DEFAULT, len_max) if window is None else window
    _check("stride", stride, 1, window)
    return window, max(1, window // 2) if stride is None else stride


def _check(name: str, value: Any, low: int, high: int | None) -> None:
    if value is None:
        return
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        span = f"from {low} to {high}" if high is not None else f"of at least {low}"
        shown = value if is_whole else type(value).__name__
        raise refusal(name, f"{name} must be an integer {span}, got {shown}")


def _read(llm: LLM, text: str, name: str, limit_tokens: int | None) -> _Text:
    if not isinstance(text, str):
        raise refusal("texts", f"{name} must be text, got {type(text).__name__}")
    if not is_utf8(text) or len(text.encode()) > TEXT_BYTES_MAX:
        raise refusal("texts", f"{name} must be UTF-8 text of at most {TEXT_BYTES_MAX} bytes")
    tokenizer = llm.get_tokenizer()
    before = tokenizer.encode("")
    whole = tokenizer.encode(text)[len(before) :]
    ids = whole[:limit_tokens]
    if len(ids) < 2:
        raise refusal("texts", f"{name} must have at least 2 tokens, got {len(ids)}")
    return _Text(ids, before, len(whole), len(text.encode()))


def _windows(text: _Text, window: int, stride: int) -> Iterator[_Window]:
    room = window - len(text.before)
    # A BOS token takes a place of the window, so a stride of the whole window is one of the room.
    stride = min(stride, room)
    scored = 0
    for begin in range(0, len(text.ids), stride):
        end = min(begin + room, len(text.ids))
        ids = [*text.before, *text.ids[begin:end]]
        # Of its tokens, the first has nothing before it.
        start = max(1, len(text.before) + scored - begin)
        if start < len(ids):
            yield _Window(ids, start)
        if end == len(text.ids):
            return
        scored = end


def _sum(blocks: Sequence[tuple[float, int]], texts: Sequence[_Text]) -> Perplexity:
    sums, counts = [nats for nats, _ in blocks], [count for _, count in blocks]
    nats, scored = math.fsum(sums), sum(counts)
    tokens, text_bytes = sum(t.tokens for t in texts), sum(t.text_bytes for t in texts)
    mean, of_mean = nats / scored, of_ratio(sums, counts)
    return Perplexity(
        perplexity=_exp(mean),
        interval=None if of_mean is None else Interval(_exp(of_mean.low), _exp(of_mean.high)),
        bits_per_byte=mean / math.log(2) * tokens / text_bytes,
        nats=nats,
        tokens_scored=scored,
        tokens=tokens,
        text_bytes=text_bytes,
        windows=len(blocks),
    )


def _exp(value: float) -> float:
    """The exponential, infinite where no float holds it."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
