"""Sampling values through the command line: one line that names the field, exit 2. Cases 29 to 43.

The same table as the Python door's, as far as a command line can write it.
"""

import pytest

from fakes.engine import FakeEngine

MANY = 2**63
REFUSED = [
    (29, "temperature", ["-0.1", "1e39", "nan", "inf", "hot", "true", "100.5", ""]),
    (31, "top_p", ["0", "1.0001", "-1", "nan", "true"]),
    (32, "top_k", ["-2", "1.5", str(MANY), "x"]),
    (33, "min_p", ["1.1", "-0.1", "nan"]),
    (34, "max_tokens", ["0", "-1", "1.5", str(MANY), "true"]),
    (34, "min_tokens", ["-1", "1.5"]),
    (36, "n", ["0", "17", "1000000000000", "-1", "1.5", "true"]),
    (37, "stop", ["", "x" * 257]),
    (39, "logit_bias", [",".join(f"{id}:1" for id in range(301)), "abc:1", "1:101", "1:-101"]),
    (39, "logit_bias", ["1:nan", "-1:1", f"{2**32}:1", "1", "1:x", "1:1,1:2"]),
    (40, "logprobs", ["-2", "1.5", "x", "false"]),
    (41, "seed", [str(MANY), str(-MANY - 1), "1.5", "true"]),
    (42, "presence_penalty", ["2.1", "-2.1", "inf", "nan"]),
    (42, "frequency_penalty", ["2.1", "-2.1", "-inf"]),
    (43, "repetition_penalty", ["0", "-1", "inf", "nan"]),
    (46, "stop_token_ids", ["-1", str(2**32), "1.5", "x", "1,,2"]),
    (110, "no_repeat_ngram_size", ["-1", "1.5", "1025"]),
    (110, "logprobs_mode", ["raw", ""]),
    (40, "prompt_logprobs", ["-2", "1.5", "x", "false"]),
    (40, "logprob_token_ids", ["", "-1", "1.5", "x"]),
    (52, "deadline_ms", ["0", "-1", "1.5", "true"]),
    (110, "stream_interval", ["0", "1.5"]),
    (110, "output_kind", ["all", ""]),
    (110, "pipeline", ["HF", "topk", "top_k,,top_p"]),
    (110, "penalty_last_n", ["-2", "1.5"]),
    (110, "min_length", ["-1", "x"]),
    (110, "allowed_token_ids", ["", "x"]),
    (110, "suppress_tokens", ["-1", "1,"]),
    (110, "typical_p", ["0", "1.1", "nan", "x"]),
    (110, "epsilon_cutoff", ["1", "-0.1"]),
    (110, "eta_cutoff", ["1", "-0.1"]),
    (110, "top_h", ["0", "1.1"]),
    (110, "top_n_sigma", ["-1.1", "inf"]),
    (110, "xtc_probability", ["1.1", "-0.1"]),
    (110, "xtc_threshold", ["1.1", "-0.1"]),
    (110, "dynatemp_range", ["-0.1", "101"]),
    (110, "dynatemp_exponent", ["-0.1", "nan"]),
    (110, "mirostat", ["-1", "3", "1.0", "true"]),
    (110, "mirostat_tau", ["-0.1", "nan"]),
    (110, "mirostat_eta", ["-0.1", "101"]),
    (110, "mirostat_variant", ["paper", ""]),
    (110, "adaptive_target", ["-0.1", "1.1"]),
    (110, "adaptive_decay", ["0.991", "-1"]),
    (110, "dry_multiplier", ["-0.1", "inf"]),
    (110, "dry_base", ["0.9", "x"]),
    (110, "dry_allowed_length", ["0", "1025"]),
    (110, "dry_penalty_last_n", ["-2", "1.5"]),
    (110, "dry_sequence_breakers", ["", "x" * 41]),
    (110, "encoder_repetition_penalty", ["0", "inf"]),
    (110, "encoder_no_repeat_ngram_size", ["-1", "1025"]),
    (110, "sequence_bias", ["1", ":1", "1 x:1", "1:nan", "1:1,1:2", "-1:1"]),
    (110, "bad_words_ids", ["-1", "1,,2", "x"]),
    (110, "forced_bos_token_id", ["-1", "1,2"]),
    (110, "forced_eos_token_id", ["", "-1", "1.5"]),
    (110, "exponential_decay_length_penalty", ["5", "5,0", "5.5,2", "x,2"]),
    (110, "begin_suppress_tokens", ["1.5"]),
    (110, "bad_words", ["", " ", "x" * 257]),
    (
        110,
        "repetition_detection",
        ["", "3", "max_pattern_size:3", "max_pattern_size:0,min_count:2"],
    ),
]
TAKEN = [
    (30, "temperature", "1e-30", 1e-30),
    (32, "top_k", str(2**31), 2**31),
    (41, "seed", str(-MANY), -MANY),
    (41, "seed", str(MANY - 1), MANY - 1),
    (34, "max_tokens", "none", None),
    (37, "stop", "é" * 128, ["é" * 128]),
    (39, "logit_bias", "1:100,2:-100", {1: 100.0, 2: -100.0}),
    (110, "pipeline", "hf", "hf"),
    (110, "pipeline", "top_k,temperature", ["top_k", "temperature"]),
    (110, "bad_words", " two words", [" two words"]),
    (110, "allowed_token_ids", "5,7", [5, 7]),
    (110, "sequence_bias", "5 7:-2.5, 9:1", [[[5, 7], -2.5], [[9], 1.0]]),
    (110, "bad_words_ids", "5 7,9", [[5, 7], [9]]),
    (110, "forced_eos_token_id", "5", [5]),
    (110, "exponential_decay_length_penalty", "5,1.5", [5, 1.5]),
    (110, "dry_sequence_breakers", "\n", ["\n"]),
    (110, "mirostat_variant", "authors", "authors"),
    (110, "top_h", "0.4", 0.4),
    (110, "penalty_last_n", "-1", -1),
    (110, "dola_layers", "high", "high"),
    (110, "dola_layers", "4,2", [2, 4]),
    (52, "deadline_ms", "1500", 1500),
    (
        110,
        "repetition_detection",
        "max_pattern_size:3,min_count:4",
        {"max_pattern_size": 3, "min_pattern_size": 1, "min_count": 4},
    ),
]


def cases(rows):
    return [
        pytest.param(name, value, id=f"case_{case:03}-{name}-{value[:16]}-{len(value)}")
        for case, name, values in rows
        for value in values
    ]


def flag(name, value):
    return f"--{name.replace('_', '-')}={value}"


@pytest.mark.parametrize("verb", ["generate", "chat"])
@pytest.mark.parametrize(("name", "value"), cases(REFUSED))
def test_a_value_outside_its_bound_is_one_line_that_names_it(name, value, verb, command, model):
    arguments = ["x"] if verb == "generate" else ["-q", "x"]
    ran = command(verb, *arguments, "-m", model, flag(name, value))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"tokenmill: {name} must be")
    assert ran.err.count("\n") == 1
    assert len(ran.err) < 700
    assert FakeEngine.instances == []


def test_case_037_seventeen_stop_strings_are_refused_together(command, model):
    ran = command("generate", "x", "-m", model, *["--stop=a"] * 17)
    assert ran.code == 2
    assert "stop must be" in ran.err


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [pytest.param(*row[1:], id=f"case_{row[0]:03}-{row[1]}-{row[2][:16]}") for row in TAKEN],
)
def test_a_value_within_its_bound_reaches_the_engine(name, text, value, command, model):
    assert command("generate", "x", "-m", model, flag(name, text)).code == 0
    given = FakeEngine.instances[0].submitted[0][1][name]
    assert given == (pytest.approx(value) if isinstance(value, float) else value)


@pytest.mark.parametrize("verb", ["generate", "chat"])
@pytest.mark.parametrize("flag", ["logprobs=2", "prompt-logprobs=2", "logprob-token-ids=5"])
def test_log_probs_that_nobody_would_see_are_refused(verb, flag, command, model):
    arguments = ["x"] if verb == "generate" else ["-q", "x"]
    ran = command(verb, *arguments, "-m", model, f"--{flag}")
    assert ran.code == 2
    assert flag.split("=")[0].replace("-", "_") in ran.err
    assert "--json" in ran.err
