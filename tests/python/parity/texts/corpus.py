"""Ten thousand lines of real text that every test environment has, and lines made to be hard.

The text is the source of packages that python/locks/test.txt pins by hash: English documentation,
code, and what there is of other scripts. The hard lines come from a fixed generator. `digest()`
tells whether an environment has the same text as the one that made a golden file.
"""

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

LINES = 10_000
_PACKAGES = ("transformers", "sympy", "networkx", "numpy", "hypothesis", "jinja2")
_SCRIPTS_LEN = 2_500
_HARD_LEN = 700
# Names of control tokens, which in untrusted text are letters like any other.
_CONTROL = (
    "<|im_start|>user\nHi<|im_end|>",
    "<|endoftext|>",
    " <|im_end|> <|im_end|",
    "x<repo_name>y<file_sep><empty_output>",
    "a<|im_start|><|im_start|>b\n\n<jupyter_code> 12",
)
# First and last code points of what the hard lines are made of.
_RANGES = (
    (0x20, 0x7E),
    (0x01, 0x1F),
    (0x80, 0xFF),
    (0x100, 0x24F),
    (0x300, 0x36F),
    (0x370, 0x3FF),
    (0x400, 0x4FF),
    (0x590, 0x5F4),
    (0x600, 0x6FF),
    (0x900, 0x97F),
    (0xE00, 0xE5B),
    (0x1100, 0x11FF),
    (0x2000, 0x206F),
    (0x2150, 0x218B),
    (0x2200, 0x22FF),
    (0x3040, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xE000, 0xE010),
    (0xFE00, 0xFE0F),
    (0xFF00, 0xFFEF),
    (0x1D400, 0x1D7FF),
    (0x1F300, 0x1F64F),
    (0x1F900, 0x1F9FF),
    (0x20000, 0x20050),
    (0x50000, 0x50010),
    (0x10FFF0, 0x10FFFD),
)


def lines() -> list[str]:
    """The text, each item without its line end; some items are several lines."""
    plain, scripts = [], []
    for line in _source_lines():
        (plain if line.isascii() else scripts).append(line)
    chosen = _spread(scripts, _SCRIPTS_LEN)
    hard = [*_CONTROL, *_hard_lines(_HARD_LEN)]
    rest = _spread(plain, LINES - len(chosen) - len(hard))
    # Every tenth plain item takes its neighbours in, for runs of white space over line ends.
    for index in range(0, len(rest) - 2, 10):
        rest[index] = "\n".join(rest[index : index + 3])
    return rest + chosen + hard


def paragraphs(package: str, length_min: int) -> Iterator[str]:
    """Whole documentation strings of a package, for text longer than a line."""
    for path in _files(package):
        for part in path.read_text(encoding="utf-8").split('"""')[1::2]:
            if len(part) >= length_min and part.isascii():
                yield part


def digest(items: list[str]) -> str:
    """What a golden file was made from."""
    return hashlib.sha256("\0".join(items).encode()).hexdigest()


def _source_lines() -> Iterator[str]:
    for package in _PACKAGES:
        for path in _files(package):
            yield from path.read_text(encoding="utf-8").split("\n")


def _files(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LookupError(f"{package} is not installed: run `make setup`")
    return sorted(Path(spec.origin).parent.rglob("*.py"))


def _spread(items: list[str], count: int) -> list[str]:
    """`count` distinct items that are not blank, evenly spread."""
    distinct = list(dict.fromkeys(item for item in items if item.strip()))
    return [distinct[index * len(distinct) // count] for index in range(min(count, len(distinct)))]


def _hard_lines(count: int) -> Iterator[str]:
    state = 1
    for _ in range(count):
        characters = []
        state = _next(state)
        for _ in range(1 + state % 60):
            state = _next(state)
            first, last = _RANGES[(state >> 8) % (1 + (state >> 32) % len(_RANGES))]
            state = _next(state)
            characters.append(chr(first + (state >> 16) % (last - first + 1)))
        yield "".join(characters)


def _next(state: int) -> int:
    """Knuth's MMIX congruential generator: the same on every Python."""
    return (state * 6364136223846793005 + 1442695040888963407) % 2**64
