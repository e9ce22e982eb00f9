"""An explanation as tables for a terminal: as wide as it is, no colours, no control codes."""

import unicodedata
from collections.abc import Iterator

from tokenmill.api.outputs import Explained
from tokenmill.api.records import ExplainedStep, Stage
from tokenmill.cli.views import words
from tokenmill.cli.views.tree import path_of

_BAR_MAX = 40
_TEXT_MAX = 24
_EIGHTHS = "\u258f\u258e\u258d\u258c\u258b\u258a\u2589"
# What stands beside a bar: indent, text, score, probability and the spaces between them.
_BESIDE = 2 + _TEXT_MAX + 1 + 10 + 1 + 8 + 1


def render(explained: Explained, width: int) -> str:
    """All steps, one after another, in lines of at most `width` columns (40 at least)."""
    lines: list[str] = []
    room = max(40, width)
    for index, step in enumerate(explained.steps):
        lines += _step(explained, index, step, room)
        lines.append("")
    for output, text in enumerate(explained.outputs):
        mark = f"output {output}: " if len(explained.outputs) > 1 else "output: "
        lines.append(mark + words.quoted(text))
    return "\n".join(cut(line, room) for line in lines) + "\n"


def bar(share: float, room: int) -> str:
    """A share of 1 as blocks, an eighth the smallest."""
    whole, eighths = divmod(round(max(0.0, min(1.0, share)) * room * 8), 8)
    return "\u2588" * whole + (_EIGHTHS[eighths - 1] if eighths else "")


def columns(text: str) -> int:
    """Columns of a terminal that a printable text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, room: int) -> str:
    """As much of `text` as fits, with a mark where something is missing."""
    if columns(text) <= room:
        return text
    kept = ""
    used = 1
    for character in text:
        used += columns(character)
        if used > room:
            break
        kept += character
    return kept + "\u2026"


def _padded(text: str, room: int) -> str:
    shown = cut(text, room)
    return shown + " " * (room - columns(shown))


def _step(explained: Explained, index: int, step: ExplainedStep, width: int) -> Iterator[str]:
    yield f"token {index + 1}, position {step['position']}: {words.decision(explained, step)}"
    if step["lifted"]:
        yield f"  lifted or skipped: {', '.join(step['lifted'])}"
    for stage in step["stages"]:
        yield from _stage(explained, stage, width)
    yield from _pick(explained, index, step)


def _stage(explained: Explained, stage: Stage, width: int) -> Iterator[str]:
    yield f"  {words.stage_title(stage)}: {words.left(stage)}"
    room = max(0, min(_BAR_MAX, width - _BESIDE))
    for shown in stage["best"]:
        name = _padded(words.token(explained, shown["token"]), _TEXT_MAX)
        numbers = f"{shown['score']:>10.4f} {shown['probability']:>8.4f}"
        yield f"    {name} {numbers} {bar(shown['probability'], room)}".rstrip()
    if stage["dropped"]:
        names = (words.token(explained, token) for token in stage["dropped"])
        yield f"    dropped: {', '.join(names)}"


def _pick(explained: Explained, index: int, step: ExplainedStep) -> Iterator[str]:
    pick = step["pick"]
    if pick["kind"] == "race":
        yield f"  race:{'':<{_TEXT_MAX}}          p        E      E / p  place"
        for racer in pick["racers"]:
            name = _padded(words.token(explained, racer["token"]), _TEXT_MAX)
            numbers = f"{racer['probability']:>10.4f} {racer['noise']:>8.4f} {racer['time']:>10.4f}"
            yield f"    {name} {numbers} {racer['place']:>6}"
    elif pick["kind"] == "contrast":
        yield f"  candidates:{'':<{_TEXT_MAX}}     p  max cos    score"
        for one in pick["candidates"]:
            name = _padded(words.token(explained, one["token"]), _TEXT_MAX)
            yield (
                f"    {name} {one['probability']:>10.4f} "
                f"{one['resemblance']:>8.4f} {one['score']:>8.4f}"
            )
    elif pick["kind"] == "beams":
        for candidate in pick["candidates"]:
            before = path_of(index, candidate["parent"], explained.steps)
            names = [words.token(explained, one) for one in [*before, candidate["token"]]]
            fate = words.fate(candidate["fate"])
            yield f"  {candidate['score']:>10.4f}  {fate:<8}  {' '.join(names)}"
