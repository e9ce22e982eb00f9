"""Pipeline `hf` against transformers' list of processors; log-probs of prompts against its rows.

Raw and processed logits come from our engine, so only the steps between them are compared; for the
prompts the row is transformers' too.
"""

import math

import numpy as np
import pytest

from parity.conftest import EXACT
from tokenmill import LLM, SamplingParams

VOCAB = 97
EOS = 2


def config(vocab):
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=EOS,
        pad_token_id=EOS,
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random Llama in transformers, and in our engine."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(3)
    model = LlamaForCausalLM(config(VOCAB)).eval()
    with torch.no_grad():
        # Rows with a few likely tokens instead of nearly flat ones.
        model.lm_head.weight.mul_(40)
    folder = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(folder)
    with LLM(folder, **EXACT, max_logprobs=-1) as llm:
        yield model, llm


def rows(llm, prompt, params, mode):
    """Token ids, and the values of every row by token."""
    asked = params.replace(logprobs=-1, logprobs_mode=mode)
    (output,) = llm.generate(prompt, asked, use_tqdm=False)
    completion = output.outputs[0]
    values = [
        [entries[token].logprob for token in range(len(entries))] for entries in completion.logprobs
    ]
    return output.prompt_token_ids, completion.token_ids, np.array(values)


def transformers_rows(model, prompt, tokens, raw, options):
    """What transformers' processors make of the same rows."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    generation = GenerationConfig(do_sample=True, eos_token_id=EOS, pad_token_id=EOS, **options)
    model._prepare_special_tokens(generation, False, device="cpu")
    processors = model._get_logits_processor(
        generation_config=generation,
        input_ids_seq_length=len(prompt),
        encoder_input_ids=torch.tensor([prompt]),
        prefix_allowed_tokens_fn=None,
        logits_processor=LogitsProcessorList(),
        device="cpu",
    )
    made = []
    for at, row in enumerate(raw):
        ids = torch.tensor([[*prompt, *tokens[:at]]])
        made.append(processors(ids, torch.tensor(row[None], dtype=torch.float32))[0].numpy())
    return np.array(made)


# Ours, and theirs where the name differs.
OPTIONS = [
    {"temperature": 0.6, "top_k": 12, "top_p": 0.9},
    {"temperature": 1.7, "top_p": 0.8, "min_p": 0.05},
    {"top_k": 5, "min_p": 0.2, "repetition_penalty": 1.4},
    {"repetition_penalty": 0.7, "no_repeat_ngram_size": 2},
    {"temperature": 0.8, "suppress_tokens": [5, 9, 40], "begin_suppress_tokens": [7, 8]},
    {"min_tokens": 6, "top_p": 0.95},
    {"min_length": 14, "temperature": 1.3},
    {"temperature": 1.4, "typical_p": 0.8},
    {"epsilon_cutoff": 0.02},
    {"eta_cutoff": 0.3, "temperature": 1.6},
    {"top_h": 0.6, "temperature": 1.6},
    {"sequence_bias": {(5,): 4.0, (7, 9): -3.0, (11,): -2.5}, "top_p": 0.95},
    {"bad_words_ids": [[5], [7, 9], [EOS]], "min_p": 0.01},
    {"encoder_repetition_penalty": 1.6, "repetition_penalty": 1.2},
    {"encoder_no_repeat_ngram_size": 1, "no_repeat_ngram_size": 2},
    {"exponential_decay_length_penalty": (3, 1.7)},
    {"forced_eos_token_id": [EOS, 9]},
    {"renormalize_logits": True, "top_k": 8, "temperature": 0.7},
    {
        "temperature": 1.5,
        "top_h": 0.9,
        "top_k": 40,
        "top_p": 0.98,
        "min_p": 0.001,
        "typical_p": 0.95,
        "epsilon_cutoff": 0.001,
        "eta_cutoff": 0.002,
        "renormalize_logits": True,
    },
    {
        "temperature": 1.2,
        "top_k": 30,
        "top_p": 0.85,
        "min_p": 0.02,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 3,
        "min_tokens": 4,
        "suppress_tokens": [11],
    },
]
THEIRS = {"min_tokens": "min_new_tokens"}


def translated(options):
    # The prompt's 9 tokens and 10 more: where a forced end has its place.
    return {
        "top_k": 0,
        "max_length": 19,
        **{THEIRS.get(name, name): value for name, value in options.items()},
    }


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options))
@pytest.mark.parametrize("seed", range(3))
def test_hf_processes_as_transformers_does(tiny, options, seed):
    model, llm = tiny
    prompt = np.random.default_rng(seed).integers(3, VOCAB, 9).tolist()
    ours = {"top_k": 0, **options}
    params = SamplingParams(pipeline="hf", seed=seed, max_tokens=10, **ours)
    _, tokens, raw = rows(llm, prompt, params, "raw_logits")
    _, same, processed = rows(llm, prompt, params, "processed_logits")
    assert same == tokens
    expected = transformers_rows(model, prompt, tokens, raw, translated(options))
    assert (np.isfinite(processed) == np.isfinite(expected)).all()
    kept = np.isfinite(expected)
    np.testing.assert_allclose(processed[kept], expected[kept], rtol=1e-5, atol=1e-4)


def test_another_order_would_be_seen(tiny):
    model, llm = tiny
    prompt = list(range(3, 12))
    options = {"temperature": 2.0, "top_p": 0.7}
    params = SamplingParams(pipeline=["top_p", "temperature"], seed=1, max_tokens=8, **options)
    _, tokens, raw = rows(llm, prompt, params, "raw_logits")
    _, _, swapped = rows(llm, prompt, params, "processed_logits")
    expected = transformers_rows(model, prompt, tokens, raw, translated(options))
    assert (np.isfinite(swapped) != np.isfinite(expected)).any()


def test_prompt_log_probs_are_transformers_log_softmax(tiny):
    import torch

    model, llm = tiny
    prompt = np.random.default_rng(5).integers(0, VOCAB, 70).tolist()
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0].double()
    expected = torch.log_softmax(logits, -1).numpy()
    asked = SamplingParams(prompt_logprobs=-1, max_tokens=1)
    (output,) = llm.generate(prompt, asked, use_tqdm=False)
    first, *rest = output.prompt_logprobs
    assert first is None
    for at, entries in enumerate(rest):
        ours = [entries[token].logprob for token in range(VOCAB)]
        np.testing.assert_allclose(ours, expected[at], atol=2e-4)
        assert (
            entries[prompt[at + 1]].rank == 1 + (expected[at] > expected[at][prompt[at + 1]]).sum()
        )


def test_words_of_the_default_model_are_banned_as_transformers_bans_them(exact):
    """Bad words by text here, by the ids of both forms there, over the whole vocabulary."""
    from transformers import LlamaForCausalLM

    vocab = exact.info()["vocab_len"]
    model = LlamaForCausalLM(config(vocab))
    encode = exact.get_tokenizer().encode
    words = ["blue", "New York", "yellow"]
    ids = [encode(form + word, False) for word in words for form in ("", " ")]
    params = SamplingParams(
        pipeline="hf", seed=3, max_tokens=4, top_k=0, temperature=0.7, bad_words=words
    )
    prompt = "My favourite colour is"
    given, tokens, raw = rows(exact, prompt, params, "raw_logits")
    _, _, processed = rows(exact, prompt, params, "processed_logits")
    # The form behind a blank counts where it is as long and begins otherwise, as in vLLM.
    pairs = zip(ids[::2], ids[1::2], strict=True)
    both = [(a, b) if len(a) == len(b) and a[0] != b[0] else (a,) for a, b in pairs]
    banned = [list(form) for forms in both for form in forms]
    options = {"temperature": 0.7, "top_k": 0, "bad_words_ids": banned}
    expected = transformers_rows(model, given, tokens, raw, options)
    assert not np.isfinite(expected).all()
    assert (np.isfinite(processed) == np.isfinite(expected)).all()
    kept = np.isfinite(expected)
    np.testing.assert_allclose(processed[kept], expected[kept], rtol=1e-5, atol=1e-4)


def test_prompt_log_probs_of_the_default_model_sum_to_what_its_rows_say(exact):
    """Each entry again as the first log-prob of an output, in one number: the text's."""
    prompt = "The quick brown fox jumps over the lazy dog."
    asked = SamplingParams(prompt_logprobs=0, max_tokens=1)
    (output,) = exact.generate(prompt, asked, use_tqdm=False)
    ids = output.prompt_token_ids
    scored = [next(iter(entries.values())).logprob for entries in output.prompt_logprobs if entries]
    forced = 0.0
    for at in range(1, len(ids)):
        step = SamplingParams(
            max_tokens=1, allowed_token_ids=[ids[at]], logprobs=0, skip_reading_prefix_cache=True
        )
        (one,) = exact.generate(ids[:at], step, use_tqdm=False)
        forced += one.outputs[0].cumulative_logprob
    assert math.isclose(sum(scored), forced, abs_tol=1e-3)
