"""`tokenmill pull [NAME ...]`: known models into the cache."""

import sys

from tokenmill.cli.parser import Arguments, Parser
from tokenmill.errors import NotFoundError
from tokenmill.models import DEFAULT_MODEL
from tokenmill.models.cache import ModelCache
from tokenmill.models.fetch import fetch
from tokenmill.models.registry import KnownModel, find_known, nearest_known


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("names", nargs="*", metavar="NAME", help=f"known models (default {DEFAULT_MODEL})")


def run(arguments: Arguments) -> int:
    """Fetch each, and print where it is. Every name is known before anything is fetched."""
    cache = ModelCache()
    for model in [_known(name) for name in arguments["names"] or [DEFAULT_MODEL]]:
        sys.stdout.write(f"{fetch(model, cache)}\n")
        sys.stdout.flush()
    return 0


def _known(name: str) -> KnownModel:
    model = find_known(name)
    if model is not None:
        return model
    close = nearest_known(name)
    hint = f"did you mean {close}?" if close else "`tokenmill models` lists them"
    raise NotFoundError(f"no known model {name[:64]}; {hint}")
