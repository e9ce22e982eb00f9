"""Processors that a caller brings: declared at every door, callables in this process."""

import math

import pytest

from tokenmill import InvalidRequestError, SamplingParams

PROMPT = "The three primary colours are"
GREEDY = SamplingParams(temperature=0.0, max_tokens=6, logprobs=3, logprobs_mode="processed_logits")


def one(llm, params, prompt=PROMPT):
    (output,) = llm.generate(prompt, params, use_tqdm=False)
    return output


def tokens(llm, params, prompt=PROMPT):
    (sample,) = one(llm, params, prompt).outputs
    assert sample.error is None, sample.error
    return sample.token_ids


def test_declared_processors_do_what_the_options_of_the_same_meaning_do(real):
    first, second, *_ = tokens(real, GREEDY)
    pair = [first, second]
    for edits, options in [
        ([{"type": "ban", "tokens": [first]}], {"suppress_tokens": [first]}),
        ([{"type": "bias", "tokens": [9], "value": 30}], {"logit_bias": {9: 30.0}}),
        ([{"type": "ban", "tokens": [first], "to": 1}], {"begin_suppress_tokens": [first]}),
        (
            [{"type": "ban", "tokens": [second], "after": [first]}],
            {"bad_words_ids": [pair]},
        ),
    ]:
        declared = tokens(real, GREEDY.replace(logits_processors=edits))
        assert declared == tokens(real, GREEDY.replace(**options)) != tokens(real, GREEDY)


def test_tokens_are_matched_by_their_text(real):
    params = GREEDY.replace(max_tokens=20)
    ban = [{"type": "ban", "matching": "e"}]
    text = one(real, params.replace(logits_processors=ban)).outputs[0].text
    assert "e" not in text
    assert "e" in one(real, params).outputs[0].text


def test_processors_run_in_the_order_of_the_list(real):
    bias = {"type": "bias", "tokens": [9], "value": 100.0}
    clamp = {"type": "clamp", "tokens": [9], "max": -50.0}
    scale = {"type": "scale", "tokens": [9], "value": 0.5}

    def logit(*edits):
        params = GREEDY.replace(logits_processors=edits, logprob_token_ids=[9], logprobs=None)
        return one(real, params.replace(max_tokens=1)).outputs[0].logprobs[0][9].logprob

    assert logit(bias, clamp) == -50.0
    assert logit(clamp, bias) == 50.0
    assert logit(clamp, bias, scale) == 25.0


def test_a_callable_sees_its_tokens_and_changes_the_row(real):
    seen = []

    def force(output, row):
        seen.append((list(output), len(row), row.format))
        for token in range(len(row)):
            row[token] = -math.inf
        row[500 + len(output)] = 1.0

    assert tokens(real, GREEDY.replace(logits_processors=[force])) == list(range(500, 506))
    vocabulary = real.info()["vocab_len"]
    assert seen == [(list(range(500, 500 + n)), vocabulary, "f") for n in range(6)]


def test_a_callable_of_three_gets_the_prompt_too_and_may_give_a_row_back(real):
    prompts = []

    def back(prompt, output, row):
        prompts.append(prompt)
        given = [0.0] * len(row)
        given[7] = 1.0
        return given

    output = one(real, GREEDY.replace(logits_processors=[back]))
    assert output.outputs[0].token_ids == [7] * 6
    assert prompts == [output.prompt_token_ids] * 6


def test_a_callable_and_a_declared_one_run_in_order_and_bans_stay(real):
    def lift(output, row):
        row[9] = 1e6

    ban, banned = {"type": "ban", "tokens": [9]}, GREEDY.replace(allowed_token_ids=[8, 9])
    assert tokens(real, GREEDY.replace(logits_processors=[lift])) == [9] * 6
    assert 9 not in tokens(real, GREEDY.replace(logits_processors=[lift, ban]))
    assert 9 not in tokens(real, GREEDY.replace(logits_processors=[ban, lift]))
    assert tokens(real, banned.replace(logits_processors=[lift, ban])) == [8] * 6


class Boom:
    """A callable object that fails at some token."""

    def __init__(self, at):
        self.at = at

    def __call__(self, output, row):
        if len(output) == self.at:
            raise KeyError("no such thing")


def short(output, row):
    return [0.0]


def broken(output, row):
    row[3] = math.nan


def typed(output, row):
    return ["x"] * len(row)


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (Boom(2), "Boom raised KeyError: 'no such thing'"),
        (short, "short raised ValueError: gave 1 logits"),
        (broken, "broken gave token 3 the logit NaN"),
        (typed, "typed raised TypeError"),
    ],
    ids=["raises", "short", "nan", "types"],
)
def test_a_failing_callable_ends_its_request_and_nothing_else(real, function, fault):
    alone = tokens(real, GREEDY)
    bad, good = real.generate(
        [PROMPT, PROMPT], [GREEDY.replace(logits_processors=[function]), GREEDY], use_tqdm=False
    )
    (sample,) = bad.outputs
    assert (sample.finish_reason, sample.error_code) == ("error", "callable_failed")
    assert sample.error_kind == "InvalidRequest"
    assert sample.error.startswith(fault)
    assert good.outputs[0].token_ids == alone
    assert tokens(real, GREEDY) == alone


def test_a_kept_row_is_no_memory_of_the_engine(real):
    kept = []

    def keep(output, row):
        kept.append(row)

    alone = tokens(real, GREEDY)
    assert tokens(real, GREEDY.replace(logits_processors=[keep])) == alone
    for row in kept:
        row[0] = 99.0
    assert tokens(real, GREEDY) == alone


def test_samples_and_company_change_nothing(real):
    def lean(prompt, output, row):
        for token in {*prompt, *output}:
            row[token] -= 5.0

    params = SamplingParams(seed=4, n=3, max_tokens=8, logits_processors=[lean])
    alone = [sample.token_ids for sample in one(real, params).outputs]
    prompts = ["Rivers", PROMPT, "The mill", PROMPT]
    together = real.generate(prompts, params, use_tqdm=False)
    for at in (1, 3):
        assert [sample.token_ids for sample in together[at].outputs] == alone


def test_parameters_with_callables_are_values(real):
    params = GREEDY.replace(logits_processors=[short, {"type": "ban", "tokens": [1]}])
    assert params.logits_processors[0] is short
    assert params == params.replace(seed=None)
    assert params != params.replace(logits_processors=[broken])
    assert params.replace(logits_processors=None) == GREEDY
    assert one(real, params.replace(logits_processors=[Boom(9)])).effective["logits_processors"]


@pytest.mark.parametrize("value", [[3], ["x"], [None], [{"type": "x"}], 5, [[short]]], ids=str)
def test_what_is_no_processor_is_refused(value):
    with pytest.raises(InvalidRequestError) as caught:
        SamplingParams(logits_processors=value)
    assert caught.value.param == "logits_processors"


def test_callables_are_taken_where_they_mean_something_alone():
    with pytest.raises(InvalidRequestError, match="temperature"):
        SamplingParams(temperature=short)
    with pytest.raises(InvalidRequestError, match="prefix_allowed_tokens_fn"):
        SamplingParams(prefix_allowed_tokens_fn="print")


def test_only_allowed_tokens_come(real):
    def allowed(sample, ids):
        assert sample == 0
        return [8, 9] if len(ids) % 2 else [10]

    params = GREEDY.replace(prefix_allowed_tokens_fn=allowed)
    output = one(real, params)
    length = len(output.prompt_token_ids)
    for at, token in enumerate(output.outputs[0].token_ids):
        assert token in ([8, 9] if (length + at) % 2 else [10])


@pytest.mark.parametrize(
    ("gives", "fault"),
    [([], "allowed no token"), ([49152], "allowed token 49152"), (None, "raised TypeError")],
    ids=["none", "outside", "nothing"],
)
def test_what_allows_no_token_ends_its_request(real, gives, fault):
    params = GREEDY.replace(prefix_allowed_tokens_fn=lambda sample, ids: gives)
    (sample,) = one(real, params).outputs
    assert (sample.finish_reason, sample.error_code) == ("error", "callable_failed")
    assert fault in sample.error


def test_allowed_tokens_that_soft_bans_took_are_forced_and_hard_ones_stay_banned(real):
    params = GREEDY.replace(prefix_allowed_tokens_fn=lambda sample, ids: [8], max_tokens=3)
    assert tokens(real, params.replace(no_repeat_ngram_size=1)) == [8, 8, 8]
    (sample,) = one(real, params.replace(logit_bias={8: -100.0})).outputs
    assert sample.error_code == "no_token_allowed"


def test_processors_of_transformers_run_as_there(real):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    params = GREEDY.replace(max_tokens=16, repetition_penalty=1.3, no_repeat_ngram_size=2)
    own = one(real, params).outputs[0]
    theirs = [
        transformers.RepetitionPenaltyLogitsProcessor(1.3),
        transformers.NoRepeatNGramLogitsProcessor(2),
    ]
    for processors in (theirs, transformers.LogitsProcessorList(theirs)):
        plain = GREEDY.replace(max_tokens=16, logits_processors=processors)
        sample = one(real, plain).outputs[0]
        assert sample.token_ids == own.token_ids
        for ours, given in zip(own.logprobs, sample.logprobs, strict=True):
            assert ours.keys() == given.keys()
            for token, entry in ours.items():
                assert given[token].logprob == pytest.approx(entry.logprob, abs=1e-4)
