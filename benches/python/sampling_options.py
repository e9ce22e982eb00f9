"""Plain sampling against each option, in one continuous batch: what an option costs a whole engine.

    python benches/python/sampling_options.py [--only top_p,dry] [--batch 32] [--record]

Every side completes the same prompts, one request each, all at once, on one loaded engine; the
ratio is plain sampling's rate over the option's. The aim: within 5 % at a batch of 32. An option
that may end an output, or makes it shorter, is given so that it does not.
"""

import sys
import time
from typing import Any

import session
from session import Answer, Question, Side

from tokenmill import LLM, SamplingParams

_TARGET = 1.05
_PLAIN = "plain"
_WORDS = "the water of the river turns the wheel and the wheel turns the stone "


def _touch(_output: list[int], row: memoryview) -> None:
    row[7] += 1.0


def options(vocabulary: int) -> dict[str, dict[str, Any]]:
    """A setting of each option under which it acts at every token."""
    some = list(range(100, 400))
    pairs = [[token, token + 1] for token in some]
    return {
        "greedy": {"temperature": 0.0},
        "temperature": {"temperature": 0.8},
        "top_k": {"top_k": 50},
        "top_p": {"top_p": 0.9},
        "top_k and top_p": {"temperature": 0.8, "top_k": 50, "top_p": 0.95},
        "min_p": {"min_p": 0.05},
        "typical_p": {"typical_p": 0.9},
        "epsilon_cutoff": {"epsilon_cutoff": 3e-4},
        "eta_cutoff": {"eta_cutoff": 3e-4},
        "top_h": {"top_h": 0.4},
        "top_n_sigma": {"top_n_sigma": 1.0},
        "xtc": {"xtc_probability": 0.5, "xtc_threshold": 0.05},
        "dynatemp_range": {"dynatemp_range": 0.3},
        "mirostat 1": {"mirostat": 1},
        "mirostat 2": {"mirostat": 2},
        "adaptive_target": {"adaptive_target": 0.3, "min_p": 0.02},
        "repetition_penalty": {"repetition_penalty": 1.1},
        "presence and frequency": {"presence_penalty": 0.2, "frequency_penalty": 0.2},
        "encoder_repetition_penalty": {"encoder_repetition_penalty": 1.1},
        "no_repeat_ngram_size": {"no_repeat_ngram_size": 3},
        "encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 3},
        "dry": {"dry_multiplier": 0.8, "dry_penalty_last_n": -1},
        "logit_bias": {"logit_bias": dict.fromkeys(some[:300], 1.0)},
        "sequence_bias": {"sequence_bias": [(pair, 1.0) for pair in pairs]},
        "bad_words_ids": {"bad_words_ids": pairs},
        "allowed_token_ids": {"allowed_token_ids": list(range(100, min(vocabulary, 30_000)))},
        "suppress_tokens": {"suppress_tokens": some},
        "exponential_decay": {"exponential_decay_length_penalty": (10_000, 1.01)},
        "remove_invalid_values": {"remove_invalid_values": True},
        "min_tokens": {"min_tokens": "all"},
        "declared processor": {
            "logits_processors": [{"type": "bias", "tokens": some, "value": 1.0}]
        },
        "callable processor": {"logits_processors": [_touch]},
        "logprobs": {"logprobs": 5},
        "processed_logprobs": {"logprobs": 5, "logprobs_mode": "processed_logprobs"},
        "stop": {"stop": ["no such thing", "\n\n\n\n\n"]},
    }


def side(llm: LLM, name: str, values: dict[str, Any], batch: int, output_len: int) -> Side:
    """The same prompts under these values."""
    if values.get("min_tokens") == "all":
        values = {"min_tokens": output_len}
    params = SamplingParams(seed=1, max_tokens=output_len, ignore_eos=True, **values)
    prompts = [f"{index}: {_WORDS * 4}" for index in range(batch)]

    def ask() -> Answer:
        before = llm.get_metrics()
        started = time.monotonic()
        outputs = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.monotonic() - started
        after = llm.get_metrics()
        samples = [sample for output in outputs for sample in output.outputs]
        if any(len(sample.token_ids) != output_len for sample in samples):
            raise RuntimeError(f"{name}: an output ended early: {samples[0]}")
        counted = {key: after[key] - before[key] for key in after}
        return {"seconds": seconds, "tokens": batch * output_len, "counted": counted}

    return Side(name, ask)


def main() -> int:
    """Run, print the table, and record if asked."""
    parser = session.arguments(__doc__ or "", repeats=5)
    parser.add_argument("--batch", type=int, default=32, help="requests at once (32)")
    parser.add_argument("--output-len", type=int, default=32, help="tokens of each (32)")
    parser.add_argument("--only", default="", help="names of options, with commas")
    given = parser.parse_args()
    how = session.conduct(given)
    with LLM(given.model, threads=given.threads, max_num_seqs=given.batch) as llm:
        known = options(llm.info()["vocab_len"])
        chosen = [name for name in given.only.split(",") if name] or list(known)
        unknown = [name for name in chosen if name not in known]
        if unknown:
            parser.error(f"unknown options {unknown}; known are {', '.join(known)}")
        every = {_PLAIN: {}, **{name: known[name] for name in chosen}}
        sides = [
            side(llm, name, values, given.batch, given.output_len) for name, values in every.items()
        ]
        question = Question("plain sampling against each option", tuple(sides), _TARGET)
        answer = session.run(question, how, [])
    _show(answer)
    if given.record:
        shape = {"batch": given.batch, "output_len": given.output_len}
        session.write("sampling_options", how, shape, {question.name: answer})
    return 0


def _show(answer: dict[str, Any]) -> None:
    """The table: the slowest first."""
    print(f"\n{'option':32} plain / option   in the sampler")
    ratios = {name.split(" / ")[1]: ratio for name, ratio in answer["ratios"].items()}
    for name, ratio in sorted(ratios.items(), key=lambda item: -item[1]["median"]):
        mark = "" if ratio["median"] <= _TARGET else "  over"
        share = answer["shares"][name]["sample"]
        print(f"{name:32} {ratio['median']:14.3f}   {share:14.1%}{mark}")


if __name__ == "__main__":
    sys.exit(main())
