"""From arguments to an exit code: finds the command, runs it, turns every error into one line.

Exit codes come from the kinds of failure: 0 done, 1 a fault of ours, 2 a wrong request, 3 a model
or file that cannot be used, 4 try again later, 130 interrupted. A reader that goes away is no
error. It refuses to know what any command does; a command's module is imported only when it is
asked for.
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence

from tokenmill import __version__
from tokenmill.cli.parser import Parser
from tokenmill.errors import TokenmillError, exit_code, refusal
from tokenmill.options import nearest
from tokenmill.progress import say

# Command: (module, what it does). A module has `describe(parser)` and `run(arguments)`.
COMMANDS = {
    "chat": ("chat", "talk with a model"),
    "generate": ("generate", "complete prompts from arguments or standard input"),
    "explain": ("explain", "how every token came to be: each step of the pipeline, and the draw"),
    "info": ("info", "what a model is, from its headers, and the memory it needs"),
    "models": ("models", "known models, and which are here"),
    "pull": ("pull", "fetch a known model into the cache"),
    "bench": ("bench", "measure latency or throughput, as shares of this machine's limits"),
    "eval": ("eval", "perplexity of texts, or accuracy on multiple-choice questions"),
    "capabilities": ("capabilities", "every option: default, bound, doors, what it may contradict"),
    "env": ("env", "versions, processor, folders and settings, for a report"),
}
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives back its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:
        return _fail("standard output is closed", 3)
    _write_what_can_be_written()
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # What is still buffered has no reader; closing must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TokenmillError as error:
        return _fail(str(error), exit_code(error))
    except OSError as error:
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return _fail(f"{where}{error.strerror or type(error).__name__}", 3)
    except Exception as error:  # noqa: BLE001 (the last line of defence: one line, not a trace)
        return _fail(f"internal error: {type(error).__name__}: {error}", 1)


def preload(arguments: Sequence[str]) -> None:
    """Import what a command is made of; a name that is none is told later."""
    if arguments and arguments[0] in COMMANDS:
        importlib.import_module(f"tokenmill.cli.commands.{COMMANDS[arguments[0]][0]}")


def _write_what_can_be_written() -> None:
    """A character that a terminal or a file's encoding lacks shows as a question mark."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


def _dispatch(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0
    if name in ("-V", "--version"):
        sys.stdout.write(f"tokenmill {__version__}\n")
        return 0
    if name not in COMMANDS:
        raise _unknown_command(name)
    module_name, summary = COMMANDS[name]
    module = importlib.import_module(f"tokenmill.cli.commands.{module_name}")
    parser = Parser(f"tokenmill {name}", summary)
    module.describe(parser)
    parsed = parser.read(arguments[1:])
    if parsed is None:
        return 0
    code: int = module.run(parsed)
    return code


def _overview() -> str:
    lines = ["usage: tokenmill COMMAND [options]", ""]
    lines += [f"  {name:<12} {summary}" for name, (_, summary) in COMMANDS.items()]
    lines += ["", "`tokenmill COMMAND --help` lists options, `--help=WORD` searches them."]
    return "\n".join(lines) + "\n"


def _unknown_command(name: str) -> Exception:
    close = nearest(name, COMMANDS)
    hint = f"; did you mean {close}?" if close else "; `tokenmill --help` lists the commands"
    what = "option" if name.startswith("-") else "command"
    return refusal("command", f"unknown {what} {name[:64]}{hint}")


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    printable = line.encode("utf-8", "replace").decode("utf-8")
    say(f"tokenmill: {printable}")
    return code
