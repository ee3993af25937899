"""The error tree of both planes, and the exit code each branch stands for.

    TorghutError                     1  a bug, when nothing more exact is raised
    ├── ConfigurationError           2  a variable or option has a value its rule forbids
    ├── InputError                   2  a file, field or argument cannot be used
    └── UpstreamError                9  cluster, broker, database, forge or permission failed
        └── EngineUnavailableError   9  an engine is out of reach now; asking again may succeed

`torghutctl.errors` continues the tree with what only an operator's command can meet. An error carries the sentence an
operator needs (`str(error)`) and, in `hint`, what to do next.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command, as the contract numbers them."""

    OK = 0
    BUG = 1
    USAGE = 2
    DEGRADED = 3
    DOWN = 4
    UNKNOWN = 5
    REFUSED = 6
    STALE = 7
    UNVERIFIED = 8
    UPSTREAM = 9


class TorghutError(Exception):
    """Base of every error that Torghut raises on purpose."""

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(TorghutError):
    """A setting breaks its rule; the message names variable, value and rule."""

    exit_code = ExitCode.USAGE


class InputError(TorghutError):
    """A file, field or argument cannot be used as given."""

    exit_code = ExitCode.USAGE


class UpstreamError(TorghutError):
    """Something this process depends on failed."""

    exit_code = ExitCode.UPSTREAM


class EngineUnavailableError(UpstreamError):
    """An engine does not answer now. Retrying is safe and expected."""


def rule_of(said: str) -> str:
    """Return pydantic's message about a value as the rule it breaks: `must be a valid number`."""
    return said.removeprefix("Value error, ").replace("Input should be", "must be", 1)
