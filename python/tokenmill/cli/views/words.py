"""What steps, tokens and decisions are called where people read them.

A token's text is untrusted: it is shown as a quoted literal, so that no control character, no
direction mark and no line end reaches a terminal or a page.
"""

import unicodedata

from tokenmill.api.outputs import Explained
from tokenmill.api.records import ExplainedStep, Stage

_FATES = {"kept": "kept", "ended": "finished", "dropped": "dropped"}


def token(explained: Explained, token_id: int) -> str:
    """A token's text in quotes, or its id where it has none."""
    text = explained.texts.get(token_id)
    return f"#{token_id}" if text is None else quoted(text)


def quoted(text: str) -> str:
    """`text` as a literal of printable characters."""
    # Combining marks alone would sit on the quote; everything invisible is spelt out.
    shown = "".join(
        character
        if character.isprintable() and unicodedata.category(character) not in ("Mn", "Me", "Cf")
        else character.encode("unicode_escape").decode("ascii")
        for character in text.replace("\\", "\\\\")
    )
    return f'"{shown}"'


def stage_title(stage: Stage) -> str:
    """A step with its option, in words."""
    if stage["option"] is None:
        return stage["name"].replace("_", " ")
    return f"{stage['name']} ({stage['option']} {stage['value']})"


def left(stage: Stage) -> str:
    """How many tokens are left."""
    return f"{stage['left']:,} token{'' if stage['left'] == 1 else 's'} left"


def decision(explained: Explained, step: ExplainedStep) -> str:
    """Why this token came, in a sentence."""
    pick = step["pick"]
    if pick["kind"] == "beams":
        fates: list[str] = [candidate["fate"] for candidate in pick["candidates"]]
        counts = (f"{fates.count(fate)} {word}" for fate, word in _FATES.items())
        return f"beams: {', '.join(counts)}"
    chosen = token(explained, pick["token"])
    if pick["kind"] == "contrast":
        return f"{chosen} has the best (1 - a) p - a max cos, a = {pick['alpha']:.3g}"
    next_one = pick["runner_up"]
    behind = "" if next_one is None else f", before {token(explained, next_one)}"
    if pick["kind"] == "greedy":
        return f"{chosen} has the best score{behind}"
    return f"{chosen} wins the race, the smallest E / p{behind}"


def fate(name: str) -> str:
    """What became of a beam's candidate."""
    return _FATES[name]
