"""Beam search at the Python door: its parameters, and outputs as vLLM shows them."""

import pytest

from tokenmill import (
    BeamParams,
    BeamSearchParams,
    InternalError,
    InvalidRequestError,
    SamplingParams,
)


def test_beam_params_are_sampling_params_with_beams_and_no_temperature():
    params = BeamParams(4, 32, length_penalty=0.65, early_stopping="never")
    assert BeamSearchParams is BeamParams
    assert isinstance(params, SamplingParams)
    assert (params.beam_width, params.max_tokens, params.temperature) == (4, 32, 0.0)
    assert (params.length_penalty, params.early_stopping) == (0.65, "never")
    assert params.replace(beam_width=2).given["early_stopping"] == "never"
    assert BeamParams(beam_width=2).max_tokens == SamplingParams().max_tokens
    assert BeamParams(2, max_tokens=None).max_tokens is None


def test_every_processor_goes_with_beams():
    params = BeamParams(3, repetition_penalty=1.2, no_repeat_ngram_size=3, min_tokens=2)
    assert params.no_repeat_ngram_size == 3


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"beam_width": 0}, "beam_width"),
        ({"beam_width": 17}, "beam_width"),
        ({"beam_width": True}, "beam_width"),
        ({"beam_width": 4, "n": 2, "temperature": 1.0}, "n"),
        ({"beam_width": 4, "early_stopping": "soon"}, "early_stopping"),
        ({"beam_width": 4, "early_stopping": 1}, "early_stopping"),
        ({"beam_width": 4, "length_penalty": float("nan")}, "length_penalty"),
        ({"beam_width": 4, "num_return_sequences": 5}, "num_return_sequences"),
        ({"beam_width": 4, "num_beam_groups": 3}, "num_beam_groups"),
        ({"beam_width": 4, "best": 3}, "best"),
    ],
)
def test_what_a_search_cannot_mean_is_refused_by_name(values, param):
    with pytest.raises(InvalidRequestError) as caught:
        BeamParams(**values)
    assert caught.value.param == param


def test_a_width_must_be_given():
    with pytest.raises(InvalidRequestError, match="beam_width"):
        BeamParams(None)


def test_sampling_params_with_beams_draw_nothing_unless_told_to():
    assert SamplingParams(beam_width=2).temperature == 0.0
    assert SamplingParams(beam_width=2, temperature=0.5).temperature == 0.5


def test_outputs_have_the_shape_of_vllm(fake):
    llm, engine = fake
    first, second = llm.beam_search(["ab", {"prompt_token_ids": [99]}], BeamParams(2))
    assert [found.cum_logprob for found in first.sequences] == [-4.0, -5.0]
    assert [found.score for found in first.sequences] == [-1.0, -2.0]
    assert first.sequences[0].tokens == list(b"abab")
    assert first.sequences[0].text == "abab"
    assert (first.sequences[0].finish_reason, first.sequences[0].stop_reason) == ("stop", None)
    assert first.sequences[0].logprobs is None
    assert second.sequences[0].tokens == [99, 99]
    assert engine.submitted[0][1]["beam_width"] == 2


def test_as_many_outputs_as_are_wanted(fake):
    (found,) = fake[0].beam_search("ab", BeamParams(4, num_return_sequences=1, logprobs=1))
    assert len(found.sequences) == 1
    assert len(found.sequences[0].logprobs) == 2


def test_generate_takes_the_same_parameters_and_gives_scores(fake):
    (output,) = fake[0].generate(["ab"], BeamParams(2), use_tqdm=False)
    assert [found.score for found in output.outputs] == [-1.0, -2.0]
    assert output.outputs[1].cumulative_logprob == -5.0


def test_at_most_so_many_prompts_run_at_a_time(fake):
    llm, engine = fake
    outputs = llm.beam_search(["ab"] * 7, BeamParams(2), concurrency_limit=3)
    assert len(outputs) == 7
    assert engine.running_max <= 3


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2"])
def test_a_limit_is_a_number_of_prompts(fake, limit):
    with pytest.raises(InvalidRequestError, match="concurrency_limit") as caught:
        fake[0].beam_search("ab", BeamParams(2), concurrency_limit=limit)
    assert caught.value.param == "concurrency_limit"


@pytest.mark.parametrize("params", [SamplingParams(), None, 4])
def test_parameters_without_beams_are_refused(fake, params):
    with pytest.raises(InvalidRequestError, match="BeamParams"):
        fake[0].beam_search("ab", params)


def test_a_search_that_fails_raises(fake):
    fake[1].__class__.error = ("Internal", None, "it broke")
    with pytest.raises(InternalError, match="it broke"):
        fake[0].beam_search("ab", BeamParams(2))


def test_a_search_that_found_fewer_outputs_gives_those(fake, monkeypatch):
    from fakes import engine

    make = engine.FakeHandle._event

    def event(self, sample, byte, is_last):
        made = make(self, sample, byte, is_last)
        if sample == 2 and made["finish"]:
            made["finish"] |= {"reason": "absent", "score": None, "cumulative_logprob": None}
        return made

    monkeypatch.setattr(engine.FakeHandle, "_event", event)
    (output,) = fake[0].generate(["ab"], BeamParams(3), use_tqdm=False)
    assert [found.index for found in output.outputs] == [0, 1]
