"""`transformers.generate` behind the peer protocol, on weights dequantised from the same GGUF file.

A batch is what transformers offers for many requests: prompts padded on the left to the longest,
and every row generating until the longest output is done. It imports nothing of ours but the
protocol.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
import transformers  # noqa: E402
from peer import serve  # noqa: E402


class Engine:
    """The model and the verb."""

    def __init__(self, model: str, threads: int, dtype: str) -> None:
        torch.set_num_threads(threads)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        path = Path(model)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=getattr(torch, dtype)
        ).eval()
        # What a request leaves open is taken from here, the end token included.
        self.model.generation_config.eos_token_id = None
        self.dtype = dtype
        self.threads = threads

    def about(self) -> dict[str, Any]:
        """Everything that a figure depends on."""
        return {
            "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "dtype": self.dtype,
            "threads": self.threads,
            "attention": self.model.config._attn_implementation,
        }

    def batch(
        self, prompts: list[list[int]], output_lens: list[int], batch_len: int
    ) -> dict[str, Any]:
        """All requests, `batch_len` at a time in the order given; counts tokens asked for only."""
        started = time.perf_counter()
        for start in range(0, len(prompts), batch_len):
            part = slice(start, start + batch_len)
            self._generate(prompts[part], max(output_lens[part]))
        return {"seconds": time.perf_counter() - started, "tokens": sum(output_lens)}

    def beams(
        self, prompts: list[list[int]], output_len: int, width: int, batch_len: int
    ) -> dict[str, Any]:
        """A beam search of each prompt, `batch_len` prompts at a time."""
        started = time.perf_counter()
        for start in range(0, len(prompts), batch_len):
            self._generate(prompts[start : start + batch_len], output_len, num_beams=width)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "tokens": len(prompts) * output_len}

    def _generate(self, prompts: list[list[int]], output_len: int, **more: Any) -> None:
        longest = max(map(len, prompts))
        padded = [[0] * (longest - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        config = transformers.GenerationConfig(
            do_sample=False,
            max_new_tokens=output_len,
            pad_token_id=0,
            **more,
        )
        with torch.inference_mode():
            made = self.model.generate(
                torch.tensor(padded),
                attention_mask=torch.tensor(mask),
                generation_config=config,
            )
        if made.shape[1] != longest + output_len:
            raise RuntimeError(f"expected {output_len} tokens, got {made.shape[1] - longest}")


if __name__ == "__main__":
    engine = Engine(**json.loads(sys.argv[1]))
    serve(engine.about(), {"batch": engine.batch, "beams": engine.beams})
