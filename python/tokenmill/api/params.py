"""How one request wants its tokens chosen.

The names and types below are for readers and type checkers; defaults, bounds and every refusal come
from the option table behind `check_sampling`, and a test holds this list to that table. A value is
immutable and checked when it is made.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, NotRequired, TypedDict, TypeVar, dataclass_transform

from tokenmill import _tokenmill
from tokenmill.errors import InvalidRequestError, refusal

_Self = TypeVar("_Self", bound="_Checked")
_Class = TypeVar("_Class")

LogprobsMode = Literal["raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits"]
# As in transformers: by tuples of ids, or pairs of ids and a number.
SequenceBias = Mapping[tuple[int, ...], float] | Sequence[tuple[Sequence[int], float]]
Pipeline = Literal["tokenmill", "hf", "vllm", "sglang", "llamacpp"]


class RequestOutputKind(StrEnum):
    """What an output that is read while it grows holds; the names are vLLM's."""

    CUMULATIVE = "cumulative"
    DELTA = "delta"
    FINAL_ONLY = "final_only"


class RepetitionDetectionParams(TypedDict):
    """When an output is taken to have fallen into a loop; a plain dict does as well."""

    max_pattern_size: int
    min_pattern_size: NotRequired[int]
    min_count: int


# How a request is set against the engine's `amateur_model`; a plain dict does as well. `lambda` is
# a word of the language, so the names are listed this way.
Contrastive = TypedDict(
    "Contrastive",
    {
        "amateur": str,
        "mode": Literal["difference", "scaled"],
        "alpha": float,
        "lambda": float,
        "beta": float,
        "temperature": float,
    },
    total=False,
)


class ProcessorEdit(TypedDict):
    """A declared processor: what is done to the logits of which tokens, and where.

    `type` is "bias" (adds `value`), "ban", "scale" (multiplies by `value`, above 0) or "clamp" (to
    `min` and `max`). It acts on `tokens`, or on every token whose text holds `matching`; on output
    tokens `from` (0) to before `to`, and only behind one of `after`, where these are given.
    """

    type: Literal["bias", "ban", "scale", "clamp"]
    value: NotRequired[float]
    min: NotRequired[float]
    max: NotRequired[float]
    tokens: NotRequired[Sequence[int]]
    matching: NotRequired[str]
    to: NotRequired[int]
    after: NotRequired[Sequence[int]]


# A callable is called as `f(output_ids, row)` or `f(prompt_ids, output_ids, row)`, by the number of
# its positional parameters. `row` is a memoryview of float32 that it changes in place
# (`torch.frombuffer(row, dtype=torch.float32)` and `numpy.frombuffer(row, "f4")` share its memory),
# or it gives another row of the same length back. transformers' processors are called as there.
# It runs on the engine's thread: all requests wait for it, and one that hangs hangs the engine.
Processor = ProcessorEdit | Mapping[str, Any] | Callable[..., Any]


# Tells a type checker that a field may be left out; the value itself stands in the option table.
_TABLE: Any = object()


@dataclass_transform(kw_only_default=True, frozen_default=True)
def _fields_of_table(cls: type[_Class]) -> type[_Class]:
    for name in cls.__annotations__:
        delattr(cls, name)
    return cls


class _Checked:
    """Named values, completed and checked by the table, then frozen."""

    given: Mapping[str, Any]

    def __init__(self, **values: Any) -> None:
        checked = _tokenmill.check_sampling(values)
        self.__dict__.update(checked)
        # What was checked is what runs: an iterator is read once, a list may be changed later. None
        # asks for the table's default and stays what it is.
        self.__dict__["given"] = {
            name: None if value is None else checked[name] for name, value in values.items()
        }

    def replace(self: _Self, **changes: Any) -> _Self:
        """A copy in which some values are others."""
        return type(self)(**{**self.given, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Every value by name, after defaults."""
        return {name: value for name, value in self.__dict__.items() if name != "given"}

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"sampling parameters are immutable: use replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("sampling parameters are immutable")

    def __getattr__(self, name: str) -> Any:
        close = None if name.startswith("_") else _tokenmill.nearest(name)
        hint = f"; did you mean {close}?" if close else ""
        raise AttributeError(f"sampling parameters have no {name}{hint}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # lists are among the values

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.given.items())
        return f"{type(self).__name__}({given})"


@_fields_of_table
class SamplingParams(_Checked):
    """Sampling parameters; every field has a default. Names as in vLLM and transformers.

    >>> params = SamplingParams(temperature=0.7, top_p=0.9, seed=1)
    >>> params.replace(seed=2)
    SamplingParams(temperature=0.7, top_p=0.9, seed=2)
    >>> params.max_tokens
    16
    >>> SamplingParams(top_p=0)
    Traceback (most recent call last):
    tokenmill.InvalidRequestError: top_p must be a number above 0 and at most 1, got 0
    """

    n: int = _TABLE
    presence_penalty: float = _TABLE
    frequency_penalty: float = _TABLE
    repetition_penalty: float = _TABLE
    temperature: float = _TABLE
    top_k: int = _TABLE
    top_p: float = _TABLE
    min_p: float = _TABLE
    seed: int | None = _TABLE
    stop: str | Sequence[str] | None = _TABLE
    stop_token_ids: Sequence[int] | None = _TABLE
    ignore_eos: bool = _TABLE
    max_tokens: int | None = _TABLE
    min_tokens: int = _TABLE
    logprobs: int | None = _TABLE
    logprobs_mode: LogprobsMode = _TABLE
    no_repeat_ngram_size: int = _TABLE
    logit_bias: Mapping[int, float] | None = _TABLE
    detokenize: bool = _TABLE
    skip_special_tokens: bool = _TABLE
    include_stop_str_in_output: bool = _TABLE
    skip_reading_prefix_cache: bool | None = _TABLE
    prompt_logprobs: int | None = _TABLE
    logprob_token_ids: Sequence[int] | None = _TABLE
    output_kind: RequestOutputKind | Literal["cumulative", "delta", "final_only"] = _TABLE
    stream_interval: int | None = _TABLE
    allowed_token_ids: Sequence[int] | None = _TABLE
    bad_words: str | Sequence[str] | None = _TABLE
    suppress_tokens: Sequence[int] | None = _TABLE
    begin_suppress_tokens: Sequence[int] | None = _TABLE
    min_length: int = _TABLE
    repetition_detection: RepetitionDetectionParams | None = _TABLE
    spaces_between_special_tokens: bool = _TABLE
    penalty_last_n: int | None = _TABLE
    pipeline: Pipeline | Sequence[str] = _TABLE
    deadline_ms: int | None = _TABLE
    typical_p: float = _TABLE
    epsilon_cutoff: float = _TABLE
    eta_cutoff: float = _TABLE
    top_h: float | None = _TABLE
    top_n_sigma: float = _TABLE
    xtc_probability: float = _TABLE
    xtc_threshold: float = _TABLE
    dynatemp_range: float = _TABLE
    dynatemp_exponent: float = _TABLE
    mirostat: int = _TABLE
    mirostat_tau: float = _TABLE
    mirostat_eta: float = _TABLE
    mirostat_variant: Literal["llamacpp", "authors"] = _TABLE
    adaptive_target: float | None = _TABLE
    adaptive_decay: float = _TABLE
    dry_multiplier: float = _TABLE
    dry_base: float = _TABLE
    dry_allowed_length: int = _TABLE
    dry_penalty_last_n: int = _TABLE
    dry_sequence_breakers: str | Sequence[str] | None = _TABLE
    encoder_repetition_penalty: float = _TABLE
    encoder_no_repeat_ngram_size: int = _TABLE
    sequence_bias: SequenceBias | None = _TABLE
    bad_words_ids: Sequence[Sequence[int]] | None = _TABLE
    forced_bos_token_id: int | None = _TABLE
    forced_eos_token_id: int | Sequence[int] | None = _TABLE
    exponential_decay_length_penalty: Sequence[float] | None = _TABLE
    remove_invalid_values: bool = _TABLE
    renormalize_logits: bool = _TABLE
    beam_width: int | None = _TABLE
    length_penalty: float = _TABLE
    length_penalty_kind: Literal["power", "gnmt"] = _TABLE
    early_stopping: bool | Literal["never"] = _TABLE
    num_return_sequences: int | None = _TABLE
    num_beam_groups: int = _TABLE
    diversity_penalty: float = _TABLE
    guidance_scale: float = _TABLE
    negative_prompt: str | None = _TABLE
    negative_prompt_token_ids: Sequence[int] | None = _TABLE
    contrastive: Contrastive | None = _TABLE
    dola_layers: Literal["low", "high"] | Sequence[int] | None = _TABLE
    dola_divergence: Literal["jsd", "reference"] = _TABLE
    penalty_alpha: float = _TABLE
    logits_processors: Sequence[Processor] | None = _TABLE
    prefix_allowed_tokens_fn: Callable[[int, list[int]], Sequence[int]] | None = _TABLE
    thinking_token_budget: int | None = _TABLE
    echo: bool = _TABLE
    best_of: int | None = _TABLE


class BeamParams(SamplingParams):
    """Parameters of a beam search: those of sampling, with beams and, unless given, no temperature.

    >>> params = BeamParams(4, max_tokens=32, length_penalty=0.6)
    >>> params.beam_width, params.temperature, params.early_stopping
    (4, 0.0, False)
    """

    def __init__(self, beam_width: int, max_tokens: int | None = _TABLE, **values: Any) -> None:
        given = {"beam_width": beam_width, "temperature": 0.0, **values}
        if max_tokens is not _TABLE:
            given["max_tokens"] = max_tokens
        if beam_width is None:
            raise InvalidRequestError("beam_width must be a number of beams, got None")
        super().__init__(**given)


BeamSearchParams = BeamParams


def beam_values(params: Any) -> SamplingParams:
    """The parameters of a search, which must ask for one."""
    if isinstance(params, SamplingParams) and params.beam_width is not None:
        return params
    kind = type(params).__name__
    raise refusal("params", f"params must be BeamParams, got {kind} without a beam_width")


def refuse_ranked(params: "SamplingParams | None") -> None:
    """Refuse what a stream of chunks cannot give: the best samples are known at the end."""
    drawn = params.best_of if isinstance(params, SamplingParams) else None
    if params is not None and drawn is not None and drawn > params.n:
        reason = "which samples are the best is known at the end"
        raise refusal("best_of", f"best_of and stream: {reason}; use generate")


def sampling_values(params: "SamplingParams | None") -> dict[str, Any]:
    """What a caller set, for the engine to complete with the model's own defaults."""
    if params is None:
        return {}
    if not isinstance(params, SamplingParams):
        kind = type(params).__name__
        raise InvalidRequestError(f"sampling_params must be SamplingParams, got {kind}")
    return dict(params.given)
