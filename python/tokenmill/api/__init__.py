"""The Python door: what a program imports."""

from tokenmill.api.llm import LLM
from tokenmill.api.outputs import (
    BeamSearchOutput,
    BeamSearchSequence,
    CompletionOutput,
    Explained,
    Logprob,
    RequestMetrics,
    RequestOutput,
    StreamChunk,
)
from tokenmill.api.params import (
    BeamParams,
    BeamSearchParams,
    RepetitionDetectionParams,
    RequestOutputKind,
    SamplingParams,
    StructuredOutputsParams,
)
from tokenmill.api.scoring import ContinuationScore
from tokenmill.api.stream import Stream
from tokenmill.api.tokenizer import Tokenizer

__all__ = [
    "LLM",
    "BeamParams",
    "BeamSearchOutput",
    "BeamSearchParams",
    "BeamSearchSequence",
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
    "StructuredOutputsParams",
    "Tokenizer",
]
