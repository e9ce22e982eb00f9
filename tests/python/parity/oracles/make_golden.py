"""Makes the golden files: what other programs answer, small enough to commit.

    PYTHONPATH=python:tests/python python -m parity.oracles.make_golden model
    PYTHONPATH=python:tests/python python -m parity.oracles.make_golden tokenizer LLAMA_PYTHON

LLAMA_PYTHON is an interpreter that has llama-cpp-python. golden/real_model.json holds, per prompt,
its ids, 64 greedy tokens of transformers and the margins; and of each compared row of logits the
twenty best and every 768th value, so that the default run needs no torch. golden/tokenizer.json
holds digests of llama.cpp's ids for the lines of texts/corpus.py, one for every 500 lines. The full
run holds both to a new answer.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from parity.texts import corpus, prompts

FOLDER = Path(__file__).parents[1] / "golden"
MODEL, TOKENIZER = FOLDER / "real_model.json", FOLDER / "tokenizer.json"
_BEST_LEN = 20
_STRIDE = 768
_GROUP_LEN = 500
Ids = list[list[int]]


def model_content(answers: Any) -> dict[str, Any]:
    """What of the oracle's answers is kept."""
    kept = [
        {
            "name": answer.name,
            "prompt": answer.prompt,
            "tokens": answer.tokens,
            "margins": [round(margin, 5) for margin in answer.margins],
        }
        for answer in answers.answers
    ]
    rows = []
    for (name, cut), row in zip(answers.rows, answers.logits, strict=True):
        ids = _row_ids(row)
        logits = [round(float(row[index]), 4) for index in ids]
        rows.append({"name": name, "cut": cut, "ids": ids, "logits": logits})
    return {"digest": prompts.digest(), "answers": kept, "rows": rows}


def tokenizer_content(lines: list[str], ids: list[Ids]) -> dict[str, Any]:
    """Digests of the ids by groups of lines; each item of `ids` is what one way of reading gave."""
    groups = [
        [group_digest(way[start : start + _GROUP_LEN]) for way in ids]
        for start in range(0, len(lines), _GROUP_LEN)
    ]
    tokens = [sum(map(len, way)) for way in ids]
    return {"digest": corpus.digest(lines), "tokens": tokens, "groups": groups}


def group_digest(ids: Ids) -> str:
    """Sixteen hexadecimal digits for the ids of some lines."""
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]


def llama_ids(python: str, gguf: Path, lines: list[str]) -> list[Ids]:
    """llama.cpp's ids of every line: control tokens read as text, and as control tokens."""
    script = Path(__file__).with_name("llama_tokenizer.py")
    asked = "".join(json.dumps(line) + "\n" for line in lines)
    run = [python, str(script), str(gguf)]
    answered = subprocess.run(run, input=asked, capture_output=True, text=True, check=True)
    pairs = [json.loads(line) for line in answered.stdout.splitlines()]
    return [[pair[way] for pair in pairs] for way in (0, 1)]


def _row_ids(row: np.ndarray) -> list[int]:
    best = np.argsort(-row, kind="stable")[:_BEST_LEN].tolist()
    return best + [index for index in range(0, len(row), _STRIDE) if index not in best]


def _write(path: Path, made: dict[str, Any]) -> None:
    """One line for each item of a list, so that a change can be read."""
    parts = []
    for name, value in made.items():
        text = json.dumps(value)
        if isinstance(value, list) and isinstance(value[0], (dict, list)):
            items = ",\n".join(json.dumps(item, separators=(",", ":")) for item in value)
            text = f"[\n{items}\n]"
        parts.append(f'"{name}": {text}')
    path.parent.mkdir(exist_ok=True)
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def main() -> None:
    """Ask and write."""
    from tokenmill.models import resolve

    gguf = resolve().path
    match sys.argv[1:]:
        case ["model"]:
            from parity.oracles import transformers_model

            _write(MODEL, model_content(transformers_model.ask(gguf)))
        case ["tokenizer", python]:
            lines = corpus.lines()
            _write(TOKENIZER, tokenizer_content(lines, llama_ids(python, gguf, lines)))
        case _:
            sys.exit("usage: python -m parity.oracles.make_golden model | tokenizer PYTHON")


if __name__ == "__main__":
    main()
