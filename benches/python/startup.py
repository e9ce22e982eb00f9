"""From starting a process to its first token, with the model's file in the page cache.

    python benches/python/startup.py [--peer PYTHON] [--record]

A new Python imports Tokenmill, loads the default model, and answers one short prompt; likewise the
command line, and llama.cpp if an interpreter that has llama-cpp-python is named. The clock is the
system's monotonic one, read before the process is made and when its first token is there.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import session
from session import Answer, Question, Side

from tokenmill.models import resolve

_FOLDER = Path(__file__).parent
_PROMPT = "The capital of France is"


def page_in(path: Path) -> None:
    """Read the file once."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def program(python: str, script: str, model: Path, threads: int) -> Answer:
    """One process of peers/; it prints when each of its stages ended."""
    command = [python, str(_FOLDER / "peers" / script), str(model), str(threads), _PROMPT]
    started = time.monotonic()
    answered = subprocess.run(command, capture_output=True, text=True, check=True)
    stages = json.loads(answered.stdout.splitlines()[-1])
    at = {name: moment - started for name, moment in stages.items()}
    return {"seconds": at["first_token"], "tokens": 1, "stages": at}


def command_line(model: Path, threads: int) -> Answer:
    """`tokenmill generate`, until the process has ended."""
    command = [sys.executable, "-m", "tokenmill", "generate", "--model", str(model)]
    command += ["--threads", str(threads), "--max-tokens", "1", _PROMPT]
    started = time.monotonic()
    subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return {"seconds": time.monotonic() - started, "tokens": 1}


def main() -> int:
    """Run, print, and record if asked."""
    parser = session.arguments(__doc__ or "", repeats=9)
    parser.add_argument("--peer", default=None, help="has llama-cpp-python")
    given = parser.parse_args()
    how = session.conduct(given)
    model = resolve(given.model).path
    page_in(model)
    os.environ["HF_HUB_OFFLINE"] = "1"
    stages: list[dict[str, float]] = []

    def ours() -> Answer:
        answer = program(sys.executable, "tokenmill_first.py", model, given.threads)
        stages.append(answer["stages"])
        return answer

    sides = [
        Side("tokenmill from Python", ours),
        Side("tokenmill generate, whole process", lambda: command_line(model, given.threads)),
    ]
    if given.peer:
        peer_python = given.peer
        sides.append(
            Side(
                "llama.cpp from Python",
                lambda: program(peer_python, "llama_cpp_first.py", model, given.threads),
            )
        )
    question = Question("processes a second, from start to first token", tuple(sides))
    answer = session.run(question, how, [])
    answer["seconds"] = {
        name: {"min": 1 / rate["max"], "median": 1 / rate["median"], "max": 1 / rate["min"]}
        for name, rate in answer["tokens_per_s"].items()
    }
    answer["stages"] = {
        name: session.spread([stage[name] for stage in stages]) for name in stages[0]
    }
    _show(answer)
    if given.record:
        session.write("startup", how, {"target_s": 0.5}, {question.name: answer})
    return 0


def _show(answer: dict[str, Any]) -> None:
    for kind in ("seconds", "stages"):
        print(f"\n{kind} (minimum, median, maximum)")
        for name, value in answer[kind].items():
            low, middle, high = value["min"], value["median"], value["max"]
            print(f"  {name:36} {low:.3f} {middle:.3f} {high:.3f} s")


if __name__ == "__main__":
    sys.exit(main())
