"""An engine without a model: it answers with the prompt, one byte a token, in real shapes.

For tests of what Python itself decides: feeding, order, joining, commands. What an engine must do
is tested on the real one.
"""

import threading
import time
from collections.abc import Callable

from tokenmill import _tokenmill
from tokenmill.errors import DrainingError, OverloadedError

INFO = {
    "notes": [],
    "architecture": "fake",
    "parameters": 1,
    "vocab_len": 256,
    "hidden": 1,
    "layers": 1,
    "context_len": 128,
    "max_model_len": 128,
    "backend": "fake",
    "level": "none",
    "threads": 1,
    "activations": "exact",
    "memory_plan": {"weights": 10, "kv cache": 20},
    "memory_total_bytes": 30,
    "eos_token_ids": [0],
    "has_tokenizer": True,
    "has_chat_template": True,
    "sampling_defaults": {},
}


class FakeHandle:
    """Gives `answer` byte by byte; `pause` runs before each event."""

    def __init__(self, request_id: int, prompt: list[int], values: dict, answer: bytes) -> None:
        self.request_id = request_id
        self.prompt_token_ids = prompt
        self.seed = values.get("seed") or 0
        self.effective = {"n": 1, "logprobs": None, **values}
        self.is_cancelled = False
        self.pause: Callable[[int], None] = lambda index: None
        self.error: tuple[str, str | None, str] | None = None
        self.on_end: Callable[[], None] = lambda: None
        self._events = self._make(answer)

    def _make(self, answer: bytes) -> list[dict]:
        limit = self.effective.get("max_tokens")
        answer = answer[: limit if limit is not None else len(answer)]
        events = []
        returned = self.effective.get("num_return_sequences") or self.effective.get("beam_width")
        for sample in range(returned or self.effective["n"]):
            for position, byte in enumerate(answer):
                is_last = position == len(answer) - 1
                events.append(self._event(sample, byte, is_last))
        return events

    def _event(self, sample: int, byte: int, is_last: bool) -> dict:
        finish = {
            "reason": "stop",
            "stop_reason": None,
            "error": None,
            "cached_tokens": 0,
            "created_tokens": 0,
            "preemptions": 0,
            "lifted": [],
            "score": None,
            "cumulative_logprob": None,
        }
        if self.effective.get("beam_width"):
            finish |= {"score": -1.0 - sample, "cumulative_logprob": -4.0 - sample}
        count = self.effective["logprobs"]
        return {
            "index": sample,
            "tokens": [byte],
            "text": chr(byte),
            "logprobs": [[(0, -0.1, 1), (byte, -0.5, 2)]] if count is not None else [],
            "prompt_logprobs": [],
            "explained": [],
            "finish": finish if is_last else None,
        }

    def next(self, timeout: float | None = None) -> dict | None:
        if self.is_cancelled or not self._events:
            self.on_end()
            return None
        self.pause(len(self._events))
        event = self._events.pop(0)
        if self.error is not None and event["finish"] is not None:
            event["finish"] |= {"reason": "error", "error": self.error}
        return event

    def cancel(self) -> None:
        self.is_cancelled = True
        self.on_end()


class FakeEngine:
    """Counts what runs; refuses beyond `room`."""

    instances: list["FakeEngine"] = []
    pause: Callable[[int], None] = staticmethod(lambda index: None)
    error: tuple[str, str | None, str] | None = None
    room = 8

    def __init__(self, path: str, options: dict) -> None:
        self.path = path
        self.options = options
        self.is_closed = False
        self.running = 0
        self.running_max = 0
        self.submitted: list[tuple] = []
        self.handles: list[FakeHandle] = []
        self._lock = threading.Lock()
        FakeEngine.instances.append(self)

    def submit(self, prompt, sampling, priority=0, cache_salt=None) -> FakeHandle:
        if self.is_closed:
            raise DrainingError("the engine is closed")
        with self._lock:
            if self.running >= self.room:
                raise OverloadedError("the queue is full")
            self.running += 1
            self.running_max = max(self.running_max, self.running)
            self.submitted.append((prompt, dict(sampling), priority, cache_salt))
            text = prompt.text if isinstance(prompt, _tokenmill.Rendered) else prompt
            ids = list(text.encode()) if isinstance(text, str) else list(text)
            handle = FakeHandle(len(self.submitted), ids, dict(sampling), bytes(ids))
        handle.pause = self.pause
        handle.error = self.error
        handle.on_end = self._once()
        self.handles.append(handle)
        return handle

    def _once(self) -> Callable[[], None]:
        is_open = True

        def end() -> None:
            nonlocal is_open
            with self._lock:
                self.running -= is_open
                is_open = False

        return end

    def render(self, messages, add_generation_prompt=True) -> _tokenmill.Rendered:
        return _tokenmill.Rendered("".join(f"{m['role']}:{m['content']};" for m in messages))

    def encode(self, text, add_bos=True, allow_control=False) -> list[int]:
        return list(text.encode())

    def decode(self, ids, skip_special_tokens=True) -> str:
        return bytes(ids).decode("utf-8", "replace")

    def info(self) -> dict:
        return dict(INFO)

    def stats(self) -> dict:
        names = ("steps", "weight_bytes", "kv_bytes", "flops", "model_ns", "sample_ns")
        return {**dict.fromkeys(names, time.monotonic_ns()), "plan_ns": 0, "publish_ns": 0}

    def reset_prefix_cache(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True
