"""Values written as text: suffixes, lists, switches; and bars that draw or keep silent."""

import contextlib
import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmill import InvalidRequestError, _tokenmill, options
from tokenmill.progress import Progress, format_bytes, say


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("2k", 2000),
        ("2K", 2048),
        ("1m", 10**6),
        ("1M", 2**20),
        ("3G", 3 << 30),
    ],
)
def test_integers_take_suffixes(text, value):
    assert options.parse(option("seed"), text) == value


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_every_integer_reads_back(value):
    assert options.parse(option("seed"), str(value)) == value


@given(st.text(max_size=20), st.sampled_from(options.supported("sampling")))
def test_any_text_is_a_value_that_the_table_takes_or_a_value_error(text, row):
    with contextlib.suppress(ValueError):
        value = options.parse(row, text)
        # Of two options that contradict each other only one is given here.
        with contextlib.suppress(InvalidRequestError):
            _tokenmill.check_sampling({row.name: value})


def option(name):
    return next(o for o in options.table() if o.name == name and o.is_supported)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0.5", 0.5),
        ("temperature", "1e-3", 0.001),
        ("ignore_eos", "TRUE", True),
        ("ignore_eos", "off", False),
        ("max_tokens", "none", None),
        ("max_tokens", "4K", 4096),
        ("stop", "a,b", "a,b"),
        ("stop", "[INST]", "[INST]"),
        ("stop", "none", "none"),
        ("logprobs", "true", True),
        ("tokenizer", "none", None),
        ("stop_token_ids", "1,2", [1, 2]),
        ("stop_token_ids", "[1, 2]", [1, 2]),
        ("logit_bias", "1:2.5,3:-100", {1: 2.5, 3: -100.0}),
        ("logit_bias", '{"1": 2}', {1: 2.0}),
        ("logprobs_mode", "raw_logits", "raw_logits"),
    ],
)
def test_each_type_of_the_table_is_read(name, text, value):
    assert options.parse(option(name), text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("temperature", "warm"),
        ("ignore_eos", "2"),
        ("max_tokens", "4X"),
        ("max_tokens", ""),
        ("stop_token_ids", "1;2"),
        ("logit_bias", "1=2"),
        ("logit_bias", "{1: 2}"),
        ("logit_bias", '{"a": 2}'),
        ("logit_bias", '{"5": [1]}'),
        ("logit_bias", '{"5": null}'),
        ("logit_bias", "5:1,5:-100"),
        ("top_k", str(2**63)),
        ("temperature", "-1"),
        ("stop", "\udcff"),
    ],
)
def test_text_that_is_no_value_is_refused_by_name(name, text):
    with pytest.raises(ValueError, match=name):
        options.parse(option(name), text)


@pytest.mark.parametrize("group", ["sampling", "engine"])
def test_a_default_is_written_as_it_is_read(group):
    for row in options.supported(group):
        if row.default and not row.default.startswith('"'):
            options.parse(row, row.default)


def test_a_bar_says_how_much_and_never_more_than_all(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Progress("fetching", 2_000_000, "B", visible=True) as bar:
        bar.set(1_000_000)
        assert "50% 1.0 MB of 2.0 MB" in bar.line()
        bar.set(3_000_000)
        assert "100%" in bar.line()
    assert sys.stderr.getvalue().startswith("\rfetching [")
    assert sys.stderr.getvalue().endswith("\n")


def test_a_bar_without_a_terminal_is_silent(capsys):
    with Progress("fetching", 10, "files") as bar:
        bar.advance(5)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stream", [None, "closed"])
def test_a_bar_and_a_notice_survive_a_lost_terminal(stream, monkeypatch):
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    say("hello")
    if stream is not None:
        with Progress("x", 1, "B", visible=True) as bar:
            bar.advance(1)
    with Progress("x", 1, "B") as bar:
        bar.advance(1)


def test_bytes_are_written_for_people():
    assert [format_bytes(n) for n in (0, 999, 98_362_432, 5e12)] == [
        "0 B",
        "999 B",
        "98.4 MB",
        "5.0 TB",
    ]
