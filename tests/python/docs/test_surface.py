"""What Rust services build on: recorded, and closed in itself."""

import shutil

import pytest

from docs import surface
from docs.rustdoc_json import read


@pytest.fixture(scope="module")
def found(repository):
    if shutil.which("cargo") is None:
        pytest.skip("the surface is read by cargo, which is not here")
    return surface.Surface(read(repository))


def test_the_public_surface_is_the_recorded_one(repository, found):
    recorded = (repository / "docs" / "surface.txt").read_text("utf-8")
    changes = list(surface.difference(recorded, surface.text(found)))
    assert changes == [], "\n".join([*changes, "if that is meant: make surface, and CHANGELOG.md"])


def test_a_service_can_name_every_type_of_ours_that_it_meets(found):
    assert found.foreign() == []


def test_the_surface_has_what_a_service_needs(found):
    lines = set(found.lines)
    assert "fn load(path: &Path, options: &EngineOptions) -> Result<(Host, Info)>" in lines
    assert "Door::submit(&self, request: Request) -> Result<Handle>" in lines
    assert "impl Iterator for Handle" in lines
    assert "struct Event (non-exhaustive)" in lines


def test_a_lost_line_and_a_new_one_are_told_apart():
    told = list(surface.difference("fn a()\nfn b()\n", "fn b()\nfn c()\n"))
    assert told == ["gone (breaks users):  fn a()", "added:                fn c()"]
