"""Standard streams that are closed, narrow or interrupted: a clean end, never a trace. Case 116."""

import io
import json
import subprocess
import sys

import pytest

from fakes.engine import FakeHandle
from tokenmill.cli import main

PROGRAM = [sys.executable, "-m", "tokenmill"]


@pytest.fixture(autouse=True)
def importable(repository, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(repository / "python"), prepend=":")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("generate <&-", 2, "no prompt"),
        ("models >&-", 3, "standard output is closed"),
        ("models 2>&-", 0, ""),
        ("generate x --temprature 1 2>&-", 2, ""),
        ("models <&- 2>&-", 0, ""),
    ],
)
def test_case_115_a_closed_stream_is_no_fault_of_ours(command, code, said):
    line = " ".join(PROGRAM) + " " + command
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert ran.returncode == code, ran.stderr
    assert said in ran.stderr
    assert "internal" not in ran.stderr
    assert "Traceback" not in ran.stderr


def test_what_an_encoding_lacks_shows_as_a_question_mark(model, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(FakeHandle, "_make", lambda self, answer: [self._event(0, 233, True)])
    assert main(["generate", "x", "-m", model]) == 0
    assert raw.getvalue() == b"?\n"


def test_json_has_null_where_a_logprob_is_no_number(command, model, monkeypatch):
    event = FakeHandle._event

    def impossible(self, sample, byte, is_last):
        made = event(self, sample, byte, is_last)
        made["logprobs"] = [[(0, float("-inf"), 1), (byte, -0.5, 2)]]
        return made

    monkeypatch.setattr(FakeHandle, "_event", impossible)

    def refuse(constant):
        raise AssertionError(constant)

    ran = command("generate", "x", "-m", model, "--json", "--logprobs", "1")
    found = json.loads(ran.out, parse_constant=refuse)["outputs"][0]["logprobs"][0]
    assert [entry["logprob"] for entry in found.values()] == [None, -0.5]


# What an interrupt may meet on the way to the command: each of these is imported in turn.
STAGES = [
    "tokenmill.cli",
    "tokenmill._tokenmill",
    "tokenmill.errors",
    "tokenmill.cli.commands.models",
]
INTERRUPTED = """
import runpy, sys
stage, door = sys.argv[1:]
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == stage:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
sys.argv[1:] = ["models"]
if door == "module":
    runpy.run_module("tokenmill", run_name="__main__")
else:
    from tokenmill.__main__ import run
    sys.exit(run())
"""


@pytest.mark.parametrize("door", ["module", "script"])
@pytest.mark.parametrize("stage", STAGES)
def test_case_116_an_interrupt_while_the_command_starts_is_quiet(stage, door):
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, stage, door],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")
