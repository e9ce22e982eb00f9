"""What `cargo package` would publish: everything that a crate needs, and nothing else."""

import shutil
import subprocess
import tomllib

import pytest

_SUFFIXES = {".rs", ".toml", ".md", ".txt", ".tsv", ".orig", ".lock", ".json", ""}
_FILE_LEN_MAX_BYTES = 128 << 10
_CRATE_LEN_MAX_BYTES = 1 << 20
# Made by cargo, or of no use to who builds the crate.
_MADE = {".cargo_vcs_info.json", "Cargo.toml.orig", "Cargo.lock"}


def manifests(repository):
    root = tomllib.loads((repository / "Cargo.toml").read_text("utf-8"))
    for folder in (".", *root["workspace"]["members"]):
        manifest = tomllib.loads((repository / folder / "Cargo.toml").read_text("utf-8"))
        if manifest["package"].get("publish", True):
            yield repository / folder, manifest["package"]


def listed(repository, name):
    if shutil.which("cargo") is None:
        pytest.skip("packages are listed by cargo, which is not here")
    command = ["cargo", "package", "--list", "--allow-dirty", "--offline", "--quiet", "-p", name]
    out = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    return set(out.stdout.split())


def problems(folder, files):
    """What must not be in a package; `files` are relative to `folder`."""
    total = 0
    for name in sorted(files - _MADE):
        path = folder / name
        total += path.stat().st_size
        if path.suffix not in _SUFFIXES or name.startswith((".", "python/", "benches/results")):
            yield f"{name} is no part of a crate"
        if path.stat().st_size > _FILE_LEN_MAX_BYTES:
            yield f"{name} has {path.stat().st_size} bytes"
    if total > _CRATE_LEN_MAX_BYTES:
        yield f"{total} bytes together"


def test_every_published_crate_is_small_and_holds_sources_only(repository):
    names = set()
    for folder, package in manifests(repository):
        names.add(package["name"])
        files = listed(repository, package["name"])
        assert list(problems(folder, files)) == [], package["name"]
        tracked = {str(f.relative_to(folder)) for f in (folder / "src").rglob("*.rs")}
        assert tracked <= files, package["name"]
    assert {"tokenmill", "tokenmill-core", "tokenmill-engine"} <= names
    assert "tokenmill-py" not in names


def test_the_facade_brings_its_example_its_tests_and_its_licence(repository):
    files = listed(repository, "tokenmill")
    needed = {"rust/lib.rs", "rust/examples/service.rs", "tests/service.rs", "README.md", "LICENSE"}
    # The crate's own example includes this one.
    assert needed | {"tests/models/tiny_gguf.rs"} <= files
    others = {f for f in files if f.startswith("rust/") and not f.startswith("rust/examples/")}
    assert others == {"rust/lib.rs"}, "the other crates are packages of their own"


def test_every_published_crate_says_what_it_is(repository):
    root = tomllib.loads((repository / "Cargo.toml").read_text("utf-8"))
    for _, package in manifests(repository):
        for field in ("description", "license", "repository", "rust-version", "version"):
            assert field in package, package["name"]
    # Path dependencies say a version too, or the crates could not be published.
    for name, value in root["workspace"]["dependencies"].items():
        if name.startswith("tokenmill"):
            assert value["version"] == root["workspace"]["package"]["version"], name


def test_what_does_not_belong_is_found(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "huge.rs").write_bytes(b" " * (_FILE_LEN_MAX_BYTES + 1))
    found = list(problems(tmp_path, {"model.gguf", "huge.rs", "Cargo.lock"}))
    assert found == ["huge.rs has 131073 bytes", "model.gguf is no part of a crate"]
