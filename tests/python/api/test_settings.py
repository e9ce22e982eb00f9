"""What the environment, the checks before a fetch and the results say, on an engine that echoes."""

import numpy as np
import pytest

import tokenmill
from fakes.engine import FakeEngine, FakeHandle
from tokenmill import LLM, InvalidRequestError, SamplingParams, UnsupportedError
from tokenmill.errors import TokenmillError, exit_code, failure


def test_the_package_gives_every_name_of_its_list_and_no_other():
    assert all(hasattr(tokenmill, name) for name in tokenmill.__all__)
    assert set(tokenmill.__all__) <= set(dir(tokenmill))
    assert tokenmill.errors.refusal("x", "y").param == "x"
    with pytest.raises(AttributeError, match="no attribute 'LMM'"):
        _ = tokenmill.LMM


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("TOKENMILL_SAMPLING_TEMPERATURE", "banana", "temperature"),
        ("TOKENMILL_SAMPLING_TEMPERATURE", "-1", "temperature"),
        ("TOKENMILL_SAMPLING_STOP", "", "stop"),
        ("TOKENMILL_BLOCK_SIZE", "0", "block_size"),
        ("TOKENMILL_MODEL", "", "model"),
    ],
    ids=lambda text: f"112-{text}",
)
def test_case_112_a_bad_environment_value_is_refused_by_the_python_door(
    fake, variable, value, name, monkeypatch
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidRequestError, match=variable) as caught:
        LLM(fake[1].path)
    assert caught.value.param == name


def test_sampling_variables_are_defaults_of_the_python_door(fake, monkeypatch):
    monkeypatch.setenv("TOKENMILL_SAMPLING_TEMPERATURE", "0.5")
    monkeypatch.setenv("TOKENMILL_SAMPLING_TOP_K", "7")
    llm = LLM(fake[1].path)
    defaults = llm.get_default_sampling_params()
    assert (defaults.temperature, defaults.top_k) == (0.5, 7)
    llm.generate(["a", "b"], [None, SamplingParams(top_k=9)])
    given = [submitted[1] for submitted in FakeEngine.instances[-1].submitted]
    assert given == [{"temperature": 0.5, "top_k": 7}, {"temperature": 0.5, "top_k": 9}]


@pytest.mark.parametrize(
    ("options", "kind", "name"),
    [
        ({"block_size": 0}, InvalidRequestError, "block_size"),
        ({"blok_size": 16}, InvalidRequestError, "did you mean block_size"),
        ({"max_num_seqs": 9, "max_num_queued_reqs": 8}, InvalidRequestError, "max_num_seqs"),
        ({"tensor_parallel_size": 2}, UnsupportedError, "tensor_parallel_size"),
    ],
)
def test_engine_options_are_checked_before_a_model_is_looked_for(options, kind, name, monkeypatch):
    def resolve(model):
        raise AssertionError("it was looked for")

    monkeypatch.setattr("tokenmill.api.llm.resolve", resolve)
    with pytest.raises(kind, match=name):
        LLM(**options)


def test_an_integer_of_another_library_is_a_priority(fake):
    llm, engine = fake
    llm.generate(["a", "b"], priority=np.int64(3))
    llm.generate(["a", "b"], priority=np.array([1, 2]))
    assert [submitted[2] for submitted in engine.submitted] == [3, 3, 1, 2]


@pytest.mark.parametrize("priority", [True, "1", 1.5, [1]])
def test_a_priority_that_is_none_is_refused(fake, priority):
    with pytest.raises(InvalidRequestError, match="priority"):
        fake[0].generate(["a", "b"], priority=priority)


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ({"role": "wizard", "content": "x"}, "unknown role 'wizard'; known are system"),
        ({"role": "", "content": "x"}, "unknown role ''"),
        ({"role": "tool", "content": "x"}, "a tool message must follow a call"),
    ],
    ids=["49-unknown", "49-empty", "49-tool without a call"],
)
def test_a_message_that_no_template_is_asked_for_is_refused(fake, message, part):
    llm, _ = fake
    turns = [{"role": "user", "content": "x"}, message]
    for ask in (llm.chat, llm.stream):
        with pytest.raises(InvalidRequestError, match=part) as caught:
            ask(turns)
        assert caught.value.param == "messages"
    # Who writes a template out by hand knows its roles.
    assert llm.get_tokenizer().apply_chat_template(turns).startswith("user:x;")


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
def test_known_roles_run(fake, role):
    assert fake[0].chat([{"role": role, "content": "x"}])[0].outputs[0].text == f"{role}:x;"


def test_a_stream_that_was_closed_says_so(fake):
    stream = fake[0].stream("abc")
    next(stream)
    assert stream.output().outputs[0].finish_reason is None
    stream.close()
    completion = stream.output().outputs[0]
    assert (completion.text, completion.finish_reason) == ("a", "abort")
    whole = fake[0].stream("abc")
    list(whole)
    whole.close()
    assert whole.output().outputs[0].finish_reason == "stop"


def test_lifted_bans_are_warnings_of_the_request(fake, monkeypatch):
    event = FakeHandle._event

    def lifting(self, sample, byte, is_last):
        made = event(self, sample, byte, is_last)
        if is_last and sample == 1:
            made["finish"]["lifted"] = ["min_tokens"]
        return made

    monkeypatch.setattr(FakeHandle, "_event", lifting)
    (output,) = fake[0].generate("a", SamplingParams(n=2))
    assert output.warnings == [
        "sample 1: min_tokens left no token at some step and was lifted there"
    ]
    assert output.outputs[1].lifted == ("min_tokens",)


def test_results_have_every_name_that_programs_look_for(fake):
    (output,) = fake[0].generate("a")
    for name in (
        "encoder_prompt",
        "encoder_prompt_token_ids",
        "kv_transfer_params",
        "lora_request",
        "prompt_logprobs",
    ):
        assert getattr(output, name) is None
    for name in ("lora_request", "spec_decode_metrics", "routed_experts", "error", "error_kind"):
        assert getattr(output.outputs[0], name) is None
    assert (output.num_cached_tokens, output.num_cache_creation_tokens) == (0, 0)
    assert output.warnings == []


@pytest.mark.parametrize("error", TokenmillError.__subclasses__(), ids=lambda e: e.kind)
def test_a_failure_in_flight_is_told_with_its_kind(error, fake, monkeypatch):
    monkeypatch.setattr(FakeEngine, "error", (error.kind, None, "broken"))
    (output,) = fake[0].generate("a")
    assert output.outputs[0].error_kind == error.kind
    with fake[0].stream("a") as stream:
        assert list(stream)[-1].error_kind == error.kind
    raised = failure(error.kind, "broken")
    assert type(raised) is error
    assert exit_code(raised) == error.exit_code
