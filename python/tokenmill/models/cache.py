"""The model cache: one folder a known model, holding one whole file.

`TOKENMILL_CACHE` names the root, else the user's cache folder. Invariants: a file under its final
name is whole and was verified when it was put there; whoever changes a model's folder holds its
lock. It refuses to know where files come from.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenmill.errors import CorruptModelError, TokenmillIoError
from tokenmill.models.atomic import PART_SUFFIX, make_folder
from tokenmill.models.registry import KnownModel

_LOCK_NAME = ".lock"
_CHUNK_BYTES = 1 << 20
FETCH_PREFIX = ".fetch-"


class ModelCache:
    """Where known models are kept."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else root

    def folder(self, model: KnownModel) -> Path:
        """The folder of one model; it may not exist."""
        return self.root / "models" / model.name

    def path(self, model: KnownModel) -> Path:
        """Where the model's file is, or would be."""
        return self.folder(model) / model.file_name

    def find(self, model: KnownModel) -> Path | None:
        """The model's file, if it is there in its full size."""
        path = self.path(model)
        try:
            size = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _io_error("cannot read the model cache", path, error) from error
        return path if size == model.member_bytes and path.is_file() else None

    def verify(self, model: KnownModel, on_bytes: Callable[[int], None] | None = None) -> Path:
        """Hash the cached file again; `on_bytes` hears how many bytes were read each time."""
        path = self.path(model)
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    if on_bytes is not None:
                        on_bytes(len(chunk))
        except OSError as error:
            raise _io_error("cannot read the model cache", path, error) from error
        if digest.hexdigest() != model.member_sha256:
            raise CorruptModelError(
                f"{path}: sha256 is {digest.hexdigest()}, expected {model.member_sha256}; "
                f"remove the file and run `tokenmill pull {model.name}`"
            )
        return path

    @contextlib.contextmanager
    def locked(self, model: KnownModel, on_wait: Callable[[], None]) -> Iterator[Path]:
        """Hold the model's folder, made if need be and freed of what killed processes left there.

        `on_wait` is called once if another process holds it.
        """
        folder = self.folder(model)
        try:
            make_folder(folder)
            lock = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _io_error("cannot write the model cache", folder, error) from error
        try:
            _lock(lock, on_wait)
            _sweep(folder)
            yield folder
        finally:
            os.close(lock)


def default_root() -> Path:
    """`TOKENMILL_CACHE`, else `tokenmill` in the user's cache folder."""
    named = os.environ.get("TOKENMILL_CACHE")
    if named:
        return Path(os.path.expanduser(named))
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base or os.path.expanduser("~/.cache")) / "tokenmill"


def _lock(descriptor: int, on_wait: Callable[[], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _sweep(folder: Path) -> None:
    """Remove what a killed fetch left; safe because the caller holds the lock."""
    for entry in folder.iterdir():
        if entry.name.startswith(FETCH_PREFIX):
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name.endswith(PART_SUFFIX):
            with contextlib.suppress(OSError):
                entry.unlink()


def _io_error(what: str, path: Path, error: OSError) -> TokenmillIoError:
    return TokenmillIoError(f"{what} at {path}: {error.strerror or error}")
