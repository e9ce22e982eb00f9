"""Random tiny checkpoints of every architecture against transformers, on both real backends.

tests/models/make_tiny.py writes them. Each is read from safetensors and, where GGUF knows the
architecture, from GGUF; in one chunk and in chunks of five tokens; prompt rows and decode rows.
"""

import importlib.util
import sys

import numpy as np
import pytest

from parity import rows
from parity.conftest import EXACT
from tokenmill import LLM, InvalidRequestError, SamplingParams, UnsupportedError, _tokenmill

# Read without importing torch when tests are collected; a test holds it to the maker's list.
CASES = {
    "llama": True,
    "llama-tied": True,
    "llama-bias": True,
    "llama3-rope": True,
    "llama-linear-rope": True,
    "llama-yarn-rope": True,
    "llama-q4_1": True,
    "llama-q8_0": True,
    "llama-f16": True,
    "mistral-window": False,
    "mistral-wide": False,
    "mistral": True,
    "qwen2": True,
    "qwen2-window": False,
    "qwen3": True,
    "qwen3-bias": False,
    "qwen3-bf16": True,
    "gemma2": True,
    "gemma2-uncapped": False,
    "gemma3": True,
    "gemma3-wide": True,
    "phi3": True,
    "phi3-window": False,
    "phi3-longrope": True,
    "phi3-shortrope": True,
    "phi3-longrope-part": False,
    "olmo2": True,
    "smollm3": True,
    "smollm3-marked": False,
    "granite": True,
    "gpt2": True,
    "gpt2-inner": True,
    "opt": False,
    "opt-bare": False,
    "mixtral": True,
    "mixtral-q8_0": True,
    "mixtral-window": False,
    "qwen3-moe": True,
    "qwen3-moe-dense": False,
    "olmoe": True,
    "olmoe-clip": False,
    "gpt-neox": True,
    "gpt-neox-serial": False,
}
FILES = [(name, "model") for name in CASES] + [
    (name, "model.gguf") for name, has_gguf in CASES.items() if has_gguf
]
# Of the range of the row, from its lowest to its highest logit.
SHARE_MAX = 1e-4
GREEDY_LEN = 24
PROMPT_LENS = (1, 7, 24, 90)
# Attention sums over runs of 256 tokens: a wide window begins in the first and ends in the second.
LEN_WIDE = 390


def prompt_lens(name):
    """Lengths of the prompts of one case."""
    return (*PROMPT_LENS, LEN_WIDE) if name.endswith("wide") else PROMPT_LENS


@pytest.fixture(scope="module")
def maker(repository):
    """tests/models/make_tiny.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "make_tiny", repository / "tests" / "models" / "make_tiny.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_tiny"] = module
    spec.loader.exec_module(module)
    # Models this small gain nothing from a second thread, and lose much on a busy machine.
    threads = module.torch.get_num_threads()
    module.torch.set_num_threads(1)
    yield module
    module.torch.set_num_threads(threads)


class Checkpoints:
    """Makes a case when it is first asked for, and remembers what transformers computes with it."""

    def __init__(self, maker, folder) -> None:
        self._maker = maker
        self._folder = folder
        self._models = {}
        self._known = {}

    def folder(self, name):
        """The case's folder, with model/ and perhaps model.gguf."""
        if name not in self._models:
            seed, case = next(
                (seed, case) for seed, case in enumerate(self._maker.CASES) if case.name == name
            )
            self._maker.make(case, self._folder / name, seed)
            self._models[name] = self._maker.make_model(case, seed)
        return self._folder / name

    def expected(self, name, length):
        """A prompt, its greedy continuation, and the row of every position of both."""
        if (name, length) not in self._known:
            self._known[name, length] = self._compute(name, length)
        return self._known[name, length]

    def _compute(self, name, length):
        import torch

        self.folder(name)
        model = self._models[name]
        generator = np.random.default_rng(length)
        prompt = generator.integers(0, model.config.vocab_size, length).tolist()
        known = list(prompt)
        with torch.no_grad():
            for _ in range(GREEDY_LEN):
                logits = model(torch.tensor([known]), use_cache=False).logits[0]
                known.append(int(logits[-1].argmax()))
            logits = model(torch.tensor([known[:-1]]), use_cache=False).logits[0]
        return prompt, known[length:], logits.double().numpy()


@pytest.fixture(scope="module")
def checkpoints(maker, tmp_path_factory):
    """Every case, made on demand."""
    return Checkpoints(maker, tmp_path_factory.mktemp("tiny"))


def assert_close(got, expected, where) -> None:
    """Rows within the bound, each against its own range."""
    spans = expected.max(axis=-1) - expected.min(axis=-1)
    worst = (np.abs(got - expected).max(axis=-1) / spans).max()
    assert worst <= SHARE_MAX, (*where, f"{worst:.2e} of the range")


def test_the_list_of_cases_is_the_maker_s(maker):
    assert {case.name: case.gguf_arch is not None for case in maker.CASES} == CASES


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(("name", "file"), FILES, ids=lambda value: str(value))
def test_logits_and_greedy_tokens_equal_those_of_transformers(checkpoints, name, file, backend):
    path = checkpoints.folder(name) / file
    for chunk in (512, 5):
        options = {
            "max_num_batched_tokens": chunk,
            "max_num_seqs": 4,
            "threads": 1,
            "kv_cache_memory_bytes": 4 << 20,
        }
        with LLM(path, backend=backend, max_logprobs=-1, **options, **EXACT) as llm:
            for length in prompt_lens(name):
                where = (name, file, backend, f"chunk {chunk}", f"prompt {length}")
                prompt, tokens, expected = checkpoints.expected(name, length)
                cuts = range(1, length + 1, 1 if length < 90 else length // 8)
                got = rows.logits(llm, [prompt[:cut] for cut in cuts])
                assert_close(got, expected[[cut - 1 for cut in cuts]], where)
                made, decoded = rows.greedy(llm, prompt, GREEDY_LEN)
                assert made == tokens, where
                assert_close(decoded, expected[length - 1 :], where)


def test_a_request_that_bans_every_token_ends_with_an_error_of_its_own(checkpoints):
    # Case 39; the maker's vocabulary is smaller than the bound of `logit_bias`.
    with LLM(checkpoints.folder("llama") / "model", max_num_seqs=4, threads=1) as llm:
        every = dict.fromkeys(range(llm.info()["vocab_len"]), -100.0)
        asked = SamplingParams(max_tokens=4, logit_bias=every, detokenize=False)
        banned, other = llm.generate([[1, 2], [1, 2]], [asked, asked.replace(logit_bias=None)])
    completion = banned.outputs[0]
    assert (completion.finish_reason, completion.error_code) == ("error", "no_token_allowed")
    assert completion.error_kind == "InvalidRequest"
    assert other.outputs[0].finish_reason == "length"


def test_a_logit_outside_the_bound_is_found(checkpoints):
    _, _, expected = checkpoints.expected("llama", 7)
    wrong = expected.copy()
    wrong[3, 5] += 2 * SHARE_MAX * (expected[3].max() - expected[3].min())
    with pytest.raises(AssertionError, match="of the range"):
        assert_close(wrong, expected, ("llama",))


# Second rows: what transformers' own hidden states and two models give, mixed in float64.
SECOND_LEN = 24


def log_softmax(row):
    """ln of the probabilities of a row, in float64."""
    shifted = row - row.max()
    return shifted - np.log(np.exp(shifted).sum())


def hidden_states(model, known):
    """The logits of the last position, and of each number of layers before it without the norm."""
    import torch

    with torch.no_grad():
        out = model(torch.tensor([known]), use_cache=False, output_hidden_states=True)
        head = model.get_output_embeddings()
        early = [head(state[0, -1]).double().numpy() for state in out.hidden_states[:-1]]
    return out.logits[0, -1].double().numpy(), early


def plausible(last, share):
    """Which tokens have at least this share of the best probability."""
    return np.exp(last - last.max()) >= share


def divergence(last, early, kind):
    """How far two rows are from each other, as spelled out in the papers and in their code."""
    p, q = np.exp(log_softmax(last)), np.exp(log_softmax(early))
    m = (p + q) / 2
    if kind == "jsd":
        return (p * np.log(p / m) + q * np.log(q / m)).sum() / 2
    return ((m * np.log(m / p)).mean() + (m * np.log(m / q)).mean()) / 2


def dola_token(model, known, layers, kind):
    """The greedy token of DoLa."""
    last, early = hidden_states(model, known)
    rows_of = [early[layer] if layer < len(early) else last for layer in layers]
    best = rows_of[int(np.argmax([divergence(last, row, kind) for row in rows_of]))]
    scores = np.where(plausible(last, 0.1), log_softmax(last) - log_softmax(best), -np.inf)
    return int(scores.argmax())


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", ["llama", "llama-tied", "qwen3", "olmo2", "gpt2", "phi3"])
def test_dola_equals_a_mixture_of_transformers_hidden_states(checkpoints, name, backend):
    path = checkpoints.folder(name) / "model"
    model = checkpoints._models[name]
    # Three layers: halves as transformers lists them.
    is_tied = model.config.tie_word_embeddings
    halves = {"low": [2] if is_tied else [0], "high": [1], (0, 1, 2): [0, 1, 2], (3,): [3]}
    with LLM(path, backend=backend, threads=1, max_num_seqs=4, **EXACT) as llm:
        for asked, layers in halves.items():
            for kind in ("jsd", "reference"):
                prompt, known = [5, 17, 40, 8, 80], []
                for _ in range(SECOND_LEN):
                    known.append(dola_token(model, prompt + known, layers, kind))
                params = SamplingParams(
                    temperature=0.0,
                    max_tokens=SECOND_LEN,
                    dola_layers=asked if isinstance(asked, str) else list(asked),
                    dola_divergence=kind,
                    ignore_eos=True,
                    detokenize=False,
                )
                made = llm.generate([prompt], params)[0].outputs[0].token_ids
                assert list(made) == known, (name, backend, asked, kind)


def contrastive_token(models, known, mode, rule):
    """The greedy token of contrastive decoding."""
    expert, amateur = (hidden_states(model, known)[0] for model in models)
    amateur = amateur / rule.get("temperature", 1.0)
    if mode == "difference":
        scores = log_softmax(expert) - rule["lambda"] * log_softmax(amateur)
    else:
        scores = (1 + rule["beta"]) * expert - rule["beta"] * amateur
    return int(np.where(plausible(expert, rule["alpha"]), scores, -np.inf).argmax())


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_contrastive_decoding_equals_a_mixture_of_two_models_of_transformers(checkpoints, backend):
    paths = [checkpoints.folder(name) / "model" for name in ("llama", "qwen3")]
    models = [checkpoints._models[name] for name in ("llama", "qwen3")]
    options = {"threads": 1, "max_num_seqs": 4, "kv_cache_memory_bytes": 1 << 20}
    rules = [
        ("difference", {"alpha": 0.1, "lambda": 1.0}),
        ("difference", {"alpha": 0.02, "lambda": 0.5, "temperature": 0.5}),
        ("scaled", {"alpha": 0.1, "beta": 0.5}),
        ("scaled", {"alpha": 0.0, "beta": 2.0}),
    ]
    with LLM(paths[0], amateur_model=paths[1], backend=backend, **options, **EXACT) as llm:
        plan = llm.info()["memory_plan"]
        assert plan["amateur weights"] > 0
        assert plan["kv cache"] + plan["amateur kv cache"] <= 1 << 20
        prompt = [9, 3, 77, 21]
        asked, expected = [], []
        for mode, rule in rules:
            known = []
            for _ in range(SECOND_LEN):
                known.append(contrastive_token(models, prompt + known, mode, rule))
            expected.append(known)
            asked.append(
                SamplingParams(
                    temperature=0.0,
                    max_tokens=SECOND_LEN,
                    contrastive={"mode": mode, **rule},
                    ignore_eos=True,
                    detokenize=False,
                )
            )
        # All in one batch, beside one without an amateur.
        plain = SamplingParams(temperature=0.0, max_tokens=SECOND_LEN, detokenize=False)
        outputs = llm.generate([prompt] * 5, [*asked, plain])
    made = [list(output.outputs[0].token_ids) for output in outputs]
    assert made[:4] == expected
    assert len({tuple(tokens) for tokens in made}) > 1


def test_an_amateur_of_another_vocabulary_is_refused_at_load(checkpoints, gguf):
    path = checkpoints.folder("llama") / "model"
    with pytest.raises(UnsupportedError, match=r"amateur_model.*vocabulary"):
        LLM(path, amateur_model=gguf, threads=1)
    beside = {"amateur_model": str(gguf)}
    with pytest.raises(UnsupportedError, match=r"amateur_model.*vocabulary"):
        _tokenmill.check_text(str(path), beside)
    # Priced before anything is held against anything.
    assert _tokenmill.inspect(str(path), beside)["memory_plan"]["amateur weights"] > 50 << 20
    with LLM(path, threads=1, max_num_seqs=4) as llm:
        params = SamplingParams(contrastive={}, detokenize=False)
        with pytest.raises(UnsupportedError, match=r"contrastive.*amateur_model"):
            llm.generate([[1, 2]], params)


def test_a_model_against_itself_leaves_the_plausible_tokens_alike(gguf):
    params = SamplingParams(
        temperature=0.0,
        max_tokens=6,
        contrastive={"amateur": gguf.stem},
        logprobs=20,
        logprobs_mode="processed_logits",
    )
    options = {"max_model_len": 128, "max_num_seqs": 2, "kv_cache_memory_bytes": 16 << 20}
    with LLM(gguf, amateur_model=gguf, **options) as llm:
        completion = llm.generate(["The sea is"], params)[0].outputs[0]
        other = params.replace(contrastive={"amateur": "another"})
        with pytest.raises(InvalidRequestError, match="amateur"):
            llm.generate(["The sea is"], other)
    for token, entries in zip(completion.token_ids, completion.logprobs, strict=True):
        kept = [key for key, entry in entries.items() if entry.logprob > float("-inf")]
        assert all(entries[key].logprob == 0.0 for key in kept)
        assert token == min(kept)
