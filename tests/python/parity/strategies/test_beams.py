"""Beam search against transformers' float32: outputs token for token, scores within 1e-5 (2e-4 on
the default model, whose float32 noise alone is 2.5e-5 a token).

Near-ties: where two outputs' scores are nearer than NEAR (1e-6 on tiny models, 2.5e-4 on the
default one) either order counts as right, and is counted.
"""

import itertools

import pytest

from parity.conftest import full
from parity.strategies import models
from parity.strategies.models import EOS, VOCAB
from parity.texts import prompts
from tokenmill import SamplingParams

NEAR_TINY, NEAR_REAL = 1e-6, 2.5e-4
RULES = (False, True, "never")
PENALTIES = (-1.0, 0.0, 0.65, 1.0)
PROCESSORS = (
    {},
    {"repetition_penalty": 1.3},
    {"no_repeat_ngram_size": 2},
    {"min_tokens": 4},
    {"suppress_tokens": [5, 7], "repetition_penalty": 0.9},
)
THEIR_NAMES = {"min_tokens": "min_new_tokens"}


@pytest.fixture(scope="module", params=models.NAMES)
def tiny(request, tmp_path_factory):
    """A random model in transformers, and in our engine."""
    with models.both(request.param, tmp_path_factory.mktemp("beams")) as both:
        yield both


def theirs(model, prompt, longest, eos, **asked):
    """Outputs and scores of transformers for one prompt."""
    import torch

    named = {THEIR_NAMES.get(name, name): value for name, value in asked.items()}
    found = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        max_new_tokens=longest,
        do_sample=False,
        eos_token_id=list(eos),
        pad_token_id=eos[0],
        output_scores=True,
        return_dict_in_generate=True,
        **named,
    )
    outputs = [ended(tokens[len(prompt) :], eos, longest) for tokens in found.sequences.tolist()]
    return list(zip(outputs, found.sequences_scores.tolist(), strict=True))


def ended(tokens, eos, longest):
    """Tokens up to the first end: behind it stands padding."""
    for place, token in enumerate(tokens):
        if token in eos:
            return tokens[: place + 1]
    return tokens[:longest]


def ours(llm, inputs, asked):
    """Outputs and scores of our engine for each prompt, all of them in one batch."""
    pairs = zip(inputs, asked, strict=True)
    handles = [llm._engine.submit(prompt, params.to_dict()) for prompt, params in pairs]
    return [heard(handle) for handle in handles]


def heard(handle):
    outputs = {}
    while (event := handle.next(120)) is not None:
        tokens, ends = outputs.setdefault(event["index"], ([], []))
        tokens.extend(event["tokens"])
        if event["finish"]:
            assert not event["finish"]["error"], event["finish"]["error"]
            ends.append(event["finish"]["score"])
    return [(tokens, end) for _, (tokens, (end,)) in sorted(outputs.items()) if end is not None]


def compare(expected, got, near, scores_within):
    """ "equal", "tie", or what differs."""
    if [tokens for tokens, _ in expected] == [tokens for tokens, _ in got]:
        worst = max(abs(a - b) for (_, a), (_, b) in zip(expected, got, strict=True))
        return "equal" if worst <= scores_within else f"scores differ by {worst}"
    if len(expected) != len(got):
        return f"{len(got)} outputs, {len(expected)} expected"
    pairs = zip(expected, got, strict=True)
    is_near = all(a == b or abs(x - y) <= near for (a, x), (b, y) in pairs)
    return "tie" if is_near else f"{got} instead of {expected}"


def asked_of(width, penalty, rule, processor, wanted):
    return {
        "num_beams": width,
        "length_penalty": penalty,
        "early_stopping": rule,
        "num_return_sequences": wanted,
        **processor,
    }


def own_of(asked, longest):
    """The same wish in our names."""
    named = {name: value for name, value in asked.items() if name != "num_beams"}
    return SamplingParams(beam_width=asked["num_beams"], max_tokens=longest, pipeline="hf", **named)


def settings():
    """Every width, penalty and rule; processors and numbers of outputs in turn."""
    grid = itertools.product(range(2, 7), PENALTIES, RULES)
    for index, (width, penalty, rule) in enumerate(grid):
        wanted = width if index % 3 else 1
        yield asked_of(width, penalty, rule, PROCESSORS[index % len(PROCESSORS)], wanted)


def test_a_tiny_model_searches_as_transformers_does(tiny):
    model, llm = tiny
    verdicts = []
    for index, asked in enumerate(settings()):
        prompt = [1, *((7 * index + 11 * k) % VOCAB for k in range(2 + index % 5))]
        prompt = [1 if token == EOS else token for token in prompt]
        expected = theirs(model, prompt, 12, [EOS], **asked)
        (output,) = llm.generate([prompt], own_of(asked, 12), use_tqdm=False)
        verdicts.append(compare(expected, ours(output), NEAR_TINY, 1e-5))
    wrong = [verdict for verdict in verdicts if verdict not in ("equal", "tie")]
    assert not wrong, wrong[:3]
    assert verdicts.count("tie") <= 1


def test_all_settings_at_once_find_what_each_finds_alone(tiny):
    _, llm = tiny
    params = [own_of(asked, 12) for asked in settings()]
    inputs = [[1, 5 + index % 60, 9] for index in range(len(params))]
    together = llm.generate(inputs, params, use_tqdm=False)
    for prompt, one, output in zip(inputs, params, together, strict=True):
        (alone,) = llm.generate([prompt], one, use_tqdm=False)
        assert ours(alone) == ours(output)


def test_one_beam_is_greedy_without_penalties(tiny):
    _, llm = tiny
    for index in range(20):
        prompt = [1, 4 + index, 9]
        (beam,) = llm.generate(
            [prompt], SamplingParams(beam_width=1, max_tokens=12), use_tqdm=False
        )
        greedy = SamplingParams(temperature=0.0, max_tokens=12)
        (sample,) = llm.generate([prompt], greedy, use_tqdm=False)
        assert beam.outputs[0].token_ids == sample.outputs[0].token_ids


@full
def test_the_default_model_searches_as_transformers_does(gguf, exact):
    from parity.oracles.transformers_model import load_model

    model = load_model(gguf).eval()
    eos = exact.get_tokenizer().eos_token_ids
    verdicts = []
    chosen = itertools.cycle(settings())
    for prompt in prompts.PROMPTS[:60]:
        asked = next(chosen)
        submitted = exact.submit(prompt.content, own_of(asked, 16))
        while (event := submitted.handle.next()) is not None:
            submitted.add(event)
        output = submitted.output()
        expected = theirs(model, output.prompt_token_ids, 16, eos, **asked)
        verdicts.append(compare(expected, ours(output), NEAR_REAL, 2e-4))
    wrong = [verdict for verdict in verdicts if verdict not in ("equal", "tie")]
    assert len(verdicts) >= 60
    assert not wrong, wrong[:3]
