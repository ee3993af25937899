"""What a shell offers for a value: names out of files on this machine and tables of this program; no network."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from typer import Context


def environments(ctx: Context, incomplete: str) -> list[str]:
    """Return the names in the environments file, the one of --config where that is given."""
    from torghutctl.environments import names
    from torghutctl.errors import TorghutError

    try:
        found = names(_path(ctx), os.environ)
    except TorghutError:
        return []  # a shell's line is no place for an error
    return _beginning(found, incomplete)


def _path(ctx: Context) -> Path | None:
    given = ctx.params.get("config")
    return Path(given) if given else None


def reasons(incomplete: str) -> list[str]:
    """Return the reasons of the health report."""
    from torghutctl.health.reasons import REASONS

    return _beginning(REASONS, incomplete)


def runbooks(incomplete: str) -> list[str]:
    """Return the names of the runbooks."""
    from torghutctl.assets import folder

    return _beginning((path.stem for path in folder("runbooks").glob("*.md")), incomplete)


def procedures(incomplete: str) -> list[str]:
    """Return what an AgentRun can be rendered of."""
    from torghutctl.procedures.catalogue import SPECS

    return _beginning([*SPECS, "health-report", "agents"], incomplete)


def runtimes(incomplete: str) -> list[str]:
    """Return the runtimes that have settings."""
    from torghutctl.commands.explain_config import RUNTIMES

    return _beginning(RUNTIMES, incomplete)


def variables(ctx: Context, incomplete: str) -> list[str]:
    """Return the variables of the runtime that stands before, by every spelling."""
    from torghutctl.commands.explain_config import settings_class
    from torghutctl.errors import TorghutError

    try:
        model = settings_class(str(ctx.params.get("runtime")))
    except TorghutError:
        return []

    from torghut_core.settings import known_variables

    return _beginning(known_variables(model), incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
