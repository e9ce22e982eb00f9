"""Names of models: which ones are known, where they are kept, how they get there."""

from tokenmill.models.registry import DEFAULT_MODEL, KNOWN_MODELS, KnownModel
from tokenmill.models.resolve import Resolved, resolve

__all__ = ["DEFAULT_MODEL", "KNOWN_MODELS", "KnownModel", "Resolved", "resolve"]
