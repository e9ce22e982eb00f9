"""A progress bar and one-line notices on standard error, for work a person waits for.

It knows how to draw and when to stay silent (no terminal, no standard error); it refuses to know
what is counted. Nothing here raises: a closed terminal must not end the work it reports on.
"""

import contextlib
import os
import shutil
import sys
import time
from types import TracebackType

_REDRAW_S = 0.1
_BAR_WIDTH = 24


def say(line: str) -> None:
    """Write one line to standard error, where there is one."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def format_bytes(count: float) -> str:
    """Bytes as people read them: `98.4 MB`, decimal as disks and registries count."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class Progress:
    """A bar that counts up to `total`; drawn on a terminal only, unless `visible` says otherwise.

    `unit` is "B" for bytes, else a plural noun. Used as a context manager, so that the line is
    ended whatever happens inside.
    """

    def __init__(self, label: str, total: int, unit: str, *, visible: bool | None = None) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0
        self._visible = _is_terminal() if visible is None else visible
        self._started = time.monotonic()
        self._drawn_at = 0.0
        self._width_drawn = 0

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._visible and self._width_drawn:
            self._draw()
            self._write("\n")

    def set(self, done: int) -> None:
        """Say how much is done in all."""
        self.done = done
        now = time.monotonic()
        if self._visible and now - self._drawn_at >= _REDRAW_S:
            self._drawn_at = now
            self._draw()

    def advance(self, count: int) -> None:
        """Say that `count` more are done."""
        self.set(self.done + count)

    def line(self) -> str:
        """The bar as text."""
        share = min(1.0, self.done / self.total) if self.total else 1.0
        filled = round(share * _BAR_WIDTH)
        bar = "#" * filled + "." * (_BAR_WIDTH - filled)
        elapsed = max(time.monotonic() - self._started, 1e-6)
        rate = self.done / elapsed
        if self.unit == "B":
            counts = f"{format_bytes(self.done)} of {format_bytes(self.total)}"
            speed = f"{format_bytes(rate)}/s"
        else:
            counts = f"{self.done}/{self.total} {self.unit}"
            speed = f"{rate:.1f}/s"
        return f"{self.label} [{bar}] {share:4.0%} {counts} {speed}"

    def _draw(self) -> None:
        columns = shutil.get_terminal_size().columns
        text = self.line()[: max(columns - 1, 20)]
        padding = " " * max(self._width_drawn - len(text), 0)
        self._write("\r" + text + padding)
        self._width_drawn = len(text)

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            self._visible = False


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and os.isatty(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
