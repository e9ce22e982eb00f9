"""Tokenmill against `transformers.generate` on a workload of mixed lengths, on the same GGUF file.

    python benches/python/compare_transformers.py [--record]

32 requests known from the start, greedy: prompts of 16 to 256 tokens, outputs of 16 to 256.
transformers takes them in order, in padded batches of each size in `--batch-lens`, in float32 and
in bfloat16; only tokens that were asked for count. Tokenmill runs in exact mode and by default.
"""

import sys
from typing import Any

import session
from peer import Peer
from session import Answer, Question, Side

from tokenmill.models import resolve

REQUESTS = 32
_LENS = (16, 32, 64, 96, 128, 192, 224, 256)
_EXACT = {"dtype": "float32", "activations": "exact", "kv_cache_dtype": "float32"}


def workload(scale: float) -> dict[str, Any]:
    """The requests, by a fixed rule; `scale` shrinks every length for a trial."""
    prompts, lens = [], []
    for index in range(REQUESTS):
        prompt_len = max(1, int(_LENS[index * 5 % 8] * scale))
        first = 300 + 104_729 * (index + 1)
        prompts.append([300 + (first + 7919 * at) % 40_000 for at in range(prompt_len)])
        lens.append(max(2, int(_LENS[(index * 3 + index // 8) % 8] * scale)))
    return {"prompts": prompts, "output_lens": lens}


def main() -> int:
    """Run, print, and record if asked."""
    parser = session.arguments(__doc__ or "", repeats=3)
    parser.add_argument("--peer", default=sys.executable, help="has transformers")
    parser.add_argument("--batch-lens", default="1,8,32", help="batches of transformers (1,8,32)")
    parser.add_argument("--scale", type=float, default=1.0, help="of all lengths, for a trial")
    given = parser.parse_args()
    how = session.conduct(given)
    batch_lens = [int(part) for part in given.batch_lens.split(",")]
    asked = workload(given.scale)
    common = {"model": str(resolve(given.model).path), "threads": given.threads}

    def theirs_at(peer: Peer, batch_len: int) -> Side:
        def ask() -> Answer:
            return peer.ask("batch", **asked, batch_len=batch_len)

        return Side(f"{peer.name}, batches of {batch_len}", ask)

    def all_at_once(peer: Peer) -> Side:
        peak = "f32_flops" if peer.about["activations"] == "exact" else "int8_ops"
        return Side(peer.name, lambda: peer.ask("batch", **asked), peak)

    answers: dict[str, Answer] = {}
    engines: dict[str, Any] = {}
    for dtype, options in (("float32", _EXACT), ("bfloat16", {})):
        ours_name = "tokenmill exact" if options else "tokenmill"
        with (
            Peer(ours_name, sys.executable, "tokenmill_peer.py", {**common, **options}) as ours,
            Peer(
                f"transformers {dtype}",
                given.peer,
                "transformers_peer.py",
                {**common, "dtype": dtype},
            ) as theirs,
        ):
            sides = (all_at_once(ours), *(theirs_at(theirs, batch_len) for batch_len in batch_lens))
            question = Question(f"{REQUESTS} requests of mixed lengths, {dtype}", sides)
            answers[question.name] = session.run(question, how, [ours.pid, theirs.pid])
            engines |= {peer.name: peer.about for peer in (ours, theirs)}
    if given.record:
        session.write("transformers", how, {**engines, "scale": given.scale}, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
