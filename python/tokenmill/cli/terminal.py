"""Text on a terminal: tables, and a model's words without control sequences.

What a model writes is untrusted; on a terminal only printable text, line ends and tabs pass.
"""

import sys
from collections.abc import Iterable, Sequence


def write(text: str) -> None:
    """Write model text to standard output at once."""
    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def harmless(text: str) -> str:
    """`text` with every control character but tab and line feed shown as U+FFFD."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or not _is_control(c) else "\ufffd" for c in text)


def table(rows: Iterable[Sequence[str]], header: Sequence[str]) -> str:
    """Columns padded to their widest cell; the last one is not padded."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def _is_control(character: str) -> bool:
    code = ord(character)
    # C0, DEL, C1, and the marks that reorder text.
    return (
        code < 0x20 or 0x7F <= code < 0xA0 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
    )
