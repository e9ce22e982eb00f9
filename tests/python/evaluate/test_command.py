"""`tokenmill eval` on a tiny model: the figures of the Python door, and slips."""

import json

import pytest

from fakes.checkpoints import Gguf, gguf_file
from tokenmill import LLM
from tokenmill.cli import main
from tokenmill.evaluate import choice_accuracy, perplexity, read_questions

TEXT = "The mill stands by the river, and the river feeds the mill. " * 5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return gguf_file(tmp_path_factory.mktemp("model"), Gguf())


@pytest.fixture
def command(capsys, model):
    def run(*arguments):
        code = main(["eval", *map(str, arguments), "-m", str(model)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def asked(tmp_path):
    path = tmp_path / "q.jsonl"
    line = {"prompt": "The mill", "choices": ["turns", "flies", "sleeps"], "answer": "B"}
    path.write_text(json.dumps(line) + "\n" + json.dumps(line | {"answer": 0, "id": 7}) + "\n")
    return path


def test_perplexity_as_json_and_as_a_table(command, text, model):
    code, out, err = command("--ppl", text, text, "--window", "32", "--stride", "8", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    with LLM(model) as llm:
        total, each = perplexity(llm, [TEXT, TEXT], window=32, stride=8, use_tqdm=False)
    for name in ("perplexity", "nats", "tokens_scored", "bits_per_byte", "windows", "text_bytes"):
        assert found[name] == getattr(total, name)
        assert found["files"][1][name] == getattr(each[1], name)
    assert found["interval"] == list(total.interval)
    assert [one["file"] for one in found["files"]] == [str(text)] * 2
    assert (found["window"], found["stride"], found["backend"]) == (32, 8, "cpu")
    code, out, _ = command("--ppl", text, text, "--window", "32", "--stride", "8")
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["text", "perplexity"]
    assert f"{total.perplexity:.4f}" in lines[3]
    assert lines[3].startswith("together")
    assert "window 32, stride 8" in lines[4]


def test_a_limit_reads_the_first_tokens_of_every_text(command, text):
    code, out, _ = command("--ppl", text, "--window", "16", "--limit-tokens", "20", "--json")
    assert (code, json.loads(out)["tokens_scored"]) == (0, 19)


def test_choices_as_json_and_as_a_table(command, asked, model):
    code, out, err = command("--choices", asked, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    with LLM(model) as llm:
        expected = choice_accuracy(llm, read_questions(asked), use_tqdm=False)
    assert found["by_sum"]["correct"] == expected.by_sum.correct
    assert found["by_byte"]["interval"] == list(expected.by_byte.interval)
    assert [(one["line"], one["id"], one["answer"]) for one in found["answers"]] == [
        (1, None, 1),
        (2, 7, 0),
    ]
    assert found["answers"][0]["logprobs"] == list(expected.answers[0].logprobs)
    code, out, _ = command("--choices", asked)
    assert code == 0
    assert f"{expected.by_sum.correct} of 2" in out
    assert "chance 0.3333" in out


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ([], 2, "either --ppl FILE... or --choices FILE"),
        (["--ppl", "TEXT", "--choices", "ASKED"], 2, "either --ppl"),
        (["--ppl"], 2, "--ppl"),
        (["--ppl", ""], 2, "empty name"),
        (["--choices", ""], 2, "empty name"),
        (["--ppl", "/absent.txt"], 3, "cannot read /absent.txt"),
        (["--ppl", "/"], 3, "cannot read /"),
        (["--choices", "/absent.jsonl"], 3, "cannot read /absent.jsonl"),
        (["--ppl", "TEXT", "--window", "1"], 2, "window must be an integer from 2"),
        (["--ppl", "TEXT", "--window", "many"], 2, "got 'many'"),
        (["--ppl", "TEXT", "--window", "129"], 2, "from 2 to 128, got 129"),
        (["--ppl", "TEXT", "--window", "9", "--stride", "10"], 2, "stride must be an integer"),
        (["--ppl", "TEXT", "--stride", "0"], 2, "stride must be an integer from 1"),
        (["--ppl", "TEXT", "--limit-tokens", "1"], 2, "limit_tokens must be an integer from 2"),
        (["--choices", "ASKED", "--window", "8"], 2, "window goes with --ppl only"),
        (["--choices", "ASKED", "--stride", "8"], 2, "stride goes with --ppl only"),
        (["--choices", "ASKED", "--limit-tokens", "8"], 2, "limit_tokens goes with --ppl only"),
        (["--choices", "TEXT"], 2, "line 1 is not JSON"),
        (["--ppl", "BYTES"], 2, "is not UTF-8 at byte 2"),
        (["--ppl", "TEXT", "EMPTY"], 2, "must have at least 2 tokens, got 0"),
        (["--ppl", "TEXT", "--max-tokens", "3"], 2, "unknown option --max-tokens"),
        (["--ppl", "TEXT", "--strid", "3"], 2, "did you mean --stride?"),
    ],
)
def test_a_slip_is_one_line_and_an_exit_code(command, text, asked, tmp_path, arguments, code, part):
    (tmp_path / "bytes").write_bytes(b"ab\xff")
    (tmp_path / "empty").write_bytes(b"")
    paths = {"TEXT": text, "ASKED": asked, "BYTES": tmp_path / "bytes", "EMPTY": tmp_path / "empty"}
    got, out, err = command(*(paths.get(argument, argument) for argument in arguments))
    assert (got, out) == (code, ""), err
    assert part in err
    assert (err.count("\n"), err.startswith("tokenmill: ")) == (1, True)


def test_a_text_past_the_bound_is_refused(command, tmp_path):
    (tmp_path / "long").write_bytes(b"a" * ((4 << 20) + 1))
    code, _, err = command("--ppl", tmp_path / "long")
    assert (code, "at most 4194304 bytes" in err) == (2, True)
