"""The default model: its perplexity by a second way, and what only a real tokenizer does."""

import math

import pytest

from evaluate.conftest import EXACT
from tokenmill import LLM, InvalidRequestError, SamplingParams
from tokenmill.evaluate import ChoiceQuestion, choice_accuracy, perplexity

LIMIT = 60


@pytest.fixture(scope="module")
def real(default_model):
    with LLM(default_model, **{**EXACT, "threads": 2}, max_model_len=1024) as llm:
        yield llm


def test_perplexity_of_the_licence_is_that_of_next_tokens_asked_one_by_one(real, repository):
    text = (repository / "LICENSE").read_text("utf-8")
    ids = real.get_tokenizer().encode(text)[:LIMIT]
    window, stride = 16, 8
    found, _ = perplexity(
        real, [text], window=window, stride=stride, limit_tokens=LIMIT, use_tqdm=False
    )
    # A token at `at` is scored by the first window that ends behind it.
    starts = [max(0, math.ceil((at + 1 - window) / stride)) * stride for at in range(LIMIT)]
    asked = [
        SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=[ids[at]])
        for at in range(1, LIMIT)
    ]
    prompts = [ids[starts[at] : at] for at in range(1, LIMIT)]
    outputs = real.generate(prompts, asked, use_tqdm=False)
    nats = -sum(
        output.outputs[0].logprobs[0][token].logprob
        for output, token in zip(outputs, ids[1:], strict=True)
    )
    assert found.tokens_scored == LIMIT - 1
    assert math.isclose(found.nats, nats, abs_tol=2e-3)
    assert 2 < found.perplexity < 100


def test_a_blank_at_the_end_of_a_prompt_makes_the_same_tokens_as_one_before_the_word(real):
    ((before,),) = real.score("The colour of the sky is", " blue", use_tqdm=False)
    ((after,),) = real.score("The colour of the sky is ", "blue", use_tqdm=False)
    assert before.token_ids == after.token_ids == real.get_tokenizer().encode(" blue")
    assert before.logprob == after.logprob
    assert (before.text, after.text) == (" blue", "blue")


def test_a_continuation_that_melts_into_its_prompt_is_refused(real):
    tokenizer = real.get_tokenizer()
    assert len(tokenizer.encode("The")) == len(tokenizer.encode("Th")) == 1
    with pytest.raises(InvalidRequestError, match="so none is its own; give token ids"):
        real.score("Th", "e", use_tqdm=False)


def test_it_knows_a_capital(real):
    asked = ChoiceQuestion("The capital of France is", ("Paris", "Oslo", "Lima"), 0)
    assert choice_accuracy(real, [asked], use_tqdm=False).by_sum.correct == 1
