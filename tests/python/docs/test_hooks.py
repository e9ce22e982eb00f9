"""Git hooks and editor settings: what `make setup` gives a person, and what it leaves alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def git(folder, *arguments, check=True, **extra):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": str(folder / "no-global-settings"),
        "GIT_CONFIG_NOSYSTEM": "1",
        **extra,
    }
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=check
    )


def install(folder, **extra):
    environment = {
        **{n: v for n, v in os.environ.items() if n != "CI" and not n.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": str(folder / "no-global-settings"),
        "GIT_CONFIG_NOSYSTEM": "1",
        **extra,
    }
    ran = subprocess.run(
        [folder / ".githooks" / "install"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def hooks_path(folder):
    return git(folder, "config", "--get", "core.hooksPath", check=False).stdout.strip()


@pytest.fixture
def clone(repository, tmp_path):
    folder = tmp_path / "clone"
    shutil.copytree(repository / ".githooks", folder / ".githooks")
    git(folder, "init", "--quiet", "--template=")
    return folder


def test_hooks_are_installed_once_and_for_this_clone(clone):
    assert "commits check formats" in install(clone)
    assert hooks_path(clone) == ".githooks"
    assert install(clone) == ""


def test_hooks_of_your_own_are_left_alone(clone):
    git(clone, "config", "core.hooksPath", "mine")
    assert "left as it is" in install(clone)
    assert hooks_path(clone) == "mine"
    git(clone, "config", "--unset", "core.hooksPath")
    own = clone / ".git" / "hooks" / "pre-commit"
    own.parent.mkdir(exist_ok=True)
    own.write_text("#!/bin/sh\n")
    assert "left as it is" in install(clone)
    assert hooks_path(clone) == ""


def test_ci_and_a_tree_that_is_no_clone_get_no_hooks(clone):
    install(clone, CI="true")
    assert hooks_path(clone) == ""
    shutil.rmtree(clone / ".git")
    assert install(clone) == ""


def test_a_commit_that_is_not_formatted_is_refused(clone):
    install(clone)
    tools = Path(sys.executable).parent
    if not (tools / "ruff").exists():
        pytest.skip("needs ruff beside the interpreter")
    source = clone / "python" / "a.py"
    source.parent.mkdir()
    source.write_text('"""A."""\nx = {  "a":1 }\n')
    git(clone, "add", ".")
    # Set in a hook by git itself, and of no use to what the hook calls.
    commit = ("commit", "--quiet", "-m", "a")
    refused = git(clone, *commit, check=False, VENV=str(tools.parent))
    assert refused.returncode != 0
    assert "make fmt" in refused.stderr
    source.write_text('"""A."""\n\nx = {"a": 1}\n')
    git(clone, "add", ".")
    git(clone, *commit, VENV=str(tools.parent))
    rust = clone / "src" / "lib.rs"
    rust.parent.mkdir()
    (clone / "Cargo.toml").write_text('[package]\nname = "a"\nedition = "2024"\n')
    rust.write_text("fn  a() {}\n")
    git(clone, "add", ".")
    if shutil.which("cargo") is not None:
        refused = git(clone, *commit, check=False, VENV=str(tools.parent))
        assert "make fmt" in refused.stderr
    git(clone, *commit, "--no-verify", VENV=str(tools.parent))


def test_setup_installs_the_hooks(repository):
    text = (repository / "Makefile").read_text("utf-8")
    recipe = re.search(r"^setup:.*\n((?:\t.*\n)+)", text, re.M)
    assert ".githooks/install" in recipe[1]
    for name in ("install", "pre-commit", "pre-push"):
        assert os.access(repository / ".githooks" / name, os.X_OK), name


def test_editor_settings_name_what_exists(repository):
    folder = repository / ".vscode"
    settings = {path.name: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    assert set(settings) == {"settings.json", "launch.json", "extensions.json"}
    cargo = (repository / "Cargo.toml").read_text("utf-8")
    for one in settings["launch.json"]["configurations"]:
        arguments = one.get("cargo", {}).get("args", [])
        named = dict(zip(arguments, arguments[1:], strict=False))
        if "--example" in named:
            assert f'name = "{named["--example"]}"' in cargo
        if "--test" in named:
            target = repository / "tests" / named["--test"]
            assert target.with_suffix(".rs").exists() or (target / "main.rs").exists()
        if "--profile" in named:
            assert f"[profile.{named['--profile']}]" in cargo
