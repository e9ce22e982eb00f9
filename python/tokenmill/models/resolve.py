"""The one resolver: what a person calls a model, to a path on this machine.

First match: an existing path; a known name, from the cache or fetched; a hub name. It is the same
for `LLM(...)`, every command and every later door. It refuses to look inside what it finds.
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenmill.errors import NotFoundError, TokenmillIoError, refusal
from tokenmill.models.registry import DEFAULT_MODEL, KnownModel, find_known, nearest_known
from tokenmill.progress import say

if TYPE_CHECKING:
    from tokenmill.models.cache import ModelCache

_SHOWN_MAX = 120


@dataclass(frozen=True)
class Resolved:
    """A model's path, the name it was asked by, and the known model it is, if it is one."""

    name: str
    path: Path
    known: KnownModel | None


def resolve(
    model: str | os.PathLike[str] | None = None, cache: "ModelCache | None" = None
) -> Resolved:
    """The path of a model; may fetch it. `None` asks for the default model."""
    if model is not None and not isinstance(model, (str, os.PathLike)):
        kind = type(model).__name__
        raise refusal("model", f"model must be a name or a path, got {kind}")
    name = DEFAULT_MODEL if model is None else os.fspath(model)
    if not isinstance(name, str) or not name or "\0" in name:
        raise refusal("model", "model must be a name or a path, got an empty or binary one")
    known = find_known(name)
    local = _existing(name)
    if local is not None:
        if known is not None:
            say(f"using {local.resolve()}, which stands before the known model of that name")
        return Resolved(name, local, None)
    # Imported late: who names a path pays for no network library.
    if known is not None:
        from tokenmill.models.cache import ModelCache
        from tokenmill.models.fetch import fetch

        return Resolved(name, fetch(known, cache or ModelCache()), known)
    from tokenmill.models.hub import fetch_from_hub, is_hub_name

    if not isinstance(model, os.PathLike) and is_hub_name(name) and not _looks_like_path(name):
        return Resolved(name, fetch_from_hub(name), None)
    raise NotFoundError(_not_found(name))


def with_amateur_path(engine_options: Mapping[str, Any]) -> dict[str, Any]:
    """Engine options in which the weaker model's name, where there is one, is its path."""
    values = dict(engine_options)
    if values.get("amateur_model") is None:
        values.pop("amateur_model", None)
        return values
    return {**values, "amateur_model": os.fspath(resolve(values["amateur_model"]).path)}


def _existing(name: str) -> Path | None:
    path = Path(os.path.expanduser(name))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        shown = _shown(name)
        raise TokenmillIoError(f"cannot read {shown}: {error.strerror or error}") from error
    return path


def _looks_like_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~")) or name.endswith(os.sep)


def _not_found(name: str) -> str:
    message = f"no model {_shown(name)}: no such path, and not a known name"
    nearest = nearest_known(name)
    if nearest is not None:
        return f"{message}; did you mean {nearest}?"
    return f"{message}; `tokenmill models` lists the known ones"


def _shown(name: str) -> str:
    printable = name.encode("utf-8", "replace").decode("utf-8")
    printable = "".join(c if c.isprintable() else "\ufffd" for c in printable)
    return printable if len(printable) <= _SHOWN_MAX else printable[:_SHOWN_MAX] + "..."
