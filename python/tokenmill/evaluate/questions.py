"""Multiple-choice questions from a file of JSON lines; bad lines are refused, none is passed over.

One object a line: `prompt` or `question`, `choices`, `answer`, and perhaps `id`. The file is read
and checked to its end before any model is asked.
"""

import json
from pathlib import Path
from typing import Any, NoReturn

from tokenmill.errors import InvalidRequestError, TokenmillIoError, refusal
from tokenmill.evaluate.choices import CHOICES_MAX, ChoiceQuestion
from tokenmill.options import is_utf8, nearest

LINE_BYTES_MAX = 1 << 20
LINES_MAX = 100_000
_KEYS = ("prompt", "question", "choices", "answer", "id")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def read_questions(path: str | Path) -> list[ChoiceQuestion]:
    """Every question of a file, in its order."""
    questions: list[ChoiceQuestion] = []
    try:
        with Path(path).open("rb") as file:
            while line := file.readline(LINE_BYTES_MAX + 1):
                number = len(questions) + 1
                if number > LINES_MAX:
                    raise refusal("choices", f"{path} must have at most {LINES_MAX} lines")
                questions.append(_question(line, f"{path}, line {number}"))
    except OSError as error:
        raise TokenmillIoError(f"cannot read {path}: {error.strerror}") from error
    if not questions:
        raise refusal("choices", f"{path} must have at least 1 line, got none")
    return questions


def _question(line: bytes, where: str) -> ChoiceQuestion:
    if len(line) > LINE_BYTES_MAX:
        raise refusal("choices", f"{where} must have at most {LINE_BYTES_MAX} bytes")
    found = _object(line, where)
    for key in found:
        if key not in _KEYS:
            close = nearest(key, _KEYS)
            hint = f"; did you mean {close}?" if close else f"; known are {', '.join(_KEYS)}"
            raise refusal(key[:64], f"{where}: unknown field {key[:64]}{hint}")
    choices = _choices(found.get("choices"), where)
    name = found.get("id")
    if name is not None and (isinstance(name, bool) or not isinstance(name, (str, int))):
        raise refusal("id", f"{where}: id must be text or an integer, got {_kind(name)}")
    if isinstance(name, str):
        _text(name, "id", where)
    answer = _answer(found.get("answer"), len(choices), where)
    return ChoiceQuestion(_prompt(found, where), choices, answer, name, where)


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line.decode("utf-8"), object_pairs_hook=_unique)
    except InvalidRequestError as error:
        raise refusal("choices", f"{where}: {error}") from None
    except UnicodeDecodeError as error:
        raise refusal("choices", f"{where} is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        what = error.msg if line.strip() else "the line is blank"
        raise refusal("choices", f"{where} is not JSON: {what}") from error
    except (ValueError, RecursionError) as error:
        raise refusal("choices", f"{where} is not JSON that can be read") from error
    if not isinstance(found, dict):
        raise refusal("choices", f"{where} must be a JSON object, got {_kind(found)}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidRequestError("a field is given twice")
    return found


def _prompt(found: dict[str, Any], where: str) -> str:
    if ("prompt" in found) == ("question" in found):
        raise refusal("prompt", f"{where}: either prompt or question must be given")
    key = "prompt" if "prompt" in found else "question"
    text = _text(found[key], key, where)
    return text if key == "prompt" else f"Question: {text}\nAnswer:"


def _choices(found: Any, where: str) -> tuple[str, ...]:
    if not isinstance(found, list) or not 2 <= len(found) <= CHOICES_MAX:
        got = len(found) if isinstance(found, list) else _kind(found)
        raise refusal(
            "choices", f"{where}: choices must be a list of 2 to {CHOICES_MAX} texts, got {got}"
        )
    texts = tuple(_text(item, f"choices[{at}]", where) for at, item in enumerate(found))
    if len(set(texts)) != len(texts):
        raise refusal("choices", f"{where}: choices must differ from each other")
    return texts


def _answer(found: Any, count: int, where: str) -> int:
    if isinstance(found, int) and not isinstance(found, bool):
        index = found
    elif isinstance(found, str) and len(found) == 1 and found in _LETTERS:
        index = _LETTERS.index(found)
    else:
        _refuse_answer(count, where, _kind(found) if not isinstance(found, str) else "text")
    if not 0 <= index < count:
        _refuse_answer(count, where, str(found)[:64])
    return index


def _refuse_answer(count: int, where: str, got: str) -> NoReturn:
    letters = f" or a letter from A to {_LETTERS[min(count, 26) - 1]}"
    raise refusal(
        "answer", f"{where}: answer must be an index from 0 to {count - 1}{letters}, got {got}"
    )


def _text(found: Any, name: str, where: str) -> str:
    if isinstance(found, str) and found.strip() and is_utf8(found):
        return found
    got = _kind(found)
    if isinstance(found, str):
        got = "a lone surrogate" if found.strip() else "blank text"
    raise refusal(name, f"{where}: {name} must be text with something in it, got {got}")


def _kind(found: Any) -> str:
    """What JSON calls it."""
    if found is None:
        return "nothing"
    kinds = {bool: "a boolean", int: "an integer", float: "a number", str: "text", list: "a list"}
    return kinds.get(type(found), "an object")
