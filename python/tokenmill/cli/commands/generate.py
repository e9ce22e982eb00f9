"""`tokenmill generate`: completes texts, one after the other as they are asked, in one batch.

One prompt with one sample streams; several prompts or samples are printed whole, in order.
"""

import dataclasses
import json
import math
import sys
from typing import Any

from tokenmill.api import LLM, RequestOutput, SamplingParams
from tokenmill.cli import flags
from tokenmill.cli.parser import Arguments, Parser
from tokenmill.cli.terminal import write
from tokenmill.errors import exit_code, failure, refusal
from tokenmill.progress import say

_STDIN_BYTES_MAX = 4 << 20
_DEFAULTS = {"max_tokens": 256}


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("prompts", nargs="*", metavar="PROMPT", help="text to continue; - or none: stdin")
    parser.add("--json", action="store_true", help="one JSON line for each prompt")
    flags.add_model(parser)
    flags.add_options(parser, ("sampling", "engine"), _DEFAULTS)


def run(arguments: Arguments) -> int:
    """Complete the prompts. The first request that failed while running gives the exit code."""
    params = flags.sampling(arguments, _DEFAULTS)
    if not arguments["json"]:
        flags.refuse_logprobs(params, "with --json")
    prompts = [_from_stdin() if text == "-" else text for text in arguments["prompts"] or ["-"]]
    with flags.load(arguments) as llm:
        samples = max(params.n, params.best_of or 1)
        if len(prompts) == 1 and samples == 1 and not arguments["json"]:
            return _stream(llm, prompts[0], params)
        outputs = llm.generate(prompts, params)
    for output in outputs:
        _print(output, as_json=arguments["json"])
    kinds = (sample.error_kind for output in outputs for sample in output.outputs)
    failed = next((kind for kind in kinds if kind is not None), None)
    return 0 if failed is None else exit_code(failure(failed, ""))


def _stream(llm: LLM, prompt: str, params: SamplingParams) -> int:
    with llm.stream(prompt, params) as stream:
        for chunk in stream:
            write(chunk.text)
            if chunk.error is not None and chunk.error_kind is not None:
                write("\n")
                raise failure(chunk.error_kind, chunk.error)
    write("\n")
    return 0


def _print(output: RequestOutput, *, as_json: bool) -> None:
    if as_json:
        fields = _json_value(dataclasses.asdict(output))
        sys.stdout.write(json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n")
        return
    for completion in output.outputs:
        if len(output.outputs) > 1:
            sys.stdout.write(f"--- sample {completion.index}\n")
        write(completion.text + "\n")
        if completion.error is not None:
            say(f"tokenmill: {completion.error}")


def _json_value(value: Any) -> Any:
    """JSON has no infinity: the log-probability of a token that cannot come is null."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _from_stdin() -> str:
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(_STDIN_BYTES_MAX + 1)
    if len(data) > _STDIN_BYTES_MAX:
        raise refusal("prompt", "standard input is longer than 4 MiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refusal("prompt", f"standard input is not UTF-8 at byte {error.start}") from error
    if not text:
        raise refusal("prompt", "no prompt: give one as an argument or on standard input")
    return text.removesuffix("\n")
