"""The Python door: what a program imports."""

from tokenmill.api.llm import LLM
from tokenmill.api.outputs import (
    CompletionOutput,
    Explained,
    Logprob,
    RequestMetrics,
    RequestOutput,
    StreamChunk,
)
from tokenmill.api.params import RepetitionDetectionParams, RequestOutputKind, SamplingParams
from tokenmill.api.scoring import ContinuationScore
from tokenmill.api.stream import Stream
from tokenmill.api.tokenizer import Tokenizer

__all__ = [
    "LLM",
    "CompletionOutput",
    "ContinuationScore",
    "Explained",
    "Logprob",
    "RepetitionDetectionParams",
    "RequestMetrics",
    "RequestOutput",
    "RequestOutputKind",
    "SamplingParams",
    "Stream",
    "StreamChunk",
    "Tokenizer",
]
