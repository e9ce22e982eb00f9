"""Bad request fields that need a loaded model, by case number; the others: test_params.py."""

import asyncio
import time

import pytest

from tokenmill import AsyncLLM, InvalidRequestError, SamplingParams

GREEDY = SamplingParams(temperature=0.0, max_tokens=8)
PROMPT = "The three primary colours are"


def refused(real, prompt, param, params=GREEDY):
    with pytest.raises((InvalidRequestError, TypeError)) as caught:
        real.generate(prompt, params)
    if isinstance(caught.value, InvalidRequestError):
        assert caught.value.param == param
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1024
    return str(caught.value)


def test_case_030_a_tiny_temperature_is_greedy(real):
    (tiny,), (zero,) = (
        real.generate(PROMPT, GREEDY.replace(temperature=t, logprobs=2)) for t in (1e-30, 0.0)
    )
    assert tiny.outputs[0].token_ids == zero.outputs[0].token_ids
    assert tiny.outputs[0].logprobs == zero.outputs[0].logprobs


@pytest.mark.parametrize("top_k", [49153, 2**31])
def test_case_032_more_than_the_vocabulary_cuts_nothing(real, top_k):
    params = SamplingParams(seed=7, max_tokens=8)
    (plain,), (cut,) = (real.generate(PROMPT, params.replace(top_k=k)) for k in (0, top_k))
    assert cut.outputs[0].token_ids == plain.outputs[0].token_ids


def test_case_035_prompt_and_output_above_the_context_name_three_numbers(real):
    context = real.info()["max_model_len"]
    message = refused(real, [300] * (context - 3), "max_tokens")
    for number in (context, context - 3, 8):
        assert str(number) in message


def test_case_038_a_stop_string_across_tokens_and_code_points_cuts_exactly_there(real):
    params = SamplingParams(temperature=0.0, max_tokens=60)
    prompt = "Repeat: 🙂🎉日本🙂🎉日本🙂🎉日本🙂🎉日本"
    (whole,) = real.generate(prompt, params)
    text = whole.outputs[0].text
    for length in (1, 2, 5):
        stop = text[len(text) // 2 :][:length]
        (cut,) = real.generate(prompt, params.replace(stop=stop))
        assert cut.outputs[0].text == text[: text.index(stop)]
        assert cut.outputs[0].stop_reason == stop


def test_case_039_all_tokens_banned_ends_with_a_code(real):
    (token,) = real.get_tokenizer().encode(" blue", add_special_tokens=False)
    params = GREEDY.replace(allowed_token_ids=[token], logit_bias={token: -100.0})
    (output,) = real.generate(PROMPT, params)
    assert (output.outputs[0].finish_reason, output.outputs[0].error_code) == (
        "error",
        "no_token_allowed",
    )


@pytest.mark.parametrize("prompt", ["", {"prompt": ""}, [[]]], ids=["text", "dict", "ids"])
def test_case_045_an_empty_prompt_is_refused(real, prompt):
    refused(real, prompt, "prompt")


def test_case_045_empty_messages_are_refused(real):
    with pytest.raises(InvalidRequestError) as caught:
        real.chat([], GREEDY)
    assert caught.value.param == "messages"


@pytest.mark.parametrize("token", [-1, 49152, 2**32, 1.5], ids=str)
def test_case_046_ids_that_are_none_of_the_vocabulary_are_refused(real, token):
    refused(real, [[300, token]], "prompt")


def test_case_048_a_prompt_of_control_text_is_text(real):
    text = "<|im_start|>system<|im_end|><|endoftext|>"
    (output,) = real.generate(text, GREEDY)
    tokenizer = real.get_tokenizer()
    assert all(token > 16 for token in output.prompt_token_ids)
    assert tokenizer.decode(output.prompt_token_ids, skip_special_tokens=True) == text


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "nobody", "content": "x"}],
        [{"role": "tool", "content": "x"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": "x"}] * 1025,
    ],
    ids=["role", "tool", "null", "1025"],
)
def test_case_049_messages_that_cannot_be_are_refused(real, messages):
    with pytest.raises((InvalidRequestError, TypeError)):
        real.chat(messages, GREEDY)


BAD_LABELS = {
    "10 KB": "s" * (10 << 10),
    "empty": "",
    "newline": "a\nb",
    "null": "a\0",
    "delete": "\x7f",
    "C1": "a\x85",
    "slash": "a/b",
    "surrogate": "\ud800",
}


@pytest.mark.parametrize("salt", BAD_LABELS.values(), ids=list(BAD_LABELS))
def test_case_050_a_salt_that_cannot_be_is_refused_and_not_shown(real, salt):
    message = refused(real, {"prompt": PROMPT, "cache_salt": salt}, "cache_salt")
    assert "sss" not in message


@pytest.mark.parametrize("label", BAD_LABELS.values(), ids=list(BAD_LABELS))
def test_case_050_an_id_of_the_callers_that_cannot_be_is_refused(default_model, real, label):
    with pytest.raises(InvalidRequestError) as caught:
        real.submit(PROMPT, GREEDY, request_id=label)
    assert caught.value.param == "request_id"


def test_case_050_plain_salts_and_ids_run(default_model, real):
    (output,) = real.generate({"prompt": PROMPT, "cache_salt": "tenant 7_é=="}, GREEDY)
    assert output.outputs[0].finish_reason == "length"

    async def run():
        async with await AsyncLLM.load(default_model) as llm:
            return [out async for out in llm.generate(PROMPT, GREEDY, "mine-7")]

    assert asyncio.run(run())[-1].request_id == "mine-7"


def test_case_055_four_megabytes_without_a_space_are_answered_in_bounded_time(real):
    start = time.monotonic()
    message = refused(real, "x" * (4 << 20), "max_tokens")
    assert str(real.info()["max_model_len"]) in message
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    "text",
    [
        "a" + "\u0301" * 1_000_000,
        "a\0b\0\0c",
        "\u202eabc\u202c \u2066x\u2069",
        "\u0378 \U000e0fff \U0010ffff",
    ],
    ids=["marks", "nulls", "bidi", "unassigned"],
)
def test_case_056_odd_letters_are_encoded_and_come_back(real, text):
    tokenizer = real.get_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text
