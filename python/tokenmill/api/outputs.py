"""What comes back: one output a request, one completion a sample. Plain, frozen values.

Names as in vLLM, so that programs can switch. They know nothing of an engine and outlive it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenmill.api.records import ExplainedStep


@dataclass(frozen=True, slots=True)
class Logprob:
    """One candidate of a position: natural log-probability (or logit, by the request's mode).

    `decoded_token` is None for a model without a tokenizer.
    """

    logprob: float
    rank: int
    decoded_token: str | None


@dataclass(frozen=True, slots=True)
class CompletionOutput:
    """One sample.

    `finish_reason` is "stop", "length", "repetition", "abort", "error", or None while it grows;
    `stop_reason` the string or id that matched; `error` says what went wrong where the reason is
    "error", `error_kind` is the kind of that (as the exceptions' `kind`) and `error_code` names it
    for programs where it has a name (`no_token_allowed`, `deadline_exceeded`). `lifted` names the
    soft bans (`min_tokens`, `no_repeat_ngram`) that left no token at some step and were lifted,
    and the forcing (`forced_eos`) that met a banned token and was skipped. `score` is what outputs
    of a beam search are ordered by: the sum of log-probs, weighed by the length.
    """

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None
    stop_reason: int | str | None
    seed: int
    error: str | None = None
    error_code: str | None = None
    lifted: tuple[str, ...] = ()
    error_kind: str | None = None
    score: float | None = None
    lora_request: None = None
    spec_decode_metrics: None = None
    routed_experts: None = None


@dataclass(frozen=True, slots=True)
class RequestMetrics:
    """When things happened, in seconds of the monotonic clock, as seen from Python."""

    arrival_time: float
    first_token_time: float | None
    last_token_time: float | None
    finished_time: float | None
    cached_tokens: int
    preemptions: int


@dataclass(frozen=True, slots=True)
class RequestOutput:
    """One request with all its samples.

    `effective` holds the sampling parameters after defaults, `warnings` what a caller should know
    of how they were kept. `prompt_logprobs` has one entry a prompt token, None for the first.
    `num_cache_creation_tokens` counts the prompt tokens in blocks that this request was the first
    to bring into the prefix cache; it is known at the end. The fields that are None stay so as long
    as nothing can ask for them.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool
    metrics: RequestMetrics
    num_cached_tokens: int
    effective: Mapping[str, Any]
    prompt_logprobs: list[dict[int, Logprob] | None] | None = None
    lora_request: None = None
    encoder_prompt: None = None
    encoder_prompt_token_ids: None = None
    num_cache_creation_tokens: int | None = None
    kv_transfer_params: None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """What is new in one sample: `text` and `token_ids` are to be appended to what came before."""

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None
    stop_reason: int | str | None
    error: str | None = None
    error_kind: str | None = None


@dataclass(frozen=True, slots=True)
class BeamSearchSequence:
    """One output of `LLM.beam_search`.

    As in vLLM, `tokens` and `text` begin with the prompt. `cum_logprob` is the sum of the log-probs
    of what was generated, `score` the same weighed by its length; `logprobs` are there where they
    were asked for.
    """

    tokens: list[int]
    text: str | None
    cum_logprob: float
    score: float
    finish_reason: str | None
    stop_reason: int | str | None
    logprobs: list[dict[int, Logprob]] | None = None
    lora_request: None = None


@dataclass(frozen=True, slots=True)
class BeamSearchOutput:
    """The outputs of one prompt, the best first."""

    sequences: list[BeamSearchSequence]


@dataclass(frozen=True, slots=True)
class Explained:
    """How one request's tokens came to be.

    `outputs` and `token_ids` have one entry a sample (a beam search may return several), `steps`
    one a token, or one a step of a beam search. `texts` gives every token that a step names its
    text, None for a model without a tokenizer.
    """

    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[str]
    token_ids: list[list[int]]
    seed: int
    steps: list[ExplainedStep]
    texts: dict[int, str | None]
