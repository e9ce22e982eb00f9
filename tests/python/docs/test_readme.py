"""README's examples run as they stand: Python and commands here, Rust by `cargo test`."""

import os
import re
import shlex
import subprocess
import sys

import pytest


def blocks(repository, language, page="README.md"):
    text = (repository / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.fixture
def environment(repository, default_model):
    paths = [str(repository / "python"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run(command, environment, **settings):
    ran = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **settings,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4, 5, 6])
def test_the_python_examples_run(index, repository, environment, tmp_path):
    code = blocks(repository, "python")[index]
    out = run([sys.executable, "-c", code], environment, cwd=tmp_path)
    assert len(out.split()) > 10


def test_no_python_example_is_left_out(repository):
    assert len(blocks(repository, "python")) == 7


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_python_examples_of_the_page_on_evaluation_run(
    index, repository, environment, tmp_path
):
    examples = blocks(repository, "python", "docs/evaluation.md")
    assert len(examples) == 3
    assert run([sys.executable, "-c", examples[index]], environment, cwd=tmp_path).strip()


def console_lines(repository, page="README.md"):
    return [
        line.removeprefix("$ ")
        for block in blocks(repository, "console", page)
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def test_the_commands_run(repository, environment, tmp_path):
    command = f"{shlex.quote(sys.executable)} -m tokenmill"
    lines = console_lines(repository)
    assert len(lines) >= 7
    for line in lines:
        script = line.replace("tokenmill ", f"{command} ", 1)
        out = run(["bash", "-c", script], environment, cwd=tmp_path)
        assert out.strip(), line


def test_the_commands_of_the_page_on_evaluation_run(repository, environment, tmp_path):
    lines = console_lines(repository, "docs/evaluation.md")
    assert len(lines) == 5
    for line in lines:
        script = line.replace("tokenmill ", f"{shlex.quote(sys.executable)} -m tokenmill ", 1)
        out = run(["bash", "-c", script], environment, cwd=tmp_path)
        assert ("> sun.jsonl" in line) != bool(out.strip()), line


def test_the_rust_example_is_the_one_that_cargo_tests(repository):
    (example,) = blocks(repository, "rust")
    lines = (repository / "rust" / "lib.rs").read_text("utf-8").splitlines()
    documented = "\n".join(line.removeprefix("//!").removeprefix(" ") for line in lines)
    assert example in documented


def test_every_file_that_a_page_links_to_exists(repository):
    for page in repository.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (repository / target).exists(), f"{page.name} links to {target}"


def test_help_of_make_names_every_public_target(repository):
    text = (repository / "Makefile").read_text("utf-8")
    out = subprocess.run(
        ["make", "help"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    for target in re.findall(r"^([a-z-]+):.*##", text, re.M):
        assert f"make {target}" in out
