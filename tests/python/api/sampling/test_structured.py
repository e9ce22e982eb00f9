"""Structured outputs of the default model: they parse, hold, and depend on no company."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tokenmill import (
    InvalidRequestError,
    OverloadedError,
    SamplingParams,
    StructuredOutputsParams,
    UnsupportedError,
)

PROMPT = "Answer as JSON:\n"


def closed(**properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "maxLength": 12}
INTEGER = {"type": "integer", "minimum": -5, "maximum": 999}
TREE = {
    **closed(name=TEXT, next={"anyOf": [{"$ref": "#/$defs/leaf"}, {"type": "null"}]}),
    "$defs": {"leaf": closed(value=INTEGER)},
}


def is_text(value, most=12):
    return isinstance(value, str) and len(value) <= most


def is_integer(value, low=-5, high=999):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


# Each schema beside what it means, written out: no validator is installed with the package.
SCHEMAS = {
    "integer": (INTEGER, is_integer),
    "bounded text": (TEXT, is_text),
    "boolean": ({"type": "boolean"}, lambda v: isinstance(v, bool)),
    "null": ({"type": "null"}, lambda v: v is None),
    "number": (
        {"type": "number", "minimum": 0, "maximum": 10, "multipleOf": 0.25},
        lambda v: isinstance(v, int | float) and 0 <= v <= 10 and v % 0.25 == 0,
    ),
    "enum": ({"enum": ["red", "green", 3, None]}, lambda v: v in ["red", "green", 3, None]),
    "const": ({"const": {"a": [1, "b"]}}, lambda v: v == {"a": [1, "b"]}),
    "two types": ({"type": ["boolean", "null"]}, lambda v: v is None or isinstance(v, bool)),
    "pattern": (
        {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
        lambda v: re.fullmatch("[A-Z]{2}-[0-9]{3}", v),
    ),
    "date": (
        {"type": "string", "format": "date"},
        lambda v: re.fullmatch(r"\d{4}-\d\d-\d\d", v),
    ),
    "uuid": (
        {"type": "string", "format": "uuid"},
        lambda v: re.fullmatch("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", v),
    ),
    "list of bounded length": (
        {"type": "array", "items": INTEGER, "minItems": 2, "maxItems": 4},
        lambda v: 2 <= len(v) <= 4 and all(map(is_integer, v)),
    ),
    "tuple": (
        {"type": "array", "prefixItems": [TEXT, INTEGER], "items": False, "minItems": 2},
        lambda v: len(v) == 2 and is_text(v[0]) and is_integer(v[1]),
    ),
    "object": (
        closed(name=TEXT, age=INTEGER),
        lambda v: list(v) == ["name", "age"] and is_text(v["name"]) and is_integer(v["age"]),
    ),
    "optional properties": (
        {**closed(a=INTEGER, b=TEXT), "required": ["b"]},
        lambda v: "b" in v and set(v) <= {"a", "b"},
    ),
    "nested": (
        closed(inner=closed(deep=closed(x=INTEGER))),
        lambda v: is_integer(v["inner"]["deep"]["x"]),
    ),
    "alternatives": (
        {"anyOf": [closed(kind={"const": "a"}, n=INTEGER), closed(kind={"const": "b"})]},
        lambda v: set(v) == ({"kind", "n"} if v["kind"] == "a" else {"kind"}),
    ),
    "all of": (
        {"allOf": [closed(a=INTEGER), {"required": ["a"]}]},
        lambda v: is_integer(v["a"]),
    ),
    "references": (TREE, lambda v: v["next"] is None or is_integer(v["next"]["value"])),
    "map of numbers": (
        {"type": "object", "additionalProperties": INTEGER, "maxProperties": 2},
        lambda v: len(v) <= 2 and all(map(is_integer, v.values())),
    ),
    "named by a pattern": (
        {
            "type": "object",
            "patternProperties": {"^x[0-9]$": {"type": "boolean"}},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 2,
        },
        lambda v: v and all(re.fullmatch("x[0-9]", key) for key in v),
    ),
}


def asking(max_tokens=96, **constraint):
    return SamplingParams(
        temperature=1.0,
        top_p=0.95,
        seed=5,
        max_tokens=max_tokens,
        structured_outputs=StructuredOutputsParams(**constraint),
    )


def generate(llm, params, prompt=PROMPT):
    return [output.outputs for output in llm.generate(prompt, params, use_tqdm=False)]


def test_every_output_parses_and_is_what_its_schema_says(real):
    names = [name for name in SCHEMAS for _ in range(3)]
    compact = {"disable_any_whitespace": True}
    params = [
        asking(json=SCHEMAS[name][0], **(compact if at % 3 == 0 else {})).replace(
            seed=at, temperature=(0.0, 0.8, 1.0)[at % 3]
        )
        for at, name in enumerate(names)
    ]
    outputs = generate(real, params, [PROMPT] * len(params))
    finished = set()
    for name, (output,) in zip(names, outputs, strict=True):
        if output.finish_reason != "stop":
            assert output.finish_reason == "length", (name, output)
            continue
        finished.add(name)
        assert SCHEMAS[name][1](json.loads(output.text)), (name, output.text)
    assert finished == set(SCHEMAS)


@pytest.mark.parametrize("pipeline", ["tokenmill", "vllm", "sglang", "llamacpp"])
def test_every_pipeline_with_the_step_keeps_to_it(real, pipeline):
    params = asking(regex=r"[0-9]{3}-[a-f]{4}").replace(pipeline=pipeline, n=2)
    for output in generate(real, params)[0]:
        assert re.fullmatch(r"[0-9]{3}-[a-f]{4}", output.text)
        assert output.finish_reason == "stop"


def test_choices_grammars_objects_and_tags(real):
    (choice,) = generate(real, asking(choice=["north", "south"]))[0]
    assert choice.text in ("north", "south")
    grammar = 'root ::= term (("+" | "-") term)*\nterm ::= [0-9]{1,3} | "(" root ")"\n'
    (sum_,) = generate(real, asking(200, grammar=grammar))[0]
    assert re.fullmatch(r"[0-9()+-]+", sum_.text)
    (any_object,) = generate(real, asking(200, json_object=True).replace(temperature=0.0))[0]
    if any_object.finish_reason == "stop":
        assert isinstance(json.loads(any_object.text), dict)
    tags = {
        "type": "structural_tag",
        "triggers": ["<"],
        "structures": [{"begin": "<n>", "schema": {"type": "integer"}, "end": "</n>"}],
    }
    (tagged,) = generate(real, asking(60, structural_tag=tags))[0]
    whole = re.fullmatch(r"([^<]|<n>\s*-?[0-9]+\s*</n>)*", tagged.text)
    assert whole or tagged.finish_reason == "length"


def test_a_batch_changes_no_token(real):
    params = [
        asking(48, json=SCHEMAS["object"][0]).replace(seed=seed, n=1 + seed % 2)
        for seed in range(8)
    ]
    params += [asking(24, regex="[a-z ]{20}").replace(seed=seed) for seed in range(4)]
    alone = [generate(real, each)[0] for each in params]
    together = generate(real, params, [PROMPT] * len(params))
    ids = [[output.token_ids for output in outputs] for outputs in alone]
    assert [[output.token_ids for output in outputs] for outputs in together] == ids


def test_log_probs_of_what_was_allowed_and_streams_are_as_ever(real):
    params = asking(regex="[ab]{3}").replace(logprobs=3, logprobs_mode="processed_logprobs")
    (output,) = generate(real, params)[0]
    tokenizer = real.get_tokenizer()
    for entries in output.logprobs[:-1]:
        best = max(entries, key=lambda token: entries[token].logprob)
        assert set(tokenizer.decode([best])) <= set("ab")
    streamed = "".join(chunk.text for chunk in real.stream(PROMPT, params))
    assert streamed == output.text


def test_options_that_meet_a_grammar(real):
    (lifted,) = generate(real, asking(8, choice=["a"]).replace(min_tokens=5))[0]
    assert (lifted.text, lifted.finish_reason) == ("a", "stop")
    (token,) = real.get_tokenizer().encode("b", add_special_tokens=False)
    (banned,) = generate(real, asking(8, choice=["a"]).replace(allowed_token_ids=[token]))[0]
    assert (banned.finish_reason, banned.error_code) == ("error", "no_token_allowed")
    with pytest.raises(InvalidRequestError, match="structured_outputs"):
        asking(regex="a").replace(pipeline="hf")
    with pytest.raises(InvalidRequestError, match="disable_any_whitespace"):
        asking(regex="a", disable_any_whitespace=True)


def test_the_engine_takes_no_backend_of_grammars():
    from tokenmill import LLM

    with pytest.raises(UnsupportedError, match="structured_outputs_config"):
        LLM("x", structured_outputs_config={"backend": "xgrammar"})


def test_many_threads_compile_at_once(real):
    def ask(number):
        params = asking(12, regex=f"[a-d]{{{number % 7 + 1}}}")
        try:
            return generate(real, params)[0][0].text
        except OverloadedError:
            return None

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(ask, range(32)))
    assert all(text is None or re.fullmatch("[a-d]{1,7}", text) for text in texts)
    assert any(texts)
