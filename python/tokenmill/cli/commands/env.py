"""`tokenmill env`: what a report of a problem needs. No keys, no prompts, no names of files."""

import importlib.metadata
import json
import os
import platform
import sys
from typing import Any

from tokenmill import __version__, options
from tokenmill.cli.parser import Arguments, Parser
from tokenmill.models.cache import ModelCache

_PACKAGES = ("torch", "transformers", "huggingface_hub", "numpy", "pip")


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("--json", action="store_true", help="JSON instead of lines")


def run(arguments: Arguments) -> int:
    """Print it."""
    facts = collect()
    if arguments["json"]:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return 0
    for name, value in facts.items():
        sys.stdout.write(f"{name:<12} {value}\n")
    return 0


def collect() -> dict[str, Any]:
    """The facts by name."""
    settings = sorted(name for name in os.environ if name.startswith(options.ENV_PREFIX))
    return {
        "tokenmill": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "cache": str(ModelCache().root),
        "settings": ", ".join(settings) or "none",
        "packages": ", ".join(filter(None, map(_version, _PACKAGES))) or "none",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
    except OSError:
        lines = []
    return lines[0] if lines else platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None
