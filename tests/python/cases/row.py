"""One bad model of the list of bad inputs: its number, how it is made, and what must be said of
it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """A model that no door may load."""

    number: int
    name: str
    # Writes the model into an empty folder and gives what is to be loaded.
    make: Callable[[Path], Path]
    # What the message says, as a regular expression.
    says: str
    # The kind of failure: corrupt, unsupported or io.
    kind: str = "corrupt"

    @property
    def id(self) -> str:
        """A test's name."""
        return f"case_{self.number:03}_{self.name}"
