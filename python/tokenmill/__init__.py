"""Tokenmill: decode, serve and compress large language models.

>>> from tokenmill import LLM, SamplingParams
>>> question = [{"role": "user", "content": "Name three rivers."}]
>>> with LLM(max_model_len=256) as llm:
...     (answer,) = llm.chat(question, SamplingParams(temperature=0.0, max_tokens=8))
>>> answer.outputs[0].finish_reason
'length'

With no model named it is the default one, fetched once. `LLM` blocks, `AsyncLLM` is awaited; both
take the same prompts and `SamplingParams`, and raise `TokenmillError` or a kind of it. A name is
imported when it is first used, so that the command starts at once.
"""

from tokenmill.exports import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenmill._tokenmill import __version__
    from tokenmill.api import (
        LLM,
        BeamParams,
        BeamSearchOutput,
        BeamSearchParams,
        BeamSearchSequence,
        CompletionOutput,
        ContinuationScore,
        Explained,
        Logprob,
        RepetitionDetectionParams,
        RequestMetrics,
        RequestOutput,
        RequestOutputKind,
        SamplingParams,
        Stream,
        StreamChunk,
        StructuredOutputsParams,
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
    "BeamParams",
    "BeamSearchOutput",
    "BeamSearchParams",
    "BeamSearchSequence",
    "CancelledError",
    "CompletionOutput",
    "ContinuationScore",
    "CorruptModelError",
    "DeadlineError",
    "DrainingError",
    "Explained",
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
    "StructuredOutputsParams",
    "TokenmillError",
    "TokenmillIoError",
    "Tokenizer",
    "UnsupportedError",
    "__version__",
]
