"""The public surface of the crate `tokenmill`, one item a line, held in docs/surface.txt.

`make surface` writes it anew, so a change of what Rust services build on is seen in review. The
facade only re-exports, which tools that compare one crate with its last release do not follow: so
this walks from the facade into the crates that define its items.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.rustdoc_json import Crate, Item, bounds_text, read, type_text

_HEADER = """\
# What the crate `tokenmill` promises, one item a line. `make surface` renews it; a line that goes
# away or changes breaks those who use it: a new minor version (before 1.0), told in CHANGELOG.md.
"""
# Every type derives or lacks these by itself; they are no decision of ours.
_QUIET = {"StructuralPartialEq", "Freeze"}
# What an error wraps belongs to the part that found the fault; the crate's page says so.
_OPAQUE = "Error::"
_SELF = {"self: Self": "self", "self: &Self": "&self", "self: &mut Self": "&mut self"}


class Surface:
    """Lines, and the named types that each reaches."""

    def __init__(self, crates: dict[str, Crate]) -> None:
        self.crates = crates
        self.lines: list[str] = []
        self.named: dict[tuple[str, ...], str] = {}
        self.reached: dict[tuple[str, ...], str] = {}
        facade = crates["tokenmill"]
        self._module(facade, facade.index[facade.root], "")

    def foreign(self) -> list[str]:
        """Types of ours that a line reaches and the facade does not name."""
        return [
            f"{line}  reaches {'::'.join(path)}"
            for path, line in sorted(self.reached.items())
            if path and path[0].startswith("tokenmill") and path not in self.named
        ]

    def _add(self, line: str, seen: set[tuple[str, ...]]) -> None:
        self.lines.append(line)
        if not line.startswith(_OPAQUE) and " for Error" not in line:
            for path in seen:
                self.reached.setdefault(path, line)

    def _module(self, crate: Crate, item: Item, prefix: str) -> None:
        for child in item["inner"]["module"]["items"]:
            found = crate.index[str(child)]
            if "use" in found["inner"]:
                used = found["inner"]["use"]
                self._follow(crate, used["id"], prefix + used["name"])
            elif found["visibility"] == "public":
                path = crate.path_of(child)
                self._item(crate, found, path, prefix + found["name"])

    def _follow(self, crate: Crate, item_id: Any, name: str) -> None:
        path = crate.path_of(item_id)
        home = self.crates[path[0]]
        self._item(home, home.index[home.by_path[path]], path, name)

    def _item(self, crate: Crate, item: Item, path: tuple[str, ...], name: str) -> None:
        ((kind, inner),) = item["inner"].items()
        is_again = path in self.named
        self.named.setdefault(path, name)
        if is_again:
            self.lines.append(f"use {name} = {self.named[path]}")
        elif kind == "module":
            self._module(crate, item, f"{name}::")
        elif kind == "function":
            self._function(crate, inner, f"fn {name}")
        elif kind == "type_alias":
            seen: set[tuple[str, ...]] = set()
            generics = _generics(crate, inner["generics"], seen)
            written = type_text(crate, inner["type"], seen)
            self._add(f"type {name}{generics} = {written}", seen)
        elif kind in ("constant", "static"):
            seen = set()
            self._add(f"{kind} {name}: {type_text(crate, inner['type'], seen)}", seen)
        elif kind == "trait":
            self.lines.append(f"trait {name}")
            for child in inner["items"]:
                method = crate.index[str(child)]
                self._function(crate, method["inner"]["function"], f"{name}::{method['name']}")
        elif kind in ("struct", "enum"):
            self._data(crate, item, kind, name)
        else:
            raise RuntimeError(f"{name}: an item of kind {kind} is not read yet")

    def _data(self, crate: Crate, item: Item, kind: str, name: str) -> None:
        inner = item["inner"][kind]
        open_ended = " (non-exhaustive)" if "non_exhaustive" in item["attrs"] else ""
        self.lines.append(f"{kind} {name}{open_ended}")
        if kind == "struct":
            self._fields(crate, inner["kind"], name)
        else:
            for child in inner["variants"]:
                variant = crate.index[str(child)]
                shape = variant["inner"]["variant"]["kind"]
                self.lines.append(f"{name}::{variant['name']}")
                self._fields(crate, shape, f"{name}::{variant['name']}")
        impls = (crate.index[str(child)]["inner"]["impl"] for child in inner["impls"])
        for found in impls:
            if not found["is_synthetic"] and found["blanket_impl"] is None:
                self._impl(crate, found, name)

    def _fields(self, crate: Crate, shape: Any, name: str) -> None:
        if isinstance(shape, str):
            return
        fields = shape.get("plain", shape.get("struct", {})).get("fields", shape.get("tuple", []))
        for child in fields:
            found = crate.index.get(str(child))
            if found is not None:
                seen: set[tuple[str, ...]] = set()
                written = type_text(crate, found["inner"]["struct_field"], seen)
                self._add(f"{name}.{found['name']}: {written}", seen)

    def _impl(self, crate: Crate, found: Any, name: str) -> None:
        if found["trait"] is not None:
            seen: set[tuple[str, ...]] = set()
            trait = type_text(crate, {"resolved_path": found["trait"]}, seen)
            if trait not in _QUIET:
                self._add(f"impl {trait} for {name}", seen)
            return
        for child in found["items"]:
            item = crate.index[str(child)]
            ((kind, inner),) = item["inner"].items()
            if item["visibility"] != "public":
                continue
            if kind == "function":
                self._function(crate, inner, f"{name}::{item['name']}")
            else:
                seen = set()
                written = type_text(crate, inner["type"], seen)
                self._add(f"const {name}::{item['name']}: {written}", seen)

    def _function(self, crate: Crate, inner: Any, name: str) -> None:
        seen: set[tuple[str, ...]] = set()
        header = inner["header"]
        words = [word for word in ("const", "async", "unsafe") if header[f"is_{word}"]]
        generics = _generics(crate, inner["generics"], seen)
        inputs = ", ".join(
            _SELF.get(f"{argument}: {written}", f"{argument}: {written}")
            for argument, written in (
                (argument, type_text(crate, one, seen)) for argument, one in inner["sig"]["inputs"]
            )
        )
        output = inner["sig"]["output"]
        returns = f" -> {type_text(crate, output, seen)}" if output is not None else ""
        self._add(" ".join([*words, f"{name}{generics}({inputs}){returns}"]), seen)


def _generics(crate: Crate, generics: Any, seen: set[tuple[str, ...]]) -> str:
    parts = []
    for param in generics["params"]:
        kind = param["kind"]
        if kind.get("type", {}).get("is_synthetic"):
            continue
        bounds = bounds_text(crate, kind.get("type", {}).get("bounds", []), seen)
        parts.append(f"{param['name']}: {bounds}" if bounds else param["name"])
    return f"<{', '.join(parts)}>" if parts else ""


def text(surface: Surface) -> str:
    """The file."""
    return _HEADER + "".join(f"{line}\n" for line in sorted(set(surface.lines)))


def difference(old: str, new: str) -> Iterator[str]:
    """What a reviewer wants to see: lines gone, then lines added."""
    before, after = set(old.splitlines()), set(new.splitlines())
    yield from (f"gone (breaks users):  {line}" for line in sorted(before - after))
    yield from (f"added:                {line}" for line in sorted(after - before))


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[3]
    page = root / "docs" / "surface.txt"
    made = text(Surface(read(root)))
    old_text = page.read_text("utf-8") if page.exists() else ""
    sys.stdout.writelines(f"{line}\n" for line in difference(old_text, made))
    page.write_text(made, "utf-8")
