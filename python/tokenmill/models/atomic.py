"""The atomic save: a file appears whole or not at all.

Bytes go to a sibling that only this process can have opened, reach the disk, and take the final
name in one rename; then the folder reaches the disk. After a kill at any point the final name holds
the old content or the new one. What a killed process leaves is a sibling named `*.part`, which the
next fetch removes. It refuses to know what is written.
"""

import contextlib
import os
import secrets
from pathlib import Path
from types import TracebackType

PART_SUFFIX = ".part"
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


class AtomicFile:
    """A file being written; it takes its name when `commit` is called inside the `with` block."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._part = target.with_name(f".{target.name}.{secrets.token_hex(8)}{PART_SUFFIX}")
        self._descriptor = -1
        self._is_committed = False

    def __enter__(self) -> "AtomicFile":
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(self._part, flags, _FILE_MODE)
        return self

    def write(self, data: bytes) -> None:
        """Append all of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def commit(self) -> None:
        """Make everything written durable under the target's name."""
        os.fsync(self._descriptor)
        os.replace(self._part, self.target)
        self._is_committed = True
        _sync_folder(self.target.parent)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
        if not self._is_committed:
            with contextlib.suppress(OSError):
                os.unlink(self._part)


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents, private to the user; those that exist are left alone."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        # Another process may make it first; whether it is a folder shows when it is used.
        new.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
