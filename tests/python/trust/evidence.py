"""What tests there are and what became of them, whoever ran them: libtest's lines, pytest's JUnit
file.

A name says which cases it shows (`case_070`, several where a test shows several) and which fault
(`f07`); its place says through which door.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(__file__).with_name("cases.toml")
_LIBTEST = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", re.M)
_RUST_TEST = re.compile(r"#\[test\](?:\s*#\[[^\]]*\])*\s*fn (\w+)")
_CASE = re.compile(r"case_(\d{2,3})(?!\d)")
_FAULT = re.compile(r"(?<![a-z0-9])(f\d\d)_")


@dataclass(frozen=True)
class Outcome:
    """One test that ran: where it stands, its name, whether it passed."""

    door: str
    name: str
    is_passed: bool


def data() -> dict[str, Any]:
    """The list of cases."""
    return tomllib.loads(DATA.read_text("utf-8"))


def cases_of(name: str, named: dict[str, list[str]]) -> set[int]:
    """The cases that a test of this name shows."""
    own = {int(number) for number in _CASE.findall(name)}
    return own | {int(number) for number, ends in named.items() if name.endswith(tuple(ends))}


def faults_of(name: str) -> set[str]:
    """The faults that a test of this name shows."""
    return set(_FAULT.findall(name))


def door_of(path: str, name: str) -> str:
    """The door of a Python test."""
    return "cli" if "cli" in re.split(r"[./]", path) or "cli_door" in name else "python"


def of_libtest(text: str) -> Iterator[Outcome]:
    """Every test that `cargo test` ran."""
    for name, word in _LIBTEST.findall(text):
        if word != "ignored":
            yield Outcome("rust", name, word == "ok")


def of_junit(path: Path) -> Iterator[Outcome]:
    """Every test that pytest ran."""
    for test in ElementTree.parse(path).iter("testcase"):  # noqa: S314 - pytest wrote it just now
        if test.find("skipped") is None:
            is_passed = test.find("failure") is None and test.find("error") is None
            name = test.get("name", "")
            yield Outcome(door_of(test.get("classname", ""), name), name, is_passed)


def rust_names() -> Iterator[str]:
    """Every Rust test in the sources."""
    for folder in ("rust", "tests"):
        for path in sorted((ROOT / folder).rglob("*.rs")):
            yield from _RUST_TEST.findall(path.read_text("utf-8"))


def shown(outcomes: Iterable[Outcome]) -> dict[tuple[int, str], bool]:
    """Case and door to whether every test of the pair passed."""
    named = data()["named"]
    result: dict[tuple[int, str], bool] = {}
    for outcome in outcomes:
        # Named tests are Rust's.
        also = named if outcome.door == "rust" else {}
        for case in cases_of(outcome.name, also):
            pair = (case, outcome.door)
            result[pair] = result.get(pair, True) and outcome.is_passed
    return result


def planted_count(entry: dict[str, Any]) -> int:
    """How many bugs a check has to find, from the source that plants them."""
    if "source" not in entry:
        return 1
    text = (ROOT / entry["source"]).read_text("utf-8")
    if "count" in entry:
        found = re.search(entry["count"], text)
        return int(found[1]) if found else 0
    body = re.search(rf"enum {entry['enum']} {{(.*?)\n}}", text, re.S)
    return len(re.findall(r"^    [A-Z]\w+,$", body[1], re.M)) if body else 0
