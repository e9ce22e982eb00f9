"""Tokenmill behind the peer protocol, through its public Python door.

Sampling is pinned: greedy, past any end token, no prefix cache. Every answer carries what the
engine counted meanwhile: bytes, operations, time by phase, and with `profile` by operation.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from peer import serve  # noqa: E402

import tokenmill  # noqa: E402
from tokenmill import LLM, BeamParams, SamplingParams  # noqa: E402


class Engine:
    """The model and the verbs."""

    def __init__(self, model: str, threads: int, **options: Any) -> None:
        self.llm = LLM(model, threads=threads, **options)

    def about(self) -> dict[str, Any]:
        """Everything that a figure depends on."""
        info = self.llm.info()
        names = ("backend", "level", "threads", "dtype", "activations", "kv_cache_dtype")
        return {
            "engine": f"tokenmill {tokenmill.__version__}",
            "decode_weight_bytes": info["decode_weight_bytes"],
            "decode_flops": info["decode_flops"],
            "vocab_len": info["vocab_len"],
            **{name: info[name] for name in names},
        }

    def decode(self, prompt: list[int], output_len: int) -> dict[str, Any]:
        """One stream: seconds between its first and its last token."""
        arrivals = []
        before = self.llm.get_metrics()
        for chunk in self.llm.stream(prompt, _params(output_len)):
            arrivals += [(time.perf_counter(), self.llm.get_metrics())] * len(chunk.token_ids)
            before = before if len(arrivals) > 1 else arrivals[0][1] if arrivals else before
        seconds = arrivals[-1][0] - arrivals[0][0]
        return self._answer(seconds, len(arrivals) - 1, before)

    def prefill(self, prompt: list[int]) -> dict[str, Any]:
        """Seconds from asking to the first token."""
        before, started = self.llm.get_metrics(), time.perf_counter()
        self.llm.generate(prompt, _params(1), use_tqdm=False)
        return self._answer(time.perf_counter() - started, len(prompt), before)

    def batch(self, prompts: list[list[int]], output_lens: list[int]) -> dict[str, Any]:
        """Everything at once: seconds from asking to the last token of all."""
        params = [_params(length) for length in output_lens]
        before, started = self.llm.get_metrics(), time.perf_counter()
        outputs = self.llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - started
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        return self._answer(seconds, tokens, before)

    def beams(self, prompts: list[list[int]], output_len: int, width: int) -> dict[str, Any]:
        """A beam search of each prompt, all at once; tokens are those of the best outputs."""
        params = BeamParams(
            width,
            output_len,
            num_return_sequences=1,
            ignore_eos=True,
            detokenize=False,
            skip_reading_prefix_cache=True,
        )
        before, started = self.llm.get_metrics(), time.perf_counter()
        outputs = self.llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - started
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        return self._answer(seconds, tokens, before)

    def samples(self, prompts: list[list[int]], output_len: int, count: int) -> dict[str, Any]:
        """As many requests of their own for each prompt as a search would have beams."""
        started = time.perf_counter()
        lens = [output_len] * (count * len(prompts))
        answer = self.batch([prompt for prompt in prompts for _ in range(count)], lens)
        seconds = time.perf_counter() - started
        return {**answer, "seconds": seconds, "tokens": len(prompts) * output_len}

    def _answer(self, seconds: float, tokens: int, before: dict[str, int]) -> dict[str, Any]:
        after = self.llm.get_metrics()
        counted = {
            name: after[name] - before[name]
            for name in after
            if name.endswith("_ns") or name in ("weight_bytes", "kv_bytes", "flops", "steps")
        }
        return {"seconds": seconds, "tokens": tokens, "counted": counted}


def _params(output_len: int) -> SamplingParams:
    return SamplingParams(
        temperature=0.0,
        max_tokens=output_len,
        ignore_eos=True,
        detokenize=False,
        skip_reading_prefix_cache=True,
    )


if __name__ == "__main__":
    engine = Engine(**json.loads(sys.argv[1]))
    serve(
        engine.about(),
        {
            "decode": engine.decode,
            "prefill": engine.prefill,
            "batch": engine.batch,
            "beams": engine.beams,
            "samples": engine.samples,
        },
    )
