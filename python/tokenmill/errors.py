"""Every error this package raises on purpose, and what each means to a shell.

The classes are made by the compiled module, one for each kind of failure, so that Rust and Python
raise the same ones. This file refuses to know why anything failed; it adds the exit codes of the
command line.
"""

from tokenmill._tokenmill import (
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

__all__ = [
    "CancelledError",
    "CorruptModelError",
    "DeadlineError",
    "DrainingError",
    "InternalError",
    "InvalidRequestError",
    "NotFoundError",
    "OverloadedError",
    "TokenmillError",
    "TokenmillIoError",
    "UnsupportedError",
    "exit_code",
    "failure",
    "refusal",
]

_BY_KIND = {
    error.kind: error
    for error in (
        InvalidRequestError,
        NotFoundError,
        UnsupportedError,
        CorruptModelError,
        OverloadedError,
        DrainingError,
        DeadlineError,
        CancelledError,
        TokenmillIoError,
        InternalError,
    )
}


def exit_code(error: TokenmillError) -> int:
    """The exit code of a command that ended with this error, from the table of kinds."""
    code: int = getattr(error, "exit_code", 1)
    return code


def failure(kind: str, message: str) -> TokenmillError:
    """The error of a kind that a request told of while it ran, for the caller to raise."""
    return _BY_KIND.get(kind, InternalError)(message)


def refusal(param: str, message: str) -> InvalidRequestError:
    """An `InvalidRequestError` that names the parameter at fault, for the caller to raise."""
    error = InvalidRequestError(message)
    error.param = param
    return error
