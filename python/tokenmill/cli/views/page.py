"""An explanation as one HTML page: no script, nothing from elsewhere, readable on paper.

Every text goes through `html.escape`, so that a token that spells markup is text.
"""

from collections.abc import Iterable, Iterator
from html import escape

from tokenmill.api.outputs import Explained
from tokenmill.api.records import ExplainedStep, Stage
from tokenmill.cli.views import words
from tokenmill.cli.views.tree import Node, grow

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --bar: #3b74b8; --line: #c8ccd2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --paper: #15181c; --bar: #7fb0ec; --line: #444a52; }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 78rem; margin: 1.5rem auto; padding: 0 1rem; }
code, td.token { font-family: ui-monospace, monospace; white-space: pre-wrap; }
.stages { display: flex; flex-wrap: wrap; gap: 1rem; }
table { border-collapse: collapse; margin: .4rem 0; break-inside: avoid; }
caption { text-align: left; font-weight: 600; padding: .2rem 0; }
th, td { text-align: right; padding: .1rem .45rem; border-bottom: 1px solid var(--line); }
th:first-child, td.token { text-align: left; }
tr.chosen td { font-weight: 700; }
svg { vertical-align: middle; }
rect { fill: var(--bar); }
ul.tree { border-left: 1px solid var(--line); padding-left: 1.1rem; list-style: none; }
.dropped { opacity: .65; text-decoration: line-through; }
.finished::after { content: " \\2713 finished"; }
section { border-top: 2px solid var(--line); margin-top: 1.4rem; }
@media print { body { max-width: none; } section { break-inside: avoid; } }
"""
_BAR_WIDTH = 110


def render(explained: Explained, model: str) -> str:
    """The whole page."""
    return "".join(_page(explained, model))


def _page(explained: Explained, model: str) -> Iterator[str]:
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    # Should anything ever slip through, nothing runs and nothing is fetched.
    yield '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    yield "style-src 'unsafe-inline'\">\n"
    yield f"<title>How {escape(model)} chose its tokens</title>\n<style>{_STYLE}</style>\n</head>\n"
    yield f"<body>\n<h1>How {escape(model)} chose its tokens</h1>\n"
    prompt = f"{len(explained.prompt_token_ids)} token ids"
    if explained.prompt is not None:
        prompt = words.quoted(explained.prompt)
    yield f"<p>Prompt: <code>{escape(prompt)}</code></p>\n"
    for text in explained.outputs:
        yield f"<p>Output: <code>{escape(words.quoted(text))}</code></p>\n"
    yield f"<p>Seed {explained.seed}.</p>\n"
    if any(step["pick"]["kind"] == "beams" for step in explained.steps):
        yield "<section>\n<h2>The tree of the beams</h2>\n"
        yield from _tree(explained, grow(explained.steps))
        yield "</section>\n"
    for index, step in enumerate(explained.steps):
        yield from _step(explained, index, step)
    yield "</body>\n</html>\n"


def _step(explained: Explained, index: int, step: ExplainedStep) -> Iterator[str]:
    if step["pick"]["kind"] == "beams":
        return
    why = escape(words.decision(explained, step))
    yield f"<section>\n<h2>Token {index + 1}, position {step['position']}</h2>\n<p>{why}</p>\n"
    if step["lifted"]:
        yield f"<p>Lifted or skipped: {escape(', '.join(step['lifted']))}</p>\n"
    chosen = step["pick"]["token"]
    yield '<div class="stages">\n'
    for stage in step["stages"]:
        yield from _stage(explained, stage, chosen)
    yield "</div>\n"
    yield from _pick(explained, step)
    yield "</section>\n"


def _stage(explained: Explained, stage: Stage, chosen: int) -> Iterator[str]:
    caption = f"{words.stage_title(stage)}: {words.left(stage)}"
    rows = (
        (
            shown["token"],
            [f"{shown['score']:.4f}", f"{shown['probability']:.4f}"],
            shown["probability"],
        )
        for shown in stage["best"]
    )
    yield "<div>\n"
    yield from _table(explained, caption, ["token", "score", "p", "share"], rows, chosen)
    if stage["dropped"]:
        names = ", ".join(words.token(explained, token) for token in stage["dropped"])
        yield f"<p>dropped: <code>{escape(names)}</code></p>\n"
    yield "</div>\n"


def _pick(explained: Explained, step: ExplainedStep) -> Iterator[str]:
    pick = step["pick"]
    if pick["kind"] == "race":
        rows = (
            (
                racer["token"],
                [
                    f"{racer['probability']:.4f}",
                    f"{racer['noise']:.4f}",
                    f"{racer['time']:.4f}",
                    str(racer["place"]),
                ],
                None,
            )
            for racer in pick["racers"]
        )
        header = ["token", "p", "noise E", "E / p", "place"]
        yield from _table(explained, "The race", header, rows, pick["token"])
    elif pick["kind"] == "contrast":
        rows = (
            (
                one["token"],
                [f"{one['probability']:.4f}", f"{one['resemblance']:.4f}", f"{one['score']:.4f}"],
                None,
            )
            for one in pick["candidates"]
        )
        header = ["token", "p", "max cos", "score"]
        yield from _table(explained, "The candidates", header, rows, pick["token"])


Row = tuple[int, list[str], float | None]


def _table(
    explained: Explained, caption: str, header: list[str], rows: Iterable[Row], chosen: int
) -> Iterator[str]:
    yield f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>"
    yield from (f'<th scope="col">{escape(name)}</th>' for name in header)
    yield "</tr></thead>\n<tbody>\n"
    for token, cells, share in rows:
        mark = ' class="chosen"' if token == chosen else ""
        yield f'<tr{mark}><td class="token">{escape(words.token(explained, token))}</td>'
        yield from (f"<td>{cell}</td>" for cell in cells)
        if share is not None:
            yield f"<td>{_bar(share)}</td>"
        yield "</tr>\n"
    yield "</tbody>\n</table>\n"


def _bar(share: float) -> str:
    width = max(0.0, min(1.0, share)) * _BAR_WIDTH
    return (
        f'<svg width="{_BAR_WIDTH}" height="12" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="12"/></svg>'
    )


def _tree(explained: Explained, nodes: list[Node]) -> Iterator[str]:
    yield '<ul class="tree">\n'
    for node in nodes:
        candidate = node.candidate
        name = escape(words.token(explained, candidate["token"]))
        fate = words.fate(candidate["fate"])
        yield f'<li><span class="{fate}"><code>{name}</code> {candidate["score"]:.4f}</span>'
        if node.children:
            yield "\n"
            yield from _tree(explained, node.children)
        yield "</li>\n"
    yield "</ul>\n"
