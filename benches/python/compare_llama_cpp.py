"""Tokenmill against llama.cpp on the same GGUF: one run, A B B A, the same threads, greedy.

Three questions: decoding one stream, prefilling 512 tokens, and 16 streams at once against
llama.cpp's single stream. llama.cpp runs in an environment of its own; `--peer` names its Python.
Prints a table and, with `--record`, writes it to benches/results. `make compare` does all of it.
"""

import argparse
import json
import random
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
from peer import Peer

from tokenmill.models import resolve

RESULTS = Path(__file__).resolve().parents[1] / "results"
PROMPT_LEN = 64
OUTPUT_LEN = 128
PREFILL_LEN = 512
STREAMS = 16
Ask = Callable[[Peer], dict[str, Any]]


def tokens(length: int, seed: int) -> list[int]:
    """Ordinary token ids: no control token of the default model is above 16."""
    generator = random.Random(seed)
    return [generator.randrange(300, 40_000) for _ in range(length)]


def alternate(ours: tuple[Peer, Ask], theirs: tuple[Peer, Ask], repeats: int) -> dict[str, Any]:
    """Tokens per second of both, in the order A B B A."""
    rates: dict[str, list[float]] = {ours[0].name: [], theirs[0].name: []}
    counted: list[dict[str, int]] = []
    for turn in range(repeats):
        pair = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
        for peer, ask in pair:
            answer = ask(peer)
            rates[peer.name].append(answer["tokens"] / answer["seconds"])
            if "counted" in answer:
                counted.append({**answer["counted"], "seconds": answer["seconds"]})
    ratios = [a / b for a, b in zip(rates[ours[0].name], rates[theirs[0].name], strict=True)]
    return {
        "rates": {name: spread(values) for name, values in rates.items()},
        "ratio": spread(ratios),
        "counted": counted[len(counted) // 2],
    }


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def shares(counted: dict[str, float], limits: dict[str, float]) -> dict[str, float]:
    """Of the machine's read bandwidth and int8 peak, over the whole measured time."""
    seconds = counted["seconds"]
    moved = counted["weight_bytes"] + counted["kv_bytes"]
    result = {"bandwidth": moved / seconds / limits["read_bytes_per_s"]}
    if limits["int8_ops"] > 0:
        result["int8_peak"] = counted["flops"] / seconds / limits["int8_ops"]
    result["model_time"] = counted["model_ns"] / 1e9 / seconds
    return result


def questions(ours: Peer, theirs: Peer) -> dict[str, tuple[tuple[Peer, Ask], tuple[Peer, Ask]]]:
    """What is asked of each side, and the target ratio of it."""
    prompt = tokens(PROMPT_LEN, 1)
    long = tokens(PREFILL_LEN, 2)
    prompts = [tokens(PROMPT_LEN, 10 + stream) for stream in range(STREAMS)]
    lengths = [OUTPUT_LEN] * STREAMS

    def decode(peer: Peer) -> dict[str, Any]:
        return peer.ask("decode", prompt=prompt, output_len=OUTPUT_LEN)

    def prefill(peer: Peer) -> dict[str, Any]:
        return peer.ask("prefill", prompt=long)

    def batch(peer: Peer) -> dict[str, Any]:
        return peer.ask("batch", prompts=prompts, output_lens=lengths)

    return {
        "decode, 1 stream (target 1.5)": ((ours, decode), (theirs, decode)),
        "prefill, 512 tokens (target 2)": ((ours, prefill), (theirs, prefill)),
        "16 streams over its 1 stream (target 4)": ((ours, batch), (theirs, decode)),
    }


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--peer", required=True, help="Python that has llama-cpp-python")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--record", action="store_true", help="write benches/results")
    given = parser.parse_args()
    path = str(resolve(given.model).path)
    common = {"model": path, "threads": given.threads}
    record: dict[str, Any] = {"machine": machine.describe(), "threads": given.threads}
    record["answers"] = {}
    record["waited_s"] = machine.wait_for_quiet(60)
    with (
        Peer("tokenmill", sys.executable, "tokenmill_peer.py", common) as ours,
        Peer("llama.cpp", given.peer, "llama_cpp_peer.py", common) as theirs,
    ):
        record["engines"] = {"tokenmill": ours.about, "llama.cpp": theirs.about}
        for name, (a, b) in questions(ours, theirs).items():
            before = machine.calibrate(given.threads)
            with machine.OtherWork([ours.pid, theirs.pid]) as others:
                answer = alternate(a, b, given.repeats)
            after = machine.calibrate(given.threads)
            limits = {key: max(before[key], after[key]) for key in before}
            answer["shares"] = shares(answer.pop("counted"), limits)
            answer["calibration"] = {"before": before, "after": after}
            answer["drift"] = machine.drift(before, after)
            answer["others_cores"] = others.cores
            record["answers"][name] = answer
            show(name, answer)
    if given.record:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"llama_cpp-{record['machine']['time'][:10]}.json"
        file.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def show(name: str, answer: dict[str, Any]) -> None:
    """One question, a line a side."""
    print(f"{name}: ratio {line(answer['ratio'], 2)}")
    for peer, rate in answer["rates"].items():
        print(f"  {peer:10} {line(rate, 1)} tokens/s")
    parts = ", ".join(f"{key} {value:.2f}" for key, value in answer["shares"].items())
    drift, others = answer["drift"], answer["others_cores"]
    print(f"  shares: {parts}; drift {drift:.2f}, others {others:.2f} cores")


def line(values: dict[str, float], digits: int) -> str:
    """Median with its range."""
    low, middle, high = values["min"], values["median"], values["max"]
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
