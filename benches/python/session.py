"""One comparison: several sides answer the same question in turn, forwards and backwards.

Every question stands between two calibrations and says whether it may be believed: void if the
machine changed by more than a tenth meanwhile, dirty if other programs worked. A question that
may not be believed is asked again, a few times; the record says so either way. It knows no engine.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
from peer import Peer

RESULTS = Path(__file__).resolve().parents[1] / "results"
_PHASES = ("model_ns", "sample_ns", "plan_ns", "publish_ns")
Answer = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """A name, and how to ask: the answer holds `seconds`, `tokens` and perhaps `counted`.

    `peak` names the limit of the machine that its arithmetic runs against.
    """

    name: str
    ask: Callable[[], Answer]
    peak: str = "int8_ops"


@dataclass(frozen=True)
class Question:
    """What is asked of every side; ratios are of the first side over each other one."""

    name: str
    sides: tuple[Side, ...]
    target: float | None = None


@dataclass(frozen=True)
class Conduct:
    """How a comparison is run."""

    threads: int
    repeats: int
    attempts: int
    quiet_wait_s: float
    calibrate_s: float


def arguments(description: str, repeats: int) -> argparse.ArgumentParser:
    """The flags that every comparison has."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--model", default=None, help="name or path (the default model)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=repeats, help=f"of each side ({repeats})")
    parser.add_argument("--attempts", type=int, default=3, help="to get a clean run of a question")
    parser.add_argument("--quiet-wait-s", type=float, default=120.0, help="longest wait for quiet")
    parser.add_argument("--calibrate-s", type=float, default=1.0, help="each of the four limits")
    parser.add_argument("--record", action="store_true", help="write benches/results")
    return parser


def conduct(given: argparse.Namespace) -> Conduct:
    """From the flags."""
    return Conduct(
        given.threads, given.repeats, given.attempts, given.quiet_wait_s, given.calibrate_s
    )


def run(question: Question, how: Conduct, pids: Iterable[int]) -> Answer:
    """Ask until a run is clean, at most `attempts` times; the last one counts, with its flags."""
    pids = list(pids)
    for side in question.sides:
        side.ask()
    for attempt in range(1, how.attempts + 1):
        answer = _once(question, how, pids)
        answer["attempt"] = attempt
        _show(question, answer)
        if not answer["is_void"] and not answer["is_dirty"]:
            break
    return answer


def by_operation(sides: Iterable[Side], repeats: int) -> dict[str, dict[str, float]]:
    """Where the time of each side goes, over the wall time; its engine must count operations."""
    sides = list(sides)
    print("\nby operation, counted in runs of their own")
    shares: dict[str, dict[str, float]] = {}
    for side in sides:
        side.ask()
        answer = _middle([side.ask() for _ in range(repeats)])
        counted, seconds = answer["counted"], answer["seconds"]
        parts = {
            name.removesuffix("_ns"): counted[name] / 1e9 / seconds
            for name in sorted(counted, key=lambda name: -counted[name])
            if name.endswith("_ns") and name != "model_ns"
        }
        shares[side.name] = {**parts, "rest": 1.0 - sum(parts.values())}
        line = ", ".join(f"{name} {share:.1%}" for name, share in shares[side.name].items())
        print(f"  {side.name}: {line}", flush=True)
    return shares


def idle_cores(peers: Iterable[Peer]) -> dict[str, float]:
    """Cores that each loaded engine uses while nobody asks it anything."""
    peers = list(peers)
    before = {peer.name: machine.process_s(peer.pid) for peer in peers}
    time.sleep(2.0)
    return {peer.name: (machine.process_s(peer.pid) - before[peer.name]) / 2.0 for peer in peers}


def write(name: str, how: Conduct, engines: dict[str, Any], answers: dict[str, Answer]) -> Path:
    """The record of one run, under benches/results."""
    about = machine.describe()
    record = {
        "bench": name,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": about,
        "conduct": vars(how),
        "engines": engines,
        "answers": answers,
    }
    RESULTS.mkdir(exist_ok=True)
    stamp = about["time"].replace(":", "").replace("-", "")
    path = RESULTS / f"{name}-{stamp}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written: {path}")
    return path


def spread(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def _once(question: Question, how: Conduct, pids: list[int]) -> Answer:
    waited_s = machine.wait_for_quiet(how.quiet_wait_s)
    before = machine.calibrate(how.threads, how.calibrate_s)
    with machine.OtherWork(pids) as others:
        got = _alternate(question.sides, how.repeats)
    after = machine.calibrate(how.threads, how.calibrate_s)
    # The higher of two readings is nearer to what the machine can do, so shares are not flattered.
    limits = {name: max(before[name], after[name]) for name in before}
    rates = {name: [a["tokens"] / a["seconds"] for a in answers] for name, answers in got.items()}
    first = question.sides[0].name
    ratios = {
        f"{first} / {name}": spread([a / b for a, b in zip(rates[first], other, strict=True)])
        for name, other in rates.items()
        if name != first
    }
    drift = machine.drift(before, after)
    return {
        "target": question.target,
        "tokens_per_s": {name: spread(values) for name, values in rates.items()},
        "ratios": ratios,
        "shares": {
            side.name: _shares(_middle(got[side.name]), limits, side.peak)
            for side in question.sides
            if "counted" in got[side.name][0]
        },
        "calibration": {"before": before, "after": after, "drift": drift},
        "others_cores": others.cores,
        "stolen_cores": others.stolen_cores,
        "waited_s": waited_s,
        "is_void": drift > machine.DRIFT_MAX,
        "is_dirty": others.cores > machine.OTHERS_MAX_CORES,
    }


def _alternate(sides: tuple[Side, ...], repeats: int) -> dict[str, list[Answer]]:
    """A B B A: each turn takes the sides in the other order."""
    got: dict[str, list[Answer]] = {side.name: [] for side in sides}
    for turn in range(repeats):
        for side in sides if turn % 2 == 0 else reversed(sides):
            got[side.name].append(side.ask())
    return got


def _middle(answers: list[Answer]) -> Answer:
    """The answer of the median duration."""
    return sorted(answers, key=lambda answer: answer["seconds"])[len(answers) // 2]


def _shares(answer: Answer, limits: dict[str, float], peak: str) -> dict[str, float]:
    """Bytes and operations over the machine's limits, and the time by phase; over the wall time."""
    counted, seconds = answer["counted"], answer["seconds"]
    moved = counted["weight_bytes"] + counted["kv_bytes"]
    shares = {"bandwidth": moved / seconds / limits["read_bytes_per_s"]}
    if limits.get(peak, 0) > 0:
        shares[peak] = counted["flops"] / seconds / limits[peak]
    phases = {name.removesuffix("_ns"): counted[name] / 1e9 / seconds for name in _PHASES}
    return {**shares, **phases, "rest": 1.0 - sum(phases.values())}


def _show(question: Question, answer: Answer) -> None:
    target = f" (target {question.target:g}x)" if question.target else ""
    print(f"\n{question.name}{target}")
    for name, rate in answer["tokens_per_s"].items():
        print(f"  {name:36} {_line(rate, 1)} tokens/s")
    for name, ratio in answer["ratios"].items():
        print(f"  {name:36} {_line(ratio, 2)}")
    for name, shares in answer["shares"].items():
        print(f"  {name}: " + ", ".join(f"{key} {share:.1%}" for key, share in shares.items()))
    flags = [name for name in ("is_void", "is_dirty") if answer[name]]
    print(
        f"  attempt {answer['attempt']}: {' '.join(flags) or 'clean'}; drift "
        f"{answer['calibration']['drift']:.1%}, others {answer['others_cores']:.2f} cores, stolen "
        f"{answer['stolen_cores']:.2f}, waited {answer['waited_s']:.0f} s",
        flush=True,
    )


def _line(values: dict[str, float], digits: int) -> str:
    low, middle, high = values["min"], values["median"], values["max"]
    return f"{middle:10.{digits}f}  ({low:.{digits}f} to {high:.{digits}f})"
