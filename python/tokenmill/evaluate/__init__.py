"""Measures of a model over data: perplexity of texts, accuracy of multiple choice.

Both are built on `LLM.score` alone, and say how sure they are.
"""

from tokenmill.evaluate.choices import (
    Accuracy,
    ChoiceAnswer,
    ChoiceQuestion,
    Share,
    choice_accuracy,
)
from tokenmill.evaluate.intervals import Interval
from tokenmill.evaluate.perplexity import Perplexity, perplexity
from tokenmill.evaluate.questions import read_questions

__all__ = [
    "Accuracy",
    "ChoiceAnswer",
    "ChoiceQuestion",
    "Interval",
    "Perplexity",
    "Share",
    "choice_accuracy",
    "perplexity",
    "read_questions",
]
