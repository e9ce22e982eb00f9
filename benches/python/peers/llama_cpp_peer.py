"""llama.cpp behind the peer protocol, through llama-cpp-python's C functions.

The C functions rather than the `Llama` class, because that copies logits and samples in Python:
what is measured is llama.cpp, greedy, past any end token, with an empty cache. It imports nothing
of ours but the protocol.
"""

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import llama_cpp as c  # noqa: E402
from peer import serve  # noqa: E402

_CONTEXT_LEN = 4096
_BATCH_LEN = 512
_STREAMS_MAX = 16


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def _silent(_level: int, _text: bytes, _data: Any) -> None:
    """Swallow llama.cpp's log."""


class Engine:
    """The model, one context, and the verbs."""

    def __init__(self, model: str, threads: int) -> None:
        c.llama_log_set(_silent, ctypes.c_void_p(0))
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(model.encode(), c.llama_model_default_params())
        parameters = c.llama_context_default_params()
        parameters.n_ctx = _CONTEXT_LEN
        parameters.n_batch = parameters.n_ubatch = _BATCH_LEN
        parameters.n_seq_max = _STREAMS_MAX
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = threads
        self.context = c.llama_init_from_model(self.model, parameters)
        self.threads = threads
        chain = c.llama_sampler_chain_default_params()
        self.sampler = c.llama_sampler_chain_init(chain)
        c.llama_sampler_chain_add(self.sampler, c.llama_sampler_init_greedy())
        self.batch = c.llama_batch_init(_BATCH_LEN, 0, 1)

    def about(self) -> dict[str, Any]:
        """Everything that a figure depends on."""
        return {
            "engine": f"llama-cpp-python {c.__version__}",
            "system": c.llama_print_system_info().decode(),
            "threads": self.threads,
            "kv_cache_dtype": "float16",
        }

    def decode(self, prompt: list[int], output_len: int) -> dict[str, Any]:
        """One stream: seconds between its first and its last token."""
        self._clear()
        self._run([(token, position, 0) for position, token in enumerate(prompt)])
        token = self._sample()
        started = time.perf_counter()
        for position in range(len(prompt), len(prompt) + output_len - 1):
            self._run([(token, position, 0)])
            token = self._sample()
        return {"seconds": time.perf_counter() - started, "tokens": output_len - 1}

    def prefill(self, prompt: list[int]) -> dict[str, Any]:
        """Seconds from asking to the first token."""
        self._clear()
        started = time.perf_counter()
        self._run([(token, position, 0) for position, token in enumerate(prompt)])
        self._sample()
        return {"seconds": time.perf_counter() - started, "tokens": len(prompt)}

    def streams(self, prompts: list[list[int]], output_len: int) -> dict[str, Any]:
        """Several sequences of the same lengths in one batch: seconds from asking to the end."""
        self._clear()
        started = time.perf_counter()
        tokens = []
        for stream, prompt in enumerate(prompts):
            self._run([(token, position, stream) for position, token in enumerate(prompt)])
            tokens.append(self._sample())
        for step in range(output_len - 1):
            rows = [
                (token, len(prompts[stream]) + step, stream) for stream, token in enumerate(tokens)
            ]
            self._run(rows, is_every_row_sampled=True)
            tokens = [self._sample(row) for row in range(len(rows))]
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "tokens": output_len * len(prompts)}

    def _clear(self) -> None:
        c.llama_memory_clear(c.llama_get_memory(self.context), True)

    def _run(self, rows: list[tuple[int, int, int]], *, is_every_row_sampled: bool = False) -> None:
        for index, (token, position, stream) in enumerate(rows):
            self.batch.token[index] = token
            self.batch.pos[index] = position
            self.batch.n_seq_id[index] = 1
            self.batch.seq_id[index][0] = stream
            self.batch.logits[index] = is_every_row_sampled or index == len(rows) - 1
        self.batch.n_tokens = len(rows)
        status = c.llama_decode(self.context, self.batch)
        if status != 0:
            raise RuntimeError(f"llama_decode gave {status}")

    def _sample(self, row: int = -1) -> int:
        return c.llama_sampler_sample(self.sampler, self.context, row)


if __name__ == "__main__":
    engine = Engine(**json.loads(sys.argv[1]))
    serve(
        engine.about(),
        {"decode": engine.decode, "prefill": engine.prefill, "streams": engine.streams},
    )
