"""A rough reader of Rust: enough to find functions, their lengths and their parameters.

Comments, strings and character literals are blanked first, so that braces in them do not count;
line numbers stay. It is no parser: macros are read as the text they are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKENS = re.compile(
    r"""
    (?P<line>//[^\n]*)
  | (?P<block>/\*)
  | (?P<raw>b?r(?P<hashes>\#*)")
  | (?P<text>b?"(?:[^"\\]|\\.)*")
  | (?P<char>b?'(?:[^'\\\n]|\\(?:[^u]|u\{[0-9a-fA-F_]+\}|x[0-9a-fA-F]{2}))')
    """,
    re.VERBOSE | re.DOTALL,
)
_FUNCTION = re.compile(r"\bfn\s+([A-Za-z_]\w*)")
_TEST_MODULE = re.compile(r"#\[cfg\((?:all\()?test[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*mod\s+\w+\s*\{")


@dataclass(frozen=True)
class Function:
    """A function with a body."""

    name: str
    line: int
    lines: int
    parameters: int


def blank(source: str) -> str:
    """The source with everything blanked that is not code."""
    out = []
    position = 0
    while match := _TOKENS.search(source, position):
        out.append(source[position : match.start()])
        end = _end(source, match)
        out.append(re.sub(r"[^\n]", " ", source[match.start() : end]))
        position = end
    out.append(source[position:])
    return "".join(out)


def _end(source: str, match: re.Match[str]) -> int:
    if match["block"] is not None:
        return _end_of_block_comment(source, match.end())
    if match["raw"] is not None:
        close = source.find('"' + match["hashes"], match.end())
        return len(source) if close < 0 else close + 1 + len(match["hashes"])
    return match.end()


def _end_of_block_comment(source: str, position: int) -> int:
    depth = 1
    for marker in re.finditer(r"/\*|\*/", source[position:]):
        depth += 1 if marker[0] == "/*" else -1
        if depth == 0:
            return position + marker.end()
    return len(source)


def without_unit_tests(code: str) -> str:
    """Blanked code without its test modules."""
    while match := _TEST_MODULE.search(code):
        end = _matching(code, match.end() - 1)
        code = code[: match.start()] + code[end + 1 :]
    return code


def functions(code: str) -> Iterator[Function]:
    """Every function with a body in blanked code."""
    for match in _FUNCTION.finditer(code):
        open_paren = code.find("(", _after_generics(code, match.end()))
        if open_paren < 0:
            continue
        close_paren = _matching(code, open_paren)
        body = re.compile(r"[{;]").search(code, close_paren)
        if body is None or body[0] == ";":
            continue
        end = _matching(code, body.start())
        first = code.count("\n", 0, match.start()) + 1
        lines = code.count("\n", match.start(), end) + 1
        yield Function(match[1], first, lines, _parameters(code[open_paren + 1 : close_paren]))


def _after_generics(code: str, position: int) -> int:
    """The end of `<...>` at `position`, or `position`; arrows inside are no brackets."""
    if not code.startswith("<", position):
        return position
    depth = 0
    for index in range(position, len(code)):
        depth += code[index] == "<"
        depth -= code[index] == ">" and code[index - 1] != "-"
        if depth == 0:
            return index
    return position


def _matching(code: str, position: int) -> int:
    pairs = {"(": ")", "{": "}", "[": "]"}
    opening, closing = code[position], pairs[code[position]]
    depth = 0
    for index in range(position, len(code)):
        if code[index] == opening:
            depth += 1
        elif code[index] == closing:
            depth -= 1
            if depth == 0:
                return index
    return len(code) - 1


def _parameters(text: str) -> int:
    """Parameters but `self`."""
    depth = 0
    pieces = [""]
    text = text.replace("->", "  ")
    for character in text:
        depth += character in "([{<"
        depth -= character in ")]}>"
        if character == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    names = [re.sub(r"#\[[^\]]*\]", "", piece).strip() for piece in pieces]
    is_self = re.compile(r"(&\s*('\w+\s+)?)?(mut\s+)?self\b")
    return sum(1 for name in names if name and not is_self.match(name))
