"""The command `tokenmill`."""

from tokenmill.cli.main import main

__all__ = ["main"]
