"""Asked of whole outputs: the prompt in the text, the best of several, a bound on thinking."""

import pytest

from tokenmill import LLM, InvalidRequestError, SamplingParams, UnsupportedError

PROMPT = "The three primary colours are"
GREEDY = SamplingParams(temperature=0.0, max_tokens=6)


def one(llm, params, prompt=PROMPT):
    (output,) = llm.generate(prompt, params, use_tqdm=False)
    return output


def test_echo_begins_the_text_with_the_prompt_and_leaves_the_tokens(real):
    plain, echoed = one(real, GREEDY), one(real, GREEDY.replace(echo=True))
    assert echoed.outputs[0].text == PROMPT + plain.outputs[0].text
    assert echoed.outputs[0].token_ids == plain.outputs[0].token_ids
    assert echoed.prompt_logprobs is None


def test_echo_of_ids_is_what_they_spell_for_every_sample(real):
    ids = real.get_tokenizer().encode(PROMPT)
    params = SamplingParams(seed=1, n=3, max_tokens=3, echo=True, stop="three")
    output = one(real, params, ids)
    assert len({sample.text for sample in output.outputs}) > 1
    for sample in output.outputs:
        assert sample.text.startswith(PROMPT)
        assert sample.finish_reason == "length"


def test_case_034_no_token_beside_echo_scores_the_prompt(real):
    scored = one(real, SamplingParams(max_tokens=0, echo=True, logprobs=2))
    sample = scored.outputs[0]
    assert (sample.text, sample.token_ids, sample.finish_reason) == (PROMPT, [], "length")
    usual = one(real, GREEDY.replace(prompt_logprobs=2))
    assert scored.prompt_logprobs == usual.prompt_logprobs
    assert len(scored.prompt_logprobs) == len(scored.prompt_token_ids)
    silent = one(real, SamplingParams(max_tokens=0, echo=True, n=2))
    assert [sample.text for sample in silent.outputs] == [PROMPT, PROMPT]
    assert silent.prompt_logprobs is None
    with pytest.raises(InvalidRequestError, match="max_tokens and echo"):
        SamplingParams(max_tokens=0)


def test_a_prompt_as_long_as_the_context_can_be_scored(real):
    ids = [300] * real.info()["max_model_len"]
    output = one(real, SamplingParams(max_tokens=0, echo=True, prompt_logprobs=0), ids)
    assert len(output.prompt_logprobs) == len(ids)


def test_a_streamed_echo_is_the_prompt_and_then_what_is_new(real):
    with real.stream(PROMPT, GREEDY.replace(echo=True)) as stream:
        chunks = list(stream)
    assert chunks[0].text.startswith(PROMPT)
    assert "".join(chunk.text for chunk in chunks) == PROMPT + one(real, GREEDY).outputs[0].text


def test_the_best_samples_have_the_highest_log_prob_per_token(real):
    drawn = SamplingParams(seed=3, n=6, max_tokens=8, temperature=1.5, logprobs=0)
    every = one(real, drawn).outputs
    ranked = sorted(every, key=lambda s: -s.cumulative_logprob / len(s.token_ids))
    best = one(real, drawn.replace(n=2, best_of=6)).outputs
    assert [sample.token_ids for sample in best] == [sample.token_ids for sample in ranked[:2]]
    assert [sample.index for sample in best] == [0, 1]
    assert best[0].cumulative_logprob == ranked[0].cumulative_logprob
    silent = one(real, drawn.replace(n=2, best_of=6, logprobs=None)).outputs
    assert [sample.token_ids for sample in silent] == [sample.token_ids for sample in best]
    assert silent[0].logprobs is None


def test_the_best_samples_come_whole_with_prompt_and_scores(real):
    params = SamplingParams(seed=3, best_of=4, max_tokens=4, echo=True, prompt_logprobs=0)
    output = one(real, params)
    assert len(output.outputs) == 1
    assert output.outputs[0].text.startswith(PROMPT)
    assert len(output.prompt_logprobs) == len(output.prompt_token_ids)


def test_a_stream_cannot_give_the_best(real):
    with pytest.raises(InvalidRequestError, match="best_of and stream") as caught:
        real.stream(PROMPT, SamplingParams(best_of=2))
    assert caught.value.param == "best_of"


def test_a_model_without_marks_of_thinking_refuses_a_bound_on_it(real):
    with pytest.raises(UnsupportedError, match="thinking_token_budget") as caught:
        one(real, GREEDY.replace(thinking_token_budget=5))
    assert "reasoning_start_str" in str(caught.value)


@pytest.fixture(scope="module")
def thinking(default_model):
    with LLM(
        default_model,
        max_model_len=256,
        reasoning_start_str="<|im_start|>",
        reasoning_end_str="So the answer is",
    ) as llm:
        yield llm


def test_thinking_ends_behind_its_bound(thinking):
    tokenizer = thinking.get_tokenizer()
    start = [1]
    assert tokenizer.decode(start) == "<|im_start|>"
    end = tokenizer.encode("So the answer is", add_special_tokens=False)
    prompt = [*tokenizer.encode("Two and two?"), *start]
    for budget in (0, 3):
        params = SamplingParams(seed=1, max_tokens=16, thinking_token_budget=budget)
        params = params.replace(ignore_eos=True, suppress_tokens=start)
        tokens = one(thinking, params, prompt).outputs[0].token_ids
        assert tokens[budget : budget + len(end)] == end
    free = one(thinking, params.replace(thinking_token_budget=-1), prompt).outputs[0].token_ids
    assert free[: len(end)] != end


def test_one_mark_alone_is_refused(default_model):
    with pytest.raises(InvalidRequestError, match="reasoning_start_str and reasoning_end_str"):
        LLM(default_model, reasoning_start_str="<think>")
