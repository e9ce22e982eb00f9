"""What rustdoc knows of our crates, and its types as Rust writes them.

The JSON of rustdoc is unstable, so it needs `RUSTC_BOOTSTRAP` for rustdoc alone (cargo's own builds
stay as they are) and the toolchain that `rust-toolchain.toml` pins.
"""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FORMAT = 57
Item = dict[str, Any]


@dataclass
class Crate:
    """One crate's items by id."""

    name: str
    root: str
    index: dict[str, Item]
    paths: dict[str, Item]
    by_path: dict[tuple[str, ...], str] = field(default_factory=dict)

    def path_of(self, item_id: Any) -> tuple[str, ...]:
        """Where an item, of this crate or of another, is defined."""
        found = self.paths.get(str(item_id))
        return tuple(found["path"]) if found else ()


def read(repository: Path) -> dict[str, Crate]:
    """Every crate of the workspace, as rustdoc sees it now."""
    crates = {}
    for file in sorted(_build(repository).glob("tokenmill*.json")):
        raw = json.loads(file.read_text("utf-8"))
        if raw["format_version"] != _FORMAT:
            message = f"rustdoc writes format {raw['format_version']}, this reads {_FORMAT}"
            raise RuntimeError(message)
        crate = Crate(file.stem, str(raw["root"]), raw["index"], raw["paths"])
        for item_id, entry in raw["paths"].items():
            if entry["crate_id"] == 0:
                crate.by_path[tuple(entry["path"])] = item_id
        crates[file.stem] = crate
    return crates


def _build(repository: Path) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        rustdoc = Path(folder) / "rustdoc"
        rustdoc.write_text('#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$@"\n', "utf-8")
        rustdoc.chmod(0o755)
        environment = {
            **os.environ,
            "RUSTDOC": str(rustdoc),
            "RUSTDOCFLAGS": "-Z unstable-options --output-format json",
        }
        command = ["cargo", "doc", "--workspace", "--no-deps", "--locked", "--quiet"]
        subprocess.run(command, cwd=repository, env=environment, check=True)
    target = os.environ.get("CARGO_TARGET_DIR") or repository / "target"
    return repository / target / "doc"


def type_text(crate: Crate, written: Any, seen: set[tuple[str, ...]]) -> str:
    """A type as Rust writes it; adds the paths of named types to `seen`."""
    if written is None:
        return "()"
    if written == "infer":
        return "_"
    ((kind, inner),) = written.items()
    printer = _TYPES.get(kind)
    if printer is None:
        raise RuntimeError(f"a type of kind {kind} is not read yet")
    return printer(crate, inner, seen)


def _resolved(crate: Crate, path: Any, seen: set[tuple[str, ...]]) -> str:
    seen.add(crate.path_of(path["id"]))
    name = path["path"].split("::")[-1]
    return name + _args(crate, path["args"], seen)


def _args(crate: Crate, args: Any, seen: set[tuple[str, ...]]) -> str:
    if not args:
        return ""
    if "parenthesized" in args:
        inner = args["parenthesized"]
        inputs = ", ".join(type_text(crate, one, seen) for one in inner["inputs"])
        return f"({inputs}){_returns(crate, inner['output'], seen)}"
    inner = args.get("angle_bracketed", {"args": [], "constraints": []})
    parts = [_arg(crate, one, seen) for one in inner["args"]]
    for constraint in inner["constraints"]:
        bound = constraint["binding"].get("equality")
        value = type_text(crate, bound["type"], seen) if bound else "_"
        parts.append(f"{constraint['name']} = {value}")
    return f"<{', '.join(parts)}>" if parts else ""


def _arg(crate: Crate, arg: Any, seen: set[tuple[str, ...]]) -> str:
    if "type" in arg:
        return type_text(crate, arg["type"], seen)
    return arg.get("lifetime") or arg["const"]["expr"]


def _returns(crate: Crate, output: Any, seen: set[tuple[str, ...]]) -> str:
    return f" -> {type_text(crate, output, seen)}" if output is not None else ""


def bounds_text(crate: Crate, bounds: Any, seen: set[tuple[str, ...]]) -> str:
    """Bounds of a type, joined as Rust joins them."""
    parts = []
    for bound in bounds:
        if "trait_bound" in bound:
            parts.append(_resolved(crate, bound["trait_bound"]["trait"], seen))
        else:
            parts.append(bound.get("outlives", "use<..>"))
    return " + ".join(parts)


def _reference(crate: Crate, inner: Any, seen: set[tuple[str, ...]]) -> str:
    lifetime = f"{inner['lifetime']} " if inner["lifetime"] else ""
    mutable = "mut " if inner["is_mutable"] else ""
    return f"&{lifetime}{mutable}{type_text(crate, inner['type'], seen)}"


def _pointer(crate: Crate, inner: Any, seen: set[tuple[str, ...]]) -> str:
    inputs = ", ".join(type_text(crate, one, seen) for _, one in inner["sig"]["inputs"])
    return f"fn({inputs}){_returns(crate, inner['sig']['output'], seen)}"


def _dyn(crate: Crate, inner: Any, seen: set[tuple[str, ...]]) -> str:
    return "dyn " + " + ".join(_resolved(crate, one["trait"], seen) for one in inner["traits"])


def _tuple(crate: Crate, inner: Any, seen: set[tuple[str, ...]]) -> str:
    return f"({', '.join(type_text(crate, one, seen) for one in inner)})"


_TYPES = {
    "resolved_path": _resolved,
    "generic": lambda _crate, inner, _seen: inner,
    "primitive": lambda _crate, inner, _seen: inner,
    "borrowed_ref": _reference,
    "tuple": _tuple,
    "slice": lambda crate, inner, seen: f"[{type_text(crate, inner, seen)}]",
    "array": lambda crate, inner, seen: (
        f"[{type_text(crate, inner['type'], seen)}; {inner['len']}]"
    ),
    "impl_trait": lambda crate, inner, seen: f"impl {bounds_text(crate, inner, seen)}",
    "dyn_trait": _dyn,
    "function_pointer": _pointer,
    "qualified_path": lambda crate, inner, seen: (
        f"{type_text(crate, inner['self_type'], seen)}::{inner['name']}"
    ),
}
