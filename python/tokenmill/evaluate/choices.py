"""Multiple choice: the choice to which the model gives the highest probability is its answer.

A choice is scored as the continuation of its prompt, after one blank unless either has white space
there. Longer choices are less probable for their length alone, so there are two answers: by the sum
of log-probs, and by the sum over the choice's bytes in UTF-8. Of equals the first is the answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tokenmill.api import LLM
from tokenmill.api.prompts import Prompt
from tokenmill.api.scoring import spans_of
from tokenmill.errors import refusal
from tokenmill.evaluate.intervals import Interval, wilson

CHOICES_MAX = 64


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """One question: what stands before a choice, the choices, the index of the right one.

    `id` is the caller's own, `where` what errors call the question.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int
    id: str | int | None = None
    where: str | None = None


@dataclass(frozen=True, slots=True)
class ChoiceAnswer:
    """One answer: the index chosen in either way, and the log-prob of every choice."""

    by_sum: int
    by_byte: int
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """How many answers were right, as a share of all, with Wilson's 95 % interval."""

    correct: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How many questions were answered right, by the sum of log-probs and by the sum over bytes.

    `chance` is the accuracy that guessing would have on these questions.
    """

    questions: int
    by_sum: Share
    by_byte: Share
    chance: float
    answers: list[ChoiceAnswer]


def choice_accuracy(
    llm: LLM,
    questions: Sequence[ChoiceQuestion],
    *,
    use_tqdm: bool | Callable[..., Any] = True,
) -> Accuracy:
    """Ask every question.

    >>> from tokenmill import LLM
    >>> asked = ChoiceQuestion("The capital of France is", ("Paris", "a banana"), answer=0)
    >>> with LLM(max_model_len=256) as llm:
    ...     choice_accuracy(llm, [asked]).by_sum.correct
    1
    """
    asked = list(questions)
    if not asked:
        raise refusal("questions", "questions must be 1 or more, got none")
    for index, one in enumerate(asked):
        name = one.where or f"question {index}"
        if not 2 <= len(one.choices) <= CHOICES_MAX or not all(one.choices):
            raise refusal("choices", f"{name} must have 2 to {CHOICES_MAX} choices")
        if not 0 <= one.answer < len(one.choices):
            raise refusal("answer", f"{name}: answer must be the index of a choice")
    prompts, continuations = _encoded(llm, asked)
    scores = iter(llm.score(prompts, continuations, use_tqdm=use_tqdm))
    scored = [[next(scores)[0].logprob for _ in one.choices] for one in asked]
    answers = [_answer(logprobs, one.choices) for logprobs, one in zip(scored, asked, strict=True)]
    return Accuracy(
        questions=len(asked),
        by_sum=_share([found.by_sum for found in answers], asked),
        by_byte=_share([found.by_byte for found in answers], asked),
        chance=sum(1 / len(one.choices) for one in asked) / len(asked),
        answers=answers,
    )


def continuation(prompt: str, choice: str) -> str:
    """A choice as it continues its prompt."""
    is_parted = prompt[-1:].isspace() or choice[:1].isspace()
    return choice if is_parted else f" {choice}"


def _encoded(llm: LLM, asked: Sequence[ChoiceQuestion]) -> tuple[list[list[int]], list[list[int]]]:
    """Prompt and continuation of every choice as ids; made here, errors name the question."""

    def called(number: int, index: int) -> tuple[str, str]:
        name = asked[number].where or f"question {number}"
        return f"{name}: prompt", f"{name}: choices[{index}]"

    groups = [
        (Prompt(one.prompt), [continuation(one.prompt, choice) for choice in one.choices])
        for one in asked
    ]
    len_max = llm.info()["max_model_len"]
    spans = list(spans_of(groups, llm.get_tokenizer(), len_max, called))
    return (
        [span.token_ids[: span.start] for span in spans],
        [span.token_ids[span.start :] for span in spans],
    )


def _share(chosen: Sequence[int], asked: Sequence[ChoiceQuestion]) -> Share:
    correct = sum(index == one.answer for index, one in zip(chosen, asked, strict=True))
    return Share(correct, correct / len(asked), wilson(correct, len(asked)))


def _answer(logprobs: Sequence[float], choices: Sequence[str]) -> ChoiceAnswer:
    per_byte = [
        value / len(choice.encode()) for value, choice in zip(logprobs, choices, strict=True)
    ]
    return ChoiceAnswer(_best(logprobs), _best(per_byte), tuple(logprobs))


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
