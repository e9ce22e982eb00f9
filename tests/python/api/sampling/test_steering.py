"""Steering and cuts on the default model: what each does to its rows, alone and over an output."""

import math

import pytest

from tokenmill import InvalidRequestError, SamplingParams

GREEDY = SamplingParams(temperature=0.0, max_tokens=1)
PROMPT = "one two three four five, and one two three four"


def one(llm, params, prompt=PROMPT):
    (output,) = llm.generate(prompt, params, use_tqdm=False)
    return output


@pytest.fixture(scope="module")
def changes(real):
    """What the steps of a greedy request add to the score of one token behind the prompt."""

    def changed(**values):
        follower = real.get_tokenizer().encode(" five", add_special_tokens=False)
        params = GREEDY.replace(logprob_token_ids=follower, **values)
        pair = [
            one(real, params.replace(logprobs_mode=mode)).outputs[0].logprobs[0]
            for mode in ("raw_logits", "processed_logits")
        ]
        return pair[1][follower[0]].logprob - pair[0][follower[0]].logprob

    return changed


@pytest.mark.parametrize(
    ("breakers", "length"),
    [
        # The first word has no blank before it, so it is another token than the same word later.
        ([], 3),
        (["two"], 2),
        (["two three"], None),
        # The tokens of what is missing are not those that came.
        (["wo th"], 3),
        (["unheard of"], 3),
        (["four five"], 3),
        (["five"], None),
        ([" "], None),
    ],
)
def test_dry_looks_for_breakers_in_all_their_tokens(changes, breakers, length):
    changed = changes(dry_multiplier=0.5, dry_sequence_breakers=breakers, dry_penalty_last_n=-1)
    expected = 0.0 if length is None else -0.5 * 1.75 ** (length - 2)
    assert math.isclose(changed, expected, abs_tol=1e-4)


def test_dry_with_its_own_breakers_and_window(changes):
    assert changes(dry_multiplier=0.5) < -0.8
    assert changes(dry_multiplier=0.5, dry_penalty_last_n=6) == 0.0
    assert changes(dry_multiplier=0.0) == 0.0


def test_forced_tokens_come_where_they_must(real):
    (end,) = real.get_tokenizer().encode("!", add_special_tokens=False)
    params = SamplingParams(seed=1, max_tokens=5, forced_eos_token_id=end, ignore_eos=True)
    tokens = one(real, params).outputs[0].token_ids
    assert (len(tokens), tokens[-1]) == (5, end)
    params = SamplingParams(seed=1, max_tokens=2, forced_bos_token_id=end)
    assert one(real, params, [300]).outputs[0].token_ids[0] == end
    assert one(real, params.replace(seed=2), [300, 301]).outputs[0].token_ids[0] != end


def test_forcing_that_meets_a_ban_is_skipped_and_said(real):
    params = GREEDY.replace(forced_eos_token_id=300, allowed_token_ids=[301, 302])
    output = one(real, params)
    assert output.outputs[0].token_ids[0] in (301, 302)
    assert output.outputs[0].lifted == ("forced_eos",)
    (warning,) = output.warnings
    assert warning == "sample 0: forced_eos met a token that may not come and was skipped there"


def test_ids_outside_the_vocabulary_are_refused_by_name(real):
    outside = real.info()["vocab_len"]
    for name, value in {
        "forced_bos_token_id": outside,
        "forced_eos_token_id": [outside],
        "bad_words_ids": [[1, outside]],
        "sequence_bias": {(outside, 1): 1.0},
    }.items():
        with pytest.raises(InvalidRequestError, match=name):
            one(real, GREEDY.replace(**{name: value}))


MOVING = [
    {"mirostat": 1, "mirostat_tau": 3.0},
    {"mirostat": 2, "mirostat_variant": "authors"},
    {"adaptive_target": 0.5},
    {"pipeline": "llamacpp", "mirostat": 2},
    {"typical_p": 0.5, "xtc_probability": 0.5, "top_h": 0.8, "dynatemp_range": 0.3},
]


@pytest.mark.parametrize("values", MOVING, ids=lambda values: "-".join(values))
def test_a_seed_gives_the_same_tokens_alone_and_among_others(real, values):
    params = SamplingParams(seed=5, max_tokens=12, ignore_eos=True, **values)
    alone = one(real, params).outputs[0].token_ids
    prompts = [PROMPT, "Rivers", PROMPT, "The mill"]
    together = real.generate(prompts, params, use_tqdm=False)
    assert [together[at].outputs[0].token_ids for at in (0, 2)] == [alone, alone]
