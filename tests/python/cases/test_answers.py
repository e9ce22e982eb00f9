"""Cases of models that load, and then refuse a conversation, warn, or mend what they say. Through
Python and through the command.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from fakes.checkpoints import CHATML, Folder, Gguf, gguf_file
from tokenmill import LLM, InvalidRequestError, SamplingParams
from tokenmill.cli import main

pytestmark = pytest.mark.usefixtures("surroundings")
GREEDY = SamplingParams(temperature=0.0, max_tokens=4)
_TRAPS = (
    "{% if messages[0].content == 'boom' %}{{ raise_exception('no ' ~ 'x' * 500) }}{% endif %}"
    "{% if messages[0].content == 'big' %}"
    "{% for i in range(10) %}{{ 'y' * 1000000 }}{% endfor %}{% endif %}"
)
_REFUSED = [
    pytest.param("boom", "refused the messages: no xxx", id="case_076_the_template_s_own_refusal"),
    pytest.param("big", "longer than 8388608", id="case_077_output_of_ten_megabytes"),
]


@pytest.fixture
def trapped(tmp_path):
    """A model whose template refuses two conversations."""
    return Folder(tokenizer_config={"chat_template": CHATML + _TRAPS}).write(tmp_path)


@pytest.mark.parametrize(("content", "says"), _REFUSED)
def test_python_door_refuses_the_conversation(content, says, trapped):
    with LLM(trapped) as llm:
        with pytest.raises(InvalidRequestError, match=says) as refused:
            llm.chat([{"role": "user", "content": content}], GREEDY)
        assert len(str(refused.value)) < 300
        assert llm.chat([{"role": "user", "content": "hi"}], GREEDY)[0].finished


@pytest.mark.parametrize(("content", "says"), _REFUSED)
def test_cli_door_refuses_the_conversation(content, says, trapped, capsys):
    code = main(["chat", "--model", str(trapped), "-q", content])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert says in captured.err
    assert captured.err.count("\n") == 1


_NOTED = [
    pytest.param(
        {"tokenizer_config": {"chat_template": "{% for m in messages %}{{ m.role }}{% endfor %}"}},
        "drops what the user says",
        id="case_079_a_template_that_drops_words",
    ),
    pytest.param(
        {"files": {"chat_template.jinja": CHATML.encode() + b"!"}},
        "chat_template.jinja differs from tokenizer_config.json",
        id="case_080_two_templates_that_differ",
    ),
    pytest.param(
        {"generation": {"temperature": -1}},
        "temperature must be a number from 0 to 100, got -1",
        id="case_106_a_temperature_below_zero",
    ),
    pytest.param(
        {"generation": {"eos_token_id": [256, 5000]}},
        "end token 5000 is outside the vocabulary",
        id="case_106_an_end_token_that_is_none",
    ),
]


@pytest.mark.parametrize(("fields", "says"), _NOTED)
def test_python_door_notes_it(fields, says, tmp_path, capsys):
    with LLM(Folder(**fields).write(tmp_path)) as llm:
        assert any(says in note for note in llm.info()["notes"])
        assert llm.generate("hi", GREEDY)[0].finished
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("fields", "says"), _NOTED)
def test_cli_door_notes_it(fields, says, tmp_path, capsys):
    model = str(Folder(**fields).write(tmp_path))
    assert main(["generate", "--model", model, "--max-tokens", "4", "hi"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("note: ")
    assert says in said
    assert said.count("\n") == 1


def test_python_door_case_109_bytes_that_are_no_text_are_replaced_at_the_end_only(tmp_path):
    with LLM(gguf_file(tmp_path, Gguf())) as llm:
        tokenizer = llm.get_tokenizer()
        whole = tokenizer.encode("\u4f60\u597d")
        assert tokenizer.decode(whole) == "\u4f60\u597d"
        assert tokenizer.decode(whole[:-1]) == "\u4f60\ufffd"


def test_cli_door_case_109_what_is_printed_is_always_utf8(tmp_path, repository):
    model = gguf_file(tmp_path, Gguf())
    command = [sys.executable, "-m", "tokenmill", "generate", "--model", str(model)]
    command += ["--max-tokens", "60", "--temperature", "1.0", "--seed", "3", "hello"]
    environment = {**os.environ, "PYTHONPATH": str(repository / "python")}
    child = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert child.returncode == 0, child.stderr
    assert child.stdout.decode("utf-8")


def test_python_door_case_111_a_pool_smaller_than_one_sequence_names_the_smallest(tmp_path):
    model = gguf_file(tmp_path, Gguf())
    with pytest.raises(InvalidRequestError, match="must be at least [0-9]+") as refused:
        LLM(model, kv_cache_memory_bytes=1)
    least = int(str(refused.value).split("at least ")[1].split()[0].rstrip(","))
    with LLM(model, kv_cache_memory_bytes=least) as llm:
        assert llm.generate("hi", GREEDY)[0].finished


def test_cli_door_case_111_a_pool_smaller_than_one_sequence_names_the_smallest(tmp_path, capsys):
    model = str(gguf_file(tmp_path, Gguf()))
    assert main(["generate", "--model", model, "--kv-cache-memory-bytes", "1", "hi"]) == 2
    assert "kv_cache_memory_bytes must be at least" in capsys.readouterr().err


def test_cli_door_case_116_a_second_ctrl_c_ends_at_once(tmp_path, repository):
    model = gguf_file(tmp_path, Gguf())
    command = [sys.executable, "-m", "tokenmill", "chat", "--model", str(model)]
    environment = {**os.environ, "PYTHONPATH": str(repository / "python")}
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(1.5)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130, errors
    assert b"Traceback" not in errors


@pytest.mark.parametrize("call", ["generate", "info"])
def test_cli_door_case_118_a_command_closes_what_it_opened(call, tmp_path, capsys):
    """Two commands in one process: the second finds nothing of the first."""
    model = str(gguf_file(tmp_path, Gguf()))
    arguments = {
        "generate": ["generate", "--model", model, "--max-tokens", "4", "hi"],
        "info": ["info", model],
    }
    assert [main(arguments[call]), main(arguments[call])] == [0, 0]
    assert capsys.readouterr().err == ""
