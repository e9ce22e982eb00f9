"""Sampling options on the default model: masks, loops, pace, deadlines, log-probs of prompts."""

import asyncio
import math

import pytest

from tokenmill import (
    AsyncLLM,
    InvalidRequestError,
    RepetitionDetectionParams,
    RequestOutputKind,
    SamplingParams,
)

GREEDY = SamplingParams(temperature=0.0, max_tokens=24)
PROMPT = "The three primary colours are"


def one(real, params, prompt=PROMPT):
    (output,) = real.generate(prompt, params)
    return output


def ids_of(real, text):
    return real.get_tokenizer().encode(text, add_special_tokens=False)


def test_prompt_log_probs_have_vllms_shape_and_are_the_models_own(real):
    output = one(real, GREEDY.replace(prompt_logprobs=3, max_tokens=1))
    ids = output.prompt_token_ids
    first, *rest = output.prompt_logprobs
    assert first is None
    assert len(rest) == len(ids) - 1
    for at, entries in enumerate(rest, 1):
        assert ids[at] in entries
        assert 3 <= len(entries) <= 4
        assert sorted(entry.rank for entry in entries.values())[:3] == [1, 2, 3]
        # The same row, asked for as the first of an output.
        asked = one(real, GREEDY.replace(max_tokens=1, logprobs=3), ids[:at])
        (generated,) = asked.outputs[0].logprobs
        for token, entry in generated.items():
            assert entries[token].rank == entry.rank
            assert math.isclose(entries[token].logprob, entry.logprob, abs_tol=2e-5)
        assert entries[ids[at]].decoded_token == real.get_tokenizer().token_text(ids[at])


def test_prompt_log_probs_do_not_depend_on_the_cache_or_on_samples(real):
    prompt = "A long enough prompt about rivers and mills. " * 6
    params = SamplingParams(seed=3, max_tokens=4, prompt_logprobs=1, n=3)
    first, second = one(real, params, prompt), one(real, params, prompt)
    assert first.prompt_logprobs == second.prompt_logprobs
    assert second.num_cached_tokens == 0
    plain = one(real, params.replace(prompt_logprobs=None), prompt)
    assert plain.num_cached_tokens > 0
    assert plain.prompt_logprobs is None
    tokens = [[sample.token_ids for sample in output.outputs] for output in (first, plain)]
    assert tokens[0] == tokens[1]
    (alone,) = one(real, params.replace(n=1), [300]).prompt_logprobs
    assert alone is None


def test_prompt_log_probs_of_the_whole_vocabulary_need_the_engines_leave(real):
    with pytest.raises(InvalidRequestError, match="prompt_logprobs") as caught:
        one(real, GREEDY.replace(prompt_logprobs=-1))
    assert caught.value.param == "prompt_logprobs"
    with pytest.raises(InvalidRequestError, match="from 0 to 20"):
        one(real, GREEDY.replace(prompt_logprobs=21))


def test_prompt_tokens_brought_into_the_cache_are_counted(real):
    real.reset_prefix_cache()
    prompt = "Mills and rivers of the north. " * 8
    first, second = one(real, GREEDY, prompt), one(real, GREEDY, prompt)
    length = len(first.prompt_token_ids)
    assert first.num_cache_creation_tokens == length // 16 * 16
    assert second.num_cache_creation_tokens == 0
    assert second.num_cached_tokens == length // 16 * 16


def test_chosen_ids_are_reported_beside_the_sampled_one(real):
    blue, red = (ids_of(real, text)[0] for text in (" blue", " red"))
    output = one(real, GREEDY.replace(logprob_token_ids=[blue, red], max_tokens=3))
    for token, entries in zip(output.outputs[0].token_ids, output.outputs[0].logprobs, strict=True):
        assert set(entries) == {token, blue, red}
    assert output.outputs[0].cumulative_logprob is not None


def test_bad_words_never_appear_with_or_without_a_blank(real):
    plain = one(real, GREEDY).outputs[0].text
    word = plain.split()[0].strip(",.:")
    banned = one(real, GREEDY.replace(bad_words=[word, "yellow"])).outputs[0]
    assert word not in banned.text
    assert "yellow" not in banned.text
    for form in (word, f" {word}"):
        ids = ids_of(real, form)
        starts = range(len(banned.token_ids) - len(ids) + 1)
        assert all(banned.token_ids[at : at + len(ids)] != ids for at in starts)
    spaced = one(real, GREEDY.replace(bad_words=[f"  {word}", "yellow"])).outputs[0]
    assert spaced.token_ids == banned.token_ids


def test_allowed_and_suppressed_tokens_hold(real):
    plain = one(real, GREEDY).outputs[0].token_ids
    allowed = sorted(set(plain[:6]))
    mask = GREEDY.replace(allowed_token_ids=allowed, ignore_eos=True)
    assert set(one(real, mask).outputs[0].token_ids) <= set(allowed)
    without = one(real, GREEDY.replace(suppress_tokens=plain[:2])).outputs[0].token_ids
    assert not set(plain[:2]) & set(without)
    begun = one(real, GREEDY.replace(begin_suppress_tokens=[plain[0]])).outputs[0].token_ids
    assert begun[0] != plain[0]
    for values in ({"allowed_token_ids": [49152]}, {"suppress_tokens": [49152]}):
        with pytest.raises(InvalidRequestError, match=next(iter(values))):
            one(real, GREEDY.replace(**values))


def test_a_loop_ends_the_output(real):
    (token,) = ids_of(real, " blue")
    params = GREEDY.replace(
        allowed_token_ids=[token],
        repetition_detection=RepetitionDetectionParams(max_pattern_size=2, min_count=5),
    )
    completion = one(real, params).outputs[0]
    assert (completion.finish_reason, completion.token_ids) == ("repetition", [token] * 5)


def test_a_minimum_length_counts_the_prompt(real):
    stop = GREEDY.replace(stop=" ", max_tokens=20)
    plain = one(real, stop)
    length, output_len = len(plain.prompt_token_ids), len(plain.outputs[0].token_ids)
    assert output_len < 9
    assert len(one(real, stop.replace(min_length=length + 9)).outputs[0].token_ids) > 9
    reached = one(real, stop.replace(min_length=length))
    assert len(reached.outputs[0].token_ids) == output_len


@pytest.mark.parametrize("name", ["tokenmill", "vllm", "hf", "sglang", "llamacpp"])
def test_every_pipeline_runs_and_is_told(real, name):
    output = one(real, SamplingParams(pipeline=name, seed=2, max_tokens=8, repetition_penalty=1.2))
    assert output.effective["pipeline"] == name
    assert len(output.outputs[0].token_ids) == 8


def test_under_hf_the_text_keeps_the_token_that_completed_a_stop_string(real):
    plain = one(real, GREEDY).outputs[0].text
    word = next(word for word in plain.split() if len(word.strip(",.:")) > 3).strip(",.:")
    stopped = GREEDY.replace(stop=word[1:3])
    cut, whole = one(real, stopped), one(real, stopped.replace(pipeline="hf"))
    assert cut.outputs[0].token_ids == whole.outputs[0].token_ids
    assert whole.outputs[0].text.startswith(cut.outputs[0].text + word[1:3])
    assert plain.startswith(whole.outputs[0].text)


def test_a_stream_comes_in_bundles_that_join_to_the_whole(real):
    whole = one(real, GREEDY).outputs[0]
    with real.stream(PROMPT, GREEDY.replace(stream_interval=5)) as stream:
        chunks = list(stream)
    assert len(chunks[0].token_ids) == 1
    assert all(len(chunk.token_ids) >= 5 for chunk in chunks[1:-1])
    assert "".join(chunk.text for chunk in chunks) == whole.text
    with real.stream(PROMPT, GREEDY.replace(output_kind="final_only")) as stream:
        (chunk,) = stream
    assert (chunk.text, chunk.token_ids) == (whole.text, whole.token_ids)


def test_outputs_that_are_read_while_they_grow(default_model):
    params = SamplingParams(seed=4, max_tokens=9, n=2, logprobs=1, prompt_logprobs=1)

    async def outputs(llm, kind):
        asked = params.replace(output_kind=kind)
        return [output async for output in llm.generate(PROMPT, asked)]

    async def run():
        async with await AsyncLLM.load(default_model) as llm:
            return [await outputs(llm, kind) for kind in RequestOutputKind]

    whole, new, last = asyncio.run(run())
    assert len(last) == 1
    assert last[0].outputs == whole[-1].outputs
    assert last[0].finished
    for index, completion in enumerate(whole[-1].outputs):
        parts = [out.outputs[0] for out in new if out.outputs[0].index == index]
        assert "".join(part.text for part in parts) == completion.text
        assert sum((part.token_ids for part in parts), []) == completion.token_ids
        assert sum((part.logprobs for part in parts), []) == completion.logprobs
        assert parts[-1].finish_reason == completion.finish_reason
    assert [len(out.outputs) for out in new] == [1] * len(new)
    told = [out.prompt_logprobs for out in new if out.prompt_logprobs is not None]
    assert told == [whole[-1].prompt_logprobs]


def test_case_052_a_tiny_deadline_is_an_error_and_frees_everything(real, wait_until):
    prompt = "A long enough prompt about rivers and mills. " * 60
    params = SamplingParams(
        max_tokens=400, ignore_eos=True, deadline_ms=1, skip_reading_prefix_cache=True
    )
    late, fine = real.generate([prompt, PROMPT], [params, GREEDY])
    assert (late.outputs[0].finish_reason, late.outputs[0].error_kind) == ("error", "Deadline")
    assert late.outputs[0].error_code == "deadline_exceeded"
    assert fine.outputs[0].token_ids == one(real, GREEDY).outputs[0].token_ids
    wait_until(lambda: real.get_metrics()["blocks_used"] == 0)
    assert real.get_metrics()["requests_live"] == 0
    early = one(real, GREEDY.replace(deadline_ms=600_000))
    assert early.outputs[0].finish_reason == "length"
