"""A child process on a pseudo-terminal, with somebody who reads and types."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import time

import pytest


class Terminal:
    """A child on a pseudo-terminal, and everything it has written."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._main, side = pty.openpty()
        self.child = subprocess.Popen(
            arguments,
            stdin=side,
            stdout=side,
            stderr=side,
            env=environment,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(side)
        self.seen = ""

    def expect(self, text: str, seconds: float = 30.0) -> None:
        """Read until `text` has come after what was expected before."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come, only {self.seen!r}"
            if select.select([self._main], [], [], left)[0]:
                try:
                    self.seen += os.read(self._main, 4096).decode("utf-8", "replace")
                except OSError:
                    pytest.fail(f"{text!r} did not come before the end, only {self.seen!r}")
        self.seen = self.seen.split(text, 1)[1]

    def type(self, keys: str) -> None:
        """Press keys, a moment later: a signal between a prompt and readline's wait is lost."""
        time.sleep(0.5)
        os.write(self._main, keys.encode())


def _own_terminal() -> None:
    """Make standard input the child's controlling terminal, so that Ctrl-C becomes a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
