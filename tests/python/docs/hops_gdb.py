"""Break points at every marked function, for gdb: `source tests/python/docs/hops_gdb.py`.

Each tells its hop when it is met. It reads the markers where gdb was started, so it is right for
whatever the sources are now; a function that was taken into its callers is met there.
"""

import sys
from pathlib import Path

import gdb

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from docs import hops
from tidy.tree import Tree


class Hop(gdb.Breakpoint):
    """A break point that says where it is."""

    def __init__(self, stop: hops.Stop) -> None:
        super().__init__(f"{stop.path}:{stop.line}")
        self.label = stop.label

    def stop(self) -> bool:
        """Called by gdb when it is met; true stops the program."""
        gdb.write(f"\n== {self.label}\n")
        return True


# The module of Python is not loaded yet when gdb starts.
gdb.execute("set breakpoint pending on")
for found in hops.stops(Tree(Path(__file__).resolve().parents[3])):
    if found.path.suffix == ".rs":
        Hop(found)
