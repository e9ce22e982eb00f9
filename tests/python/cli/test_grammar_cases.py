"""Schemas, patterns and grammars that cannot be, by case number, through the command."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def generate(repository, default_model):
    """`tokenmill generate` under one constraint: exit code, output, errors."""
    settings = {**os.environ, "PYTHONPATH": str(repository / "python")}
    settings["TOKENMILL_MODEL"] = str(default_model)

    def run(max_tokens=8, more=("--json",), **constraint):
        command = [sys.executable, "-m", "tokenmill", "generate", "x", *more]
        command += ["--temperature", "0", "--max-tokens", str(max_tokens)]
        command += [f"--structured-outputs={json.dumps(constraint)}"]
        ran = subprocess.run(command, capture_output=True, env=settings, timeout=120)
        errors = ran.stderr.decode()
        assert "Traceback" not in errors
        return ran.returncode, ran.stdout.decode(), errors

    return run


def refused(ran, kind):
    code, out, errors = ran
    assert (code, out) == (2, ""), ran
    assert errors.startswith(f"tokenmill: structured_outputs.{kind}")
    assert errors.count("\n") == 1
    assert len(errors) < 512


def answered(ran):
    assert (ran[0], ran[2]) == (0, ""), ran
    return json.loads(ran[1])["outputs"][0]


def test_a_schema_is_kept_to(generate):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    switches = {"disable_any_whitespace": True, "disable_additional_properties": True}
    output = answered(generate(40, json=schema, **switches))
    assert isinstance(json.loads(output["text"])["n"], int)
    assert answered(generate(choice=["é", "ü"]))["text"] in ("é", "ü")


def test_case_058_a_pattern_that_cannot_be_is_refused(generate):
    refused(generate(regex="("), "regex")


def test_case_059_a_schema_that_is_none_is_refused(generate):
    refused(generate(json={"type": "strin"}), "json")


def test_case_060_a_schema_beyond_the_bounds_is_refused(generate):
    schema = {}
    for _ in range(33):
        schema = {"properties": {"a": schema}}
    refused(generate(json=schema), "json")


def test_case_061_a_reference_to_elsewhere_is_refused(generate):
    refused(generate(json={"$ref": "http://127.0.0.1:9/x"}), "json")


def test_case_062_a_product_of_alternatives_is_refused(generate):
    def one(name):
        return {"type": "object", "properties": {name: {"type": "integer"}}}

    parts = [{"anyOf": [one(f"{letter}{n}") for n in range(12)]} for letter in "abcdefgh"]
    refused(generate(json={"allOf": parts}), "json")


def test_case_063_a_language_without_a_text_is_refused(generate):
    refused(generate(grammar='start: "a" start'), "grammar")


def test_case_064_a_minimum_of_a_milliard_runs_to_its_length(generate):
    ran = generate(20, json={"type": "string", "minLength": 10**9})
    assert answered(ran)["finish_reason"] == "length"


def test_case_067_what_may_not_be_spelled_is_that_requests_error(generate):
    ran = generate(json_object=True, more=["--allowed-token-ids", "300"])
    assert ran[0] == 2
    assert "no token is allowed" in ran[2]
