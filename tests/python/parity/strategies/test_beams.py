"""Beam search against transformers' float32: outputs token for token, scores within 1e-5 (2e-4 on
the default model, whose float32 noise alone is 2.5e-5 a token).

Near-ties: where two outputs' scores are nearer than NEAR (1e-6 on tiny models, 2.5e-4 on the
default one) either order counts as right, and is counted.
"""

import itertools

import pytest

from parity.conftest import IS_FULL, full
from parity.strategies import models
from parity.strategies.models import EOS
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
        # A negative length penalty multiplies the sum, and float32's own steps with it.
        pairs = zip(expected, got, strict=True)
        worst = max(abs(a - b) / max(1, abs(a)) for (_, a), (_, b) in pairs)
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
        wanted = width if index % 4 else 1
        yield asked_of(width, penalty, rule, PROCESSORS[index % len(PROCESSORS)], wanted)


def judged(verdicts):
    """Refuses wrong verdicts, and more near-ties than chance has."""
    wrong = [verdict for verdict in verdicts if verdict not in ("equal", "tie")]
    assert not wrong, (len(wrong), wrong[:3])
    assert verdicts.count("tie") <= 1 + len(verdicts) // 30


def test_a_tiny_model_searches_as_transformers_does(tiny):
    model, llm = tiny
    every = list(settings())
    every = [every[7 * index % len(every)] for index in range(len(every) if IS_FULL else 20)]
    inputs = [models.prompt(index) for index in range(len(every))]
    got = ours(llm, inputs, [own_of(asked, 12) for asked in every])
    expected = [
        theirs(model, prompt, 12, [EOS], **asked)
        for prompt, asked in zip(inputs, every, strict=True)
    ]
    judged([compare(a, b, NEAR_TINY, 1e-5) for a, b in zip(expected, got, strict=True)])


def test_all_settings_at_once_find_what_each_finds_alone(tiny):
    _, llm = tiny
    params = [own_of(asked, 12) for asked in settings()]
    inputs = [[1, 5 + index % 60, 9] for index in range(len(params))]
    together = ours(llm, inputs, params)
    for prompt, one, found in zip(inputs, params, together, strict=True):
        assert ours(llm, [prompt], [one]) == [found]


def test_one_beam_is_greedy_without_penalties(tiny):
    _, llm = tiny
    inputs = [[1, 4 + index, 9] for index in range(20)]
    beam = SamplingParams(beam_width=1, max_tokens=12)
    greedy = SamplingParams(temperature=0.0, max_tokens=12)
    found = ours(llm, inputs, [beam] * len(inputs))
    samples = llm.generate(inputs, greedy, use_tqdm=False)
    for ((tokens, _),), sample in zip(found, samples, strict=True):
        assert tokens == sample.outputs[0].token_ids


@full
def test_the_default_model_searches_as_transformers_does(gguf, exact):
    from parity.oracles.transformers_model import load_model

    model = load_model(gguf).eval()
    tokenizer = exact.get_tokenizer()
    eos = tokenizer.eos_token_ids
    asked = list(itertools.islice(itertools.cycle(settings()), 60))
    contents = [prompt.content for prompt in prompts.PROMPTS[:60]]
    # Of a conversation the last thing said.
    texts = [said if isinstance(said, str) else said[-1]["content"] for said in contents]
    inputs = [tokenizer.encode(text) for text in texts]
    inputs += [ids[: len(ids) // 2 + 1] for ids in inputs[: 60 - len(inputs)]]
    assert len(inputs) == len(asked)
    got = ours(exact, inputs, [own_of(one, 16) for one in asked])
    expected = [
        theirs(model, prompt, 16, eos, **one) for prompt, one in zip(inputs, asked, strict=True)
    ]
    judged([compare(a, b, NEAR_REAL, 2e-4) for a, b in zip(expected, got, strict=True)])
