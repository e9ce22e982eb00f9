"""Perplexity on a tiny model: against strided windows in float64, and what must always hold."""

import math

import numpy as np
import pytest

from evaluate.conftest import BOS
from tokenmill import InvalidRequestError
from tokenmill.evaluate import perplexity
from tokenmill.evaluate.intervals import of_ratio, student, wilson

TEXT = "A mill by the river grinds the corn of the north; each stone is older than the town. " * 4
SHAPES = [(16, 8), (16, 16), (16, 15), (16, 1), (2, 1), (2, 2), (128, 64), (128, 128), (100, 7)]


def strided(logprobs, ids, window, stride, before=()):
    """The same by hand: per window, the nats of what no window before it scored."""
    room, done, blocks = window - len(before), 0, []
    for begin in range(0, len(ids), min(stride, room)):
        end = min(begin + room, len(ids))
        values = logprobs([*before, *ids[begin:end]])
        fresh = end - max(done, begin + (0 if before else 1))
        blocks.append((-values[len(values) - fresh :].sum() if fresh else 0.0, fresh))
        done = end
        if end == len(ids):
            break
    return [block for block in blocks if block[1]]


@pytest.mark.parametrize(("window", "stride"), SHAPES)
@pytest.mark.parametrize("which", ["tiny", "marked"])
def test_it_equals_strided_windows_of_transformers_in_float64(
    request, logprobs, which, window, stride
):
    llm = request.getfixturevalue(which)
    before = [BOS] if which == "marked" else []
    texts = [TEXT, TEXT[7:40], "ab"]
    found, each = perplexity(llm, texts, window=window, stride=stride, use_tqdm=False)
    by_text = [strided(logprobs, list(t.encode()), window, stride, before) for t in texts]
    blocks = [block for one in by_text for block in one]
    for got, expected in ((found, blocks), *zip(each, by_text, strict=True)):
        nats, count = map(sum, zip(*expected, strict=True))
        assert (got.tokens_scored, got.windows) == (count, len(expected))
        assert math.isclose(got.nats, nats, rel_tol=1e-6)
        assert math.isclose(got.perplexity, math.exp(nats / count), rel_tol=1e-5)
    # A token is a byte here.
    assert found.text_bytes == found.tokens == sum(map(len, texts))
    assert math.isclose(found.bits_per_byte, math.log2(found.perplexity), rel_tol=1e-9)
    if len(blocks) > 1:
        values = np.array(blocks)
        mean = values[:, 0].sum() / values[:, 1].sum()
        spread = ((values[:, 0] - mean * values[:, 1]) ** 2).sum() * len(values) / (len(values) - 1)
        reach = student(len(values) - 1) * math.sqrt(spread) / values[:, 1].sum()
        ends = math.exp(mean - reach), math.exp(mean + reach)
        assert np.allclose(found.interval, ends, rtol=1e-4)


@pytest.mark.parametrize(("window", "stride"), SHAPES)
def test_every_token_is_scored_once_but_those_with_nothing_before_them(
    tiny, marked, window, stride
):
    count = len(TEXT)
    plain, _ = perplexity(tiny, [TEXT], window=window, stride=stride, use_tqdm=False)
    if stride < window:
        assert plain.tokens_scored == count - 1
    else:
        assert plain.tokens_scored == count - math.ceil(count / window)
    begun, _ = perplexity(marked, [TEXT], window=window, stride=stride, use_tqdm=False)
    assert begun.tokens_scored == count


def test_disjoint_windows_are_the_texts_that_they_cut(tiny):
    whole, _ = perplexity(tiny, [TEXT[:96]], window=32, stride=32, use_tqdm=False)
    parts = [TEXT[at : at + 32] for at in (0, 32, 64)]
    together, each = perplexity(tiny, parts, window=32, stride=32, use_tqdm=False)
    assert whole == together
    assert [one.interval for one in each] == [None] * 3
    assert math.isclose(sum(one.nats for one in each), whole.nats)


def test_default_windows_and_a_limit_of_tokens(tiny):
    found, _ = perplexity(tiny, [TEXT], use_tqdm=False)
    explicit, _ = perplexity(tiny, [TEXT], window=128, stride=64, use_tqdm=False)
    assert found == explicit
    limited, _ = perplexity(tiny, [TEXT], window=16, limit_tokens=50, use_tqdm=False)
    cut, _ = perplexity(tiny, [TEXT[:50]], window=16, use_tqdm=False)
    assert (limited.nats, limited.tokens_scored) == (cut.nats, 49)
    assert limited.tokens == len(TEXT)


@pytest.mark.parametrize(
    ("texts", "settings", "param", "part"),
    [
        ([TEXT], {"window": 1}, "window", "from 2 to 128, got 1"),
        ([TEXT], {"window": 129}, "window", "from 2 to 128, got 129"),
        ([TEXT], {"window": True}, "window", "got bool"),
        ([TEXT], {"window": 2.0}, "window", "got float"),
        ([TEXT], {"window": 16, "stride": 0}, "stride", "from 1 to 16, got 0"),
        ([TEXT], {"window": 16, "stride": 17}, "stride", "from 1 to 16, got 17"),
        ([TEXT], {"stride": 129}, "stride", "from 1 to 128"),
        ([TEXT], {"limit_tokens": 1}, "limit_tokens", "at least 2, got 1"),
        ([TEXT], {"names": []}, "texts", "as many names"),
        ([], {}, "texts", "1 or more"),
        (TEXT, {}, "texts", "must be a list of texts"),
        ([TEXT, ""], {}, "texts", "text 1 must have at least 2 tokens, got 0"),
        ([TEXT, "a"], {"names": ["x", "y"]}, "texts", "y must have at least 2 tokens, got 1"),
        ([b"abc"], {}, "texts", "text 0 must be text, got bytes"),
        (["ab\ud800"], {}, "texts", "text 0 must be UTF-8"),
        (["a" * ((4 << 20) + 1)], {}, "texts", "at most 4194304 bytes"),
    ],
)
def test_bad_values_are_refused_by_name_and_bound(tiny, texts, settings, param, part):
    with pytest.raises(InvalidRequestError) as caught:
        perplexity(tiny, texts, use_tqdm=False, **settings)
    assert caught.value.param == param
    assert part in str(caught.value)


def test_students_quantile_is_the_tables():
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 29: 2.045, 120: 1.980}
    for freedom, value in table.items():
        assert round(student(freedom), 3) == value
    assert round(student(10**9), 3) == 1.96


def test_an_interval_over_blocks_holds_its_mean_19_times_in_20():
    random = np.random.default_rng(11)
    inside = 0
    for _ in range(1000):
        counts = random.integers(5, 20, 6)
        sums = [random.normal(2.0, 0.5) * count for count in counts]
        low, high = of_ratio(sums, counts.tolist())
        inside += low <= 2.0 <= high
    assert 925 <= inside <= 975
    assert of_ratio([3.0], [2]) is None


def test_wilsons_interval_is_the_literatures_at_the_edges_too():
    assert np.allclose(wilson(0, 10), (0.0, 0.2775), atol=1e-4)
    assert np.allclose(wilson(10, 10), (0.7225, 1.0), atol=1e-4)
    assert np.allclose(wilson(81, 263), (0.2553, 0.3662), atol=1e-4)
