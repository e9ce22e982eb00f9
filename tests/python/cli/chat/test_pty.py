"""The chat on a real pseudo-terminal: keys, Ctrl-C from the terminal driver, exit codes."""

import os
import sys

import pytest

from fakes.terminal import Terminal

CHILD = """
import sys, time
from fakes.engine import FakeEngine
from tokenmill import _tokenmill
from tokenmill.cli import main
_tokenmill.Engine = FakeEngine
FakeEngine.pause = staticmethod(lambda left: time.sleep(0.05))
raise SystemExit(main(['chat', '-m', sys.argv[1]]))
"""


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
