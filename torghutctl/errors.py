"""What only an operator's command can meet, continuing the tree of `torghut_core.errors`.

TorghutError
├── RefusedError      6  a gate said no; nothing was changed
├── StalePlanError    7  the plan is stale, or another change is in the way
└── UnverifiedError   8  waiting timed out, or what was to come true did not
"""

from torghut_core.errors import (
    ConfigurationError,
    EngineUnavailableError,
    ExitCode,
    InputError,
    TorghutError,
    UpstreamError,
    rule_of,
)


class RefusedError(TorghutError):
    """A gate refused; `hint` says what would open it."""

    exit_code = ExitCode.REFUSED


class StalePlanError(TorghutError):
    """The plan no longer fits the repository, or conflicts with another change."""

    exit_code = ExitCode.STALE


class UnverifiedError(TorghutError):
    """A wait ended without what it waited for, or a verification failed."""

    exit_code = ExitCode.UNVERIFIED


__all__ = [
    "ConfigurationError",
    "EngineUnavailableError",
    "ExitCode",
    "InputError",
    "RefusedError",
    "StalePlanError",
    "TorghutError",
    "UnverifiedError",
    "UpstreamError",
    "rule_of",
]
