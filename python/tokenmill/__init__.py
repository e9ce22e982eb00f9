"""Tokenmill: decode, serve and compress large language models.

from tokenmill import LLM, SamplingParams
with LLM() as llm:
    print(llm.chat([{"role": "user", "content": "Hello!"}])[0].outputs[0].text)
"""

from typing import TYPE_CHECKING, Any

from tokenmill._tokenmill import __version__
from tokenmill.api import (
    LLM,
    CompletionOutput,
    Logprob,
    RequestMetrics,
    RequestOutput,
    SamplingParams,
    Stream,
    StreamChunk,
    Tokenizer,
)
from tokenmill.errors import (
    CancelledError,
    CorruptModelError,
    DeadlineError,
    DrainingError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    TokenmillError,
    TokenmillIoError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from tokenmill.api.async_llm import AsyncLLM

__all__ = [
    "LLM",
    "AsyncLLM",
    "CancelledError",
    "CompletionOutput",
    "CorruptModelError",
    "DeadlineError",
    "DrainingError",
    "InternalError",
    "InvalidRequestError",
    "Logprob",
    "NotFoundError",
    "OverloadedError",
    "RequestMetrics",
    "RequestOutput",
    "SamplingParams",
    "Stream",
    "StreamChunk",
    "TokenmillError",
    "TokenmillIoError",
    "Tokenizer",
    "UnsupportedError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """`AsyncLLM` is imported when it is asked for: programs without a loop need no asyncio."""
    if name == "AsyncLLM":
        from tokenmill.api.async_llm import AsyncLLM

        return AsyncLLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
