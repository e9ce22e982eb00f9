"""Every slip on the command line: one line, an exit code by kind, a hint. Cases 110 to 116."""

import pytest

from tokenmill.cli.main import COMMANDS


def assert_refused(ran, code, *parts):
    assert ran.code == code, ran.err
    assert ran.err.startswith("tokenmill: ")
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    for part in parts:
        assert part in ran.err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["chta"], ["chta", "did you mean chat?"]),
        (["--modle"], ["--modle"]),
        (["generate", "--temprature", "1", "x"], ["--temprature", "did you mean --temperature?"]),
        (["generate", "--temp", "1", "x"], ["unknown option --temp"]),
        (["generate", "--max-token=3", "x"], ["--max-token", "did you mean --max-tokens?"]),
        (["generate", "x", "--temperature"], ["--temperature"]),
        (["generate", "x", "--temperature", "warm"], ["temperature", "warm"]),
        (["generate", "x", "--temperature", "-1"], ["temperature"]),
        (["generate", "x", "--temperature", "nan"], ["temperature"]),
        (["generate", "x", "--top-k", "1.5"], ["top_k", "1.5"]),
        (["generate", "x", "--logit-bias", "1=2"], ["logit_bias"]),
        (["generate", "x", "--stop-token-ids", "a,b"], ["stop_token_ids"]),
        (["generate", "x", "--beam-width", "17"], ["beam_width", "16"]),
        (["generate", "x", "--guidance-scale", "-1"], ["guidance_scale"]),
        (["generate", "x", "--contrastive", "mode:ratio"], ["contrastive"]),
        (["generate", "x", "--dola-layers", "middle"], ["dola_layers"]),
        (["chat", "hello"], ["unexpected argument hello"]),
        (["bench"], ["mode"]),
        (["bench", "speed"], ["speed"]),
        (["bench", "latency", "--input-len", "0"], ["input_len"]),
        (["bench", "latency", "--num-prompts", "many"], ["num_prompts"]),
        (["pull", "smollm2-135m-instuct"], ["did you mean smollm2-135m-instruct?"]),
        (["pull", "smollm2-135m-instruct", "nothing"], ["nothing"]),
        (["info", "./absent.gguf"], ["no such path"]),
        (["generate", "-m", "no-such-model", "x"], ["no-such-model", "tokenmill models"]),
        (["generate", "x", "--config", "/absent.toml"], ["/absent.toml"]),
        (["generate", "x", "-m", ""], ["model", "empty"]),
        (["generate", "x", "--config", ""], ["config", "empty"]),
        (["info", ""], ["model", "empty"]),
        (["info", "a", "--model", "b"], ["one model"]),
        (["generate", "x", "--logprobs", "3"], ["logprobs", "--json"]),
        (["chat", "--logprobs", "3"], ["logprobs", "--json"]),
        (["chat", "-q", "a", "--opening", "b"], ["--opening", "--quick"]),
        (["generate", "caf\udce9"], ["prompt must be UTF-8"]),
        (["generate", "x", "--stop", "\udcff"], ["stop must be UTF-8"]),
        (["generate", "x", "--chat-template", "\udcff"], ["chat_template must be UTF-8"]),
        (["chat", "-q", "caf\udce9"], ["quick must be UTF-8"]),
        (["chat", "--system-prompt", "\udce9"], ["system_prompt must be UTF-8"]),
        (["generate", "x", "--logit-bias", '{"5": [1]}'], ["logit_bias"]),
        (["generate", "x", "--logit-bias", '{"5": null}'], ["logit_bias"]),
        (["generate", "x", "--logit-bias", "5:1,5:-100"], ["logit_bias", "distinct"]),
        (["generate", "x", "--block-size", "0"], ["block_size", "1 to 1024"]),
        (["chat", "--block-size", "0"], ["block_size", "1 to 1024"]),
        (["info", "--block-size", "0"], ["block_size", "1 to 1024"]),
        (["bench", "latency", "--block-size", "0"], ["block_size", "1 to 1024"]),
    ],
)
def test_case_110_case_124_a_slip_is_one_line_with_a_suggestion(arguments, parts, command):
    ran = command(*arguments)
    assert_refused(ran, 3 if "/absent.toml" in arguments else 2, *parts)


@pytest.mark.parametrize("verb", ["chat", "generate", "bench"])
def test_case_121_offline_without_the_default_model_is_an_io_error(verb, command):
    arguments = {"chat": ["chat"], "generate": ["generate", "x"], "bench": ["bench", "latency"]}
    assert_refused(command(*arguments[verb]), 3, "TOKENMILL_OFFLINE", "TOKENMILL_CACHE")


@pytest.mark.parametrize(
    ("variable", "value", "part"),
    [
        ("TOKENMILL_BLOCK_SIZE", "sixteen", "block_size"),
        ("TOKENMILL_BLOCK_SIZ", "16", "did you mean TOKENMILL_BLOCK_SIZE?"),
        ("TOKENMILL_ENABLE_PREFIX_CACHING", "perhaps", "enable_prefix_caching"),
        ("TOKENMILL_SAMPLING_TEMPERATURE", "warm", "temperature"),
        ("TOKENMILL_OFFLINE", "2", "TOKENMILL_OFFLINE must be 0 or 1"),
    ],
)
def test_case_112_a_bad_environment_value_is_refused(variable, value, part, command, monkeypatch):
    monkeypatch.setenv(variable, value)
    assert_refused(command("generate", "x"), 2, part, variable)
    # A command that samples nothing reads them too.
    assert_refused(command("info"), 2, part, variable)


def test_a_table_s_refused_option_in_the_environment_is_unsupported(command, model, monkeypatch):
    monkeypatch.setenv("TOKENMILL_TENSOR_PARALLEL_SIZE", "2")
    assert_refused(command("generate", "x", "-m", model), 3, "tensor_parallel_size")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("[engine]\nblok_size = 16", "did you mean block_size?"),
        ("[sampling]\ntemprature = 1.0", "did you mean temperature?"),
        ("[other]\nx = 1", "other"),
        ("engine = 3", "engine"),
        ("not toml", "not TOML"),
        ("[sampling]\ntemperature = 2020-01-01", "temperature must not be of type date"),
        ("[engine]\nthreads = 2020-01-01", "threads must not be of type date"),
        ("[engine]\nthreads = 0", "threads must be"),
        ("[sampling]\nstop = " + "[" * 50 + "]" * 50, "stop is nested too deeply"),
        ("[sampling]\nstop = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)
def test_case_112_a_bad_configuration_file_is_refused(content, part, command, model, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(content)
    assert_refused(command("generate", "x", "-m", model, "--config", str(file)), 2, part)


def test_case_113_a_path_that_is_not_utf8_is_shown_safely(command):
    ran = command("info", "caf\udce9.gguf")
    assert_refused(ran, 2, "no such path")
    ran.err.encode("utf-8")


def test_control_characters_of_an_argument_do_not_reach_the_terminal(command):
    ran = command("info", "a\x1b[31mb\nc")
    assert ran.code == 2
    assert "\x1b" not in ran.err
    assert ran.err.count("\n") == 1


def test_case_113_standard_input_that_is_not_utf8_is_refused(command, model):
    assert_refused(command("generate", "-m", model, stdin=b"abc\xff"), 2, "UTF-8", "byte 3")


def test_no_prompt_at_all_is_refused(command, model):
    assert_refused(command("generate", "-m", model), 2, "no prompt")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_that_can_be_searched(name, command):
    ran = command(name, "--help")
    assert ran.code == 0
    assert f"usage: tokenmill {name}" in ran.out
    found = command(name, "--help=HELP")
    assert found.code == 0
    assert "--help" in found.out


def test_a_fault_of_ours_is_one_line_and_exit_code_one(command, monkeypatch):
    def broken(arguments):
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr("tokenmill.cli.commands.env.run", broken)
    assert_refused(command("env"), 1, "internal error: ZeroDivisionError: oh no")


def test_case_116_an_interrupt_ends_with_130(command, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("tokenmill.cli.commands.env.run", interrupted)
    assert command("env").code == 130
