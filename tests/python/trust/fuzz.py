"""Runs the coverage-guided fuzzer of `rust/fuzz`, and keeps what it found.

`make fuzz` runs every target, `make fuzz T=gguf_header SECONDS=600` one. A run works on a copy of
the committed corpus in `fuzz-out/`, which later runs go on from; what crashes lies there too. A
run is recorded in `fuzz.jsonl`, from which `docs/trust.md` takes its hours; `--merge` brings the
committed corpora up to date, one input for every edge of the code. The canary must be found, or
nothing counts.
"""

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CRATE = ROOT / "rust" / "fuzz"
CORPORA = ROOT / "tests" / "corpus"
RECORD = Path(__file__).with_name("fuzz.jsonl")
CANARY = "canary"
# What it panics with.
CANARY_SAYS = "the canary was found"
RSS_LIMIT_MB = 2048
TIMEOUT_S = 5
CANARY_SECONDS = 60
CORPUS_LEN_MAX_BYTES = 128 << 10
_TRIPLE = "x86_64-unknown-linux-gnu"
_TARGET = re.compile(r'target\("(\w+)", \w+::run, (\d+)(?: << (\d+))?\)')
# What cargo-fuzz passes with its sanitizer off: every edge counted, comparisons traced.
_COVERAGE = (
    "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
    " -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
    " -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
)


@dataclass(frozen=True)
class Run:
    """One run of one target, as it is recorded."""

    date: str
    target: str
    seconds: int
    executions: int
    edges: int
    findings: int


def targets() -> dict[str, int]:
    """Every target with its longest input, as the crate lists them."""
    source = (CRATE / "src" / "targets" / "mod.rs").read_text("utf-8")
    found = _TARGET.findall(source)
    return {name: int(count) << int(shift or 0) for name, count, shift in found}


def runs() -> list[Run]:
    """Every run on record."""
    if not RECORD.exists():
        return []
    return [Run(**json.loads(line)) for line in RECORD.read_text("utf-8").splitlines()]


def build() -> Path:
    """The instrumented binary."""
    base = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    folder = base.absolute() / "fuzz"
    environment = {**os.environ, "CARGO_TARGET_DIR": str(folder), "RUSTFLAGS": _COVERAGE}
    command = ["cargo", "build", "--release", "--quiet", "--locked", "--target", _TRIPLE]
    subprocess.run(command, cwd=CRATE, env=environment, check=True)
    return folder / _TRIPLE / "release" / "tokenmill-fuzz"


def start(binary: Path, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The fuzzer with its bounds; what it writes goes under `fuzz-out/`."""
    found = ROOT / "fuzz-out" / "found" / target
    found.mkdir(parents=True, exist_ok=True)
    bounds = (f"-rss_limit_mb={RSS_LIMIT_MB}", f"-timeout={TIMEOUT_S}")
    command = [str(binary), *bounds, f"-artifact_prefix={found}/", *arguments]
    environment = {**os.environ, "FUZZ_TARGET": target}
    return subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", errors="replace"
    )


def run(binary: Path, target: str, seconds: int, len_max: int) -> Run:
    """Fuzzes one target; a finding is printed with the input that shows it."""
    work = ROOT / "fuzz-out" / "corpus" / target
    sources = [str(work), str(CORPORA / target)]
    if target == CANARY:
        # Found from nothing, or the fuzzer does not see the code.
        shutil.rmtree(work, ignore_errors=True)
        sources.pop()
    work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    outcome = start(
        binary,
        target,
        f"-max_total_time={seconds}",
        f"-max_len={len_max}",
        "-print_final_stats=1",
        *sources,
    )
    spent = round(time.monotonic() - started)
    is_found = outcome.returncode != 0
    if is_found and target == CANARY and CANARY_SAYS not in outcome.stderr:
        print(outcome.stderr[-4000:], file=sys.stderr)
        raise SystemExit("the canary ended otherwise than by being found")
    if is_found and target != CANARY:
        print(outcome.stderr[-4000:], file=sys.stderr)
    executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", outcome.stderr)
    edges = re.findall(r" cov: (\d+)", outcome.stderr)
    return Run(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        target=target,
        seconds=spent,
        executions=int(executions[1]) if executions else 0,
        edges=int(edges[-1]) if edges else 0,
        findings=int(is_found),
    )


def merge(binary: Path, target: str) -> None:
    """The committed corpus anew: one input for every edge, the smallest first, within the cap."""
    work = ROOT / "fuzz-out" / "corpus" / target
    kept = CORPORA / target
    with tempfile.TemporaryDirectory() as new:
        sources = [str(folder) for folder in (kept, work) if folder.is_dir()]
        merged = start(binary, target, "-set_cover_merge=1", "-use_counters=0", new, *sources)
        if merged.returncode != 0 or not any(Path(new).iterdir()):
            print(merged.stderr[-4000:], file=sys.stderr)
            raise SystemExit(f"{target}: nothing was merged, so the corpus stays as it is")
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        left = CORPUS_LEN_MAX_BYTES
        for path in sorted(Path(new).iterdir(), key=lambda path: (path.stat().st_size, path.name)):
            left -= path.stat().st_size
            if left >= 0:
                # A name as short as a reader can use: the start of the content's hash.
                shutil.copyfile(path, kept / path.name[:12])


def main() -> int:
    """What `make fuzz` runs."""
    parser = argparse.ArgumentParser(prog="trust.fuzz", allow_abbrev=False)
    known = targets()
    parser.add_argument("--target", choices=sorted(known), help="one target; without it all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--record", action="store_true", help="append to the record")
    parser.add_argument("--merge", action="store_true", help="renew the committed corpora")
    options = parser.parse_args()
    binary = build()
    canary = run(binary, CANARY, CANARY_SECONDS, known[CANARY])
    if canary.findings == 0:
        print(f"the canary was not found in {CANARY_SECONDS} s: no result counts", file=sys.stderr)
        return 1
    chosen = [options.target] if options.target else [name for name in known if name != CANARY]
    done = [canary]
    for target in chosen:
        if target == CANARY:
            continue
        result = run(binary, target, options.seconds, known[target])
        done.append(result)
        print(
            f"{target}: {result.executions} executions in {result.seconds} s,"
            f" {result.edges} edges, {result.findings} findings",
            flush=True,
        )
        if options.merge:
            merge(binary, target)
    if options.record:
        with RECORD.open("a", encoding="utf-8") as record:
            record.writelines(json.dumps(asdict(result)) + "\n" for result in done)
    return int(any(result.findings for result in done[1:]))


if __name__ == "__main__":
    sys.exit(main())
