"""Words and shapes: headers, lists, names, and what must not be written anywhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tidy import rust_source
from tidy.tree import Tree, Violation, is_test

_DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
# Written in two parts, so that this file does not break its own rule.
_PLACES = ("/wo" + "rk/", "/ro" + "ot/", "/tmp" + "/w/", "farm" + "-bench")
_OPEN_WORK = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b(?!\(#\d+\))")
_UNFINISHED = re.compile(r"\b(todo|unimplemented|dbg)!")
_TEXT_SUFFIXES = (".rs", ".py", ".pyi", ".toml", ".md", ".sh", ".cu", ".cuh", ".txt", ".yml")
_DEFINITION = re.compile(
    r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:fn|struct|enum|trait|impl|static|const)\b", re.M
)
# What a list may not avoid: the extension module's own definition.
_NOT_LISTS = {"rust/py/src/lib.rs"}
_LINE_LEN_MAX = 160
# What decides must give the same plan for the same state: it may look at no clock but the one that
# it is given, and the engine's is made in one place, monotonic.
_CLOCK = re.compile(r"\b(SystemTime|Instant::now|thread::sleep|chrono|UNIX_EPOCH)\b")
_TIMELESS = ("rust/sched/src", "rust/decode/src", "rust/engine/src/step", "rust/sim/src")
_CLOCK_MAKER = PurePosixPath("rust/engine/src/step/meter.rs")


def violations(tree: Tree) -> Iterator[Violation]:
    """Everything said where it must not be, or not said where it must."""
    for path in tree.files:
        yield from _names(path)
        if path.suffix in _TEXT_SUFFIXES or path.name == "Makefile" or path.parts[0] == ".ci":
            yield from _text(tree, path)
    for path in tree.sources():
        yield from _header(tree, path)
        yield from _list(tree, path)
        yield from _clock(tree, path)


def _clock(tree: Tree, path: PurePosixPath) -> Iterator[Violation]:
    """A clock read where decisions are made."""
    is_timeless = any(path.is_relative_to(folder) for folder in _TIMELESS)
    if path.suffix != ".rs" or not is_timeless:
        return
    code = rust_source.without_unit_tests(rust_source.blank(tree.read(path)))
    for match in _CLOCK.finditer(code):
        if path == _CLOCK_MAKER and match[0] == "Instant::now":
            continue
        where = f"{path}:{code.count(chr(10), 0, match.start()) + 1}"
        yield Violation(
            "clock", where, f"{where}: {match[0]} where the same state must decide alike"
        )


def _names(path: PurePosixPath) -> Iterator[Violation]:
    for part in path.parts:
        if part.split(".")[0] in _DRAWERS:
            yield Violation("name", str(path), f"{path}: {part} names no owner")


def _text(tree: Tree, path: PurePosixPath) -> Iterator[Violation]:
    text = tree.read(path)
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        for place in _PLACES:
            if place in line:
                yield Violation("place", where, f"{where}: names a place on one machine: {place}")
        if match := _OPEN_WORK.search(line):
            message = f"{where}: {match[0]} without an issue number, as {match[0]}(#7)"
            yield Violation("open_work", where, message)
        # rustfmt and ruff fold what can be folded; a long literal cannot.
        is_foldable = path.suffix in (".rs", ".py") and '"' not in line
        if len(line) > _LINE_LEN_MAX and is_foldable:
            yield Violation(
                "line", where, f"{where}: {len(line)} characters, limit {_LINE_LEN_MAX}"
            )
    if path.suffix == ".rs":
        code = rust_source.blank(text)
        for match in _UNFINISHED.finditer(code):
            where = f"{path}:{code.count(chr(10), 0, match.start()) + 1}"
            yield Violation("unfinished", where, f"{where}: {match[0]}")


def _header(tree: Tree, path: PurePosixPath) -> Iterator[Violation]:
    text = tree.read(path)
    if not text.strip():
        yield Violation("header", str(path), f"{path}: is empty")
        return
    lines = text.splitlines()
    first = lines[1] if lines[0].startswith("#!") and path.suffix != ".rs" else lines[0]
    starts = {".py": ('"""', 'r"""', "#"), ".pyi": ('"""',)}.get(path.suffix, ("//!", "//", "/*"))
    if not first.startswith(starts):
        yield Violation("header", str(path), f"{path}: must open with what it owns")


def _list(tree: Tree, path: PurePosixPath) -> Iterator[Violation]:
    if is_test(path) or str(path) in _NOT_LISTS:
        return
    text = tree.read(path)
    if path.name == "lib.rs":
        code = rust_source.without_unit_tests(rust_source.blank(text))
        if match := _DEFINITION.search(code):
            word = match[0].strip()
            yield Violation("list", str(path), f"{path}: must be a list, it has `{word}`")
    if path.name == "__init__.py":
        for node in ast.parse(text).body:
            is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            if not (is_docstring or is_all or _is_imports(node)):
                message = f"{path}:{node.lineno}: must be a list of imports"
                yield Violation("list", str(path), message)


def _is_imports(node: ast.stmt) -> bool:
    """An import, or a choice between imports for a type checker and at run time."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return all(_is_imports(inner) for inner in (*node.body, *node.orelse))
    return isinstance(node, (ast.Import, ast.ImportFrom))
