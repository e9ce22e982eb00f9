"""`python -m tokenmill` is the command `tokenmill`, and `run` is what its script calls.

Nothing is imported before it is inside `run`, so that Ctrl-C is quiet from the first moment on.
"""

import sys


def run() -> int:
    """The command's exit code."""
    try:
        import signal

        from tokenmill.cli.main import main

        code = main()
        # What is left is the end of the interpreter, which must not be cut short with a trace.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(run())
