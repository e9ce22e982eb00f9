"""The page that follows a request: made from the sources, and true under a debugger."""

import importlib
import os
import re
import shutil
import subprocess
from pathlib import PurePosixPath

import pytest

from docs import hops
from tidy.tree import Tree


@pytest.fixture(scope="module")
def stops(repository):
    return hops.stops(Tree(repository))


def test_the_page_is_made_from_the_sources(repository, stops):
    text = (repository / hops.PAGE).read_text("utf-8")
    assert hops.page(text, stops) == text, "run `make pages`"


def test_every_hop_has_a_stop_and_no_place_has_two(stops):
    assert {stop.hop for stop in stops} == set(hops.HOPS)
    places = [(stop.hop, stop.place) for stop in stops]
    assert len(set(places)) == len(places)


def test_the_stops_of_python_can_be_named_in_pdb(stops):
    python = [stop.command for stop in stops if stop.path.suffix == ".py"]
    assert len(python) >= 2
    for command in python:
        module, owner, name = command.removeprefix("break ").rsplit(".", 2)
        assert callable(getattr(getattr(importlib.import_module(module), owner), name))


def test_every_file_that_a_page_of_docs_links_to_exists(repository):
    pages = list((repository / "docs").rglob("*.md"))
    assert len(pages) > 8
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page} links to {target}"


def test_a_request_meets_the_stops_in_their_order_under_gdb(repository, stops, default_model):
    target = repository / os.environ.get("CARGO_TARGET_DIR", "target")
    program = target / "debug" / "examples" / "tell"
    if shutil.which("gdb") is None or not program.exists():
        pytest.skip("needs gdb and `make build`")
    block = re.search(r"```gdb\n(.*?)```", (repository / hops.PAGE).read_text("utf-8"), re.S)
    # The example has no Python, and a stop that is made once suffices here.
    breaks = [b for b in block[1].splitlines() if "rust/py/" not in b]
    settings = ("pagination off", "confirm off", "breakpoint pending on", "debuginfod enabled off")
    script = [f"set {setting}" for setting in settings]
    script += [b.replace("break", "tbreak", 1) for b in breaks]
    script += ["run", *["continue"] * len(breaks)]
    commands = [part for line in script for part in ("-ex", line)]
    command = ["gdb", "-q", "-nx", "-batch", *commands, "--args", program]
    ran = subprocess.run(
        [*command, default_model, "The sea is"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if "ptrace: Operation not permitted" in ran.stderr + ran.stdout:
        pytest.skip("this machine lets no debugger in")
    hits = re.findall(r"hit Temporary breakpoint \d+.*?, (?:\S*::)?(\w+) \(", ran.stdout)
    met = [stop for stop in stops if stop.path.suffix == ".rs" and stop.name in hits]
    met = [stop for stop in met if stop.hop > 1]
    # The optimised build has taken some functions into their callers; every hop still has a stop.
    assert {stop.hop for stop in met} == set(hops.HOPS) - {1}, ran.stdout + ran.stderr
    on_engine = [stop.name for stop in met if stop.name not in ("submit", "receive", "admit")]
    assert [name for name in hits if name in on_engine] == on_engine


def test_a_stale_page_and_a_marker_without_a_function_are_found(tmp_path):
    source = tmp_path / "rust" / "a.rs"
    source.parent.mkdir()
    source.write_text("impl A {\n    // hop 3.1: why\n    #[inline]\n    pub fn b(&self) {}\n}\n")
    (stop,) = hops.stops(Tree(tmp_path))
    assert stop == hops.Stop(3, 1, PurePosixPath("rust/a.rs"), "b", "A", "why")
    empty = "<!-- stops: made by `make pages` -->\n<!-- end -->\n"
    made = hops.page(empty, [stop])
    assert "`A::b` in [rust/a.rs](../rust/a.rs) | why |" in made
    assert hops.page(made, [stop]) == made
    source.write_text("// hop 3.1: why\n")
    with pytest.raises(ValueError, match="no function"):
        hops.stops(Tree(tmp_path))
