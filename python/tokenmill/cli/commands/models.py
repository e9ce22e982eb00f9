"""`tokenmill models`: what is known, what is here, what it weighs and under which licence."""

import json
import sys
from typing import Any

from tokenmill.cli.parser import Arguments, Parser
from tokenmill.cli.terminal import table
from tokenmill.errors import CorruptModelError
from tokenmill.models import DEFAULT_MODEL, KNOWN_MODELS, KnownModel
from tokenmill.models.cache import ModelCache
from tokenmill.progress import Progress, format_bytes


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("--verify", action="store_true", help="hash every cached file again")
    parser.add("--json", action="store_true", help="one JSON list instead of a table")


def run(arguments: Arguments) -> int:
    """Print them; exit code 3 if a cached file is not what it should be."""
    cache = ModelCache()
    found = [_row(model, cache, verify=arguments["verify"]) for model in KNOWN_MODELS]
    if arguments["json"]:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        header = ("name", "state", "size", "licence", "source", "description")
        cells = [
            (
                row["name"] + (" (default)" if row["default"] else ""),
                row["state"],
                format_bytes(row["bytes"]),
                row["licence"],
                row["source"],
                row["description"],
            )
            for row in found
        ]
        sys.stdout.write(table(cells, header))
        sys.stdout.write(f"\ncache: {cache.root}\n")
    return 3 if any(row["state"] == "corrupt" for row in found) else 0


def _row(model: KnownModel, cache: ModelCache, *, verify: bool) -> dict[str, Any]:
    path = cache.find(model)
    state = "not cached" if path is None else "cached"
    if path is not None and verify:
        state = _verified(model, cache)
    return {
        "name": model.name,
        "default": model.name == DEFAULT_MODEL,
        "state": state,
        "path": None if path is None else str(path),
        "bytes": model.member_bytes,
        "sha256": model.member_sha256,
        "licence": model.licence,
        "source": model.source,
        "description": model.description,
    }


def _verified(model: KnownModel, cache: ModelCache) -> str:
    try:
        with Progress(f"verifying {model.name}", model.member_bytes, "B") as bar:
            cache.verify(model, bar.advance)
    except CorruptModelError:
        return "corrupt"
    return "verified"
