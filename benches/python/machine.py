"""What a figure depends on beside the program: the processor, its limits just now, and others.

Every figure stands between two calibrations of read bandwidth and peaks. If they differ by more
than a tenth the run is void; if other programs used more than a tenth of a core, it is dirty.
Both are recorded, never hidden. It knows nothing of models.
"""

import os
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenmill import _tokenmill

DRIFT_MAX = 0.10
OTHERS_MAX_CORES = 0.10
_CALIBRATE_S = 1.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_REPOSITORY = Path(__file__).resolve().parents[2]


def describe() -> dict[str, Any]:
    """The machine and the commit."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": _commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def calibrate(threads: int, seconds: float = _CALIBRATE_S) -> dict[str, float]:
    """Read bandwidth (bytes/s) and peaks (operations/s), each measured for `seconds`."""
    return dict(_tokenmill.measure_machine(seconds, threads))


def drift(before: dict[str, float], after: dict[str, float]) -> float:
    """The largest relative change between two calibrations."""
    return max(abs(after[name] / before[name] - 1) for name in before)


@dataclass(frozen=True)
class _Reading:
    wall_s: float
    busy_s: float
    stolen_s: float
    ours_s: float


class OtherWork:
    """Cores that programs other than ours used while the `with` block ran.

    `pids` are our processes that live through the whole block; children that end inside it count as
    ours through the resource usage of this process.
    """

    def __init__(self, pids: Iterable[int] = ()) -> None:
        self._pids = [os.getpid(), *pids]
        self.cores = 0.0
        self.stolen_cores = 0.0

    def __enter__(self) -> "OtherWork":
        self._start = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        end, start = self._read(), self._start
        wall_s = max(end.wall_s - start.wall_s, 1e-9)
        others_s = (end.busy_s - start.busy_s) - (end.ours_s - start.ours_s)
        # The kernel counts in ticks of ten milliseconds: a short block can come out below nothing.
        self.cores = max(others_s / wall_s, 0.0)
        self.stolen_cores = (end.stolen_s - start.stolen_s) / wall_s

    def _read(self) -> _Reading:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
        ours_s = sum(process_s(pid) for pid in self._pids)
        busy_s = (user + nice + system + irq + softirq) / _TICKS_PER_S
        return _Reading(time.monotonic(), busy_s, steal / _TICKS_PER_S, ours_s)


def wait_for_quiet(limit_s: float) -> float:
    """Wait until other programs leave the machine alone for a second; gives the seconds waited."""
    started = time.monotonic()
    while time.monotonic() - started < limit_s:
        with OtherWork() as others:
            time.sleep(1.0)
        if others.cores <= OTHERS_MAX_CORES:
            break
    return time.monotonic() - started


def process_s(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def _commit() -> str:
    """The commit, marked where the tree differs from it."""
    run = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
