"""The chat on a terminal: commands, history, and Ctrl-C that stops an answer and nothing else."""

import pytest

from fakes.engine import FakeEngine
from tokenmill.api import LLM, SamplingParams
from tokenmill.cli.commands.chat import Chat, _obey, _read_terminal


@pytest.fixture
def chat(model):
    return Chat(LLM(model), SamplingParams(), None, show_stats=False)


def type_lines(monkeypatch, *lines):
    """What a person types; an exception type is raised instead."""
    pending = list(lines)

    def read(prompt):
        if not pending:
            raise EOFError
        line = pending.pop(0)
        if isinstance(line, type):
            raise line
        return line

    monkeypatch.setattr("builtins.input", read)


def test_lines_are_answered_until_the_end_of_input(chat, monkeypatch, capsys):
    type_lines(monkeypatch, "hi", "  ", "there")
    assert _read_terminal(chat, None) == 0
    assert capsys.readouterr().out.startswith("user:hi;\nuser:hi;assistant:user:hi;;user:there;\n")


def test_an_opening_is_asked_first(chat, monkeypatch, capsys):
    type_lines(monkeypatch, "/exit")
    _read_terminal(chat, "well?")
    assert capsys.readouterr().out == "> well?\nuser:well?;\n"


def test_ctrl_c_stops_the_answer_and_the_chat_goes_on(chat, monkeypatch, capsys):
    def interrupt(left):
        if left == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(FakeEngine, "pause", staticmethod(interrupt))
    type_lines(monkeypatch, "question")
    assert _read_terminal(chat, None) == 0
    out = capsys.readouterr().out
    assert out.startswith("user:quest [stopped]\n")
    assert FakeEngine.instances[0].handles[0].is_cancelled
    assert chat.turns[-1] == {"role": "assistant", "content": "user:quest"}


def test_ctrl_c_at_the_prompt_leaves_the_second_time(chat, monkeypatch):
    type_lines(monkeypatch, KeyboardInterrupt, "a", KeyboardInterrupt, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        _read_terminal(chat, None)
    assert chat.turns[0]["content"] == "a"


def test_a_failed_answer_does_not_end_the_chat(chat, monkeypatch, capsys):
    monkeypatch.setattr(FakeEngine, "error", ("Internal", None, "broken"))
    type_lines(monkeypatch, "a", "b")
    assert _read_terminal(chat, None) == 0
    assert capsys.readouterr().err.count("tokenmill: broken") == 2


def test_a_failed_question_leaves_the_conversation_as_it_was(chat, monkeypatch):
    monkeypatch.setattr(FakeEngine, "error", ("Internal", None, "broken"))
    type_lines(monkeypatch, "a")
    _read_terminal(chat, None)
    assert chat.turns == []


def test_reset_and_system_start_anew(chat):
    chat.ask("a")
    assert _obey(chat, "/system be brief")
    assert chat.turns == [{"role": "system", "content": "be brief"}]
    chat.ask("b")
    assert _obey(chat, "/reset")
    assert chat.turns == [{"role": "system", "content": "be brief"}]


def test_retry_asks_the_last_question_again(chat, capsys):
    assert _obey(chat, "/retry")
    assert "nothing was asked" in capsys.readouterr().err
    chat.ask("a")
    chat.ask("b")
    assert _obey(chat, "/retry")
    assert [turn["content"] for turn in chat.turns if turn["role"] == "user"] == ["a", "b"]


def test_stats_help_exit_and_unknown_commands(chat, capsys):
    assert _obey(chat, "/stats")
    assert chat.show_stats
    assert _obey(chat, "/help")
    assert "/retry" in capsys.readouterr().err
    assert _obey(chat, "/rest")
    assert "unknown command /rest" in capsys.readouterr().err
    assert not _obey(chat, "/exit")


def test_history_is_kept_and_private(chat, monkeypatch, tmp_path):
    readline = pytest.importorskip("readline")
    type_lines(monkeypatch)
    readline.clear_history()
    readline.add_history("what a person typed")
    _read_terminal(chat, None)
    file = tmp_path / "state" / "tokenmill" / "history"
    assert "what a person typed" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
