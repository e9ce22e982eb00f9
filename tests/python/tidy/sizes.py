"""Sizes: lines of a file, lines and parameters of a function, entries of a folder, the median file.

Unit tests do not count as lines of their file. Test files keep the hard limit and are free of the
others.
"""

import ast
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

from tidy import rust_source
from tidy.tree import Tree, Violation, is_test

FILE_LINES_MAX = 700
FILE_LINES_MEDIAN_MAX = 200
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 5
FOLDER_ENTRIES_MAX = 12
ARCHITECTURE_LINES_MAX = 200
# The last is a numbered series, which only grows.
_FREE_FOLDERS = (".", "rust", "docs/adr")
# One input a file, as the fuzzer reads and writes them: nobody reads these folders as a list.
_CORPORA = PurePosixPath("tests/corpus")


def violations(tree: Tree) -> Iterator[Violation]:
    """Everything that is too large."""
    yield from _files(tree)
    yield from _functions(tree)
    yield from _folders(tree)


def code_lines(tree: Tree, path: PurePosixPath) -> int:
    """Lines of a file that count."""
    text = tree.read(path)
    if path.suffix == ".rs":
        text = rust_source.without_unit_tests(rust_source.blank(text))
    return text.rstrip("\n").count("\n") + 1


def _files(tree: Tree) -> Iterator[Violation]:
    counted = []
    for path in tree.sources():
        lines = code_lines(tree, path)
        if not is_test(path):
            counted.append(lines)
        if lines > FILE_LINES_MAX:
            message = f"{path} has {lines} lines, limit {FILE_LINES_MAX}"
            yield Violation("file_lines", str(path), message, lines)
    median = statistics.median(counted) if counted else 0
    if median > FILE_LINES_MEDIAN_MAX:
        message = f"the median file has {median} lines, limit {FILE_LINES_MEDIAN_MAX}"
        yield Violation("median", "tree", message, int(median))
    guide = PurePosixPath("ARCHITECTURE.md")
    if guide in tree.files and tree.read(guide).count("\n") > ARCHITECTURE_LINES_MAX:
        message = f"ARCHITECTURE.md is over {ARCHITECTURE_LINES_MAX} lines"
        yield Violation("file_lines", str(guide), message, tree.read(guide).count("\n"))


def _functions(tree: Tree) -> Iterator[Violation]:
    for path in tree.sources(".rs", ".py"):
        if is_test(path):
            continue
        for name, line, lines, parameters in _of_file(tree, path):
            key = f"{path}::{name}"
            if lines > FUNCTION_LINES_MAX:
                message = f"{path}:{line}: {name} has {lines} lines, limit {FUNCTION_LINES_MAX}"
                yield Violation("function_lines", key, message, lines)
            if parameters > PARAMETERS_MAX:
                message = f"{path}:{line}: {name} takes {parameters} values, limit {PARAMETERS_MAX}"
                yield Violation("parameters", key, message, parameters)


def _of_file(tree: Tree, path: PurePosixPath) -> Iterator[tuple[str, int, int, int]]:
    text = tree.read(path)
    if path.suffix == ".rs":
        code = rust_source.without_unit_tests(rust_source.blank(text))
        for function in rust_source.functions(code):
            yield function.name, function.line, function.lines, function.parameters
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [a.arg for a in node.args.posonlyargs + node.args.args]
            own = [name for name in names if name not in ("self", "cls")]
            # Keyword-only parameters read like the fields of a struct.
            yield node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1, len(own)


def _folders(tree: Tree) -> Iterator[Violation]:
    entries = defaultdict(set)
    for path in tree.files:
        for parent, child in zip(path.parents, (path, *path.parents), strict=False):
            entries[str(parent)].add(child.name)
    for folder, names in sorted(entries.items()):
        if folder in _FREE_FOLDERS or PurePosixPath(folder).parent == _CORPORA:
            continue
        if len(names) > FOLDER_ENTRIES_MAX:
            message = f"{folder}/ has {len(names)} entries, limit {FOLDER_ENTRIES_MAX}"
            yield Violation("folder_entries", folder, message, len(names))
