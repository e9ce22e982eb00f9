"""Commands on the default model, as a shell runs them: pipes that break, keys of a terminal."""

import os
import signal
import subprocess
import sys

import pytest

from fakes.terminal import Terminal

ENDLESS = ["--ignore-eos", "--temperature", "0", "--max-tokens", "4000"]


@pytest.fixture
def environment(repository, default_model, tmp_path):
    """A child's surroundings: the package, and the model by its path."""
    settings = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(tmp_path / "state")}
    settings["PYTHONPATH"] = str(repository / "python")
    settings["TOKENMILL_MODEL"] = str(default_model)
    return settings


VERBS = {"generate": ["generate", "Count:", *ENDLESS], "chat": ["chat", "-q", "Count.", *ENDLESS]}


def speaking(verb, environment):
    """A command that has begun its answer into a pipe."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tokenmill", *VERBS[verb]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert child.stdout.read(20)
    return child


@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_that_goes_away_in_the_middle_is_no_error(verb, environment):
    """Case 115."""
    child = speaking(verb, environment)
    child.stdout.close()
    errors = child.stderr.read()
    assert (child.wait(60), errors) == (0, b"")


@pytest.mark.parametrize("verb", VERBS)
def test_ctrl_c_on_a_terminal_ends_a_command_with_130(verb, environment):
    """Case 116."""
    terminal = Terminal([sys.executable, "-m", "tokenmill", *VERBS[verb]], environment)
    terminal.expect(" ", 60)
    terminal.type("\x03")
    assert terminal.child.wait(60) == 130
    assert "Traceback" not in terminal.seen


@pytest.mark.parametrize("verb", VERBS)
def test_an_interrupt_without_a_terminal_ends_a_command_with_130(verb, environment):
    """Case 116."""
    child = speaking(verb, environment)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (130, b"")
