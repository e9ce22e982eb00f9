"""Guidance against `guidance_scale` and `negative_prompt_ids` of transformers, token for token."""

import pytest

from parity.strategies import models
from tokenmill import SamplingParams

PROMPTS = 24
LEN = 16
SCALES = (0.5, 1.5, 3.0)


@pytest.fixture(scope="module", params=models.NAMES)
def pair(request, tmp_path_factory):
    """A random model in transformers, and in our engine."""
    with models.both(request.param, tmp_path_factory.mktemp("guidance")) as both:
        yield both


def negative_of(index):
    """No other prompt, a shorter one, a longer one."""
    return (None, [5 + index % 40], [1, *range(10, 22 + index % 7)])[index % 3]


def theirs(model, prompt, negative, scale):
    """The greedy tokens of transformers."""
    import torch

    asked = {} if negative is None else {"negative_prompt_ids": torch.tensor([negative])}
    found = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        guidance_scale=scale,
        max_new_tokens=LEN,
        do_sample=False,
        pad_token_id=models.EOS,
        **asked,
    )
    return found[0, len(prompt) :].tolist()


def test_guided_tokens_equal_those_of_transformers(pair):
    model, llm = pair
    inputs, params, expected = [], [], []
    for index in range(PROMPTS):
        prompt, negative = models.prompt(index), negative_of(index)
        scale = SCALES[index // 3 % 3]
        expected.append(theirs(model, prompt, negative, scale))
        inputs.append(prompt)
        named = {} if negative is None else {"negative_prompt_token_ids": negative}
        params.append(
            SamplingParams(temperature=0.0, max_tokens=LEN, guidance_scale=scale, **named)
        )
    together = llm.generate(inputs, params, use_tqdm=False)
    got = [output.outputs[0].token_ids for output in together]
    plain = SamplingParams(temperature=0.0, max_tokens=LEN)
    unguided = llm.generate(inputs, plain, use_tqdm=False)
    assert got == expected
    changed = sum(
        one.outputs[0].token_ids != tokens for one, tokens in zip(unguided, got, strict=True)
    )
    assert changed > PROMPTS // 2, "guidance that changes nothing is none"
