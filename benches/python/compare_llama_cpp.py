"""Tokenmill against llama.cpp on the same GGUF file: one run, A B B A, the same threads, greedy.

    python benches/python/compare_llama_cpp.py --peer PYTHON [--record]

Decoding one stream, prefilling 512 tokens, and 16 streams at once against llama.cpp's single stream
(and, for the record, against its own 16). PYTHON has llama-cpp-python and is an environment apart.
Both keep their defaults for KV (bfloat16, float16); no prefix is reused on either side.
"""

import random
import sys

import session
from peer import Peer
from session import Question, Side

from tokenmill.models import resolve

PROMPT_LEN = 64
OUTPUT_LEN = 128
PREFILL_LEN = 512
STREAMS = 16
OURS, THEIRS = "tokenmill", "llama.cpp"


def ids(length: int, seed: int) -> list[int]:
    """Ordinary token ids: control tokens of the default model are below 17."""
    generator = random.Random(seed)
    return [generator.randrange(300, 40_000) for _ in range(length)]


DECODE = f"decode: {PROMPT_LEN} tokens of prompt, {OUTPUT_LEN} of output, after the first"
PREFILL = f"prefill: {PREFILL_LEN} tokens, to the first token"
BATCH = (
    f"{STREAMS} streams: each {PROMPT_LEN} of prompt and {OUTPUT_LEN} of output, prompts included"
)


def our_sides(ours: Peer) -> dict[str, Side]:
    """What Tokenmill is asked, by question."""
    prompt, long = ids(PROMPT_LEN, 1), ids(PREFILL_LEN, 2)
    prompts = [ids(PROMPT_LEN, 10 + stream) for stream in range(STREAMS)]
    lens = [OUTPUT_LEN] * STREAMS
    return {
        DECODE: Side(OURS, lambda: ours.ask("decode", prompt=prompt, output_len=OUTPUT_LEN)),
        PREFILL: Side(OURS, lambda: ours.ask("prefill", prompt=long)),
        BATCH: Side(
            f"{OURS}, {STREAMS} streams",
            lambda: ours.ask("batch", prompts=prompts, output_lens=lens),
        ),
    }


def questions(ours: Peer, theirs: Peer) -> tuple[Question, ...]:
    """What is asked, with the ratio that is to be reached."""
    prompt, long = ids(PROMPT_LEN, 1), ids(PREFILL_LEN, 2)
    prompts = [ids(PROMPT_LEN, 10 + stream) for stream in range(STREAMS)]
    own = our_sides(ours)
    decode = Side(THEIRS, lambda: theirs.ask("decode", prompt=prompt, output_len=OUTPUT_LEN))
    prefill = Side(THEIRS, lambda: theirs.ask("prefill", prompt=long))
    single = Side(
        f"{THEIRS}, 1 stream",
        lambda: theirs.ask("streams", prompts=[prompt], output_len=OUTPUT_LEN),
    )
    many = Side(
        f"{THEIRS}, {STREAMS} streams",
        lambda: theirs.ask("streams", prompts=prompts, output_len=OUTPUT_LEN),
    )
    return (
        Question(DECODE, (own[DECODE], decode), 1.5),
        Question(PREFILL, (own[PREFILL], prefill), 2.0),
        Question(BATCH, (own[BATCH], single, many), 4.0),
    )


def main() -> int:
    """Run, print, and record if asked."""
    parser = session.arguments(__doc__ or "", repeats=9)
    parser.add_argument("--peer", required=True, help="has llama-cpp-python")
    given = parser.parse_args()
    how = session.conduct(given)
    common = {"model": str(resolve(given.model).path), "threads": given.threads}
    with (
        Peer(OURS, sys.executable, "tokenmill_peer.py", common) as ours,
        Peer(THEIRS, given.peer, "llama_cpp_peer.py", common) as theirs,
    ):
        peers = (ours, theirs)
        engines = {peer.name: peer.about for peer in peers}
        pids = [peer.pid for peer in peers]
        answers = {
            question.name: session.run(question, how, pids) for question in questions(*peers)
        }
        engines["idle_cores"] = session.idle_cores(peers)
    with Peer(OURS, sys.executable, "tokenmill_peer.py", {**common, "profile": True}) as counting:
        sides = our_sides(counting)
        named = [Side(question, side.ask) for question, side in sides.items()]
        engines["by_operation"] = session.by_operation(named, how.repeats)
    if given.record:
        session.write("llama_cpp", how, engines, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
