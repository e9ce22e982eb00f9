"""Contrastive search against the published formula over transformers' rows and hidden states.

transformers has dropped it, so the loop is written here: every candidate's state is computed from
its whole prefix, without a cache.
"""

import pytest

from parity.strategies import models
from tokenmill import SamplingParams

PROMPTS = 20
LEN = 12
SETTINGS = ((0.6, 4), (0.3, 3), (0.9, 6), (0.6, 1))
# Two candidates whose scores are nearer than float32 can tell.
NEAR = 1e-6


@pytest.fixture(scope="module", params=models.NAMES)
def pair(request, tmp_path_factory):
    """A random model in transformers, and in our engine."""
    with models.both(request.param, tmp_path_factory.mktemp("search")) as both:
        yield both


def by_formula(model, prompt, alpha, top_k):
    """(1 - alpha) p(v) - alpha max cos(h_v, h_j), and the least lead that a choice had."""
    import torch
    from torch.nn.functional import cosine_similarity

    tokens, lead = list(prompt), float("inf")
    with torch.no_grad():
        while len(tokens) < len(prompt) + LEN and (
            len(tokens) == len(prompt) or tokens[-1] != models.EOS
        ):
            row = model(torch.tensor([tokens]), use_cache=False).logits[0, -1].double()
            chances, candidates = row.softmax(-1).topk(top_k)
            forks = torch.tensor([[*tokens, int(token)] for token in candidates])
            states = model(forks, use_cache=False, output_hidden_states=True).hidden_states[-1]
            states = states.double()
            nearest = torch.stack(
                [cosine_similarity(own[-1:], own[:-1], dim=-1).max() for own in states]
            )
            scores = (1 - alpha) * chances - alpha * nearest
            order = scores.argsort(descending=True)
            if top_k > 1:
                lead = min(lead, float(scores[order[0]] - scores[order[1]]))
            tokens.append(int(candidates[order[0]]))
    return tokens[len(prompt) :], lead


def test_searched_tokens_equal_those_of_the_formula(pair):
    model, llm = pair
    inputs, params, expected = [], [], []
    for index in range(PROMPTS):
        alpha, top_k = SETTINGS[index % len(SETTINGS)]
        inputs.append(models.prompt(index, 3))
        expected.append(by_formula(model, inputs[-1], alpha, top_k))
        params.append(SamplingParams(max_tokens=LEN, penalty_alpha=alpha, top_k=top_k))
    together = llm.generate(inputs, params, use_tqdm=False)
    plain = SamplingParams(temperature=0.0, max_tokens=LEN)
    greedy = llm.generate(inputs, plain, use_tqdm=False)
    ties = changed = 0
    for output, (tokens, lead), one in zip(together, expected, greedy, strict=True):
        got = output.outputs[0].token_ids
        if got != tokens and lead < NEAR:
            ties += 1
            continue
        assert got == tokens, lead
        changed += got != one.outputs[0].token_ids
    assert ties <= 1
    assert changed > PROMPTS // 4, "a search that changes nothing is none"


def test_a_search_without_a_choice_is_greedy(pair):
    _, llm = pair
    inputs = [models.prompt(index) for index in range(8)]
    searched = llm.generate(
        inputs, SamplingParams(max_tokens=LEN, penalty_alpha=0.6, top_k=1), use_tqdm=False
    )
    greedy = llm.generate(inputs, SamplingParams(temperature=0.0, max_tokens=LEN), use_tqdm=False)
    for one, other in zip(searched, greedy, strict=True):
        assert one.outputs[0].token_ids == other.outputs[0].token_ids
