"""Sampling parameters against the option table: names, defaults, refusals. Cases 29 to 43, 46."""

import copy
import itertools
import math
import pickle  # noqa: TID251 (worker processes copy arguments with it)

import numpy as np
import pytest

from tokenmill import (
    InvalidRequestError,
    RequestOutputKind,
    SamplingParams,
    UnsupportedError,
    _tokenmill,
    options,
)


def test_the_fields_are_those_of_the_table():
    listed = set(SamplingParams.__annotations__)
    assert listed == {option.name for option in options.supported("sampling")}


def test_the_defaults_are_those_of_the_table():
    params = SamplingParams()
    assert (params.n, params.temperature, params.top_p, params.max_tokens) == (1, 1.0, 1.0, 16)
    assert params.to_dict() == _tokenmill.check_sampling({})
    assert params.given == {}


def test_values_are_kept_as_given_and_completed():
    params = SamplingParams(temperature=0.5, stop="x")
    assert params.given == {"temperature": 0.5, "stop": ["x"]}
    assert params.stop == ["x"]
    assert repr(params) == "SamplingParams(temperature=0.5, stop=['x'])"


def test_an_iterator_is_read_once_and_what_it_gave_is_asked_for():
    params = SamplingParams(stop=(s for s in ["ris"]), stop_token_ids=iter([3]))
    assert (params.stop, params.stop_token_ids) == (["ris"], [3])
    assert params.given == {"stop": ["ris"], "stop_token_ids": [3]}
    assert params.replace(top_k=3).stop == ["ris"]


def test_a_list_that_its_owner_changes_later_does_not_leak_in():
    stops, bias = ["a"], {3: 1.0}
    params = SamplingParams(stop=stops, logit_bias=bias)
    stops.append("b")
    bias[4] = 2.0
    assert params.given == {"stop": ["a"], "logit_bias": {3: 1.0}}


def test_none_asks_for_the_default_of_the_table_and_stays_so():
    assert SamplingParams(temperature=None).given == {"temperature": None}
    assert SamplingParams(temperature=None).temperature == 1.0


def test_params_are_immutable_and_compare_by_value():
    params = SamplingParams(top_k=3)
    with pytest.raises(AttributeError, match="immutable: use replace"):
        params.top_k = 4
    with pytest.raises(AttributeError):
        del params.top_k
    assert params.replace(top_k=4).top_k == 4
    assert params == SamplingParams(top_k=3) != SamplingParams()
    assert params != 3
    pickled = pickle.loads(pickle.dumps(params))  # noqa: S301 (made on this line)
    for other in (copy.copy(params), copy.deepcopy(params), pickled):
        assert other == params


def test_an_unknown_keyword_suggests_the_nearest():
    with pytest.raises(InvalidRequestError, match="temperature") as caught:
        SamplingParams(temprature=1.0)
    assert caught.value.param == "temprature"


def test_an_unknown_attribute_suggests_the_nearest():
    with pytest.raises(AttributeError, match="did you mean temperature"):
        _ = SamplingParams().temprature


@pytest.mark.parametrize("name", ["guided_decoding", "best_of", "extra_args", "structured_outputs"])
def test_what_other_engines_take_and_we_do_not_is_refused_by_name(name):
    with pytest.raises((UnsupportedError, InvalidRequestError), match=name):
        SamplingParams(**{name: 3})


NAN, INF = math.nan, math.inf
# Fields whose bad values have a number; a script counts them by the ids of these tests.
NUMBERS = {
    "temperature": 29,
    "top_p": 31,
    "top_k": 32,
    "min_p": 33,
    "max_tokens": 34,
    "n": 36,
    "stop": 37,
    "logit_bias": 39,
    "logprobs": 40,
    "prompt_logprobs": 40,
    "seed": 41,
    "presence_penalty": 42,
    "frequency_penalty": 42,
    "repetition_penalty": 43,
    "deadline_ms": 52,
}
ACCEPTED_NUMBERS = {**NUMBERS, "temperature": 30}
LOOP_OF = {"max_pattern_size": 3, "min_count": 2}
REFUSED = {
    "temperature": [-0.1, 1e39, NAN, INF, "0.7", True, 100.5, [1.0]],
    "top_p": [0, 0.0, 1.0001, -1, NAN, "1", True],
    "top_k": [-2, 1.5, 2**63, "3", True],
    "min_p": [1.1, -0.1, NAN],
    "max_tokens": [0, -1, 1.5, 2**63, "3", True],
    "min_tokens": [-1, 17, 1.5],
    "n": [0, 17, 10**12, -1, 1.5, True],
    "stop": [["x"] * 17, "", [""], "x" * 257, [3], 3, b"x"],
    "logit_bias": [
        dict.fromkeys(range(301), 1.0),
        {"abc": 1.0},
        {1: 101.0},
        {1: -101.0},
        {1: NAN},
        {-1: 1.0},
        {2**32: 1.0},
        [1],
        {1: "x"},
        {1: True},
    ],
    "logprobs": [-2, 1.5, "3"],
    "seed": [2**63, -(2**63) - 1, 1.5, "3", True],
    "presence_penalty": [2.1, -2.1, INF, NAN, "1"],
    "frequency_penalty": [2.1, -2.1, INF],
    "repetition_penalty": [0, -1, INF, NAN],
    "no_repeat_ngram_size": [-1, 1.5],
    "stop_token_ids": [[-1], [2**32], [1.5], 3, "x", [True]],
    "ignore_eos": [1, "yes"],
    "detokenize": [0, "no"],
    "logprobs_mode": ["raw", 3, ""],
    "prompt_logprobs": [-2, 1.5, "3", False],
    "logprob_token_ids": [[], list(range(129)), [-1], [True], 3],
    "allowed_token_ids": [[], [2**32], "12", [1.5], list(range(32_769))],
    "suppress_tokens": [[-1], list(range(1025)), 1],
    "begin_suppress_tokens": [[-1], [None], 1],
    "bad_words": ["", " \t", ["a", ""], ["x" * 257], ["a"] * 129, [3], b"x"],
    "repetition_detection": [
        {},
        {"max_pattern_size": 3},
        {**LOOP_OF, "min_count": 1},
        {**LOOP_OF, "min_pattern_size": 4},
        {**LOOP_OF, "max_pattern_size": True},
        {**LOOP_OF, "size": 1},
        [3, 2],
        3,
    ],
    "guidance_scale": [-0.1, 100.5, NAN, "2", True],
    "contrastive": [3, [1], {"mode": "ratio"}, {"beta": 1.0}, {"alpha": 1.5}, {"tau": 1.0}],
    "dola_layers": ["all", [], [-1], list(range(17)), 3],
    "dola_divergence": ["kl", 1],
    "penalty_alpha": [-0.1, 1.1, NAN],
    "typical_p": [0, 1.1, NAN, "0.9", True],
    "epsilon_cutoff": [1, -0.1, NAN],
    "eta_cutoff": [1, -0.1, "x"],
    "top_h": [0, 1.1, -1, True],
    "top_n_sigma": [-1.1, 1001, INF],
    "xtc_probability": [1.1, -0.1, NAN],
    "xtc_threshold": [1.1, -0.1],
    "dynatemp_range": [-0.1, 100.5, INF],
    "dynatemp_exponent": [-0.1, NAN],
    "mirostat": [-1, 3, 1.0, True, "2"],
    "mirostat_tau": [-0.1, 101, NAN],
    "mirostat_eta": [-0.1, 101, NAN],
    "mirostat_variant": ["paper", 1, ""],
    "adaptive_target": [-0.1, 1.1, NAN, True],
    "adaptive_decay": [-0.1, 0.991, 1],
    "dry_multiplier": [-0.1, 101, INF],
    "dry_base": [0.9, 101, NAN],
    "dry_allowed_length": [0, 1025, 2.0],
    "dry_penalty_last_n": [-2, 1.5, 2**31],
    "dry_sequence_breakers": ["", ["x"] * 17, "x" * 41, [3], b"x"],
    "encoder_repetition_penalty": [0, -1, INF, NAN],
    "encoder_no_repeat_ngram_size": [-1, 1.5, 1025],
    "sequence_bias": [
        {(): 1.0},
        {(-1,): 1.0},
        {(1,): NAN},
        {(1,): INF},
        {(1,): "x"},
        {1: 1.0},
        {(1,) * 257: 1.0},
        {(at,): 1.0 for at in range(301)},
        [[[1], 1.0], [[1], 2.0]],
        [[1, 2]],
        3,
    ],
    "bad_words_ids": [[[]], [[-1]], [1], [[1]] * 301, [[1] * 257], [[1.5]], "1"],
    "forced_bos_token_id": [-1, 2**32, 1.5, [1], True],
    "forced_eos_token_id": [-1, 2**32, [], [-1], 1.5, True],
    "exponential_decay_length_penalty": [[5], (5, 0), (5, INF), (5.5, 2.0), (-1, 2), 5, {5: 2}],
    "remove_invalid_values": [1, "yes"],
    "renormalize_logits": [0, "no"],
    "pipeline": ["HF", "", "top_k", ["topk"], [1], 3, {"hf": 1}],
    "penalty_last_n": [-2, 1.5, 2**31, True],
    "stream_interval": [0, -1, 1.5, True],
    "output_kind": ["DELTA", 1, ""],
    "deadline_ms": [0, -1, 1.5, "1", 2**32, True],
    "min_length": [-1, 1.5, True],
    "skip_reading_prefix_cache": [0, "no"],
    "spaces_between_special_tokens": [1],
}


def case_id(numbers, name, value):
    number = f"case_{numbers[name]:03}-" if name in numbers else ""
    return f"{number}{name}-{str(value)[:24]}"


def rows(numbers, table):
    return [
        pytest.param(name, value, id=case_id(numbers, name, value))
        for name, values in table.items()
        for value in values
    ]


@pytest.mark.parametrize(("name", "value"), rows(NUMBERS, REFUSED))
def test_a_value_outside_its_bound_is_refused_by_name(name, value):
    with pytest.raises((InvalidRequestError, TypeError), match=name) as caught:
        SamplingParams(**{name: value})
    if isinstance(caught.value, InvalidRequestError):
        assert caught.value.param == name
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


ACCEPTED = {
    "temperature": [0, 0.0, 1e-30, 100, np.float32(0.5), np.float64(0.5)],
    "top_k": [-1, 0, 2**31, np.int64(5)],
    "top_p": [1, 1e-6, np.float64(0.9)],
    "seed": [-(2**63), 2**63 - 1, None, -1, np.int32(3)],
    "n": [1, 16],
    "max_tokens": [1, None, np.uint8(3)],
    "logprobs": [0, 20, 25, -1, None, True],
    "stop": [None, "x", ["x"] * 16, ("a", "b"), "é" * 128],
    "logit_bias": [None, {}, {3: -100}, {"3": 100.0}],
    "stop_token_ids": [None, [], [1, 1], np.array([1, 2])],
    "prompt_logprobs": [None, 0, 20, -1, True],
    "logprob_token_ids": [None, [5], np.arange(128)],
    "allowed_token_ids": [None, [5], range(32_768)],
    "bad_words": [None, "x", [], ["a b", " c"]],
    "repetition_detection": [None, LOOP_OF, {**LOOP_OF, "min_pattern_size": 0}],
    "guidance_scale": [1, 0, 100],
    "contrastive": [None, {}, {"mode": "scaled", "beta": 0}, {"lambda": 0.5, "alpha": 1}],
    "dola_layers": [None, "low", "high", [3, 1], np.array([2])],
    "dola_divergence": ["jsd", "reference"],
    "typical_p": [1, 1e-6, 0.95],
    "eta_cutoff": [0, 3e-4],
    "top_h": [None, 1, 0.4],
    "top_n_sigma": [-1, 0, 1, 1000],
    "xtc_threshold": [0, 0.6, 1],
    "mirostat": [0, 1, 2, np.int64(2)],
    "adaptive_target": [None, 0, 1],
    "adaptive_decay": [0, 0.99],
    "dry_penalty_last_n": [-1, 0, 64],
    "dry_sequence_breakers": [None, [], "\n", ["ü" * 40]],
    "sequence_bias": [None, {}, {(1, 2): -3, (1,): 2}, [([1, 2], 0.5)], [[np.array([1]), 1]]],
    "bad_words_ids": [None, [], [[1, 1], (2,)], np.array([[1, 2]])],
    "forced_bos_token_id": [None, 0, 2**32 - 1],
    "forced_eos_token_id": [None, 0, [1, 2], np.array([1, 2])],
    "exponential_decay_length_penalty": [None, (5, 1.5), [0, 1]],
    "pipeline": [None, "hf", "llamacpp", [], ["top_k", "temperature"]],
    "penalty_last_n": [None, -1, 0, 64],
    "stream_interval": [None, 1, 10**6],
    "output_kind": [None, "delta", RequestOutputKind.FINAL_ONLY],
    "deadline_ms": [None, 1, 2**32 - 1],
    "skip_reading_prefix_cache": [None, True, False],
}


@pytest.mark.parametrize(("name", "value"), rows(ACCEPTED_NUMBERS, ACCEPTED))
def test_a_value_within_its_bound_is_taken(name, value):
    SamplingParams(**{name: value})


def test_a_named_pipeline_fills_in_what_its_engine_would_and_nobody_said():
    def filled(**values):
        params = SamplingParams(**values)
        return (params.temperature, params.top_k, params.top_p, params.min_p)

    assert filled(pipeline="vllm") == filled() == (1.0, 0, 1.0, 0.0)
    assert filled(pipeline="hf") == (1.0, 50, 1.0, 0.0)
    assert filled(pipeline="llamacpp") == pytest.approx((0.8, 40, 0.95, 0.05))
    assert filled(pipeline="llamacpp", top_k=0, temperature=1.0)[:2] == (1.0, 0)
    assert SamplingParams(pipeline="llamacpp").given == {"pipeline": "llamacpp"}


def test_no_limit_of_tokens_is_a_value_of_its_own():
    assert SamplingParams(max_tokens=None).max_tokens is None


@pytest.mark.parametrize(
    "values",
    [
        {"n": 2, "temperature": 0.0},
        {"min_tokens": 9, "max_tokens": 8},
        {"stop": "x", "detokenize": False},
        {"logprobs": 3, "logprob_token_ids": [1, 2]},
        {"prompt_logprobs": 1, "skip_reading_prefix_cache": False},
        {"output_kind": "final_only", "stream_interval": 2},
        {"pipeline": "hf", "presence_penalty": 1.0},
        {"pipeline": "vllm", "no_repeat_ngram_size": 2},
        {"pipeline": "sglang", "allowed_token_ids": [1]},
        {"pipeline": "llamacpp", "min_tokens": 2},
        {"pipeline": ["top_k"], "top_p": 0.5},
        {"pipeline": "hf", "mirostat": 1},
        {"pipeline": "vllm", "typical_p": 0.9},
        {"pipeline": "sglang", "forced_eos_token_id": 1},
        {"pipeline": ["renormalize", "top_k"], "top_k": 2},
        {"typical_p": 0.9, "temperature": 0.0},
        {"xtc_probability": 0.5, "temperature": 0.0},
        {"mirostat": 2, "temperature": 0.0},
        {"adaptive_target": 0.3, "temperature": 0.0},
        {"mirostat": 2, "adaptive_target": 0.3},
        {"mirostat": 1, "top_k": 5},
        {"mirostat": 2, "xtc_probability": 0.1},
        {"adaptive_target": 0.3, "top_p": 0.9},
        {"adaptive_target": 0.3, "top_n_sigma": 1.0},
        {"forced_bos_token_id": 3, "suppress_tokens": [3]},
        {"forced_eos_token_id": [4, 3], "suppress_tokens": [3]},
        {"pipeline": ["top_k", "top_k"]},
        {"pipeline": ["top_k", "logit_bias"]},
    ],
)
def test_contradicting_values_are_refused_naming_both(values):
    with pytest.raises(InvalidRequestError) as caught:
        SamplingParams(**values)
    for name in values:
        assert name in str(caught.value)


LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [LOOP, itertools.repeat("a"), iter([itertools.count()]), "\ud800", ["a\udfff"], b"x", object()],
    ids=["117-loop", "117-endless", "117-endless inside", "9", "9 inside", "117-bytes", "117-type"],
)
def test_a_value_without_end_or_sense_is_refused_by_name(value):
    with pytest.raises(InvalidRequestError, match="stop") as caught:
        SamplingParams(stop=value)
    assert caught.value.param == "stop"


class Hostile:
    def __index__(self):
        raise ZeroDivisionError

    __float__ = __str__ = __repr__ = __iter__ = __index__


@pytest.mark.parametrize("name", list(REFUSED))
def test_case_117_an_object_that_raises_when_read_is_an_ordinary_exception(name):
    with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
        SamplingParams(**{name: Hostile()})


def test_every_kind_of_error_has_its_built_in_and_exit_code():
    expected = {
        "InvalidRequestError": (ValueError, 2),
        "NotFoundError": (LookupError, 2),
        "UnsupportedError": (ValueError, 3),
        "CorruptModelError": (ValueError, 3),
        "OverloadedError": (RuntimeError, 4),
        "DrainingError": (RuntimeError, 4),
        "DeadlineError": (TimeoutError, 4),
        "CancelledError": (Exception, 130),
        "TokenmillIoError": (OSError, 3),
        "InternalError": (RuntimeError, 1),
    }
    for name, (built_in, code) in expected.items():
        kind = getattr(_tokenmill, name)
        assert issubclass(kind, built_in)
        assert issubclass(kind, _tokenmill.TokenmillError)
        assert kind.exit_code == code
        assert kind("x").param is None
