"""Any number of requests through a bounded queue: fed as it empties, answered in the order asked.

Memory is bounded by the window, not by the number of prompts. Every running handle is read in every
round, so that what waits in its channel stays small. On any exception, Ctrl-C included, all that
runs is cancelled.
"""

import time
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from tokenmill import _tokenmill
from tokenmill.api.records import Event
from tokenmill.errors import OverloadedError

# Requests in flight; more only wait in the engine's queue.
WINDOW = 192
_WAIT_S = 0.05
_RETRY_S = 0.02

Output = TypeVar("Output")
Made = TypeVar("Made", covariant=True)


class Gathering(Protocol[Made]):
    """What gathers the events of one handle and makes an output of them, as a `Collector` does."""

    @property
    def handle(self) -> _tokenmill.Handle:
        """The handle."""

    def add(self, event: Event) -> object:
        """Take one event."""

    def finish(self) -> None:
        """Note that no event will follow."""

    def output(self) -> Made:
        """Everything so far."""


class Batch(Generic[Output]):
    """Runs submissions and keeps their outputs in order."""

    def __init__(
        self,
        submissions: Iterator[Callable[[], Gathering[Output]]],
        on_finished: Callable[[int], None],
    ) -> None:
        self._submissions = submissions
        self._on_finished = on_finished
        self._outputs: list[Output | None] = []
        self._running: dict[int, Gathering[Output]] = {}
        self._held: Callable[[], Gathering[Output]] | None = None
        self._is_exhausted = False

    def run(self) -> list[Output]:
        """Every output, in the order of the submissions."""
        try:
            while True:
                self._fill()
                if not self._running and self._is_exhausted:
                    break
                if not self._sweep():
                    self._wait()
        finally:
            for collector in self._running.values():
                collector.handle.cancel()
        return [output for output in self._outputs if output is not None]

    def _fill(self) -> None:
        while len(self._running) < WINDOW and not self._is_exhausted:
            submit = self._held or next(self._submissions, None)
            self._held = None
            if submit is None:
                self._is_exhausted = True
                return
            try:
                collector = submit()
            except OverloadedError:
                self._held = submit
                return
            self._running[len(self._outputs)] = collector
            self._outputs.append(None)

    def _sweep(self) -> bool:
        """Read all that has arrived; whether anything had."""
        is_progress = False
        for index, collector in list(self._running.items()):
            is_progress |= self._drain(index, collector)
        return is_progress

    def _drain(self, index: int, collector: Gathering[Output]) -> bool:
        is_progress = False
        while True:
            try:
                event = collector.handle.next(0)
            except TimeoutError:
                return is_progress
            is_progress = True
            if event is None:
                self._finish(index, collector)
                return True
            collector.add(event)

    def _wait(self) -> None:
        """Sleep until the oldest request moves, or a moment passes."""
        oldest = next(iter(self._running.items()), None)
        if oldest is None:
            time.sleep(_RETRY_S)
            return
        index, collector = oldest
        try:
            event = collector.handle.next(_WAIT_S)
        except TimeoutError:
            return
        if event is None:
            self._finish(index, collector)
        else:
            collector.add(event)

    def _finish(self, index: int, collector: Gathering[Output]) -> None:
        collector.finish()
        self._outputs[index] = collector.output()
        del self._running[index]
        self._on_finished(1)
