"""The options that say what to read, shared by health-report, snapshot, status and top."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torghut_core.market_calendar import is_covered
from torghut_core.market_calendar_table import FIRST_DAY, LAST_DAY
from torghut_core.rfc3339 import parse_ns
from torghutctl.commands import suggestions
from torghutctl.commands.option_group import ResourceNames
from torghutctl.environments import Environment, load_environment, name_option
from torghutctl.errors import InputError
from torghutctl.render.streams import tell
from torghutctl.snapshot.target import Target

if TYPE_CHECKING:
    from torghutctl.health.report import Operator


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the options came to."""

    target: Target
    at_ns: int | None

    def operator(self) -> Operator:
        """Return what the report's next command repeats of the options, and what was declared."""
        from torghutctl.health.report import Operator

        return Operator(
            environment=self.target.environment,
            repo=self.target.repo_option,
            is_live_declared=self.target.is_live_declared,
            options=self.target.options,
        )


@dataclass(frozen=True, kw_only=True)
class TargetOptions(ResourceNames):
    """What to read, and as of when."""

    environment: Annotated[
        str | None,
        typer.Option(
            "-e",
            "--environment",
            metavar="NAME",
            help="entry of the environments file",
            autocompletion=suggestions.environments,
        ),
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="environments file, instead of ~/.config/torghut/environments.yaml"),
    ] = None
    kubeconfig: Annotated[Path | None, typer.Option(metavar="FILE", help="kubeconfig file")] = None
    context: Annotated[str | None, typer.Option(metavar="NAME", help="context in the kubeconfig")] = None
    local: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="read the processes of `up` or `demo` through the folder they run in"),
    ] = None
    from_snapshot: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="read a bundle (folder or .tar.gz) instead of anything live"),
    ] = None
    at: Annotated[str | None, typer.Option(metavar="RFC3339", help="judge as of this time")] = None
    repo: Annotated[
        str | None,
        typer.Option(metavar="PATH|URL", help="GitOps repository: adds what git wants, and completes the next command"),
    ] = None
    base: Annotated[str | None, typer.Option(metavar="BRANCH", help="branch that is applied (main)")] = None
    gitops_path: Annotated[
        str | None, typer.Option(metavar="DIR", help="folder of the manifests in the repository")
    ] = None

    def choose(self) -> Choice:
        """Return target and time. Raises InputError or ConfigurationError for values that cannot be.

        A bundle knows which system it is of: without -e no default environment of this machine is mixed in.
        """
        texts = {
            "-e": self.environment,
            "--context": self.context,
            "--repo": self.repo,
            "--base": self.base,
            "--gitops-path": self.gitops_path,
        }
        for option, text in texts.items():
            if text == "":
                raise InputError(f"{option} '': must not be empty; leave it out for the default")
        is_of_today = self.from_snapshot is None or self.environment is not None
        entry = load_environment(self.environment, self.config, os.environ) if is_of_today else Environment()
        if entry.chosen_by:
            tell(f"environment {entry.name}, the default of {entry.chosen_by}")
        entry = entry.renamed(self.names)
        where = {
            "--config": self.config and self.config.absolute(),
            "--base": self.base,
            "--gitops-path": self.gitops_path,
            "--kubeconfig": self.kubeconfig and self.kubeconfig.absolute(),
            "--context": self.context,
            **{name_option(key): value for key, value in self.names.items()},
        }
        folder = self.local
        is_elsewhere = any(given is not None for given in (self.from_snapshot, self.kubeconfig, self.context))
        if folder is None and entry.local and not is_elsewhere:
            folder = Path(entry.local)
        repo = self.repo or entry.repo
        target = Target(
            bundle=self.from_snapshot,
            local=folder,
            kubeconfig=self.kubeconfig or (Path(entry.kubeconfig).expanduser() if entry.kubeconfig else None),
            context=self.context or entry.context,
            names=entry.names,
            repo=_from_any_folder(repo),
            repo_option=_from_any_folder(self.repo),
            base=self.base or entry.base,
            gitops_path=self.gitops_path or entry.gitops_path,
            credential=None if self.from_snapshot is not None else _credential(repo, entry.token_file),
            environment=entry.name if entry.is_named else None,
            options=tuple((option, str(value)) for option, value in where.items() if value is not None),
            is_live_declared=entry.live,
        )
        return Choice(target=target, at_ns=parse_at(self.at))


def _from_any_folder(repo: str | None) -> str | None:
    """Return a repository's folder by its whole path, since the next command may be pasted elsewhere; a URL as it is."""
    return str(Path(repo).absolute()) if repo is not None and Path(repo).is_dir() else repo


def _credential(repo: str | None, token_file: str | None) -> Any:
    if repo is None:
        return None
    from torghutctl.commands.procedure_request import forge_credential

    try:
        return forge_credential(repo, token_file)
    except InputError:
        return None  # a folder that is no repository is a source that cannot be read, and the report says so


def parse_at(text: str | None) -> int | None:
    """Return the time of `--at`. Raises InputError when it is none."""
    if text is None:
        return None
    try:
        at_ns = parse_ns(text)
    except ValueError as error:
        raise InputError(f"--at {text}: {error}") from error
    if not is_covered(at_ns):
        raise InputError(
            f"--at {text}: must lie between {FIRST_DAY} and {LAST_DAY}, the days that the market calendar knows"
        )
    return at_ns
