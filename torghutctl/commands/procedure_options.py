"""The options that every procedure shares, declared once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from torghutctl.commands import suggestions
from torghutctl.commands.option_group import ResourceNames, one_of
from torghutctl.environments import Environment, load_environment
from torghutctl.render.output import Format


@dataclass(frozen=True, kw_only=True)
class ProcedureOptions(ResourceNames):
    """What the command line gave, by the names of the contract."""

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
        Path | None, typer.Option(metavar="FILE", help="environments file (~/.config/torghut/environments.yaml)")
    ] = None
    repo: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|URL", help="path or URL of the GitOps repository; a bare one on this machine is its own forge"
        ),
    ] = None
    base: Annotated[str | None, typer.Option(metavar="BRANCH", help="branch that is deployed (main)")] = None
    gitops_path: Annotated[
        str | None, typer.Option(metavar="DIR", help="folder of the application (argocd/applications/torghut)")
    ] = None
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="why; required to act, kept in the commit and the audit log")
    ] = ""
    confirm: Annotated[
        str, typer.Option(metavar="PHRASE", help="ACTUATE_TORGHUT, exactly; asked for on a terminal")
    ] = ""
    plan: Annotated[str | None, typer.Option(metavar="DIGEST", help="act only if the plan is still this one")] = None
    at: Annotated[
        str | None,
        typer.Option(
            metavar="RFC3339",
            help="take this for the time now: the time a restart is stamped with; evidence only in a mere plan",
        ),
    ] = None
    ticket: Annotated[str, typer.Option(metavar="ID", help="ticket of the change")] = ""
    kubeconfig: Annotated[Path | None, typer.Option(metavar="FILE", help="kubeconfig to read the cluster with")] = None
    context: Annotated[str | None, typer.Option(metavar="NAME", help="context of the kubeconfig")] = None
    from_snapshot: Annotated[
        Path | None, typer.Option(metavar="PATH", help="read the system from a snapshot, to plan only")
    ] = None
    branch: Annotated[bool, typer.Option("--branch", help="commit on a new branch of the repository, push nothing")] = (
        False
    )
    pr: Annotated[bool, typer.Option("--pr", help="push and open a pull request, or adopt the one that is open")] = (
        False
    )
    draft: Annotated[bool, typer.Option("--draft", help="open the pull request as a draft")] = False
    label: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="label of the pull request; may be repeated")
    ] = None
    wait: Annotated[bool, typer.Option("--wait", help="with --pr: follow it to the effective state")] = False
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="how long each stage of --wait may take: 90s, 30m, 2h")
    ] = "30m"
    sync: Annotated[bool, typer.Option("--sync", help="with --wait: ask Argo CD to refresh and sync")] = False
    pull_request: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="with --wait: follow this one, plan nothing")
    ] = None
    audit_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="audit log (~/.local/state/torghut/audit.jsonl)")
    ] = None
    output: Annotated[
        Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="how the plan is written")
    ] = None

    def load_environment(self, process: Mapping[str, str]) -> Environment:
        """Return the environment that these options choose, with the names they give. Raises ConfigurationError."""
        return load_environment(self.environment, self.config, process).renamed(self.names)
