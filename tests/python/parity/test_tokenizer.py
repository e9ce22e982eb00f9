"""Token ids against the programs that define them: llama.cpp for the default model's GGUF file.

The golden file holds digests of llama.cpp's ids over 10,000 lines. `PARITY_LLAMA_PYTHON` names an
interpreter that has llama-cpp-python; the full run then asks it again and compares line by line.
"""

import json
import os

import pytest

from parity.conftest import full
from parity.oracles.make_golden import TOKENIZER, group_digest, llama_ids
from parity.texts import corpus

# The bytes for which this vocabulary has no token; they vanish, in llama.cpp as well.
LOST = frozenset(bytes.fromhex("04 06 13 14 16 1D C0 C1 F1 F2 F5 F6 F7 F8 F9 FA FB FC FD FE FF"))


@pytest.fixture(scope="module")
def lines():
    """The text."""
    return corpus.lines()


def ways(llm, line: str) -> list[list[int]]:
    """Ids with control tokens read as text, and as what they are."""
    engine = llm._engine
    return [engine.encode(line, False, False), engine.encode(line, False, True)]


def test_ids_of_ten_thousand_lines_are_those_of_llama_cpp(exact, lines):
    golden = json.loads(TOKENIZER.read_text())
    assert len(lines) == corpus.LINES
    assert corpus.digest(lines) == golden["digest"], "packages changed: make the golden file again"
    ids = [ways(exact, line) for line in lines]
    assert [sum(len(pair[way]) for pair in ids) for way in (0, 1)] == golden["tokens"]
    size = len(lines) // len(golden["groups"])
    for index, expected in enumerate(golden["groups"]):
        pairs = ids[index * size : (index + 1) * size]
        got = [group_digest([pair[way] for pair in pairs]) for way in (0, 1)]
        assert got == expected, f"lines {index * size} to {(index + 1) * size - 1}"


def test_text_comes_back_from_its_ids(exact, lines):
    tokenizer = exact.get_tokenizer()
    whole = [line for line in lines if LOST.isdisjoint(line.encode())]
    assert len(whole) > 9_000
    for line in whole:
        assert tokenizer.decode(tokenizer.encode(line, add_special_tokens=False)) == line


@full
def test_every_line_has_the_ids_that_llama_cpp_gives_now(exact, gguf, lines):
    python = os.environ.get("PARITY_LLAMA_PYTHON")
    if not python:
        pytest.skip("PARITY_LLAMA_PYTHON names no interpreter with llama-cpp-python")
    expected = llama_ids(python, gguf, lines)
    for index, line in enumerate(lines):
        assert ways(exact, line) == [expected[0][index], expected[1][index]], (index, line)
