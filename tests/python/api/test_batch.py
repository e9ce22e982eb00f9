"""Feeding prompts, joining events: order, bounds, cancelling, refusals. On an echoing engine."""

import gc
import itertools
import resource
import time

import numpy as np
import pytest

from fakes.engine import FakeEngine
from tokenmill import (
    LLM,
    CompletionOutput,
    DrainingError,
    InvalidRequestError,
    SamplingParams,
    UnsupportedError,
    _tokenmill,
)
from tokenmill.api.batch import WINDOW


def texts(outputs):
    return [output.outputs[0].text for output in outputs]


def test_one_text_gives_a_list_of_one(fake):
    llm, engine = fake
    (output,) = llm.generate("hello")
    assert output.prompt == "hello"
    assert output.finished
    assert output.outputs == [
        CompletionOutput(0, "hello", list(b"hello"), None, None, "stop", None, 0)
    ]
    assert engine.submitted[0][1] == {}


@pytest.mark.parametrize("ids", [[104, 105], (104, 105), np.array([104, 105]), iter([104, 105])])
def test_case_117_token_ids_of_any_sequence_are_one_prompt(fake, ids):
    llm, _ = fake
    (output,) = llm.generate(ids)
    assert output.prompt is None
    assert output.prompt_token_ids == [104, 105]
    assert output.outputs[0].text == "hi"


def test_all_shapes_of_prompts_mix_in_one_list(fake):
    llm, engine = fake
    outputs = llm.generate(
        ["a", [98], {"prompt": "c", "cache_salt": "s"}, {"prompt_token_ids": np.array([100])}]
    )
    assert texts(outputs) == ["a", "b", "c", "d"]
    assert [item[3] for item in engine.submitted] == [None, None, "s", None]


def test_arrays_in_a_list_are_prompts_each(fake):
    llm, _ = fake
    assert texts(llm.generate([np.array([97, 98]), np.array([99])])) == ["ab", "c"]
    assert texts(llm.generate(np.array([[97, 98], [99, 100]]))) == ["ab", "cd"]
    assert texts(llm.generate([np.int64(97), np.uint8(98)])) == ["ab"]


def test_no_prompts_give_no_outputs(fake):
    llm, _ = fake
    assert llm.generate([]) == []


def test_case_117_a_subclass_of_str_is_a_text(fake):
    class Text(str):
        __slots__ = ()

    llm, _ = fake
    assert texts(llm.generate(Text("ab"))) == ["ab"]


def test_case_117_a_generator_of_many_prompts_is_fed_as_the_queue_empties(fake):
    llm, engine = fake
    asked = (str(i) for i in range(3000))
    assert texts(llm.generate(asked)) == [str(i) for i in range(3000)]
    assert engine.running_max == engine.room
    assert engine.running == 0


def test_the_window_bounds_what_is_in_flight(fake, monkeypatch):
    llm, engine = fake
    monkeypatch.setattr(type(engine), "room", 10_000)
    assert len(llm.generate([str(i) for i in range(WINDOW * 3)])) == WINDOW * 3
    assert engine.running_max == WINDOW


def test_parameters_and_priorities_pair_with_prompts(fake):
    llm, engine = fake
    params = [SamplingParams(max_tokens=1), SamplingParams(max_tokens=2)]
    assert texts(llm.generate(["abc", "abc"], params, priority=[3, 4])) == ["a", "ab"]
    assert [item[2] for item in engine.submitted] == [3, 4]


@pytest.mark.parametrize("prompts", [["a"], ["a", "b", "c"], iter(["a", "b"])])
def test_lists_of_another_length_are_refused_before_anything_runs(fake, prompts):
    llm, engine = fake
    with pytest.raises(ValueError, match="must pair with the prompts"):
        llm.generate(prompts, [SamplingParams(), SamplingParams()])
    assert engine.submitted == []


def test_samples_are_told_apart(fake):
    llm, _ = fake
    (output,) = llm.generate("ab", SamplingParams(n=3, temperature=1.0))
    assert [(c.index, c.text) for c in output.outputs] == [(0, "ab"), (1, "ab"), (2, "ab")]


def test_logprobs_come_as_a_dict_a_position_and_are_summed(fake):
    llm, _ = fake
    (output,) = llm.generate("ab", SamplingParams(logprobs=1))
    completion = output.outputs[0]
    assert completion.cumulative_logprob == -1.0
    entry = completion.logprobs[0][ord("a")]
    assert (entry.logprob, entry.rank, entry.decoded_token) == (-0.5, 2, "a")


def test_a_request_that_fails_does_not_end_the_others(fake, monkeypatch):
    llm, engine = fake
    monkeypatch.setattr(
        type(engine), "error", ("InvalidRequest", "no_token_allowed", "none is left")
    )
    outputs = llm.generate(["a", "b"])
    assert [o.outputs[0].finish_reason for o in outputs] == ["error", "error"]
    completion = outputs[0].outputs[0]
    assert (completion.error, completion.error_code) == ("none is left", "no_token_allowed")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupt_cancels_everything(fake, monkeypatch, error):
    llm, engine = fake
    countdown = itertools.count(20, -1)

    def pause(left):
        if next(countdown) == 0:
            raise error

    monkeypatch.setattr(type(engine), "pause", staticmethod(pause))
    with pytest.raises(error):
        llm.generate([str(i) * 30 for i in range(8)])
    assert engine.running == 0


def test_a_generator_that_raises_cancels_what_runs(fake):
    llm, engine = fake

    def prompts():
        yield "a" * 100
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        llm.generate(prompts())
    assert engine.running == 0


def test_a_refusal_in_the_middle_raises_and_cancels(fake):
    llm, engine = fake
    with pytest.raises(ValueError, match="prompt must be text or a list"):
        llm.generate(["a" * 100, None])
    assert engine.running == 0


class Hostile:
    def __str__(self):
        raise ZeroDivisionError

    __repr__ = __str__


def self_reference():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "prompts",
    [
        None,
        3,
        1.5,
        True,
        b"bytes",
        bytearray(b"x"),
        Hostile(),
        [Hostile()],
        [None],
        [b"bytes"],
        [1.5],
        {},
        {"prompt": 3},
        {"prompt": "a", "prompt_token_ids": [1]},
        {"prompt": "a", "cache_salt": 3},
        {"promt": "a"},
        {Hostile: 1},
        {"prompt": "a", "multi_modal_data": {}},
    ],
    ids=lambda value: type(value).__name__,
)
def test_case_117_what_is_no_prompt_is_refused(fake, prompts):
    llm, engine = fake
    with pytest.raises((TypeError, ValueError)):
        llm.generate(prompts)
    assert engine.running == 0


def test_an_unknown_key_of_a_prompt_suggests_the_known_one(fake):
    llm, _ = fake
    with pytest.raises(ValueError, match="did you mean prompt_token_ids"):
        llm.generate({"prompt_tokens_ids": [1]})


@pytest.mark.parametrize("params", [3, "x", {"n": 1}, [3], SamplingParams])
def test_what_is_no_sampling_params_is_refused(fake, params):
    llm, _ = fake
    with pytest.raises((TypeError, ValueError)):
        llm.generate(["a"], params)


def test_adapters_are_refused_by_name(fake):
    llm, _ = fake
    with pytest.raises(UnsupportedError, match="lora_request"):
        llm.generate("a", lora_request=object())


def test_a_bar_of_the_caller_s_own_is_used(fake):
    llm, _ = fake
    seen = []

    class Bar:
        def __init__(self, total, desc):
            seen.append(total)

        def update(self, count):
            seen.append(count)

        def close(self):
            seen.append("closed")

    llm.generate(["a", "b"], use_tqdm=Bar)
    assert seen == [2, 1, 1, "closed"]


def test_a_stream_gives_chunks_that_join_to_the_output(fake):
    llm, _ = fake
    with llm.stream("hello") as stream:
        chunks = list(stream)
        output = stream.output()
    assert "".join(chunk.text for chunk in chunks) == output.outputs[0].text == "hello"
    assert [chunk.finish_reason for chunk in chunks] == [None] * 4 + ["stop"]
    assert output.finished


def test_case_119_a_stream_that_is_left_is_cancelled(fake):
    llm, engine = fake
    with llm.stream("hello") as stream:
        next(stream)
    assert engine.running == 0
    assert list(stream) == []


def test_a_conversation_is_written_out_by_the_template(fake):
    llm, engine = fake
    messages = [{"role": "user", "content": "hi"}]
    assert texts(llm.chat(messages)) == ["user:hi;"]
    assert texts(llm.chat([messages, messages])) == ["user:hi;"] * 2
    assert llm.stream(messages).output().prompt == "user:hi;"
    assert all(isinstance(item[0], _tokenmill.Rendered) for item in engine.submitted)


@pytest.mark.parametrize(
    "messages", [None, [], "hi", [[]], ["hi"], {"role": "user"}, [3], [[], []]]
)
def test_case_117_what_is_no_conversation_is_refused(fake, messages):
    llm, _ = fake
    with pytest.raises((TypeError, ValueError)):
        llm.chat(messages)


def test_a_closed_llm_refuses(fake):
    llm, engine = fake
    with llm:
        pass
    assert engine.is_closed
    with pytest.raises(DrainingError):
        llm.generate("a")
    llm.close()


def test_a_dropped_llm_closes_its_engine(fake, tmp_path):
    llm = LLM(tmp_path / "model.gguf")
    engine = FakeEngine.instances[-1]
    del llm
    gc.collect()
    assert engine.is_closed


def test_the_memory_plan_adds_up(fake):
    llm, _ = fake
    plan = llm.plan_memory()
    assert plan["total"] == sum(bytes_ for name, bytes_ in plan.items() if name != "total")


def test_capabilities_list_every_option_with_its_state(fake):
    llm, _ = fake
    rows = llm.capabilities()["options"]
    assert rows["sampling"]["temperature"]["status"] == "supported"
    assert rows["engine"]["tensor_parallel_size"]["status"] == "later"
    assert rows["engine"]["tensor_parallel_size"]["reason"]


@pytest.mark.parametrize(
    "wrap", [lambda ids: ids, lambda ids: [ids], lambda ids: [{"prompt_token_ids": ids}]]
)
def test_case_117_ids_without_end_are_refused(fake, wrap):
    with pytest.raises(InvalidRequestError, match="prompt must hold at most 4194304"):
        fake[0].generate(wrap(itertools.repeat(1)))


class Quick:
    """An engine that answers with one token at once, and remembers nothing but a count."""

    FINISH = {"reason": "length", "stop_reason": None, "error": None, "lifted": []}
    FINISH |= {"cached_tokens": 0, "created_tokens": 0, "preemptions": 0}
    FINISH |= {"score": None, "cumulative_logprob": None}
    EVENT = {"index": 0, "tokens": [1], "text": "a", "logprobs": [], "finish": FINISH}

    def __init__(self):
        self.running = 0
        self.running_max = 0

    def submit(self, prompt, *rest):
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        return QuickHandle(self, prompt)


class QuickHandle:
    seed = 0

    def __init__(self, engine, prompt):
        self.prompt_token_ids = [1]
        self.request_id = prompt
        self.effective = {"n": 1}
        self._engine = engine
        self._left = [Quick.EVENT]

    def next(self, timeout=None):
        if self._left:
            return self._left.pop()
        self._engine.running -= 1
        return None


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.slow
def test_case_117_a_million_prompts_run_in_bounded_time_and_memory(fake, monkeypatch):
    """Case 117. What stays is the outputs; what is in flight is the window."""
    llm, _ = fake
    count = 1_000_000
    engine = Quick()
    monkeypatch.setattr(llm, "_engine", engine)
    before, started = resident_bytes(), time.monotonic()
    outputs = llm.generate((str(i) for i in range(count)), use_tqdm=False)
    assert time.monotonic() - started < 240
    assert (resident_bytes() - before) / count < 2_000
    assert engine.running_max == WINDOW
    assert engine.running == 0
    assert len(outputs) == count
    assert all(output.request_id == str(i) for i, output in enumerate(outputs))
