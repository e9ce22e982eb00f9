"""One request, read as it grows. Closing or dropping the stream cancels the request."""

from types import TracebackType

from tokenmill.api.collector import Collector
from tokenmill.api.outputs import RequestOutput, StreamChunk


class Stream:
    """An iterator of chunks; it ends after the last sample's last chunk."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> StreamChunk:
        event = None if self._collector.is_finished else self._collector.handle.next()
        if event is None:
            self._collector.finish()
            raise StopIteration
        return self._collector.add(event)

    def output(self) -> RequestOutput:
        """Everything received so far, in the form that `generate` gives."""
        return self._collector.output()

    def close(self) -> None:
        """Cancel what is still running; iteration then ends."""
        self._collector.abort()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
