"""A wheel made on the spot, with a known model that pins it, and ways to spoil either."""

import hashlib
import io
import warnings
import zipfile
from dataclasses import dataclass, replace

from tokenmill.models.registry import KnownModel

MEMBER = "tiny_model/tiny.gguf"


@dataclass(frozen=True)
class FakeModel:
    """A known model and the bytes of its wheel."""

    known: KnownModel
    wheel: bytes
    content: bytes

    def with_wheel(self, wheel: bytes) -> "FakeModel":
        """The same pinned member inside another pinned archive."""
        known = replace(
            self.known,
            wheel_bytes=len(wheel),
            wheel_sha256=hashlib.sha256(wheel).hexdigest(),
        )
        return FakeModel(known, wheel, self.content)


def make_wheel(members: list[tuple[str, bytes]]) -> bytes:
    """A wheel that pip accepts, holding `members`; a name may come twice."""
    metadata = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    about = [
        ("tiny_model-1.0.dist-info/METADATA", metadata),
        ("tiny_model-1.0.dist-info/WHEEL", tags),
        ("tiny_model-1.0.dist-info/RECORD", b""),
    ]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members + about:
                archive.writestr(name, data)
    return buffer.getvalue()


def make_model(size: int = 3_000_000) -> FakeModel:
    """A model of `size` bytes that do not compress, so that the wheel is as long."""
    content = b"".join(hashlib.sha256(i.to_bytes(8, "little")).digest() for i in range(size // 32))
    wheel = make_wheel([(MEMBER, content)])
    known = KnownModel(
        name="tiny",
        package="tiny-model",
        version="1.0",
        wheel_name="tiny_model-1.0-py3-none-any.whl",
        wheel_bytes=len(wheel),
        wheel_sha256=hashlib.sha256(wheel).hexdigest(),
        member=MEMBER,
        member_bytes=len(content),
        member_sha256=hashlib.sha256(content).hexdigest(),
        licence="Apache-2.0",
        description="made by a test",
    )
    return FakeModel(known, wheel, content)
