"""Schemas, patterns and grammars that cannot be, by case number; what the table refuses: 65."""

import socket
import time

import pytest

from tokenmill import InvalidRequestError, SamplingParams

PLAIN = SamplingParams(temperature=0.0, max_tokens=8)


def ask(real, max_tokens=8, **constraint):
    params = PLAIN.replace(max_tokens=max_tokens, structured_outputs=constraint)
    return real.generate("x", params, use_tqdm=False)[0].outputs[0]


def refused(real, **constraint):
    start = time.monotonic()
    with pytest.raises(InvalidRequestError) as caught:
        ask(real, **constraint)
    # The bound is a quarter of a second; a busy machine gets more.
    assert time.monotonic() - start < 5
    (kind,) = [name for name in constraint if "white" not in name]
    assert caught.value.param == f"structured_outputs.{kind}"
    message = str(caught.value)
    assert len(message) < 512
    assert "\n" not in message
    assert "backtrace" not in message
    return message


@pytest.fixture(autouse=True)
def neighbour(real):
    """A plain request runs as before, whatever was refused."""
    before = real.generate("The sky is", PLAIN, use_tqdm=False)[0].outputs[0].token_ids
    yield
    after = real.generate("The sky is", PLAIN, use_tqdm=False)[0].outputs[0].token_ids
    assert after == before


@pytest.mark.parametrize(
    "pattern",
    ["(", "a(?=b)", r"(a)\1", "[z-a]", "a{2,1}", "a^b"],
    ids=["open", "look-around", "back reference", "range", "count", "anchor inside"],
)
def test_case_058_a_pattern_that_cannot_be_is_refused(real, pattern):
    refused(real, regex=pattern)


@pytest.mark.parametrize(
    "pattern",
    ["[ab]*a[ab]{30}", "((((((a{0,99}){0,99}){0,99}){0,99}){0,99}){0,99})"],
    ids=["states", "nested counts"],
)
def test_case_058_a_pattern_that_blows_up_is_bounded(real, pattern):
    start = time.monotonic()
    output = ask(real, 60, regex=pattern)
    # Where a mask would take too long, that is the request's own error.
    assert output.error_code in (None, "grammar_failed")
    assert set(output.text) <= set("ab")
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    "schema",
    [
        "{",
        "[1]",
        "false",
        {"type": "strin"},
        {"type": "string", "pattern": "("},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "string", "format": "no-such"},
        {"not": {}},
    ],
    ids=str,
)
def test_case_059_a_schema_that_is_none_is_refused(real, schema):
    refused(real, json=schema)


def deep(levels):
    schema = {}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_case_060_a_schema_beyond_the_bounds_is_refused(real):
    assert "more than 32 deep" in refused(real, json=deep(33))
    wide = {"properties": {f"p{n}": {} for n in range(2001)}}
    assert "2000 properties" in refused(real, json=wide)
    for schema in (deep(60), {"enum": list(range(200_000))}, {"enum": ["x" * 65_536]}):
        start = time.monotonic()
        with pytest.raises(InvalidRequestError) as caught:
            ask(real, json=schema)
        assert caught.value.param == "structured_outputs"
        assert time.monotonic() - start < 2


@pytest.fixture
def sink():
    """A socket that nobody connects to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/schema"
        with pytest.raises(TimeoutError):
            server.accept()


def test_case_061_a_reference_leads_nowhere_outside_and_round_in_no_circle(real, sink):
    refused(real, json={"$ref": sink})
    refused(real, json={"properties": {"a": {"items": {"$ref": sink}}}})
    refused(real, grammar=f'start: %json {{"$ref": "{sink}"}}')
    refused(real, json={"$ref": "file:///etc/hostname"})
    refused(real, json={"$ref": "#"})
    refused(real, json={"$ref": "#/$defs/none"})


def test_case_062_a_product_of_alternatives_is_refused(real):
    def one(name):
        return {"type": "object", "properties": {name: {"type": "integer"}}}

    parts = [{"anyOf": [one(f"{letter}{n}") for n in range(12)]} for letter in "abcdefgh"]
    refused(real, json={"allOf": parts})


@pytest.mark.parametrize(
    "grammar",
    ['start: "a" start', "start: start", "start: missing", 'root ::= "a" root', "no grammar"],
)
def test_case_063_a_language_without_a_text_is_refused(real, grammar):
    refused(real, grammar=grammar)


def test_case_064_a_minimum_of_a_milliard_runs_to_its_length(real):
    start = time.monotonic()
    output = ask(real, 40, json={"type": "string", "minLength": 10**9})
    assert output.finish_reason == "length"
    assert output.text.startswith('"')
    assert time.monotonic() - start < 20


def test_case_067_what_may_not_be_spelled_is_that_requests_error(real):
    (brace,) = real.get_tokenizer().encode("{", add_special_tokens=False)
    params = PLAIN.replace(structured_outputs={"json_object": True}, allowed_token_ids=[brace])
    (output,) = real.generate("x", params, use_tqdm=False)
    assert output.outputs[0].error_code == "no_token_allowed"


def test_case_068_distinct_schemas_keep_the_cache_within_its_bounds(real):
    for number in range(150):
        ask(real, 1, json={"const": number})
        figures = real.get_metrics()
        assert figures["grammars_cached"] <= 64
        assert figures["grammar_bytes"] <= 64 << 20
    assert real.get_metrics()["grammars_cached"] == 64
