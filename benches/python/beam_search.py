"""Beam search: Tokenmill against `transformers.generate`, and against requests without beams.

    python benches/python/beam_search.py [--width 4] [--prompts 16] [--record]

Every side makes outputs of the same length for the same prompts, all prompts at once, in float32
on weights of one GGUF file; tokens are those of the best output of each prompt. The last side is
ours without a search: as many greedy requests for each prompt as the search has beams.
"""

import sys
from typing import Any

import session
from peer import Peer
from session import Answer, Question, Side

from tokenmill.models import resolve

_EXACT = {"dtype": "float32", "activations": "exact", "kv_cache_dtype": "float32"}


def main() -> int:
    """Run, print, and record if asked."""
    parser = session.arguments(__doc__ or "", repeats=3)
    parser.add_argument("--peer", default=sys.executable, help="has transformers")
    parser.add_argument("--width", type=int, default=4, help="beams (4)")
    parser.add_argument("--prompts", type=int, default=16, help="prompts at once (16)")
    parser.add_argument("--prompt-len", type=int, default=64, help="tokens of each (64)")
    parser.add_argument("--output-len", type=int, default=64, help="tokens of each output (64)")
    given = parser.parse_args()
    how = session.conduct(given)
    prompts = [
        [300 + (104_729 * (index + 1) + 7919 * at) % 40_000 for at in range(given.prompt_len)]
        for index in range(given.prompts)
    ]
    asked: dict[str, Any] = {"prompts": prompts, "output_len": given.output_len}
    common = {"model": str(resolve(given.model).path), "threads": given.threads}
    seats = {"max_num_seqs": given.prompts * given.width}
    with (
        Peer(
            "tokenmill", sys.executable, "tokenmill_peer.py", {**common, **_EXACT, **seats}
        ) as ours,
        Peer(
            "transformers", given.peer, "transformers_peer.py", {**common, "dtype": "float32"}
        ) as theirs,
    ):

        def searched() -> Answer:
            return ours.ask("beams", **asked, width=given.width)

        def their_search() -> Answer:
            return theirs.ask("beams", **asked, width=given.width, batch_len=given.prompts)

        def without() -> Answer:
            return ours.ask("samples", **asked, count=given.width)

        sides = (
            Side("tokenmill", searched),
            Side("transformers", their_search),
            Side("tokenmill, requests without beams", without),
        )
        name = f"beam search of width {given.width}, {given.prompts} prompts"
        question = Question(name, sides)
        answers = {name: session.run(question, how, [ours.pid, theirs.pid])}
        engines = {peer.name: peer.about for peer in (ours, theirs)}
    if given.record:
        session.write("beam_search", how, engines, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
