"""`tokenmill chat`: a conversation with a model, token by token.

On a terminal: a prompt with history; Ctrl-C stops an answer, and leaves at the prompt. Without one:
every line of standard input is a turn, and with no line at all one built-in question is answered,
so that the command always shows something. It keeps the conversation; the model's template writes
it out.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenmill.api import LLM, SamplingParams, Stream
from tokenmill.cli import flags
from tokenmill.cli.parser import Arguments, Parser
from tokenmill.cli.terminal import write
from tokenmill.errors import InvalidRequestError, TokenmillError, failure, refusal
from tokenmill.models.resolve import resolve
from tokenmill.progress import say

QUESTION = "What is a watermill? Answer in two sentences."
_HISTORY_LEN = 1000
# An answer may go on to the end of the context.
_DEFAULTS: dict[str, Any] = {"max_tokens": None}
_LINE_BYTES_MAX = 1 << 20
_HELP = """\
/reset         start a new conversation
/system TEXT   start one with this system prompt
/retry         ask the last question again
/stats         turn the figures after each answer on or off
/help          this list
/exit          leave (so does Ctrl-D; Ctrl-C stops an answer)
"""


def describe(parser: Parser) -> None:
    """Arguments."""
    parser.add("-q", "--quick", metavar="TEXT", help="answer this one question and leave")
    parser.add("--opening", metavar="TEXT", help="ask this first, then go on")
    parser.add("--system-prompt", metavar="TEXT", help="what the model is told before everything")
    parser.add("--stats", action="store_true", help="figures after each answer")
    flags.add_model(parser)
    flags.add_options(parser, ("sampling", "engine"), _DEFAULTS)


def run(arguments: Arguments) -> int:
    """Load the model and talk."""
    params = flags.sampling(arguments, _DEFAULTS)
    if params.n != 1:
        raise refusal("n", "n must be 1 in a chat, where one answer is read")
    flags.refuse_logprobs(params, "by `tokenmill generate --json`")
    if arguments["quick"] is not None and arguments["opening"] is not None:
        raise refusal("opening", "--opening goes on and --quick leaves; give one of them")
    flags.engine(arguments)
    # The maker's advice for a chat stands below everything that a person sets.
    known = resolve(flags.model_name(arguments)).known
    advice = dict(known.chat_sampling) if known is not None else {}
    params = flags.sampling(arguments, {**_DEFAULTS, **advice})
    started = time.monotonic()
    with flags.load(arguments) as llm:
        if not llm.capabilities()["chat"]:
            raise InvalidRequestError(f"{llm.model} has no chat template; use `tokenmill generate`")
        chat = Chat(llm, params, arguments["system_prompt"], show_stats=arguments["stats"])
        if arguments["quick"] is not None:
            return _ask_or_leave(chat, arguments["quick"])
        is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
        if not is_terminal:
            return _read_lines(chat, arguments["opening"])
        advised = ", ".join(f"{name} {value}" for name, value in advice.items())
        say(f"{llm.model}, loaded in {time.monotonic() - started:.2f} s. /help lists the commands.")
        if advised:
            say(f"sampling as its makers advise: {advised}")
        return _read_terminal(chat, arguments["opening"])


class Chat:
    """The turns so far, and how to get the next one."""

    def __init__(
        self, llm: LLM, params: SamplingParams, system_prompt: str | None, *, show_stats: bool
    ) -> None:
        self._llm = llm
        self._params = params
        self._system_prompt = system_prompt
        self.show_stats = show_stats
        self.turns: list[dict[str, Any]] = []
        self.reset(system_prompt)

    def reset(self, system_prompt: str | None = None) -> None:
        """Forget the conversation; a system prompt that is given replaces the one before."""
        self._system_prompt = system_prompt or self._system_prompt
        self.turns = []
        if self._system_prompt:
            self.turns.append({"role": "system", "content": self._system_prompt})

    def retry(self) -> bool:
        """Ask the last question again; whether there was one."""
        asked = [index for index, turn in enumerate(self.turns) if turn["role"] == "user"]
        if not asked:
            return False
        question = self.turns[asked[-1]]["content"]
        del self.turns[asked[-1] :]
        self.ask(question)
        return True

    def ask(self, question: str) -> bool:
        """Print an answer as it comes; Ctrl-C stops it. Whether it came to its end."""
        self.turns.append({"role": "user", "content": question})
        try:
            stream = self._llm.stream(self.turns, self._params)
            is_complete = self._print(stream)
        except BaseException:
            self.turns.pop()
            raise
        text = stream.output().outputs[0].text
        self.turns.append({"role": "assistant", "content": text})
        if self.show_stats:
            say(_figures(stream))
        return is_complete

    def _print(self, stream: Stream) -> bool:
        reason = None
        with stream:
            try:
                for chunk in stream:
                    write(chunk.text)
                    reason = chunk.finish_reason
                    if chunk.error is not None and chunk.error_kind is not None:
                        write("\n")
                        raise failure(chunk.error_kind, chunk.error)
            except KeyboardInterrupt:
                write(" [stopped]\n")
                return False
        write("\n")
        if reason == "length":
            say(self._bound_met(stream))
        return True

    def _bound_met(self, stream: Stream) -> str:
        output = stream.output()
        limit = output.effective.get("max_tokens")
        if limit is not None and len(output.outputs[0].token_ids) >= limit:
            return f"[cut at max_tokens, {limit}]"
        return f"[cut: the context of {self._llm.info()['max_model_len']} tokens is full]"


def _ask_or_leave(chat: Chat, question: str) -> int:
    """One turn that no terminal asks: Ctrl-C ends more than the answer."""
    if not chat.ask(question):
        raise KeyboardInterrupt
    return 0


def _read_lines(chat: Chat, opening: str | None) -> int:
    """Standard input that is no terminal: a turn a line, or the one built-in question."""
    lines = [] if sys.stdin is None else sys.stdin.buffer
    count = 0
    if opening is not None:
        write(f"> {opening}\n")
        _ask_or_leave(chat, opening)
        count = 1
    for raw in lines:
        if len(raw) > _LINE_BYTES_MAX:
            raise InvalidRequestError("a line of standard input is longer than 1 MiB")
        line = raw.decode("utf-8", "replace").strip()
        if line:
            _ask_or_leave(chat, line)
            count += 1
    if count == 0:
        write(f"> {QUESTION}\n")
        _ask_or_leave(chat, QUESTION)
    return 0


def _read_terminal(chat: Chat, opening: str | None) -> int:
    if opening is not None:
        write(f"> {opening}\n")
        chat.ask(opening)
    with _history():
        was_interrupted = False
        while True:
            try:
                line = input("> ").strip()
            except EOFError:
                write("\n")
                return 0
            except KeyboardInterrupt:
                if was_interrupted:
                    raise
                was_interrupted = True
                write("\n(Ctrl-C again or Ctrl-D leaves)\n")
                continue
            was_interrupted = False
            if line.startswith("/"):
                if not _obey(chat, line):
                    return 0
            elif line:
                _ask_kindly(chat, line)


def _ask_kindly(chat: Chat, line: str) -> None:
    """A refused or failed question must not end the conversation."""
    try:
        chat.ask(line)
    except TokenmillError as error:
        say(f"tokenmill: {error}")


def _obey(chat: Chat, line: str) -> bool:
    """One command; False to leave."""
    command, _, rest = line.partition(" ")
    if command in ("/exit", "/quit"):
        return False
    if command == "/reset" and not rest:
        chat.reset()
        say("a new conversation")
    elif command == "/system" and rest:
        chat.reset(rest)
        say("a new conversation with this system prompt")
    elif command == "/retry" and not rest:
        if not chat.retry():
            say("nothing was asked yet")
    elif command == "/stats" and not rest:
        chat.show_stats = not chat.show_stats
        say(f"figures are {'on' if chat.show_stats else 'off'}")
    elif command == "/help":
        say(_HELP.rstrip())
    else:
        say(f"unknown command {command[:64]}; /help lists them")
    return True


def _figures(stream: Stream) -> str:
    output = stream.output()
    metrics = output.metrics
    tokens = len(output.outputs[0].token_ids)
    prompt = f"{len(output.prompt_token_ids)} prompt tokens ({metrics.cached_tokens} cached)"
    if metrics.first_token_time is None or metrics.last_token_time is None:
        return f"[{prompt}, no answer]"
    wait = metrics.first_token_time - metrics.arrival_time
    writing = metrics.last_token_time - metrics.first_token_time
    speed = f", {(tokens - 1) / writing:.0f} tokens/s" if writing > 0 and tokens > 1 else ""
    return f"[{prompt}, first token after {wait * 1000:.0f} ms, {tokens} tokens{speed}]"


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Line editing with a history that lasts, private to the user; a chat works without it."""
    try:
        import readline
    except ImportError:
        yield
        return
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    path = Path(state) / "tokenmill" / "history"
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(_HISTORY_LEN)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(path)
