"""The default model in exact mode against transformers' float32 on the same file.

Greedy tokens are equal but where transformers itself hardly knows: a margin below ten times the
float32 noise of its own log-probs is a near-tie, counted and printed apart; after one, the rest is
compared from transformers' token on.
"""

import json

import numpy as np
import pytest

from parity import rows
from parity.conftest import full
from parity.oracles.make_golden import MODEL, model_content
from parity.texts import prompts
from tokenmill import SamplingParams

NEAR_TIE = 2.5e-4
LOGITS_MAX = 1e-3
GREEDY = {"temperature": 0.0, "ignore_eos": True}
BY_NAME = {prompt.name: prompt for prompt in prompts.PROMPTS}


@pytest.fixture(scope="module")
def golden():
    """What transformers answered when the golden file was made."""
    made = json.loads(MODEL.read_text())
    assert made["digest"] == prompts.digest(), (
        "prompts changed: run `python -m parity.oracles.make_golden model`"
    )
    return made


@pytest.fixture(scope="module")
def answers(gguf):
    """What transformers answers here (minutes, then from the disk)."""
    from parity.oracles import transformers_model

    return transformers_model.ask(gguf)


def disagreements(llm, answers) -> tuple[list[str], list[str]]:
    """Wrong tokens, and near-ties that fell the other way."""
    wrong, ties = [], []
    pending = [(answer, 0) for answer in answers]
    while pending:
        asked = [answer["prompt"] + answer["tokens"][:start] for answer, start in pending]
        params = [
            SamplingParams(max_tokens=len(answer["tokens"]) - start, **GREEDY)
            for answer, start in pending
        ]
        outputs = llm.generate(asked, params, use_tqdm=False)
        again = []
        for (answer, start), output in zip(pending, outputs, strict=True):
            at = first_difference(answer["tokens"][start:], output.outputs[0].token_ids)
            if at is None:
                continue
            at += start
            margin = answer["margins"][at]
            note = f"{answer['name']} token {at}: margin {margin:.5f}"
            (ties if margin < NEAR_TIE else wrong).append(note)
            if margin < NEAR_TIE and at + 1 < len(answer["tokens"]):
                again.append((answer, at + 1))
        pending = again
    return wrong, ties


def first_difference(expected: list[int], got: list[int]) -> int | None:
    """The first place where two lists differ, their lengths included."""
    for index in range(max(len(expected), len(got))):
        if expected[index : index + 1] != got[index : index + 1]:
            return index
    return None


def test_texts_and_conversations_become_the_ids_of_the_oracle(exact, golden):
    params = SamplingParams(max_tokens=1)
    for answer in golden["answers"]:
        asked = BY_NAME[answer["name"]].content
        ask = exact.generate if isinstance(asked, str) else exact.chat
        assert ask(asked, params, use_tqdm=False)[0].prompt_token_ids == answer["prompt"], asked


@pytest.mark.timeout(900)
def test_greedy_tokens_equal_those_of_transformers(exact, golden):
    answers = golden["answers"]
    assert len(answers) >= 30
    assert all(len(answer["tokens"]) == 64 for answer in answers)
    wrong, ties = disagreements(exact, answers)
    near = sum(margin < NEAR_TIE for answer in answers for margin in answer["margins"])
    print(f"{len(answers)} prompts, {64 * len(answers)} tokens, {near} near-ties")
    print(f"near-ties that fell the other way: {ties}")
    assert not wrong


def test_a_wrong_token_is_found_and_a_near_tie_is_not_called_one(exact, golden):
    answer = {**golden["answers"][1], "tokens": golden["answers"][1]["tokens"][:10]}
    answer["tokens"][9] ^= 1
    wrong, _ = disagreements(exact, [{**answer, "margins": [1.0] * 10}])
    assert wrong == [f"{answer['name']} token 9: margin 1.00000"]
    wrong, ties = disagreements(exact, [{**answer, "margins": [1.0] * 9 + [0.00013]}])
    assert not wrong
    assert ties == [f"{answer['name']} token 9: margin 0.00013"]


def test_kept_logits_are_within_a_thousandth(exact, golden):
    known = {answer["name"]: answer["prompt"] for answer in golden["answers"]}
    got = rows.logits(exact, [known[row["name"]][: row["cut"]] for row in golden["rows"]])
    for row, logits in zip(golden["rows"], got, strict=True):
        difference = np.abs(logits[row["ids"]] - row["logits"]).max()
        assert difference <= LOGITS_MAX, (row["name"], row["cut"], difference)
        assert np.argmax(logits) == row["ids"][0], (row["name"], row["cut"])


@full
def test_the_golden_file_is_what_transformers_answers_now(answers, golden):
    now = model_content(answers)
    assert [answer["prompt"] for answer in now["answers"]] == [
        answer["prompt"] for answer in golden["answers"]
    ]
    for new, old in zip(now["answers"], golden["answers"], strict=True):
        at = first_difference(old["tokens"], new["tokens"])
        assert at is None or old["margins"][at] < NEAR_TIE, (old["name"], at)
    for new, old in zip(now["rows"], golden["rows"], strict=True):
        assert np.allclose(new["logits"], old["logits"], atol=2e-4), (old["name"], old["cut"])


@full
@pytest.mark.timeout(1800)
def test_whole_rows_of_logits_are_within_a_thousandth(exact, answers):
    known = {answer.name: answer.prompt for answer in answers.answers}
    got = rows.logits(exact, [known[name][:cut] for name, cut in answers.rows])
    worst = np.abs(got - answers.logits).max(axis=1)
    for (name, cut), difference in zip(answers.rows, worst, strict=True):
        print(f"{name} after {cut}: {difference:.2e}")
    assert worst.max() <= LOGITS_MAX
    assert not np.isnan(got).any()


@full
@pytest.mark.timeout(1800)
def test_greedy_tokens_are_equal_one_prompt_at_a_time(exact, golden):
    wrong = []
    for answer in golden["answers"]:
        wrong += disagreements(exact, [answer])[0]
    assert not wrong
