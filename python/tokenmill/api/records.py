"""The shapes of what the compiled module gives back: dicts of plain values, for type checkers.

Rust fills them (rust/py); nothing here runs. A key that Rust adds must be added here.
"""

from typing import Any, Literal, TypedDict


class OptionRow(TypedDict):
    """One row of the option table: the only definition of an option.

    `type` is "int", "float", "bool", "str", "choice", "str_list", "int_list", "int_lists", "bias",
    "sequence_bias", "length_decay", "early_stopping", "repetition", "contrastive", "layers",
    "pipeline", "processors", "callable", or "" where only the name is known;
    `bound` is in words, for a choice the values separated by "|"; `reason` says why one that is not
    supported is not. `backends` are those that run another value than the default, `pipelines` the
    named ones that run the option's step (None: it is the option of no step), `meets` the options
    that it may contradict, each with when.
    """

    name: str
    group: Literal["sampling", "engine"]
    type: str
    default: str
    bound: str
    nullable: bool
    doc: str
    flag: str
    env: str
    status: Literal["supported", "later", "refused"]
    reason: str
    doors: list[str]
    backends: list[str]
    pipelines: list[str] | None
    meets: list[tuple[str, str]]
    needs_text: bool


class EventFinish(TypedDict):
    """How a sample ended; `error` is (kind, code or None, message) where the reason is "error".

    `lifted` names the soft bans (`min_tokens`, `no_repeat_ngram`) that left no token at some step,
    and the forcing (`forced_eos`) that met a banned token and was skipped. The last two are those
    of an output of a beam search, and None for others.
    """

    reason: Literal["stop", "length", "abort", "error", "repetition", "absent"]
    stop_reason: int | str | None
    error: tuple[str, str | None, str] | None
    cached_tokens: int
    created_tokens: int
    preemptions: int
    lifted: list[str]
    score: float | None
    cumulative_logprob: float | None


class Shown(TypedDict):
    """A token of a stage."""

    token: int
    score: float
    probability: float


class Stage(TypedDict):
    """The distribution behind one step: how many tokens are left, and the best of them.

    `name` is `logits`, `second_row` or the step's; `dropped` names those of the best tokens of the
    stage before that are not left.
    """

    name: str
    option: str | None
    value: str | None
    left: int
    best: list[Shown]
    dropped: list[int]


class Racer(TypedDict):
    """A token in the race of a draw: `time` is noise over probability, the smallest one wins."""

    token: int
    probability: float
    noise: float
    time: float
    place: int


class GreedyPick(TypedDict):
    """The best score decided."""

    kind: Literal["greedy"]
    token: int
    runner_up: int | None


class RacePick(TypedDict):
    """A draw decided."""

    kind: Literal["race"]
    token: int
    runner_up: int | None
    racers: list[Racer]


class ContrastCandidate(TypedDict):
    """A candidate of contrastive search; `score` is (1 - alpha) p - alpha max cos."""

    token: int
    probability: float
    resemblance: float
    score: float


class ContrastPick(TypedDict):
    """The best score of contrastive search decided."""

    kind: Literal["contrast"]
    token: int
    alpha: float
    candidates: list[ContrastCandidate]


class BeamCandidate(TypedDict):
    """A beam (`parent`, by its place in the step) with a token behind it; `beam` if it is kept."""

    parent: int
    token: int
    score: float
    fate: Literal["kept", "ended", "dropped"]
    beam: int | None


class BeamsPick(TypedDict):
    """A step of a beam search."""

    kind: Literal["beams"]
    candidates: list[BeamCandidate]


class ExplainedStep(TypedDict):
    """How one token, or one step of a beam search, came to be."""

    position: int
    stages: list[Stage]
    lifted: list[str]
    pick: GreedyPick | RacePick | ContrastPick | BeamsPick


class Event(TypedDict):
    """One step of one sample: tokens and text that are new and final."""

    index: int
    tokens: list[int]
    text: str
    # Per token, if asked: (token, logprob, rank) of the best ones and of the sampled one, by rank.
    logprobs: list[list[tuple[int, float, int]]]
    # The same for each prompt token but the first, whole, in the first event of sample 0.
    prompt_logprobs: list[list[tuple[int, float, int]]]
    # One entry per token, where asked for; of a beam search all steps, with the end of sample 0.
    explained: list[ExplainedStep]
    finish: EventFinish | None


class Encoding(TypedDict):
    """How many tensors and elements use one weight encoding."""

    tensors: int
    elements: int


class ModelInfo(TypedDict):
    """What a model's headers say; known before any weight is read."""

    architecture: str
    parameters: int
    vocab_len: int
    hidden: int
    layers: int
    context_len: int
    encodings: dict[str, Encoding]
    weight_bytes: int
    kv_bytes_per_token_bf16: int
    kv_bytes_per_token_f32: int
    decode_weight_bytes: int  # read for one token of one sequence
    decode_flops: int


class PlannedInfo(ModelInfo):
    """A model and what an engine under given options would hold; nothing is loaded."""

    backend: str
    level: str
    arithmetic: dict[str, str]  # how matrices of each encoding are multiplied
    threads: int
    dtype: str
    activations: str
    kv_cache_dtype: str
    max_model_len: int
    block_size: int
    blocks: int
    max_num_batched_tokens: int
    max_num_seqs: int
    max_num_queued_reqs: int
    memory_plan: dict[str, int]  # bytes by purpose
    memory_total_bytes: int
    notes: list[str]


class EngineInfo(PlannedInfo):
    """A loaded model and the backend that runs it."""

    eos_token_ids: list[int]
    has_tokenizer: bool
    has_chat_template: bool
    sampling_defaults: dict[str, Any]  # what the model's files fill in
