"""Multiple choice: what is chosen, and lines that are refused by number and field."""

import json
import math

import numpy as np
import pytest

from tokenmill import InvalidRequestError
from tokenmill.errors import TokenmillIoError
from tokenmill.evaluate import ChoiceQuestion, choice_accuracy, questions, read_questions
from tokenmill.evaluate.choices import continuation

GOOD = {"prompt": "The sun is", "choices": ["hot", "cold and wet"], "answer": 0}


def write(folder, *lines):
    path = folder / "q.jsonl"
    path.write_bytes(b"".join(line if isinstance(line, bytes) else dump(line) for line in lines))
    return path


def dump(line):
    return json.dumps(line).encode() + b"\n"


def test_the_choice_with_the_highest_log_prob_is_the_answer(tiny, logprobs):
    random = np.random.default_rng(5)
    asked = []
    for _ in range(12):
        letters = ["".join(map(chr, random.integers(97, 123, n))) for n in (2, 5, 9, 14)]
        asked.append(ChoiceQuestion("Pick:", tuple(letters), int(random.integers(4))))
    found = choice_accuracy(tiny, asked, use_tqdm=False)
    sums, shares = [], []
    for one, answer in zip(asked, found.answers, strict=True):
        expected = [logprobs(f"Pick: {c}".encode())[4:].sum() for c in one.choices]
        assert np.allclose(answer.logprobs, expected, rtol=0, atol=1e-4)
        per_byte = [value / len(c) for value, c in zip(expected, one.choices, strict=True)]
        assert (answer.by_sum, answer.by_byte) == (np.argmax(expected), np.argmax(per_byte))
        sums.append(answer.by_sum == one.answer)
        shares.append(answer.by_byte == one.answer)
    assert (found.by_sum.correct, found.by_byte.correct) == (sum(sums), sum(shares))
    assert found.by_sum.accuracy == sum(sums) / 12
    assert (found.questions, found.chance) == (12, 0.25)
    # The two ways differ somewhere, or the test would not tell them apart.
    assert any(answer.by_sum != answer.by_byte for answer in found.answers)


def test_right_answers_are_right_and_wrong_ones_wrong(tiny):
    letters = ("ab", "cd", "ef")
    asked = [ChoiceQuestion("Pick:", letters, index) for index in range(3)]
    found = choice_accuracy(tiny, asked, use_tqdm=False)
    assert found.by_sum.correct == found.by_byte.correct == 1
    assert {answer.logprobs for answer in found.answers} == {found.answers[0].logprobs}


@pytest.mark.parametrize(
    ("prompt", "choice", "expected"),
    [("a", "b", " b"), ("a ", "b", "b"), ("a\n", "b", "b"), ("a", " b", " b"), ("", "b", " b")],
)
def test_a_blank_parts_prompt_and_choice(prompt, choice, expected):
    assert continuation(prompt, choice) == expected


@pytest.mark.parametrize(
    ("answer", "index"), [(0, 0), (2, 2), ("A", 0), ("C", 2)], ids=lambda value: str(value)
)
def test_an_answer_is_an_index_or_a_letter(tmp_path, answer, index):
    line = {"question": "Why?", "choices": ["a", "b", "c"], "answer": answer, "id": "x"}
    (one,) = read_questions(write(tmp_path, line))
    assert (one.answer, one.id, one.choices) == (index, "x", ("a", "b", "c"))
    assert one.prompt == "Question: Why?\nAnswer:"


def test_a_last_line_without_an_end_counts(tmp_path):
    path = write(tmp_path, GOOD, dump(GOOD).strip())
    assert len(read_questions(path)) == 2


@pytest.mark.parametrize(
    ("line", "param", "part"),
    [
        (b"\n", "choices", "line 2 is not JSON: the line is blank"),
        (b"{\n", "choices", "line 2 is not JSON"),
        (b"\xff\n", "choices", "line 2 is not UTF-8 at byte 0"),
        (b"[" * 100_000 + b"\n", "choices", "line 2 is not JSON"),
        (b'{"answer": ' + b"9" * 5000 + b"}\n", "choices", "line 2 is not JSON"),
        (b'{"answer": 1, "answer": 0}\n', "choices", "line 2: a field is given twice"),
        ([1], "choices", "line 2 must be a JSON object, got a list"),
        (GOOD | {"prompts": "x"}, "prompts", "unknown field prompts; did you mean prompt?"),
        (GOOD | {"subject": "x"}, "subject", "unknown field subject; known are prompt"),
        (GOOD | {"question": "x"}, "prompt", "either prompt or question"),
        ({"choices": ["a", "b"], "answer": 0}, "prompt", "either prompt or question"),
        (GOOD | {"prompt": 5}, "prompt", "line 2: prompt must be text with something in it"),
        (GOOD | {"prompt": " "}, "prompt", "got blank text"),
        (GOOD | {"prompt": "a\ud800"}, "prompt", "got a lone surrogate"),
        (GOOD | {"choices": "ab"}, "choices", "list of 2 to 64 texts, got text"),
        (GOOD | {"choices": ["a"]}, "choices", "list of 2 to 64 texts, got 1"),
        (GOOD | {"choices": [str(n) for n in range(65)]}, "choices", "got 65"),
        (GOOD | {"choices": ["a", None]}, "choices[1]", "choices[1] must be text"),
        (GOOD | {"choices": ["a", ""]}, "choices[1]", "got blank text"),
        (GOOD | {"choices": ["a", "a"]}, "choices", "must differ from each other"),
        ({"prompt": "x", "answer": 0}, "choices", "got nothing"),
        (GOOD | {"answer": 2}, "answer", "from 0 to 1 or a letter from A to B, got 2"),
        (GOOD | {"answer": -1}, "answer", "got -1"),
        (GOOD | {"answer": "C"}, "answer", "got C"),
        (GOOD | {"answer": "a"}, "answer", "got text"),
        (GOOD | {"answer": "AB"}, "answer", "got text"),
        (GOOD | {"answer": ""}, "answer", "got text"),
        (GOOD | {"answer": True}, "answer", "got a boolean"),
        (GOOD | {"answer": 0.0}, "answer", "got a number"),
        (GOOD | {"answer": None}, "answer", "got nothing"),
        (GOOD | {"id": [1]}, "id", "id must be text or an integer, got a list"),
        (GOOD | {"id": True}, "id", "got a boolean"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_line_is_refused_by_number_and_field(tmp_path, line, param, part):
    with pytest.raises(InvalidRequestError) as caught:
        read_questions(write(tmp_path, GOOD, line))
    assert part in str(caught.value)
    assert "line 2" in str(caught.value)
    assert caught.value.param == param


def test_lines_and_their_number_are_bounded(tmp_path, monkeypatch):
    long = GOOD | {"prompt": "x" * (1 << 20)}
    with pytest.raises(InvalidRequestError, match="line 2 must have at most 1048576 bytes"):
        read_questions(write(tmp_path, GOOD, long))
    monkeypatch.setattr(questions, "LINES_MAX", 3)
    assert len(read_questions(write(tmp_path, *[GOOD] * 3))) == 3
    with pytest.raises(InvalidRequestError, match="at most 3 lines"):
        read_questions(write(tmp_path, *[GOOD] * 4))
    with pytest.raises(InvalidRequestError, match="at least 1 line"):
        read_questions(write(tmp_path))
    with pytest.raises(TokenmillIoError, match="cannot read"):
        read_questions(tmp_path / "absent.jsonl")


@pytest.mark.parametrize(
    ("question", "part"),
    [
        (ChoiceQuestion("a", ("b",), 0), "question 1 must have 2 to 64 choices"),
        (ChoiceQuestion("a", ("b", ""), 0), "question 1 must have 2 to 64 choices"),
        (ChoiceQuestion("a", ("b", "c"), 2), "question 1: answer must be the index"),
        (ChoiceQuestion("a", ("b", "c" * 200), 0), "question 1: choices[1] has 202 tokens"),
        (ChoiceQuestion("", ("b", "c"), 0), "question 1: prompt must not be empty"),
        (ChoiceQuestion("a", ("b", "c" * 200), 0, where="f, line 9"), "f, line 9: choices[1] has"),
    ],
)
def test_a_bad_question_is_refused_by_its_place(tiny, question, part):
    good = ChoiceQuestion("a", ("b", "c"), 0)
    with pytest.raises(InvalidRequestError) as caught:
        choice_accuracy(tiny, [good, question], use_tqdm=False)
    assert part in str(caught.value)
    with pytest.raises(InvalidRequestError, match="questions must be 1 or more"):
        choice_accuracy(tiny, [])


def test_a_choice_that_cannot_be_is_not_chosen():
    from tokenmill.evaluate.choices import _answer

    assert _answer([-math.inf, -3.0], ["a", "b"]).by_sum == 1
