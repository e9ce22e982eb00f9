"""One resolver for every door: paths first, then known names, then hub names.

Case 124, and what the registry promises about the default model.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tokenmill.errors import InvalidRequestError, NotFoundError, TokenmillIoError, UnsupportedError
from tokenmill.models import DEFAULT_MODEL, KNOWN_MODELS, resolve
from tokenmill.models.hub import is_hub_name
from tokenmill.models.registry import find_known


def test_an_existing_path_is_itself(tmp_path, cache):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    for form in (str(file), file):
        assert resolve(form, cache).path == file
    assert resolve(tmp_path, cache).path == tmp_path


def test_case_124_a_misspelt_known_name_suggests_the_known_one(cache):
    with pytest.raises(NotFoundError, match=f"did you mean {DEFAULT_MODEL}"):
        resolve("smollm2-135m-instuct", cache)


def test_case_124_a_name_like_nothing_points_at_the_list(cache):
    with pytest.raises(NotFoundError, match="tokenmill models"):
        resolve("zzz", cache)


def test_a_missing_path_opens_no_network(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "socket", None)
    for name in ("./absent/model", "/absent/model", "folder/model.gguf", "a/b/c.safetensors"):
        with pytest.raises(NotFoundError, match="no such path"):
            resolve(name, cache)


def test_case_124_a_folder_of_a_known_name_wins_and_is_said(tmp_path, cache, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT_MODEL).mkdir()
    assert resolve(DEFAULT_MODEL, cache).path == Path(DEFAULT_MODEL)
    assert str(tmp_path / DEFAULT_MODEL) in capsys.readouterr().err


def test_no_name_asks_for_the_default(cache, monkeypatch):
    monkeypatch.setenv("TOKENMILL_OFFLINE", "1")
    with pytest.raises(TokenmillIoError, match=DEFAULT_MODEL):
        resolve(None, cache)


@pytest.mark.parametrize("name", ["", "a\0b", 3, b"bytes", ["x"], 1.5, True])
def test_what_is_no_name_is_refused(name, cache):
    with pytest.raises(InvalidRequestError) as caught:
        resolve(name, cache)
    assert caught.value.param == "model"


def test_a_name_in_an_error_is_cut_and_printable(cache):
    with pytest.raises(NotFoundError) as caught:
        resolve("x\n\x1b[31m" + "y" * 500, cache)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_path_too_long_for_the_system_is_not_found(cache):
    with pytest.raises(NotFoundError):
        resolve("x" * 5000, cache)


def test_case_113_a_path_that_is_not_utf8_works(tmp_path, cache):
    name = "caf\udce9.gguf"
    (tmp_path / name).write_bytes(b"GGUF")
    assert resolve(str(tmp_path / name), cache).path == tmp_path / name


def test_the_registry_is_complete_and_its_names_are_unique():
    assert find_known(DEFAULT_MODEL) is not None
    assert len({m.name for m in KNOWN_MODELS}) == len(KNOWN_MODELS)
    for model in KNOWN_MODELS:
        assert len(model.wheel_sha256) == len(model.member_sha256) == 64
        assert "/" not in model.file_name
        assert model.licence


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("owner/model", True),
        ("owner/model/file.gguf", True),
        ("owner/model/q4/file.gguf", True),
        ("owner/file.gguf", False),
        ("owner/../x.gguf", False),
        ("../model", False),
        ("owner", False),
        ("owner/model/x.bin", False),
        ("owner/mo del", False),
    ],
)
def test_hub_names_are_told_from_paths(name, is_one):
    assert is_hub_name(name) == is_one


def test_a_hub_name_without_the_hub_library_says_what_to_install(cache, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"tokenmill\[hub\]"):
        resolve("owner/model", cache)


def hub_errors():
    """The hub library's errors, one a kind of another as there."""
    not_found = type("RepositoryNotFoundError", (OSError,), {})
    return SimpleNamespace(
        HfHubHTTPError=OSError,
        LocalEntryNotFoundError=OSError,
        RepositoryNotFoundError=not_found,
        GatedRepoError=type("GatedRepoError", (not_found,), {}),
        HFValidationError=type("HFValidationError", (ValueError,), {}),
    )


@pytest.mark.parametrize(
    ("raised", "kind", "part"),
    [
        ("RepositoryNotFoundError", NotFoundError, "no model owner/model"),
        ("HFValidationError", NotFoundError, "no model owner/model"),
        ("GatedRepoError", TokenmillIoError, "ask for access"),
        ("HfHubHTTPError", TokenmillIoError, "cannot fetch owner/model"),
    ],
)
def test_what_the_hub_library_says_has_a_kind(raised, kind, part, cache, monkeypatch):
    errors = hub_errors()

    def fail(*arguments, **settings):
        raise getattr(errors, raised)("no")

    hub = SimpleNamespace(snapshot_download=fail, errors=errors)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    with pytest.raises(kind, match=part) as caught:
        resolve("owner/model", cache)
    assert caught.type is kind


@pytest.mark.parametrize("name", ["other/model--x", "owner/model.git"])
def test_a_name_that_the_hub_library_itself_refuses_is_not_found(name, cache):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(NotFoundError, match=name):
        resolve(name, cache)


def test_a_hub_name_goes_through_the_hub_library(cache, monkeypatch, tmp_path):
    asked = []

    def snapshot(repo_id, allow_patterns, local_files_only):
        asked.append((repo_id, local_files_only))
        assert "*.py" not in allow_patterns
        return str(tmp_path)

    def one_file(repo_id, filename, local_files_only):
        asked.append((repo_id, filename, local_files_only))
        return str(tmp_path / filename)

    errors = hub_errors()
    hub = SimpleNamespace(snapshot_download=snapshot, hf_hub_download=one_file, errors=errors)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    assert resolve("owner/model", cache).path == tmp_path
    monkeypatch.setenv("TOKENMILL_OFFLINE", "1")
    assert resolve("owner/model/a.gguf", cache).path == tmp_path / "a.gguf"
    assert asked == [("owner/model", False), ("owner/model", "a.gguf", True)]
