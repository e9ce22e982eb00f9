"""Arrows between crates, from the manifests: who may use whom, and which dependency has one home.

The table is the design's. A crate that is not in it is refused, so that a new one is a decision.
"""

import tomllib
from collections.abc import Iterator
from pathlib import PurePosixPath

from tidy.tree import Tree, Violation

_PURE = {"core"}
_BACKEND = {"core", "formats", "model"}
_BELOW_ENGINE = {
    *("core", "sched", "decode", "formats", "text", "model"),
    *("reference", "cpu", "cuda", "sim"),
}
ARROWS: dict[str, set[str]] = {
    "core": set(),
    "sched": _PURE,
    "decode": _PURE,
    "formats": _PURE,
    "text": _PURE,
    "model": {"core", "formats"},
    "reference": _BACKEND,
    "cpu": _BACKEND,
    "cuda": _BACKEND,
    "sim": _BACKEND,
    "engine": _BELOW_ENGINE,
    "server": _BELOW_ENGINE | {"engine"},
    "facade": _BELOW_ENGINE | {"engine", "server"},
    "py": {"facade"},
}
# Tests may look sideways at the oracle and the simulated backend, and the facade's at everything.
_TEST_ARROWS = {"reference", "sim"}
HOMES = {
    "candle-core": "reference",
    "candle-nn": "reference",
    "candle-transformers": "reference",
    "cudarc": "cuda",
    "numpy": "py",
    "pyo3": "py",
    "pyo3-async-runtimes": "py",
}
_TABLES = ("dependencies", "dev-dependencies", "build-dependencies")


def violations(tree: Tree) -> Iterator[Violation]:
    """Every arrow that the design does not draw."""
    for path in tree.files:
        if path.name != "Cargo.toml" or path.parts[:2] == ("rust", "fuzz"):
            continue
        manifest = tomllib.loads(tree.read(path))
        if "package" in manifest:
            yield from _of_crate(path, _crate(manifest["package"]["name"]), manifest)


def _crate(package: str) -> str:
    return "facade" if package == "tokenmill" else package.removeprefix("tokenmill-")


def _of_crate(path: PurePosixPath, crate: str, manifest: dict) -> Iterator[Violation]:
    if crate not in ARROWS:
        yield Violation("arrow", crate, f"{path}: crate {crate} is not in the design's table")
        return
    if manifest.get("lints") != {"workspace": True}:
        yield Violation("arrow", crate, f"{path}: must take the workspace's lints")
    for table, name in _dependencies(manifest):
        home = HOMES.get(name)
        if home is not None and home != crate:
            yield Violation("arrow", f"{crate}->{name}", f"{path}: {name} belongs to {home} only")
        if name != "tokenmill" and not name.startswith("tokenmill-"):
            continue
        target = _crate(name)
        allowed = ARROWS[crate] | (_TEST_ARROWS if table == "dev-dependencies" else set())
        if target not in allowed and not (table == "dev-dependencies" and crate == "facade"):
            message = f"{path}: {crate} must not use {target}"
            yield Violation("arrow", f"{crate}->{target}", message)


def _dependencies(manifest: dict) -> Iterator[tuple[str, str]]:
    scopes = [manifest, *manifest.get("target", {}).values()]
    for scope in scopes:
        for table in _TABLES:
            for name, value in scope.get(table, {}).items():
                renamed = value.get("package") if isinstance(value, dict) else None
                yield table, renamed or name
