"""An engine in its own process and environment: one JSON object a line each way.

The parent writes `{"do": NAME, ...}`, the engine answers with one object. Engines stay loaded and
sleep while another is measured, so A B B A costs no loading. It knows nothing of what is asked.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

_FOLDER = Path(__file__).parent / "peers"


class Peer:
    """A running engine."""

    def __init__(self, name: str, python: str, script: str, arguments: dict[str, Any]) -> None:
        self.name = name
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment["TQDM_DISABLE"] = "1"
        environment["OMP_NUM_THREADS"] = str(arguments["threads"])
        self._process = subprocess.Popen(
            [python, str(_FOLDER / script), json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.about = self._answer()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One measurement."""
        if self._process.stdin is None:
            raise RuntimeError(f"{self.name} has no input")
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the engine."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(60)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill() if kind else self.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        """The next line that is an object; libraries print what they like before it."""
        if self._process.stdout is None:
            raise RuntimeError(f"{self.name} has no output")
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError(f"{self.name} ended with status {self._process.wait()}")


def serve(about: dict[str, Any], verbs: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """The engine's side: say what it is, then answer until the input ends."""
    import sys

    sys.stdout.write(json.dumps(about) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = verbs[asked.pop("do")](**asked)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
