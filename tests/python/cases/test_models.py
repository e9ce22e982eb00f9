"""Every bad model through the Python door and through the command: the right kind, one line, in
time.
"""

import re
import time

import pytest

from cases import folder_rows, gguf_rows, template_rows
from fakes.checkpoints import Folder, Gguf, gguf_file
from tokenmill import LLM, CorruptModelError, SamplingParams, UnsupportedError
from tokenmill.cli import main
from tokenmill.errors import TokenmillIoError

ROWS = [
    *template_rows.ROWS,
    *folder_rows.WEIGHT_ROWS,
    *gguf_rows.ROWS,
    *folder_rows.CONFIG_ROWS,
]
KINDS = {"corrupt": CorruptModelError, "unsupported": UnsupportedError, "io": TokenmillIoError}
# Start of a process that reads strangers' files included; the bombs would take minutes.
SECONDS_MAX = 20.0
GREEDY = SamplingParams(temperature=0.0, max_tokens=4)

pytestmark = pytest.mark.usefixtures("surroundings")
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


def test_the_good_models_load_and_answer(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (gguf_file(tmp_path, Gguf()), Folder().write(folder)):
        with LLM(path) as llm:
            assert len(llm.generate("hello", GREEDY)[0].outputs[0].token_ids) == 4
            assert llm.chat([{"role": "user", "content": "hi"}], GREEDY)[0].finished


@every_row
def test_python_door(row, tmp_path):
    path = row.make(tmp_path)
    started = time.monotonic()
    with pytest.raises(KINDS[row.kind]) as refused:
        LLM(path)
    assert time.monotonic() - started < SECONDS_MAX
    message = str(refused.value)
    assert re.search(row.says, message), message
    assert len(message) <= 1024
    assert message.isprintable(), message
    assert not re.search(r"0x[0-9a-f]{6,}|panicked|Traceback", message), message


@every_row
def test_cli_door(row, tmp_path, capsys):
    path = row.make(tmp_path)
    code = main(["generate", "--model", str(path), "hello"])
    captured = capsys.readouterr()
    assert code == 3, captured.err
    assert captured.out == ""
    assert captured.err.startswith("tokenmill: ")
    assert captured.err.count("\n") == 1, captured.err
    assert re.search(row.says, captured.err), captured.err
