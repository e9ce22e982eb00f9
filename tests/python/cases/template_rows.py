"""Cases 70 to 75 and 78: chat templates that no model is loaded with."""

from pathlib import Path

from cases.row import Row
from fakes.checkpoints import CHATML, Folder


def _template(number: int, name: str, source: str, says: str = "template") -> Row:
    def make(folder: Path) -> Path:
        return Folder(tokenizer_config={"chat_template": source}).write(folder)

    return Row(number, name, make, says)


def _named(number: int, name: str, template: object, says: str) -> Row:
    def make(folder: Path) -> Path:
        return Folder(tokenizer_config={"chat_template": template}).write(folder)

    return Row(number, name, make, says)


def _chain(link: str, count: int) -> str:
    return "{{ 1" + link * count + " }}"


_DOUBLING = (
    "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(40) %}"
    "{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}"
)

ROWS = [
    _template(70, "syntax_error", "a\n{% if %}", "line 2"),
    _template(70, "filter_unknown", "\n\n{{ 'x'|no_such_filter }}", "line 3"),
    _template(
        71,
        "endless_loops",
        "{% for a in range(20000) %}{% for b in range(20000) %}{% endfor %}{% endfor %}",
    ),  # fmt: skip
    _template(71, "range_10_10", "{% for a in range(10000000000) %}{% endfor %}"),
    _template(72, "source_over_the_limit", CHATML + " " * (128 << 10), "131072|128"),
    _template(73, "doubling", _DOUBLING),
    _template(73, "indent", "{{ 'a\nb'|indent(2000000000) }}"),
    _template(73, "repeated", "{{ 'A' * 3000000000 }}"),
    _template(74, "recursion", "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"),
    _template(74, "include", "{% include 'x' %}"),
    _template(74, "import", "{% import 'x' as x %}"),
    _template(74, "extends", "{% extends 'x' %}"),
    _template(75, "attribute_walk", "{{ ''.__class__.__mro__ }}"),
    _named(78, "name_upwards", [{"name": "../x", "template": CHATML}], "chat_template"),
]
