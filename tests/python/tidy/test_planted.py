"""Every rule is seen to fail: a planted violation is found, and a clean tree passes."""

from pathlib import Path

import pytest

from tidy import architecture, manifests, ratchet, rust_source, sizes, words
from tidy.tree import Tree

LINTS = "\n[lints]\nworkspace = true\n"


def plant(root: Path, files: dict[str, str]) -> Tree:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return Tree(root)


def crate(name: str, dependencies: str = "", more: str = "") -> str:
    return f'[package]\nname = "{name}"\n[dependencies]\n{dependencies}\n{more}{LINTS}'


def messages(rule, tree: Tree) -> str:
    return "\n".join(violation.message for violation in rule.violations(tree))


@pytest.mark.parametrize(
    ("manifest", "part"),
    [
        (crate("tokenmill-core", "tokenmill-sched.workspace = true"), "core must not use sched"),
        (
            crate("tokenmill-sched", "tokenmill-formats.workspace = true"),
            "sched must not use formats",
        ),
        (crate("tokenmill-cpu", "tokenmill-engine.workspace = true"), "cpu must not use engine"),
        (crate("tokenmill-cpu", "tokenmill-reference.workspace = true"), "must not use reference"),
        (crate("tokenmill-py", "tokenmill-engine.workspace = true"), "py must not use engine"),
        (
            crate("tokenmill-cpu", "candle-core.workspace = true"),
            "candle-core belongs to reference",
        ),
        (crate("tokenmill-engine", 'cudarc = "0.19"'), "cudarc belongs to cuda"),
        (crate("tokenmill-engine", 'python = { package = "pyo3", version = "1" }'), "pyo3 belongs"),
        (crate("tokenmill-odd"), "not in the design's table"),
        ('[package]\nname = "tokenmill-core"\n', "must take the workspace's lints"),
        (
            crate("tokenmill-core", more="[build-dependencies]\ntokenmill-text.workspace = true\n"),
            "core must not use text",
        ),
        (
            crate(
                "tokenmill-core", more="[target.x.dependencies]\ntokenmill-text.workspace = true\n"
            ),
            "core must not use text",
        ),
    ],
)
def test_a_wrong_arrow_is_found(manifest, part, tmp_path):
    assert part in messages(manifests, plant(tmp_path, {"rust/x/Cargo.toml": manifest}))


def test_right_arrows_pass(tmp_path):
    more = "[dev-dependencies]\ntokenmill-reference.workspace = true\n"
    files = {
        "rust/cpu/Cargo.toml": crate("tokenmill-cpu", "tokenmill-model.workspace = true", more),
        "rust/reference/Cargo.toml": crate("tokenmill-reference", 'candle-core = "1"'),
        "rust/py/Cargo.toml": crate("tokenmill-py", "pyo3 = '1'\ntokenmill.workspace = true"),
    }
    assert messages(manifests, plant(tmp_path, files)) == ""


def body(lines: int) -> str:
    return "    let _ = 1;\n" * lines


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.rs", "//! Owns.\n" * 701, "a.rs has 701 lines"),
        ("a.py", '"""Owns."""\n' * 701, "a.py has 701 lines"),
        ("a.rs", f"//! Owns.\nfn long() {{\n{body(69)}}}\n", "long has 71 lines"),
        ("a.py", "def long():\n" + "    x = 1\n" * 70, "long has 71 lines"),
        (
            "a.rs",
            "fn wide(a: u8, b: (u8, u8), c: Vec<u8>, d: u8, e: u8, f: u8) {}",
            "takes 6 values",
        ),
        ("a.py", "def wide(a, b, c, d, e, f): pass", "takes 6 values"),
        ("a.rs", "//! Owns.\n" * 300, "median file has 300"),
        ("ARCHITECTURE.md", "x\n" * 201, "ARCHITECTURE.md is over 200"),
    ],
)
def test_what_is_too_large_is_found(name, content, part, tmp_path):
    assert part in messages(sizes, plant(tmp_path, {name: content}))


def test_a_crowded_folder_is_found(tmp_path):
    tree = plant(tmp_path, {f"src/{i}.rs": "//! x" for i in range(13)})
    assert "src/ has 13 entries" in messages(sizes, tree)


def test_only_the_corpora_may_be_crowded(tmp_path):
    tree = plant(tmp_path, {f"tests/corpus/header/{i}": "x" for i in range(13)})
    assert messages(sizes, tree) == ""
    tree = plant(tmp_path, {f"tests/corpus/{i}/x": "x" for i in range(13)})
    assert "tests/corpus/ has 14 entries" in messages(sizes, tree)


def test_what_is_within_the_limits_passes(tmp_path):
    tests = "#[cfg(test)]\nmod tests {\n" + f"    fn long() {{\n{body(900)}    }}\n" + "}\n"
    code = f"//! Owns.\nfn fits(&self, a: u8, b: u8, c: u8, d: u8, e: u8) {{\n{body(68)}}}\n"
    files = {"a.rs": code + tests, "tests/long.rs": f"//! x\nfn t() {{\n{body(200)}}}\n"}
    files |= {f"src/{i}.rs": "//! x" for i in range(12)}
    assert messages(sizes, plant(tmp_path, files)) == ""


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("src/utils.rs", "//! x", "utils.rs names no owner"),
        ("helpers/a.py", '"""x"""', "helpers names no owner"),
        ("a.md", "see /wo" + "rk/main", "a.md:1: names a place"),
        ("a.toml", "home = '/ro" + "ot/.cache'", "names a place"),
        ("a.rs", "//! x\n// TO" + "DO: later", "a.rs:2: TO" + "DO without an issue number"),
        ("a.py", '"""x"""\n# FIX' + "ME", "without an issue number"),
        ("a.rs", "//! x\nfn f() { to" + "do!() }", "a.rs:2: to" + "do!"),
        ("a.rs", "fn f() {}", "must open with what it owns"),
        ("a.py", "import os", "must open with what it owns"),
        ("a.py", "", "is empty"),
        ("a.rs", "//! x\n// " + "y" * 160, "163 characters"),
        ("rust/x/src/lib.rs", "//! x\npub fn f() {}", "must be a list"),
        ("rust/x/src/lib.rs", "//! x\nimpl X {}", "must be a list"),
        ("p/__init__.py", '"""x"""\nx = 1', "must be a list of imports"),
        ("p/__init__.py", '"""x"""\ndef f(): pass', "must be a list of imports"),
        ("p/__init__.py", '"""x"""\nif A:\n    import b', "must be a list of imports"),
        ("p/__init__.py", '"""x"""\nif TYPE_CHECKING:\n    b = 1', "must be a list of imports"),
        ("rust/sched/src/a.rs", "//! x\nfn f() { Instant::now(); }", "a.rs:2: Instant::now where"),
        ("rust/engine/src/step/a.rs", "//! x\nuse std::time::SystemTime;", "SystemTime where"),
        ("rust/engine/src/step/meter.rs", "//! x\nuse std::time::SystemTime;", "SystemTime where"),
    ],
)
def test_a_wrong_word_or_shape_or_clock_is_found(name, content, part, tmp_path):
    assert part in messages(words, plant(tmp_path, {name: content}))


def test_right_words_and_shapes_pass(tmp_path):
    files = {
        "rust/x/src/lib.rs": "//! x\nmod a;\npub use a::{B, C};\n"
        "#[cfg(test)]\nmod t {\n fn f() {}\n}\n",
        "p/__init__.py": '"""x"""\nfrom a import b\n__all__ = ["b"]\n',
        "q/__init__.py": '"""x"""\nif TYPE_CHECKING:\n    import b\nelse:\n    import c\n',
        "a.rs": "//! x\n// TO" + 'DO(#7): later\nconst A: &str = "to' + 'do!()";\n',
        "a.sh": "#!/bin/sh\n# x\n",
        "rust/engine/src/step/meter.rs": "//! x\nfn f() { Instant::now(); } // SystemTime\n",
        "rust/engine/src/door/a.rs": "//! x\nfn f() { Instant::now(); }\n",
    }
    assert messages(words, plant(tmp_path, files)) == ""


GUIDE = (
    "# Guide\n```text\nREADME.md   this\nARCHITECTURE.md  map\n"
    "rust/\n  core/   ids\n          and more\n```\n"
)


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({}, "is missing"),
        (
            {"ARCHITECTURE.md": GUIDE, "rust/core/a.rs": "", "README.md": "", "rust/new/a.rs": ""},
            "name rust/new",
        ),
        ({"ARCHITECTURE.md": GUIDE, "README.md": "", "rust/x.rs": ""}, "names rust/core, which"),
        (
            {"ARCHITECTURE.md": GUIDE, "README.md": "", "rust/core/a": "", "new.txt": ""},
            "not name new.txt",
        ),
    ],
)
def test_a_page_that_differs_from_the_tree_is_found(files, part, tmp_path):
    assert part in messages(architecture, plant(tmp_path, files))


def test_a_page_that_agrees_passes(tmp_path):
    tree = plant(tmp_path, {"ARCHITECTURE.md": GUIDE, "README.md": "", "rust/core/a.rs": ""})
    assert messages(architecture, tree) == ""


def test_the_ratchet_lets_nothing_grow_and_asks_to_be_lowered(tmp_path):
    tree = plant(tmp_path, {"tests/a.rs": "//! x\n" * 710})
    found = list(sizes.violations(tree))

    def judged(allowed):
        return ratchet.judge(found, {"file_lines": allowed} if allowed else {})

    assert judged({"tests/a.rs": 710}) == []
    assert "limit 700" in judged({})[0]
    assert "may only shrink" in judged({"tests/a.rs": 709})[0]
    assert "make ratchet" in judged({"tests/a.rs": 711})[0]
    assert "within the limits" in judged({"tests/a.rs": 710, "gone.rs": 800})[0]
    lowered = ratchet.lowered(found, {"file_lines": {"tests/a.rs": 900, "gone.rs": 800}})
    assert lowered == {"file_lines": {"tests/a.rs": 710}}
    assert ratchet.lowered(found, {}) == {}


def test_the_ratchet_keeps_its_reasons(tmp_path):
    record = tmp_path / "ratchet.toml"
    record.write_text('[file_lines]\n"a.rs" = 900  # a table\n')
    ratchet.write({"file_lines": {"a.rs": 800}}, record)
    assert '"a.rs" = 800  # a table\n' in record.read_text()
    assert ratchet.load(record) == {"file_lines": {"a.rs": 800}}


def test_braces_in_text_and_comments_do_not_count():
    code = rust_source.blank(
        'fn a() {\n  let s = "}{\\"}"; // }\n  let r = r#"}"}"#; /* } /* } */ */\n'
        "  let c = '}'; let q = '\\''; let l: &'static str = \"\";\n}\nfn b() {}\n"
    )
    found = {function.name: function.lines for function in rust_source.functions(code)}
    assert found == {"a": 5, "b": 1}


def test_parameters_are_counted_through_generics_and_closures():
    code = "fn a<F: Fn(u8, u8) -> u8>(&mut self, f: F, m: HashMap<u8, (u8, u8)>, mut s: &[u8]) {}"
    assert [function.parameters for function in rust_source.functions(code)] == [3]
