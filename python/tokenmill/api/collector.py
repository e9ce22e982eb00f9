"""From a request's events to its output: the one place where text and tokens are joined again.

Invariant: text and tokens are appended in the order of the events and never changed afterwards.
"""

import dataclasses
import time
from typing import Any

from tokenmill import _tokenmill
from tokenmill.api.outputs import (
    BeamSearchOutput,
    BeamSearchSequence,
    CompletionOutput,
    Explained,
    Logprob,
    RequestMetrics,
    RequestOutput,
    StreamChunk,
)
from tokenmill.api.prompts import Prompt
from tokenmill.api.records import Event, EventFinish, ExplainedStep
from tokenmill.api.tokenizer import Tokenizer
from tokenmill.errors import failure


@dataclasses.dataclass(slots=True)
class _Grown:
    """What a sample is made of, piece by piece."""

    texts: list[str] = dataclasses.field(default_factory=list)
    tokens: list[int] = dataclasses.field(default_factory=list)
    logprobs: list[dict[int, Logprob]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class _Sample(_Grown):
    """One growing completion."""

    logprob_sum: float = 0.0
    finish: EventFinish | None = None


class Collector:
    """Gathers the events of one handle."""

    def __init__(
        self,
        handle: _tokenmill.Handle,
        prompt: Prompt,
        tokenizer: Tokenizer,
        request_id: str | None = None,
    ) -> None:
        self.handle = handle
        self._request_id = request_id or str(handle.request_id)
        self._prompt = prompt
        self._tokenizer = tokenizer
        self._effective = handle.effective
        self._samples = [_Sample() for _ in range(_sample_count(self._effective))]
        reported = ("logprobs", "logprob_token_ids")
        self._wants_logprobs = any(self._effective.get(name) is not None for name in reported)
        self._wants_prompt_logprobs = self._effective.get("prompt_logprobs") is not None
        self._prompt_logprobs: list[dict[int, Logprob] | None] | None = None
        self._kind = self._effective.get("output_kind", "cumulative")
        self._arrival = time.monotonic()
        self._first_token: float | None = None
        self._last_token: float | None = None
        self._finished: float | None = None
        self._is_aborted = False

    @property
    def is_finished(self) -> bool:
        """Whether every sample has ended."""
        return self._finished is not None

    # hop 6.4: events become outputs and chunks
    def add(self, event: Event) -> StreamChunk:
        """Take one event; gives back what is new."""
        sample = self._samples[event["index"]]
        logprobs = [self._position(entries) for entries in event["logprobs"]]
        if self._wants_prompt_logprobs and event["index"] == 0 and not sample.texts:
            self._add_prompt(event)
        sample.texts.append(event["text"])
        sample.tokens.extend(event["tokens"])
        sample.logprobs.extend(logprobs)
        sample.logprob_sum += _sum_of_sampled(event)
        if event["tokens"]:
            self._last_token = time.monotonic()
            self._first_token = self._first_token or self._last_token
        finish = sample.finish = event["finish"]
        if all(sample.finish is not None for sample in self._samples):
            self.finish()
        return StreamChunk(
            index=event["index"],
            text=event["text"],
            token_ids=event["tokens"],
            logprobs=logprobs if self._wants_logprobs else None,
            finish_reason=finish["reason"] if finish else None,
            stop_reason=finish["stop_reason"] if finish else None,
            error=_error_text(finish),
            error_kind=_error_kind(finish),
        )

    def news(self, event: Event) -> RequestOutput | None:
        """Take one event; the output that its reader is owed for it, by `output_kind`."""
        was_scored = self._prompt_logprobs is not None
        chunk = self.add(event)
        if self._kind == "final_only":
            return self.output() if self.is_finished else None
        if self._kind == "cumulative":
            return self.output()
        # Only what is new is copied: a delta must not cost more the longer the output is.
        news = _Grown([chunk.text], chunk.token_ids, chunk.logprobs or [])
        new = self._completion(chunk.index, news)
        prompt_logprobs = None if was_scored else self._prompt_logprobs
        return self._output([new], prompt_logprobs)

    def finish(self) -> None:
        """Note that no event will follow."""
        if self._finished is None:
            self._finished = time.monotonic()

    def abort(self) -> None:
        """Cancel what still runs; a sample that had not ended says so."""
        self.handle.cancel()
        self._is_aborted = True
        self.finish()

    def output(self) -> RequestOutput:
        """Everything so far."""
        samples = enumerate(self._samples)
        completions = [
            self._completion(index, sample)
            for index, sample in samples
            if not self._is_missing(sample)
        ]
        return self._output(completions, self._prompt_logprobs)

    def _output(
        self,
        completions: list[CompletionOutput],
        prompt_logprobs: list[dict[int, Logprob] | None] | None,
    ) -> RequestOutput:
        finishes = [sample.finish for sample in self._samples if sample.finish is not None]
        cached = max((finish["cached_tokens"] for finish in finishes), default=0)
        return RequestOutput(
            request_id=self._request_id,
            prompt=self._prompt.text,
            prompt_token_ids=self.handle.prompt_token_ids,
            outputs=completions,
            finished=self.is_finished,
            metrics=RequestMetrics(
                arrival_time=self._arrival,
                first_token_time=self._first_token,
                last_token_time=self._last_token,
                finished_time=self._finished,
                cached_tokens=cached,
                preemptions=sum(finish["preemptions"] for finish in finishes),
            ),
            num_cached_tokens=cached,
            num_cache_creation_tokens=self._created() if self.is_finished else None,
            prompt_logprobs=prompt_logprobs,
            effective=self._effective,
            warnings=self._warnings(),
        )

    def _completion(self, index: int, grown: _Grown) -> CompletionOutput:
        """A sample with some of what has grown in it."""
        sample = self._samples[index]
        finish = sample.finish
        return CompletionOutput(
            index=index,
            text="".join(grown.texts),
            token_ids=list(grown.tokens),
            cumulative_logprob=self._sum(sample),
            logprobs=list(grown.logprobs) if self._wants_logprobs else None,
            finish_reason=finish["reason"] if finish else self._unfinished_reason(),
            stop_reason=finish["stop_reason"] if finish else None,
            seed=self.handle.seed,
            error=_error_text(finish),
            error_code=finish["error"][1] if finish and finish["error"] else None,
            lifted=tuple(finish["lifted"]) if finish else (),
            error_kind=_error_kind(finish),
            score=finish["score"] if finish else None,
        )

    def _sum(self, sample: _Sample) -> float | None:
        if sample.finish is not None and sample.finish["cumulative_logprob"] is not None:
            return sample.finish["cumulative_logprob"]
        return sample.logprob_sum if self._wants_logprobs else None

    def _add_prompt(self, event: Event) -> None:
        finish = event["finish"]
        # With `max_tokens=0` there are scores and no token; a request that failed has neither.
        if event["tokens"] or (finish is not None and finish["error"] is None):
            scored = (self._position(entries) for entries in event["prompt_logprobs"])
            self._prompt_logprobs = [None, *scored]

    def _created(self) -> int | None:
        finishes = [sample.finish for sample in self._samples]
        return max((finish["created_tokens"] for finish in finishes if finish), default=None)

    @staticmethod
    def _is_missing(sample: _Sample) -> bool:
        """Whether a search found fewer outputs than were wanted, and this is none of them."""
        return sample.finish is not None and sample.finish["reason"] == "absent"

    def _unfinished_reason(self) -> str | None:
        return "abort" if self._is_aborted else None

    def _warnings(self) -> list[str]:
        return [
            f"sample {index}: {name} {_FORCED if name in _FORCING else _LIFTED} there"
            for index, sample in enumerate(self._samples)
            if sample.finish is not None
            for name in sample.finish["lifted"]
        ]

    def _position(self, entries: list[tuple[int, float, int]]) -> dict[int, Logprob]:
        text: Any = self._tokenizer.token_text
        return {token: Logprob(value, rank, text(token)) for token, value, rank in entries}


def searched(output: RequestOutput, tokenizer: Tokenizer) -> BeamSearchOutput:
    """A finished search as vLLM shows it; one that failed raises."""
    prompt = output.prompt
    sequences = []
    for found in output.outputs:
        if found.error is not None:
            raise failure(found.error_kind or "", found.error)
        if found.score is None or found.cumulative_logprob is None:
            raise failure("Cancelled", "the search was cancelled before it was over")
        if prompt is None and tokenizer.has_text:
            prompt = tokenizer.decode(output.prompt_token_ids)
        sequences.append(
            BeamSearchSequence(
                tokens=[*output.prompt_token_ids, *found.token_ids],
                text=None if prompt is None else prompt + found.text,
                cum_logprob=found.cumulative_logprob,
                score=found.score,
                finish_reason=found.finish_reason,
                stop_reason=found.stop_reason,
                logprobs=found.logprobs,
            )
        )
    return BeamSearchOutput(sequences)


def _sample_count(effective: dict[str, Any]) -> int:
    width: int | None = effective.get("beam_width")
    if width is None:
        return int(effective.get("n", 1))
    return effective.get("num_return_sequences") or width


# What became of a step of the pipeline that met the others.
_LIFTED = "left no token at some step and was lifted"
_FORCING = {"forced_bos", "forced_eos", "thinking_budget"}
_FORCED = "met a token that may not come and was skipped"


def _error_text(finish: EventFinish | None) -> str | None:
    if finish is None or finish["error"] is None:
        return None
    return finish["error"][2]


def _error_kind(finish: EventFinish | None) -> str | None:
    if finish is None or finish["error"] is None:
        return None
    return finish["error"][0]


def _sum_of_sampled(event: Event) -> float:
    """The entries stand by rank, so the sampled one is found by its id."""
    return sum(
        value
        for sampled, entries in zip(event["tokens"], event["logprobs"], strict=False)
        for token, value, _ in entries
        if token == sampled
    )


def explained_of(handle: _tokenmill.Handle, prompt: str | None, tokenizer: Tokenizer) -> Explained:
    """Wait for all events of a request that explains its tokens; raises if it failed."""
    texts: dict[int, list[str]] = {}
    tokens: dict[int, list[int]] = {}
    steps: list[ExplainedStep] = []
    for event in handle:
        finish = event["finish"]
        if finish is not None and finish["error"] is not None:
            kind, _, message = finish["error"]
            raise failure(kind, message)
        texts.setdefault(event["index"], []).append(event["text"])
        tokens.setdefault(event["index"], []).extend(event["tokens"])
        steps.extend(event["explained"])
    samples = sorted(texts)
    return Explained(
        prompt=prompt,
        prompt_token_ids=handle.prompt_token_ids,
        outputs=["".join(texts[sample]) for sample in samples],
        token_ids=[tokens[sample] for sample in samples],
        seed=handle.seed,
        steps=steps,
        texts={token: tokenizer.token_text(token) for token in sorted(_named(steps))},
    )


def _named(steps: list[ExplainedStep]) -> set[int]:
    """Every token that a step names."""
    found: set[int] = set()
    for step in steps:
        for stage in step["stages"]:
            found.update(shown["token"] for shown in stage["best"])
            found.update(stage["dropped"])
        pick = step["pick"]
        if pick["kind"] == "race":
            found.update(racer["token"] for racer in pick["racers"])
        elif pick["kind"] != "greedy":
            found.update(candidate["token"] for candidate in pick["candidates"])
        if pick["kind"] != "beams":
            found.add(pick["token"])
        if pick["kind"] in ("greedy", "race") and pick["runner_up"] is not None:
            found.add(pick["runner_up"])
    return found
