"""The package's names, each imported when it is first used.

So that `tokenmill --version` loads no engine, and Ctrl-C finds the command's own handler before the
long imports. The list of names is the package's `__all__`; a type checker reads plain imports there
and never sees this.
"""

import sys

# A type checker takes this name for true, whoever defines it; `typing` would take half of the time
# that the command needs to start.
TYPE_CHECKING = False
_MODULES = ("api", "errors", "evaluate", "models", "options")


def __getattr__(name: str) -> object:
    import importlib

    package = sys.modules["tokenmill"]
    if name in _MODULES:
        return importlib.import_module(f"tokenmill.{name}")
    if name not in package.__all__:
        raise AttributeError(f"module 'tokenmill' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_home(name)), name)
    setattr(package, name, value)
    return value


def __dir__() -> list[str]:
    package = sys.modules["tokenmill"]
    return sorted({*vars(package), *package.__all__})


def _home(name: str) -> str:
    if name == "__version__":
        return "tokenmill._tokenmill"
    if name == "AsyncLLM":
        return "tokenmill.api.async_llm"
    return "tokenmill.errors" if name.endswith("Error") else "tokenmill.api"
