"""`LLM.score` on a tiny model: against transformers, against our own decoding, and refusals."""

import itertools

import numpy as np
import pytest

from evaluate.conftest import BOS
from tokenmill import LLM, ContinuationScore, DrainingError, InvalidRequestError, SamplingParams
from tokenmill.api import scoring
from tokenmill.errors import OverloadedError

GREEDY = SamplingParams(temperature=0.0, max_tokens=6, ignore_eos=True, logprobs=0)


def score(llm, prompts, continuations, **settings):
    return llm.score(prompts, continuations, use_tqdm=False, **settings)


def test_scores_equal_transformers_of_every_length_up_to_the_context(tiny, logprobs):
    ids = list(np.random.default_rng(3).integers(0, 256, 128))
    cuts = [(1, 2), (1, 128), (127, 128), (64, 128), (5, 6), (17, 33)]
    found = score(tiny, [ids[:a] for a, _ in cuts], [ids[a:b] for a, b in cuts])
    for (start, end), (one,) in zip(cuts, found, strict=True):
        expected = logprobs(ids[:end])[start - 1 :]
        assert one.token_ids == ids[start:end]
        assert np.allclose(one.token_logprobs, expected, rtol=0, atol=2e-5)
        assert one.logprob == sum(one.token_logprobs)
        assert (one.text, one.text_bytes, one.logprob_per_byte) == (None, None, None)


def test_text_is_scored_as_its_tokens_and_counted_in_bytes(tiny):
    ((text,),) = score(tiny, "mill", " stré")
    ((ids,),) = score(tiny, list(b"mill"), list(" stré".encode()))
    assert text.token_logprobs == ids.token_logprobs
    assert (text.text, text.text_bytes) == (" stré", 6)
    assert text.logprob_per_byte == text.logprob / 6


def test_what_greedy_decoding_gives_is_greedy_and_nothing_else_is(tiny):
    (made,) = tiny.generate("river", GREEDY, use_tqdm=False)
    tokens = made.outputs[0].token_ids
    others = [
        [*tokens[:at], (token + 1) % 256, *tokens[at + 1 :]] for at, token in enumerate(tokens)
    ]
    ((best, *rest),) = score(tiny, list(b"river"), [tokens, *others])
    assert best.is_greedy
    assert not any(one.is_greedy for one in rest)
    generated = [entries[t].logprob for entries, t in zip(made.outputs[0].logprobs, tokens)]  # noqa: B905
    assert np.allclose(best.token_logprobs, generated, rtol=0, atol=1e-5)
    assert best.logprob > max(one.logprob for one in rest[:1])


def test_the_log_probs_of_all_tokens_sum_to_one(tiny):
    ((*every,),) = score(tiny, list(b"a"), [[token] for token in range(257)])
    assert np.isclose(sum(np.exp(one.logprob) for one in every), 1.0, atol=1e-5)
    assert sum(one.is_greedy for one in every) == 1


def test_one_token_costs_no_log_probs_of_its_prompt_and_is_the_same_from_the_cache(tiny):
    prompt = list(b"a prompt of several blocks, which may lie in the cache by now")
    tiny.reset_prefix_cache()
    ((longer,),) = score(tiny, prompt, [5, 6])
    for _ in range(2):
        ((one, other),) = score(tiny, prompt, [[5], [6]])
        assert one.token_logprobs == longer.token_logprobs[:1]
        assert (one.token_ids, other.token_ids) == ([5], [6])
    before = tiny.get_metrics()
    score(tiny, prompt, [5])
    after = tiny.get_metrics()
    # Whole blocks of the prompt come from the cache.
    assert after["cached_tokens"] - before["cached_tokens"] >= 48


def test_many_pairs_keep_their_order_and_their_values_in_company(tiny):
    prompts = [f"prompt {at}" for at in range(60)]
    endings = [[f" {at}", " and more"] for at in range(60)]
    together = score(tiny, prompts, endings)
    assert [len(one) for one in together] == [2] * 60
    assert [[s.text for s in found] for found in together] == endings
    for at in (0, 31, 59):
        assert together[at] == score(tiny, prompts[at], endings[at])[0]


@pytest.mark.parametrize(
    ("prompts", "continuations", "shape"),
    [
        ("a", "b", [1]),
        ("a", ["b", "c"], [2]),
        (["a"], ["b"], [1]),
        (["a"], [["b", "c"]], [2]),
        (["a", "b"], ["c", ["d", "e"]], [1, 2]),
        ([97], [98], [1]),
        ([97], [[98], [99, 100]], [2]),
        ([[97], [98]], [[99], [99]], [1, 1]),
        ([[97], [98]], [[[99], [100]], [99]], [2, 1]),
        (np.array([97, 98]), np.array([99]), [1]),
        ({"prompt": "a", "cache_salt": "s"}, "b", [1]),
        ([{"prompt_token_ids": [97]}], [[98]], [1]),
        (iter(["a", "b"]), iter(["c", "d"]), [1, 1]),
        (iter([97, 98]), [99], [1]),
        ([], [], []),
    ],
)
def test_there_is_a_list_for_each_prompt_and_a_score_for_each_continuation(
    tiny, prompts, continuations, shape
):
    found = score(tiny, prompts, continuations)
    assert [len(one) for one in found] == shape
    assert all(isinstance(s, ContinuationScore) for s in itertools.chain(*found))


def test_white_space_at_the_end_of_a_prompt_belongs_to_the_continuation(tiny, logprobs):
    ((moved,),) = score(tiny, "is \n", "it")
    assert moved.token_ids == list(b" \nit")
    assert moved.text == "it"
    assert np.allclose(moved.token_logprobs, logprobs(b"is \nit")[1:], rtol=0, atol=2e-5)


def test_an_empty_prompt_is_the_bos_token_where_there_is_one(tiny, marked, logprobs):
    for prompt in ("", "  "):
        ((first,),) = score(marked, prompt, "ab")
        ids = list(f"{prompt}ab".encode())
        assert first.token_ids == ids
        assert np.allclose(first.token_logprobs, logprobs([BOS, *ids]), rtol=0, atol=2e-5)
        with pytest.raises(InvalidRequestError, match="prompt 0 must not be empty") as caught:
            score(tiny, prompt, "ab")
        assert caught.value.param == "prompt"
    ((one,),) = score(marked, "a", "b")
    assert np.allclose(one.logprob, logprobs([BOS, 97, 98])[1], rtol=0, atol=2e-5)


def test_neither_the_environment_nor_the_cache_changes_a_score(tiny, tiny_path, monkeypatch):
    prompt = "a prompt that is longer than a block " * 2
    plain = score(tiny, prompt, " end")
    for name, value in (("N", "3"), ("LOGPROBS_MODE", "raw_logits"), ("MIN_TOKENS", "9")):
        monkeypatch.setenv(f"TOKENMILL_SAMPLING_{name}", value)
    with LLM(tiny_path, dtype="float32", activations="exact", kv_cache_dtype="float32") as llm:
        llm.generate(prompt, SamplingParams(max_tokens=12, seed=1), use_tqdm=False)
        assert score(llm, prompt, " end") == plain


@pytest.mark.parametrize(
    ("prompts", "continuations", "param", "part"),
    [
        ("a", "", "continuations", "continuation 0 of prompt 0 must not be empty"),
        ("a", [], "continuations", "continuations of prompt 0 must not be empty"),
        ("a", None, "continuations", "got NoneType"),
        ("a", b"b", "continuations", "got bytes"),
        ("a", {"prompt": "b"}, "continuations", "got dict"),
        ("a", 5, "continuations", "got int"),
        ("a", ["b", 5], "continuations", "continuation 1 of prompt 0 must be text if"),
        ("a", [98], "continuations", "must be text if its prompt is"),
        ([97], "b", "continuations", "token ids if that is"),
        ([97], [[98], []], "continuations", "continuation 1 of prompt 0 must not be empty"),
        ([[97], []], [[98], [99]], "prompt", "prompt 1 must not be empty"),
        ([97], [257], "continuations", "ids from 0 to 256, not at 0"),
        ([97], [98, -1], "continuations", "not at 1"),
        ([97], [[98, 1.5]], "continuations", "not at 1"),
        ([97], [[98, True]], "continuations", "not at 1"),
        ([97, 257], [98], "prompt", "prompt 0 must hold ids from 0 to 256, not at 1"),
        (["a", "b"], "cd", "continuations", "must be a list that pairs with the prompts, got str"),
        (["a", "b"], ["c"], "continuations", "must pair with the prompts: 1 for 2"),
        (["a"], ["b", "c"], "continuations", "must pair with the prompts: 2 for 1"),
        ("a" * 100, "b" * 29, "continuations", "has 129 tokens with its prompt"),
        ("a" * 100, "b" * 29, "continuations", "max_model_len (128)"),
        ("a", "\ud800", "continuations", "text that UTF-8 can hold"),
        ("\ud800", "a", "prompt", "prompt 0 must be text that UTF-8 can hold"),
        ("a", "b" * (scoring.TEXT_BYTES_MAX + 1), "continuations", "at most 4194304 bytes"),
        (None, "b", None, "prompts must be text"),
        (5, "b", None, "prompts must be text"),
    ],
)
def test_a_bad_pair_is_refused_by_name(tiny, prompts, continuations, param, part):
    with pytest.raises(InvalidRequestError) as caught:
        score(tiny, prompts, continuations)
    assert part in str(caught.value)
    assert param is None or caught.value.param == param
    assert tiny.get_metrics()["requests_live"] == 0


def test_a_request_that_fails_raises_and_a_closed_engine_refuses(tiny_path, monkeypatch):
    llm = LLM(tiny_path)
    real = llm._engine
    event = {
        "prompt_logprobs": [],
        "logprobs": [],
        "finish": {"error": ("Overloaded", None, "no room")},
    }
    collector = scoring.ScoreCollector(None, scoring.Span([1, 2], 1, None, None))
    collector.add(event)
    with pytest.raises(OverloadedError, match="no room"):
        collector.finish()
    cut_off = scoring.ScoreCollector(None, scoring.Span([1, 2], 1, None, None))
    with pytest.raises(Exception, match="cancelled before it was scored"):
        cut_off.finish()
    real.close()
    with pytest.raises(DrainingError):
        score(llm, "a", "b")
    llm.close()


def test_progress_counts_pairs(tiny):
    told = []

    class Bar:
        def __init__(self, total, desc):
            told.append(total)

        def update(self, count):
            told.append(count)

        def close(self):
            told.append("closed")

    tiny.score(["a", "b"], [["c", "d"], "e"], use_tqdm=Bar)
    assert told == [3, 1, 1, 1, "closed"]
