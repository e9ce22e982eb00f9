"""The compiled module: what Rust gives to Python, and nothing that Python decides for itself.

It converts arguments, releases the GIL, converts back. Every rule about values (bounds, defaults,
names, how text writes them) lives behind `options`, `parse_text`, `check_sampling`, `check_engine`; the Python package adds none. `make
lint` compares this file with the built module.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self, final

from tokenmill.api.records import EngineInfo, Event, OptionRow, PlannedInfo

__all__ = [
    "Engine",
    "check_engine",
    "check_text",
    "inspect",
    "Bell",
    "Handle",
    "Rendered",
    "measure_machine",
    "check_label",
    "check_sampling",
    "nearest",
    "options",
    "parse_text",
    "__version__",
    "TokenmillError",
    "InvalidRequestError",
    "NotFoundError",
    "UnsupportedError",
    "CorruptModelError",
    "OverloadedError",
    "DrainingError",
    "DeadlineError",
    "CancelledError",
    "TokenmillIoError",
    "InternalError",
]

__version__: str

def options() -> list[OptionRow]: ...
def check_label(name: str, label: str) -> None: ...
def check_sampling(values: dict[str, Any]) -> dict[str, Any]: ...
def check_engine(options: dict[str, Any]) -> None: ...
def parse_text(group: str, name: str, text: str) -> Any: ...
def nearest(name: str) -> str | None: ...
def inspect(path: str, options: dict[str, Any]) -> PlannedInfo: ...
def check_text(path: str, options: dict[str, Any]) -> None: ...
def measure_machine(seconds: float, threads: int) -> dict[str, float]: ...

class TokenmillError(Exception):
    """Base of every error of this package; `kind` is a class attribute, `param` set where one is at fault."""

    kind: ClassVar[str]
    exit_code: ClassVar[int]
    param: str | None

class InvalidRequestError(TokenmillError, ValueError): ...
class NotFoundError(TokenmillError, LookupError): ...
class UnsupportedError(TokenmillError, ValueError): ...
class CorruptModelError(TokenmillError, ValueError): ...
class OverloadedError(TokenmillError, RuntimeError): ...
class DrainingError(TokenmillError, RuntimeError): ...
class DeadlineError(TokenmillError, TimeoutError): ...
class CancelledError(TokenmillError): ...
class TokenmillIoError(TokenmillError, OSError): ...
class InternalError(TokenmillError, RuntimeError): ...

@final
class Engine:
    """A loaded model and the thread that runs it."""

    def __new__(cls, path: str, options: dict[str, Any]) -> Engine: ...
    def submit(
        self,
        prompt: str | Sequence[int] | Rendered,
        sampling: dict[str, Any],
        priority: int = 0,
        cache_salt: str | None = None,
    ) -> Handle: ...
    def explain(
        self,
        prompt: str | Sequence[int] | Rendered,
        sampling: dict[str, Any],
        top: int,
        cache_salt: str | None = None,
    ) -> Handle: ...
    def render(
        self, messages: list[dict[str, Any]], add_generation_prompt: bool = True
    ) -> Rendered: ...
    def encode(self, text: str, add_bos: bool = True, allow_control: bool = False) -> list[int]: ...
    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str: ...
    def info(self) -> EngineInfo: ...
    def stats(self) -> dict[str, int]: ...
    def reset_prefix_cache(self) -> None: ...
    def close(self) -> None: ...

@final
class Bell:
    """Wakes an event loop: `fileno` is what it watches, `take` the requests that have news."""

    def __new__(cls) -> Self: ...
    def fileno(self) -> int: ...
    def take(self) -> list[int]: ...

@final
class Rendered:
    """Text of a chat template, with the caller's words told apart from its control tokens."""

    text: str
    def __new__(cls, text: str) -> Rendered: ...

@final
class Handle:
    """The caller's end of one request; dropping it cancels.

    `next` waits at most `timeout` seconds (`None`: as long as it takes; 0: not at all) and raises
    the builtin `TimeoutError` when nothing came; `None` means that every sample has finished.
    """

    request_id: int
    prompt_token_ids: list[int]
    seed: int
    effective: dict[str, Any]
    def __iter__(self) -> Handle: ...
    def __next__(self) -> Event: ...
    def next(self, timeout: float | None = None) -> Event | None: ...
    def poll(self, bell: Bell, key: int) -> tuple[bool, Event | None]: ...
    def cancel(self) -> None: ...
