"""`python -m tokenmill` is the command `tokenmill`, and `run` is what its script calls.

Nothing is imported before it is inside `run`, and what is imported there cannot be interrupted half
way: Python loses an interrupt that meets an import at the wrong moment. So Ctrl-C is quiet, and
ends the command with 130, from the first moment to the last.
"""

import os
import sys


def run() -> int:
    """The command's exit code."""
    try:
        import signal

        # Whoever started us may have had interrupts ignored.
        is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_ours:
            signal.signal(signal.SIGINT, _leave)
        from tokenmill.cli.main import main, preload

        preload(sys.argv[1:])
        if is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main()
        # What is left is the end of the interpreter, which must not be cut short with a trace.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        return 130
    return code


def _leave(number: int, frame: object) -> None:
    # Nothing was written yet, and nothing is open.
    os._exit(130)


if __name__ == "__main__":
    sys.exit(run())
