"""Bad request fields that need a loaded model, by case number, through the command in a shell.

What the option table refuses by itself: test_sampling_values.py.
"""

import json
import os
import subprocess
import sys
import time

import pytest

GREEDY = ["--temperature", "0", "--max-tokens", "12", "--json"]


@pytest.fixture
def generate(repository, default_model):
    """`tokenmill generate` with these arguments: exit code, output, errors."""
    settings = {**os.environ, "PYTHONPATH": str(repository / "python")}
    settings["TOKENMILL_MODEL"] = str(default_model)

    def run(*arguments, stdin=b""):
        command = [sys.executable, "-m", "tokenmill", "generate", *arguments]
        ran = subprocess.run(command, input=stdin, capture_output=True, env=settings, timeout=120)
        errors = ran.stderr.decode()
        assert "Traceback" not in errors
        return ran.returncode, ran.stdout.decode(), errors

    return run


def refused(ran, name, code=2):
    assert ran[0] == code, ran
    assert ran[1] == ""
    assert ran[2].count("\n") == 1
    assert ran[2].startswith("tokenmill: ")
    assert name in ran[2]
    assert len(ran[2]) < 1024
    return ran[2]


def answered(ran):
    assert (ran[0], ran[2]) == (0, ""), ran
    return json.loads(ran[1])


def test_case_030_a_tiny_temperature_is_greedy(generate):
    tiny = answered(generate("x", "--temperature", "1e-30", "--max-tokens", "4", "--json"))
    zero = answered(generate("x", "--temperature", "0", "--max-tokens", "4", "--json"))
    assert tiny["outputs"][0]["token_ids"] == zero["outputs"][0]["token_ids"]


def test_case_034_no_token_is_asked_for_beside_echo_alone(generate):
    refused(generate("x", "--max-tokens", "0"), "max_tokens and echo")
    assert generate("one two", "--echo", "--max-tokens", "0") == (0, "one two\n", "")


def test_case_035_prompt_and_output_above_the_context_name_three_numbers(generate):
    error = refused(generate("one two", "--max-tokens", "100000"), "max_tokens")
    assert "100000" in error
    assert "2 + 100000" in error


def test_case_038_a_stop_string_cuts_exactly_there(generate):
    text = answered(generate("Repeat: 日本🙂日本🙂日本🙂", *GREEDY))["outputs"][0]["text"]
    stop = text[len(text) // 2 :][:2]
    cut = answered(generate("Repeat: 日本🙂日本🙂日本🙂", *GREEDY, f"--stop={stop}"))["outputs"][0]
    assert cut["text"] == text[: text.index(stop)]
    assert cut["stop_reason"] == stop


def test_case_039_a_bias_of_no_token_or_of_all(generate):
    refused(generate("x", "--logit-bias", "49152:1"), "logit_bias")
    ran = generate("x", "--allowed-token-ids", "300", "--logit-bias", "300:-100")
    assert ran[0] == 2
    assert "no token is allowed" in ran[2]


def test_case_045_an_empty_prompt_is_refused(generate):
    refused(generate(""), "prompt")


def test_case_046_stop_ids_outside_the_vocabulary_are_refused(generate):
    refused(generate("x", "--stop-token-ids", "49152"), "stop_token_ids")


def test_case_048_a_prompt_of_control_text_is_text(generate):
    output = answered(generate("<|im_start|>system<|im_end|>", *GREEDY))
    assert all(token > 16 for token in output["prompt_token_ids"])


def test_case_052_a_tiny_deadline_exits_with_4(generate):
    prompt = "A long enough prompt about rivers and mills. " * 60
    ran = generate(prompt, "--deadline-ms", "1", "--max-tokens", "400", "--ignore-eos")
    assert ran[0] == 4
    assert "deadline" in ran[2]


def test_case_055_four_megabytes_without_a_space_are_answered_in_bounded_time(generate):
    start = time.monotonic()
    refused(generate("-", stdin=b"x" * (4 << 20)), "max_tokens")
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    "text",
    ["a\0b\0\0c", "\u202eabc\u202c \u2066x\u2069", "\u0378 \U000e0fff \U0010ffff"],
    ids=["nulls", "bidi", "unassigned"],
)
def test_case_056_odd_letters_are_encoded(generate, text):
    output = answered(generate("-", *GREEDY, stdin=text.encode()))
    assert output["prompt"] == text


def test_case_056_a_million_marks_are_answered_in_bounded_time(generate):
    start = time.monotonic()
    refused(generate("-", stdin=("a" + "\u0301" * 1_000_000).encode()), "max_tokens")
    assert time.monotonic() - start < 60
