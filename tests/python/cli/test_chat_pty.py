"""The chat on a real pseudo-terminal: keys, Ctrl-C from the terminal driver, exit codes."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time

import pytest

CHILD = """
import sys, time
from fakes.engine import FakeEngine
from tokenmill import _tokenmill
from tokenmill.cli import main
_tokenmill.Engine = FakeEngine
FakeEngine.pause = staticmethod(lambda left: time.sleep(0.05))
raise SystemExit(main(['chat', '-m', sys.argv[1]]))
"""


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


@pytest.fixture
def terminal(repository, model, tmp_path):
    paths = [str(repository / "python"), str(repository / "tests/python")]
    environment = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(tmp_path / "state")}
    environment["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    terminal = Terminal([sys.executable, "-c", CHILD, model], environment)
    yield terminal
    terminal.child.kill()
    terminal.child.wait()


def test_a_conversation_on_a_terminal(terminal):
    terminal.expect("/help lists the commands")
    terminal.expect("> ")
    terminal.type("hi\n")
    terminal.expect("user:hi;")
    terminal.expect("> ")
    # In the middle of an answer: it stops, the chat goes on.
    terminal.type("a question with a long answer\n")
    terminal.expect("assistant:")
    terminal.type("\x03")
    terminal.expect(" [stopped]")
    terminal.expect("> ")
    # At the prompt: the first is answered with a hint, the second leaves.
    terminal.type("\x03")
    terminal.expect("Ctrl-C again")
    terminal.expect("> ")
    terminal.type("\x03")
    assert terminal.child.wait(20) == 130


def test_ctrl_d_leaves_with_zero(terminal):
    terminal.expect("> ")
    terminal.type("\x04")
    assert terminal.child.wait(20) == 0
