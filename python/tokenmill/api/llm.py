"""A loaded model: the front door for Python programs.

It resolves the model's name, hands options to the engine, and turns prompts into requests and
events into outputs. It decides nothing about tokens, blocks or limits, and imports no tensor
library.
"""

import itertools
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tokenmill import _tokenmill, options
from tokenmill.api.batch import Batch, Gathering, Output
from tokenmill.api.collector import Collector, explained_of, searched
from tokenmill.api.outputs import BeamSearchOutput, Explained, RequestOutput
from tokenmill.api.params import SamplingParams, beam_values, refuse_ranked, sampling_values
from tokenmill.api.prompts import (
    Prompt,
    is_conversation,
    is_integer,
    read_conversations,
    read_prompt,
    read_prompts,
)
from tokenmill.api.records import EngineInfo
from tokenmill.api.scoring import (
    ContinuationScore,
    ScoreCollector,
    Span,
    read_groups,
    sampling_of,
    spans_of,
)
from tokenmill.api.stream import Stream
from tokenmill.api.tokenizer import Tokenizer
from tokenmill.errors import UnsupportedError, refusal
from tokenmill.models.probe import probe
from tokenmill.models.resolve import resolve, with_amateur_path
from tokenmill.progress import Progress, say

Params = SamplingParams | Sequence[SamplingParams] | None


class LLM:
    """A model and the engine that runs it.

    `model` is a path (a GGUF file or a folder), a known name, or a hub name; the default is
    `smollm2-135m-instruct`, fetched on first use. Keywords are the engine options of the table
    (`tokenmill generate --help` lists them); an unknown one is refused with the nearest known name.
    Close it, or use it as a context manager, to give its memory back.

    >>> llm = LLM(max_model_len=256)
    >>> greedy = SamplingParams(temperature=0.0, max_tokens=4)
    >>> first, second = llm.generate(["The sea is", "Water boils at"], greedy)
    >>> len(first.outputs[0].token_ids), second.prompt
    (4, 'Water boils at')
    >>> with llm.stream("The sea is", greedy) as stream:
    ...     chunks = [chunk.text for chunk in stream]
    >>> "".join(chunks) == first.outputs[0].text
    True
    >>> llm.close()
    """

    def __init__(self, model: str | os.PathLike[str] | None = None, **engine_options: Any) -> None:
        values = {**options.environment("engine"), **engine_options}
        named = values.pop("model", None)
        if isinstance(amateur := values.get("amateur_model"), os.PathLike):
            values["amateur_model"] = os.fspath(amateur)
        self._sampling_defaults = options.environment("sampling")
        # A slip is told before a model is fetched for it.
        _tokenmill.check_engine(values)
        resolved = resolve(named if model is None else model)
        self.model = resolved.name
        self.path = resolved.path
        self.known_model = resolved.known
        if resolved.known is None or values.get("tokenizer") or values.get("chat_template"):
            probe(resolved.path, values)
        values = with_amateur_path(values)
        if "amateur_model" in values:
            # Its tokenizer is read too, to be held against the model's.
            probe(Path(values["amateur_model"]), {})
        self._engine = _tokenmill.Engine(os.fspath(resolved.path), values)
        self._tokenizer = Tokenizer(self._engine)
        # What the model's files say that was ignored, or that a caller will stumble over.
        for note in self._engine.info()["notes"]:
            say(f"note: {note}")
        # Also runs at interpreter exit, before the engine's thread would outlive the interpreter.
        self._closer = weakref.finalize(self, self._engine.close)

    def generate(
        self,
        prompts: Any,
        sampling_params: Params = None,
        *,
        use_tqdm: bool | Callable[..., Any] = True,
        lora_request: None = None,
        priority: int | Sequence[int] = 0,
    ) -> list[RequestOutput]:
        """Complete every prompt; outputs come in the order of the prompts.

        `prompts` is a text, a list of token ids, a dict with `prompt` or `prompt_token_ids` (and
        `cache_salt`), or an iterable of those, of any length. A list of sampling parameters or
        priorities pairs with the prompts. A request that fails while it runs ends with the finish
        reason "error"; one that is refused raises, and cancels the others.
        """
        _refuse_lora(lora_request)
        items, count = read_prompts(prompts)
        jobs = _pair(items, count, sampling_params, priority)
        return _run((self._submission(*job) for job in jobs), count, use_tqdm)

    def chat(
        self,
        messages: Any,
        sampling_params: Params = None,
        *,
        use_tqdm: bool | Callable[..., Any] = True,
        lora_request: None = None,
        add_generation_prompt: bool = True,
        priority: int | Sequence[int] = 0,
    ) -> list[RequestOutput]:
        """Answer one conversation or several, written out by the model's chat template.

        A conversation is a list of dicts with `role` and `content`. Control tokens written in it
        stay text.
        """
        _refuse_lora(lora_request)
        conversations, _ = read_conversations(messages)
        items = (self._rendered(turns, add_generation_prompt) for turns in conversations)
        jobs = _pair(items, len(conversations), sampling_params, priority)
        submissions = (self._submission(*job) for job in jobs)
        return _run(submissions, len(conversations), use_tqdm)

    def beam_search(
        self,
        prompts: Any,
        params: SamplingParams,
        lora_request: None = None,
        use_tqdm: bool | Callable[..., Any] = False,
        *,
        concurrency_limit: int | None = None,
        priority: int = 0,
    ) -> list[BeamSearchOutput]:
        """Find the likeliest outputs of every prompt; they come in the order of the prompts.

        `params` are `BeamParams`. At most `concurrency_limit` prompts are searched at a time; all
        run in one batch without one. A request that fails raises, and cancels the others.
        `generate` takes the same parameters, and gives the outputs with a `score` each.
        """
        _refuse_lora(lora_request)
        items, _ = read_prompts(prompts)
        found: list[BeamSearchOutput] = []
        for some in _parts(items, concurrency_limit):
            jobs = _pair(some, len(some), beam_values(params), priority)
            submissions = (self._submission(*job) for job in jobs)
            outputs = _run(submissions, len(some), use_tqdm)
            found.extend(searched(output, self._tokenizer) for output in outputs)
        return found

    def score(
        self,
        prompts: Any,
        continuations: Any,
        *,
        use_tqdm: bool | Callable[..., Any] = True,
        priority: int = 0,
    ) -> list[list[ContinuationScore]]:
        """How probable the model finds given continuations of given prompts.

        Of one prompt, `continuations` is one continuation or a list of them; of a list of prompts,
        a list with one such entry for each. A pair is text and text, or token ids and token ids.
        There is one list of scores for each prompt, one score for each of its continuations.

        Text is tokenised as evaluation harnesses do: prompt and continuation are encoded as one,
        and the continuation is whatever comes behind as many tokens as the prompt has alone; white
        space at the prompt's end belongs to the continuation. An empty prompt stands for the BOS
        token where the tokenizer puts one before a text, and is refused where it puts none. Both
        together may have `max_model_len` tokens. Log-probs are the model's own, before any
        sampling parameter. A request that fails while it runs raises, and cancels the others.

        vLLM has a `score` of another kind: similarity by a cross-encoder.

        >>> with LLM(max_model_len=256) as llm:
        ...     ((blue, seven),) = llm.score("The colour of the sky is", [" blue", " seven"])
        >>> blue.logprob > seven.logprob, blue.text, len(blue.token_ids)
        (True, ' blue', 1)
        """
        groups = read_groups(prompts, continuations)
        # All of them, so that a bad pair is told before any is scored.
        spans = list(spans_of(groups, self._tokenizer, self._engine.info()["max_model_len"]))
        submissions = (self._scoring(span, priority) for span in spans)
        scores = iter(_run(submissions, len(spans), use_tqdm))
        return [[next(scores) for _ in texts] for _, texts in groups]

    def explain(
        self, prompt: Any, sampling_params: SamplingParams | None = None, *, top: int = 10
    ) -> Explained:
        """How every token of one output comes to be.

        There is one step a token: the distribution as the model gave it and behind every active
        step of the pipeline, each with its `top` best tokens (1 to 50), and what decided. The
        tokens are those of `generate` with the same parameters. At most 256 tokens, and `n` is 1; a
        beam search tells its candidates. Raises if the request fails.

        >>> with LLM(max_model_len=256) as llm:
        ...     found = llm.explain("The sea is", SamplingParams(seed=1, top_k=3, max_tokens=2))
        >>> [stage["name"] for stage in found.steps[0]["stages"]], found.steps[0]["pick"]["kind"]
        (['logits', 'top_k'], 'race')
        """
        if is_conversation(prompt) and "role" in prompt[0]:
            item = self._rendered(read_conversations(prompt)[0][0], True)
        else:
            item = read_prompt(prompt)
        values = {**self._sampling_defaults, **sampling_values(sampling_params)}
        handle = self._engine.explain(item.content, values, top, item.cache_salt)
        return explained_of(handle, item.text, self._tokenizer)

    def stream(
        self, prompt: Any, sampling_params: SamplingParams | None = None, *, priority: int = 0
    ) -> Stream:
        """Start one prompt or one conversation and read its chunks as they come."""
        refuse_ranked(sampling_params)
        return Stream(self.submit(prompt, sampling_params, priority))

    def submit(
        self,
        prompt: Any,
        sampling_params: SamplingParams | None = None,
        priority: int = 0,
        request_id: str | None = None,
    ) -> Collector:
        """Queue one prompt or one conversation; `stream` and `AsyncLLM` read what it collects."""
        if is_conversation(prompt) and "role" in prompt[0]:
            item = self._rendered(read_conversations(prompt)[0][0], True)
        else:
            item = read_prompt(prompt)
        return self._submit(item, sampling_params, priority, request_id)

    def get_tokenizer(self) -> Tokenizer:
        """The model's tokenizer and chat template."""
        return self._tokenizer

    def capabilities(self) -> dict[str, Any]:
        """What this engine can do: the model, the backend, and every option with its row.

        `options` has the rows of the capability matrix (docs/capabilities.md) by the options'
        names, in `sampling` and `engine`.
        """
        info = self._engine.info()
        return {
            "architecture": info["architecture"],
            "backend": info["backend"],
            "level": info["level"],
            "max_model_len": info["max_model_len"],
            "chat": info["has_chat_template"],
            "options": options.capabilities(),
        }

    def plan_memory(self) -> dict[str, int]:
        """The memory ledger: bytes by purpose, and their total."""
        info = self._engine.info()
        return {**info["memory_plan"], "total": info["memory_total_bytes"]}

    def get_default_sampling_params(self) -> SamplingParams:
        """What a request gets where it says nothing.

        The table's defaults, over them the model's own, over those `TOKENMILL_SAMPLING_` variables.
        """
        own = self._engine.info()["sampling_defaults"]
        return SamplingParams(**{**own, **self._sampling_defaults})

    def info(self) -> EngineInfo:
        """The model's headers, the engine's options after defaults, the memory ledger."""
        return self._engine.info()

    def get_metrics(self) -> dict[str, int]:
        """Live statistics: steps, tokens, batch, blocks, time by phase, bytes and operations."""
        return self._engine.stats()

    def reset_prefix_cache(self) -> None:
        """Forget every cached prefix that nobody uses."""
        self._engine.reset_prefix_cache()

    def close(self) -> None:
        """End all requests and free the model. Later calls raise `DrainingError`."""
        self._closer()

    def __enter__(self) -> "LLM":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LLM({self.model!r})"

    def _rendered(self, messages: list[dict[str, Any]], add_generation_prompt: bool) -> Prompt:
        return Prompt(self._engine.render(messages, add_generation_prompt))

    # hop 1.1: generate, chat and stream all hand their prompts over here
    def _submit(
        self,
        prompt: Prompt,
        params: SamplingParams | None,
        priority: int,
        request_id: str | None = None,
    ) -> Collector:
        if request_id is not None:
            _tokenmill.check_label("request_id", request_id)
        values = {**self._sampling_defaults, **sampling_values(params)}
        handle = self._engine.submit(prompt.content, values, priority, prompt.cache_salt)
        return Collector(handle, prompt, self._tokenizer, request_id)

    def _submission(
        self, prompt: Prompt, params: SamplingParams | None, priority: int
    ) -> Callable[[], Collector]:
        return lambda: self._submit(prompt, params, priority)

    def _scoring(self, span: Span, priority: int) -> Callable[[], ScoreCollector]:
        """One request for a span, untouched by what the environment says of sampling."""
        known, values = span.token_ids[:-1], sampling_of(span)
        return lambda: ScoreCollector(
            self._engine.submit(known, values, priority, span.cache_salt), span
        )


def _run(
    submissions: Iterator[Callable[[], Gathering[Output]]],
    count: int | None,
    use_tqdm: bool | Callable[..., Any],
) -> list[Output]:
    if callable(use_tqdm):
        bar = use_tqdm(total=count, desc="requests")
        try:
            return Batch(submissions, bar.update).run()
        finally:
            bar.close()
    with Progress("requests", count or 0, "done", visible=None if use_tqdm else False) as shown:
        return Batch(submissions, shown.advance).run()


def _parts(prompts: Iterable[Prompt], limit: Any) -> Iterator[list[Prompt]]:
    """The prompts in lists of at most `limit`; all of them in one without a limit."""
    if limit is not None and (not is_integer(limit) or limit < 1):
        name = "concurrency_limit"
        raise refusal(name, f"{name} must be an integer of at least 1, or none, got {limit!r}")
    rest = iter(prompts)
    while part := list(itertools.islice(rest, limit)):
        yield part


def _refuse_lora(lora_request: Any) -> None:
    if lora_request is not None:
        raise UnsupportedError("lora_request is not supported: no adapters yet")


def _pair(
    prompts: Iterable[Prompt],
    count: int | None,
    params: Params,
    priority: Any,
) -> Iterator[tuple[Prompt, SamplingParams | None, int]]:
    """Prompts with their parameters and priorities; lists must be as long as the prompts."""
    many: Iterable[SamplingParams | None]
    if params is None or isinstance(params, SamplingParams):
        many = itertools.repeat(params)
    else:
        many = _same_length("sampling_params", params, count)
    priorities: Iterable[int]
    if is_integer(priority):
        priorities = itertools.repeat(priority)
    else:
        priorities = _same_length("priority", priority, count)
    return zip(prompts, many, priorities, strict=False)


def _same_length(name: str, values: Any, count: int | None) -> Sequence[Any]:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise refusal(name, f"{name} must be one value or a list, got {type(values).__name__}")
    if count is None or len(values) != count:
        shown = "an unknown number" if count is None else str(count)
        raise refusal(name, f"{name} must pair with the prompts: {len(values)} for {shown}")
    return list(values)
