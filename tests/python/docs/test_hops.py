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
    python = [stop.in_python for stop in stops if stop.path.suffix == ".py"]
    assert len(python) >= 2
    for known_by in python:
        module, owner, name = known_by.rsplit(".", 2)
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
    settings = ("pagination off", "confirm off", "debuginfod enabled off")
    script = repository / "tests" / "python" / "docs" / "hops_gdb.py"
    commands = [f"set {setting}" for setting in settings] + [f"source {script}", "run"]
    commands += ["continue"] * 40
    command = ["gdb", "-q", "-nx", "-batch", *(p for line in commands for p in ("-ex", line))]
    ran = subprocess.run(
        [*command, "--args", program, default_model, "The sea is"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if "ptrace: Operation not permitted" in ran.stderr + ran.stdout:
        pytest.skip("this machine lets no debugger in")
    met = re.findall(r"^== (hop .*)$", ran.stdout, re.M)
    assert met, ran.stdout + ran.stderr
    labels = [stop.label for stop in stops if stop.path.suffix == ".rs" and stop.hop > 1]
    # An idle engine plans before anything came; the caller waits whenever it likes; and where the
    # optimised build has taken `admit` into its caller is the compiler's affair.
    free = ("hop 2.2", "hop 6.3")
    since = list(dict.fromkeys(met[met.index(labels[0]) :]))
    expected = [label for label in labels if not label.startswith(free)]
    assert [label for label in since if not label.startswith(free)] == expected
    assert any(label.startswith("hop 6.3") for label in met)


def test_a_stale_page_and_a_marker_without_a_function_are_found(tmp_path):
    source = tmp_path / "rust" / "a.rs"
    source.parent.mkdir()
    source.write_text("impl A {\n    // hop 3.1: why\n    #[inline]\n    pub fn b(&self) {}\n}\n")
    (stop,) = hops.stops(Tree(tmp_path))
    assert stop == hops.Stop(3, 1, PurePosixPath("rust/a.rs"), "b", "A", "why", 4)
    empty = "<!-- stops: made by `make pages` -->\n<!-- end -->\n"
    made = hops.page(empty, [stop])
    assert "`A::b` in [rust/a.rs](../rust/a.rs) | why |" in made
    assert hops.page(made, [stop]) == made
    source.write_text("// hop 3.1: why\n")
    with pytest.raises(ValueError, match="no function"):
        hops.stops(Tree(tmp_path))
