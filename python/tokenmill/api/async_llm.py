"""A loaded model for programs that run on asyncio.

Requests are awaited without a thread each: the engine writes a byte to a socket that the loop
watches. Whatever ends an iteration early (a break, a cancelled task, an error) cancels its request.
"""

import asyncio
import itertools
import os
import weakref
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from tokenmill import _tokenmill
from tokenmill.api.collector import Collector
from tokenmill.api.llm import LLM
from tokenmill.api.outputs import RequestOutput, StreamChunk
from tokenmill.api.params import SamplingParams, refuse_ranked
from tokenmill.api.records import EngineInfo, Event
from tokenmill.api.tokenizer import Tokenizer


class AsyncLLM:
    """As `LLM`, with methods to await. One engine may serve several event loops.

    >>> async def tell():
    ...     async with await AsyncLLM.load(max_model_len=256) as llm:
    ...         params = SamplingParams(temperature=0.0, max_tokens=4)
    ...         return [chunk.text async for chunk in llm.stream("The sea is", params)]
    >>> len(asyncio.run(tell())) > 0
    True
    """

    def __init__(self, model: str | os.PathLike[str] | None = None, **engine_options: Any) -> None:
        self._llm = LLM(model, **engine_options)
        self._listeners: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Listener] = (
            weakref.WeakKeyDictionary()
        )

    @classmethod
    async def load(
        cls, model: str | os.PathLike[str] | None = None, **engine_options: Any
    ) -> "AsyncLLM":
        """Load, and fetch if need be, beside the loop."""
        return await asyncio.to_thread(cls, model, **engine_options)

    async def generate(
        self,
        prompt: Any,
        sampling_params: SamplingParams | None = None,
        request_id: str | None = None,
        *,
        priority: int = 0,
    ) -> AsyncIterator[RequestOutput]:
        """Complete one prompt or conversation: the output so far, each time it has grown.

        `output_kind` of the parameters makes it what is new ("delta") or the last alone
        ("final_only").
        `request_id` is echoed; requests are told apart by numbers of the engine's own.
        """
        collector = await self._submit(prompt, sampling_params, priority, request_id)
        try:
            while (event := await self._next(collector)) is not None:
                output = collector.news(event)
                if output is not None:
                    yield output
        finally:
            collector.handle.cancel()

    async def stream(
        self, prompt: Any, sampling_params: SamplingParams | None = None, *, priority: int = 0
    ) -> AsyncIterator[StreamChunk]:
        """Complete one prompt or conversation: what is new, each time there is something."""
        refuse_ranked(sampling_params)
        collector = await self._submit(prompt, sampling_params, priority, None)
        try:
            while (event := await self._next(collector)) is not None:
                yield collector.add(event)
        finally:
            collector.handle.cancel()

    def get_tokenizer(self) -> Tokenizer:
        """The model's tokenizer and chat template."""
        return self._llm.get_tokenizer()

    def get_default_sampling_params(self) -> SamplingParams:
        """What a request gets where it says nothing."""
        return self._llm.get_default_sampling_params()

    def info(self) -> EngineInfo:
        """The model's headers, the engine's options after defaults, the memory ledger."""
        return self._llm.info()

    def get_metrics(self) -> dict[str, int]:
        """Live statistics."""
        return self._llm.get_metrics()

    def reset_prefix_cache(self) -> None:
        """Forget every cached prefix that nobody uses."""
        self._llm.reset_prefix_cache()

    async def close(self) -> None:
        """End all requests and free the model. Later calls raise `DrainingError`."""
        await asyncio.to_thread(self._llm.close)

    async def __aenter__(self) -> "AsyncLLM":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _submit(
        self, prompt: Any, params: SamplingParams | None, priority: int, request_id: str | None
    ) -> Collector:
        """Encoding takes time with a long prompt, so it is done beside the loop."""
        submitting = asyncio.ensure_future(
            asyncio.to_thread(self._llm.submit, prompt, params, priority, request_id)
        )
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # The thread goes on; what it submits has nobody who reads it.
            submitting.add_done_callback(_cancel_submitted)
            raise

    async def _next(self, collector: Collector) -> Event | None:
        loop = asyncio.get_running_loop()
        listener = self._listeners.get(loop)
        if listener is None:
            listener = self._listeners[loop] = _Listener(loop)
        return await listener.next(collector.handle)


class _Listener:
    """One loop's waiting requests, by key."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._bell = _tokenmill.Bell()
        self._keys = itertools.count()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        loop.add_reader(self._bell.fileno(), self._ring)

    async def next(self, handle: _tokenmill.Handle) -> Event | None:
        """The next event of a request; `None` at its end."""
        loop = asyncio.get_running_loop()
        key = next(self._keys)
        try:
            while True:
                news = self._waiting[key] = loop.create_future()
                is_there, event = handle.poll(self._bell, key)
                if is_there:
                    return event
                await news
        finally:
            del self._waiting[key]

    def _ring(self) -> None:
        for key in self._bell.take():
            news = self._waiting.get(key)
            if news is not None and not news.done():
                news.set_result(None)


def _cancel_submitted(submitting: "asyncio.Future[Collector]") -> None:
    if not submitting.cancelled() and submitting.exception() is None:
        submitting.result().handle.cancel()
