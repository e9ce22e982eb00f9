"""Tokenmill: decode, serve and compress large language models.

from tokenmill import LLM, SamplingParams
with LLM() as llm:
    print(llm.chat([{"role": "user", "content": "Hello!"}])[0].outputs[0].text)

A name is imported when it is first used, so that the command starts at once.
"""

from tokenmill.exports import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenmill._tokenmill import __version__
    from tokenmill.api import (
        LLM,
        CompletionOutput,
        Logprob,
        RepetitionDetectionParams,
        RequestMetrics,
        RequestOutput,
        RequestOutputKind,
        SamplingParams,
        Stream,
        StreamChunk,
        Tokenizer,
    )
    from tokenmill.api.async_llm import AsyncLLM
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
else:
    from tokenmill.exports import __dir__, __getattr__  # noqa: F401 (Python looks for them here)

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
    "RepetitionDetectionParams",
    "RequestMetrics",
    "RequestOutput",
    "RequestOutputKind",
    "SamplingParams",
    "Stream",
    "StreamChunk",
    "TokenmillError",
    "TokenmillIoError",
    "Tokenizer",
    "UnsupportedError",
    "__version__",
]
