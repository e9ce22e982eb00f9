"""What each command does with an engine that only echoes."""

import json
import signal
import subprocess
import sys
import time

import pytest

from fakes.engine import FakeEngine, FakeHandle
from tokenmill import _tokenmill
from tokenmill.cli.terminal import harmless, table
from tokenmill.models import DEFAULT_MODEL


def test_generate_streams_one_prompt(command, model):
    ran = command("generate", "hello", "-m", model)
    assert (ran.code, ran.out, ran.err) == (0, "hello\n", "")


def test_generate_reads_standard_input_without_its_last_line_end(command, model):
    assert command("generate", "-m", model, stdin=b"line\n\n").out == "line\n\n"


def test_generate_prints_many_prompts_in_order(command, model):
    ran = command("generate", "a", "bb", "c", "-m", model)
    assert ran.out == "a\nbb\nc\n"


def test_generate_as_json_gives_a_line_a_prompt(command, model):
    ran = command("generate", "a", "bb", "--json", "-m", model, "--n", "2")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [[c["text"] for c in line["outputs"]] for line in lines] == [["a", "a"], ["bb", "bb"]]


def test_flags_reach_the_engine_as_the_table_types_them(command, model):
    command(
        *("generate", "x", "-m", model, "--max-tokens", "2K", "--top-k", "5", "--ignore-eos"),
        *("--no-detokenize", "--stop-token-ids", "1,2", "--logit-bias", "3:-100,4:1.5"),
        *(
            "--temperature",
            "0.5",
            "--seed",
            "-3",
            "--block-size",
            "32",
            "--no-enable-prefix-caching",
        ),
    )
    engine = FakeEngine.instances[0]
    assert engine.options == {"block_size": 32, "enable_prefix_caching": False}
    assert engine.submitted[0][1] == {
        "max_tokens": 2048,
        "top_k": 5,
        "ignore_eos": True,
        "detokenize": False,
        "stop_token_ids": [1, 2],
        "logit_bias": {3: -100.0, 4: 1.5},
        "temperature": 0.5,
        "seed": -3,
    }


def test_stop_strings_are_repeated(command, model):
    command("generate", "x", "-m", model, "--stop", "a b", "--stop", "[INST]")
    assert FakeEngine.instances[0].submitted[0][1]["stop"] == ["a b", "[INST]"]


def test_a_flag_beats_the_file_and_the_file_beats_the_environment(
    command, model, tmp_path, monkeypatch
):
    monkeypatch.setenv("TOKENMILL_BLOCK_SIZE", "64")
    monkeypatch.setenv("TOKENMILL_THREADS", "1")
    monkeypatch.setenv("TOKENMILL_SAMPLING_TOP_K", "7")
    file = tmp_path / "c.toml"
    file.write_text("[engine]\nblock_size = 32\n[sampling]\nmin_p = 0.1\ntop_p = 0.5\n")
    command("generate", "x", "-m", model, "--config", str(file), "--top-p", "0.9")
    engine = FakeEngine.instances[0]
    assert engine.options == {"block_size": 32, "threads": 1}
    sampling = engine.submitted[0][1]
    assert (sampling["top_k"], sampling["min_p"], sampling["top_p"]) == (7, 0.1, 0.9)


def test_the_environment_can_name_the_model(command, model, monkeypatch):
    monkeypatch.setenv("TOKENMILL_MODEL", model)
    assert command("generate", "x").code == 0
    assert FakeEngine.instances[0].path == model


def test_a_request_that_fails_is_said_with_its_reason(command, model, monkeypatch):
    for kind, code in (("Internal", 1), ("InvalidRequest", 2), ("Io", 3), ("Deadline", 4)):
        monkeypatch.setattr(FakeEngine, "error", (kind, None, "no token is allowed"))
        one = command("generate", "x", "-m", model)
        assert one.code == code
        assert "no token is allowed" in one.err
        many = command("generate", "x", "y", "-m", model)
        assert many.code == code
        assert many.err.count("no token is allowed") == 2
        assert command("chat", "-q", "x", "-m", model).code == code


def test_chat_without_input_answers_one_question(command, model):
    ran = command("chat", "-m", model)
    assert ran.code == 0
    assert "> What is a watermill?" in ran.out
    assert isinstance(FakeEngine.instances[0].submitted[0][0], _tokenmill.Rendered)


def test_chat_reads_a_turn_a_line_and_keeps_the_conversation(command, model):
    ran = command("chat", "-m", model, "--system-prompt", "be kind", stdin=b"one\n\ntwo\n")
    assert ran.out == "system:be kind;user:one;\n" + (
        "system:be kind;user:one;assistant:system:be kind;user:one;;user:two;\n"
    )


def test_chat_quick_answers_and_leaves(command, model):
    assert command("chat", "-m", model, "-q", "hi", stdin=b"ignored").out == "user:hi;\n"


def test_chat_asks_the_opening_before_the_lines(command, model):
    ran = command("chat", "-m", model, "--opening", "one", stdin=b"two\n")
    assert ran.out == "> one\nuser:one;\nuser:one;assistant:user:one;;user:two;\n"
    assert command("chat", "-m", model, "--opening", "one").out == "> one\nuser:one;\n"


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (["--max-tokens", "1"], "[cut at max_tokens, 1]\n"),
        ([], "[cut: the context of 128 tokens is full]\n"),
        (["--max-tokens", "100"], "[cut: the context of 128 tokens is full]\n"),
    ],
)
def test_an_answer_that_was_cut_says_by_what_on_standard_error(
    arguments, note, command, model, monkeypatch
):
    event = FakeHandle._event

    def cut(self, sample, byte, is_last):
        made = event(self, sample, byte, is_last)
        if is_last:
            made["finish"]["reason"] = "length"
        return made

    monkeypatch.setattr(FakeHandle, "_event", cut)
    ran = command("chat", "-m", model, "-q", "hi", *arguments)
    assert ran.err == note
    assert "cut" not in ran.out


def test_case_116_ctrl_c_in_a_quick_chat_leaves_with_130(command, model, monkeypatch):
    def interrupt(left):
        if left == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(FakeEngine, "pause", staticmethod(interrupt))
    assert command("chat", "-m", model, "-q", "hello").code == 130
    assert command("generate", "-m", model, "hello").code == 130
    assert all(engine.handles[0].is_cancelled for engine in FakeEngine.instances)


def test_chat_sets_no_limit_of_tokens_unless_asked(command, model):
    command("chat", "-m", model, "-q", "hi")
    command("chat", "-m", model, "-q", "hi", "--max-tokens", "3")
    given = [engine.submitted[0][1]["max_tokens"] for engine in FakeEngine.instances]
    assert given == [None, 3]


def test_chat_refuses_several_samples(command, model):
    assert command("chat", "-m", model, "-q", "hi", "--n", "2").code == 2


def test_chat_needs_a_template(command, model, monkeypatch):
    info = FakeEngine.info
    monkeypatch.setattr(FakeEngine, "info", lambda self: info(self) | {"has_chat_template": False})
    ran = command("chat", "-m", model, "-q", "hi")
    assert ran.code == 2
    assert "no chat template" in ran.err


def test_chat_stats_are_on_standard_error(command, model):
    ran = command("chat", "-m", model, "-q", "hi", "--stats")
    assert ran.out == "user:hi;\n"
    assert "tokens/s" in ran.err


def test_a_closed_engine_follows_every_command(command, model):
    command("generate", "x", "-m", model)
    command("chat", "-q", "x", "-m", model)
    assert [engine.is_closed for engine in FakeEngine.instances] == [True, True]


def test_models_lists_what_is_known(command):
    ran = command("models")
    assert DEFAULT_MODEL in ran.out
    assert "not cached" in ran.out
    assert "Apache-2.0" in ran.out
    rows = json.loads(command("models", "--json", "--verify").out)
    assert rows[0]["path"] is None


def test_env_says_versions_and_names_of_settings_only(command, monkeypatch):
    monkeypatch.setenv("TOKENMILL_THREADS", "2")
    ran = command("env")
    assert ran.code == 0
    assert "TOKENMILL_THREADS" in ran.out
    facts = json.loads(command("env", "--json").out)
    assert facts["cores"] >= 1


@pytest.mark.parametrize("mode", ["latency", "throughput"])
def test_bench_reports_rates_and_shares(mode, command, model):
    ran = command(
        "bench",
        mode,
        "-m",
        model,
        "--json",
        "--input-len",
        "9",
        "--output-len",
        "4",
        "--num-prompts",
        "2",
    )
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["requests"] == 2
    for name in ("share_of_bandwidth", "share_of_peak", "limit_bytes_per_s", "load_s"):
        assert report[name] >= 0
    rate = "decode_tokens_per_s" if mode == "latency" else "output_tokens_per_s"
    assert report[rate] > 0
    assert "share_of_peak" in command("bench", mode, "-m", model, "--num-prompts", "1").out


def test_model_text_cannot_steer_a_terminal():
    assert harmless("a\x1b[2Jb\rc\td\n\u202ee\x9b") == "a\ufffd[2Jb\ufffdc\td\n\ufffde\ufffd"
    assert harmless("naïve 中文 🙂\n") == "naïve 中文 🙂\n"


def test_tables_align_their_columns():
    assert table([("a", "long"), ("bbb", "c")], ("x", "y")) == "x    y\na    long\nbbb  c\n"


def run_module(*arguments, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", "tokenmill", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **settings,
    )


@pytest.fixture
def importable(repository, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(repository / "python"), prepend=":")


def test_case_115_a_reader_that_goes_away_is_no_error(importable):
    child = run_module("models")
    child.stdout.close()
    errors = child.stderr.read()
    assert child.wait(30) == 0
    assert errors == b""


def test_the_module_is_the_command(importable):
    child = run_module("--version")
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 0
    assert out.startswith(b"tokenmill ")


def test_case_114_a_full_disk_under_standard_output_is_an_io_error(importable):
    with open("/dev/full", "wb") as full:
        child = subprocess.run(
            [sys.executable, "-m", "tokenmill", "models"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert child.returncode == 3
    assert b"No space left" in child.stderr


def test_case_116_ctrl_c_while_waiting_for_input_leaves_with_130(importable):
    code = "from tokenmill.cli import main; print(flush=True); raise SystemExit(main(['generate']))"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", code], **pipes)
    child.stdout.readline()
    # The command is entered within a moment; from there on an interrupt is handled everywhere.
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert errors == b""
