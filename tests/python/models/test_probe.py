"""Templates that beat fuel: a child dies of them, this process does not."""

import os
import resource

import pytest

from tokenmill import LLM, CorruptModelError
from tokenmill.models import probe

# A list that holds itself twice, sixty times over: nothing to make, 2^60 things to walk.
_NESTED = (
    "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}"
)
_BOMBS = {
    "memory": _NESTED + "{{ ns.x ~ '' }}",
    "time": _NESTED + "{{ ns.x == ns.y }}",
}


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    """A second and a gigabyte are enough for the default model's tokenizer."""
    monkeypatch.setattr(probe, "_CPU_S_MAX", 2)
    monkeypatch.setattr(probe, "_MEMORY_BYTES_MAX", 1 << 30)
    monkeypatch.setattr(probe, "_passed", set())


@pytest.fixture
def template(tmp_path):
    """Write a template file."""

    def write(source):
        path = tmp_path / "chat_template.jinja"
        path.write_text(source)
        return str(path)

    return write


@pytest.mark.parametrize("name", _BOMBS)
def test_case_073_case_107_a_bomb_is_refused_and_its_process_with_it(name, default_model, template):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptModelError, match="reading its tokenizer and chat template"):
        LLM(default_model, chat_template=template(_BOMBS[name]))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 << 10, "the bomb went off in this process"


def test_a_harmless_template_passes_once(default_model, template, monkeypatch):
    calls = []
    run = probe._run_child
    monkeypatch.setattr(probe, "_run_child", lambda *given: calls.append(1) or run(*given))
    path = template("{% for m in messages %}{{ m.content }}{% endfor %}")
    for _ in range(2):
        probe.probe(default_model, {"chat_template": path})
    assert calls == [1]
    os.utime(path, ns=(1, 1))
    probe.probe(default_model, {"chat_template": path})
    assert calls == [1, 1], "a file that changed is another file"


def test_what_the_child_can_tell_is_left_to_the_load(default_model, template):
    with pytest.raises(CorruptModelError, match="unknown filter|no filter|nosuch"):
        LLM(default_model, chat_template=template("{{ 'a' | nosuch }}"))


def test_a_known_model_is_not_probed(monkeypatch):
    monkeypatch.setattr(probe, "_run_child", lambda *given: pytest.fail("a child was started"))
    with LLM("smollm2-135m-instruct"):
        pass


def test_without_an_interpreter_it_says_so_and_goes_on(default_model, monkeypatch, capsys):
    monkeypatch.setattr(probe.sys, "executable", "")
    probe.probe(default_model, {})
    assert "could not be tried" in capsys.readouterr().err
