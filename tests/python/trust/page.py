"""Writes `docs/trust.md` from what was run: `make trust` runs it all and then this.

Every figure comes from a result that lies in the folder given: the output of `cargo test`, of the
loom models and of the sanitizer, pytest's JUnit file; the hours of fuzzing from the record that
`make fuzz` keeps. A check that was not run shows as such, and whatever failed makes this program
fail too.
"""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from trust import evidence, fuzz
from trust.evidence import Outcome

PAGE = evidence.ROOT / "docs" / "trust.md"
DOORS = ("rust", "python", "cli")
_HEAD = """\
# Trust: what was tried, and what became of it

Made by `make trust` at commit {commit}; every figure is of a run. The numbers of cases and faults
are those of the list of bad inputs in `tests/python/trust/cases.toml`, where a case also says
through which doors it must be shown; a test holds the tests to that list.
"""


def main() -> int:
    """What `make trust` runs last."""
    results = Path(sys.argv[1])
    rust = _libtest(results / "rust.log")
    loom = _libtest(results / "loom.log")
    asan = _libtest(results / "asan.log")
    junit = results / "python.xml"
    python = list(evidence.of_junit(junit)) if junit.exists() else []
    everything = [*rust, *loom, *asan, *python]
    codes = {name: _code(results / f"{name}.code") for name in ("rust", "python", "loom", "asan")}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=evidence.ROOT, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    parts = [
        _HEAD.format(commit=commit),
        _ran({"Rust": rust, "Python": python, "loom": loom, "AddressSanitizer": asan}, codes),
        _cases([*rust, *python]),
        _faults([*rust, *python]),
        _planted(everything),
        _fuzz(fuzz.runs()),
        _absent(),
    ]
    PAGE.write_text("\n".join(parts), "utf-8")
    failed = sorted({outcome.name for outcome in everything if not outcome.is_passed})
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    for name, code in codes.items():
        if code != 0:
            print(f"{name} ended with {code}", file=sys.stderr)
    return int(bool(failed) or any(codes.values()) or not (rust and loom and asan and python))


def _code(path: Path) -> int | None:
    """How a run ended; a test binary that dies takes its verdicts with it, and this shows it."""
    return int(path.read_text("utf-8")) if path.exists() else None


def _libtest(path: Path) -> list[Outcome]:
    return list(evidence.of_libtest(path.read_text("utf-8", "replace"))) if path.exists() else []


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _ran(suites: dict[str, list[Outcome]], codes: dict[str, int | None]) -> str:
    rows: list[tuple[object, ...]] = []
    for (name, found), code in zip(suites.items(), codes.values(), strict=True):
        failed = sum(not outcome.is_passed for outcome in found)
        ended = "not run" if code is None else "well" if code == 0 else f"with {code}"
        rows.append((name, len(found), failed, ended))
    return "## Tests\n\n" + _table(("tests", "run", "failed", "ended"), rows)


def _cases(outcomes: list[Outcome]) -> str:
    shown = evidence.shown(outcomes)
    rows = []
    for group in evidence.data()["group"]:
        cells: list[object] = [group["title"], len(group["cases"])]
        for door in DOORS:
            passed = sum(shown.get((case, door), False) for case in group["cases"])
            is_asked = door in group["doors"]
            cells.append(f"{passed} of {len(group['cases'])}" if is_asked else passed or "-")
        rows.append(tuple(cells))
    about = "A case counts for a door when every test of it there passed; `-`: no meaning there.\n"
    head = ("bad inputs", "cases", *DOORS)
    return f"## Bad inputs, passed per door\n\n{about}\n" + _table(head, rows)


def _faults(outcomes: list[Outcome]) -> str:
    rows = []
    for fault, what in sorted(evidence.data()["faults"].items()):
        found = [outcome for outcome in outcomes if fault in evidence.faults_of(outcome.name)]
        passed = sum(outcome.is_passed for outcome in found)
        rows.append((fault.upper(), what, f"{passed} of {len(found)}" if found else "not run"))
    return "## Faults\n\n" + _table(("fault", "how", "tests passed"), rows)


def _planted(outcomes: list[Outcome]) -> str:
    rows = []
    for entry in evidence.data()["planted"]:
        count = evidence.planted_count(entry)
        found = [o for o in outcomes if o.name.endswith(tuple(entry["tests"]))]
        verdict = "not run"
        if found:
            # Such a test passes when all of its bugs were found.
            is_all = all(outcome.is_passed for outcome in found)
            verdict = f"{count} of {count}" if is_all else f"fewer than {count} of {count}"
        rows.append((entry["check"], verdict))
    tree = [o for o in outcomes if o.door == "python" and "_is_found[" in o.name]
    rows.append(("rules of the tree", f"{sum(o.is_passed for o in tree)} of {len(tree)}"))
    runs = [run for run in fuzz.runs() if run.target == fuzz.CANARY]
    rows.append(
        ("libFuzzer: the canary, in every run", f"{sum(r.findings for r in runs)} of {len(runs)}")
    )
    return "## Planted bugs, found of planted\n\n" + _table(("check", "found"), rows)


def _fuzz(runs: list[fuzz.Run]) -> str:
    rows = []
    for target in fuzz.targets():
        own = [run for run in runs if run.target == target]
        if target == fuzz.CANARY or not own:
            continue
        seconds = sum(run.seconds for run in own)
        rows.append(
            (
                target,
                f"{sum(run.executions for run in own):,}",
                f"{seconds / 3600:.2f}",
                own[-1].edges,
                sum(run.findings for run in own),
                own[-1].date,
            )
        )
    hours = sum(run.seconds for run in runs) / 3600
    about = (
        f"libFuzzer with coverage, at most 2 GiB and 5 s an input; {hours:.2f} hours so far.\n"
        "The corpora are in `tests/corpus`; `make test` replays and mutates them.\n"
    )
    head = ("target", "executions", "hours", "edges", "findings", "last run")
    return f"## Fuzzing\n\n{about}\n" + _table(head, rows)


def _absent() -> str:
    rows = [(_ranges(entry["cases"]), entry["reason"]) for entry in evidence.data()["absent"]]
    return "## Cases that do not apply yet\n\n" + _table(("cases", "because"), rows)


def _ranges(numbers: list[int]) -> str:
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


if __name__ == "__main__":
    sys.exit(main())
