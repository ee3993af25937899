"""The options that every procedure shares, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from torghutctl.environments import NAME_OPTIONS, Environment, load_environment
from torghutctl.render.output import Format


@dataclass(frozen=True, kw_only=True)
class ProcedureOptions:
    """What the command line gave, by the names of the contract."""

    environment: Annotated[str | None, typer.Option("-e", "--environment", help="entry of the environments file")] = (
        None
    )
    config: Annotated[Path | None, typer.Option(help="environments file (~/.config/torghut/environments.yaml)")] = None
    repo: Annotated[
        str | None,
        typer.Option(help="path or URL of the GitOps repository; a bare one on this machine is its own forge"),
    ] = None
    base: Annotated[str | None, typer.Option(help="branch that is deployed (main)")] = None
    gitops_path: Annotated[str | None, typer.Option(help="folder of the application (argocd/applications/torghut)")] = (
        None
    )
    reason: Annotated[str, typer.Option(help="why; required to act, kept in the commit and the audit log")] = ""
    confirm: Annotated[str, typer.Option(help="ACTUATE_TORGHUT, exactly; asked for on a terminal")] = ""
    plan: Annotated[str | None, typer.Option(metavar="DIGEST", help="act only if the plan is still this one")] = None
    at: Annotated[
        str | None,
        typer.Option(
            metavar="RFC3339",
            help="take this for the time now: the time a restart is stamped with; evidence only in a mere plan",
        ),
    ] = None
    ticket: Annotated[str, typer.Option(metavar="ID", help="ticket of the change")] = ""
    kubeconfig: Annotated[Path | None, typer.Option(help="kubeconfig to read the cluster with")] = None
    context: Annotated[str | None, typer.Option(help="context of the kubeconfig")] = None
    namespace: Annotated[str | None, typer.Option(help="namespace of the system (torghut)")] = None
    service: Annotated[str | None, typer.Option(help="Knative Service that trades (torghut)")] = None
    ws_deployment: Annotated[str | None, typer.Option(help="Deployment of the forwarder (torghut-ws)")] = None
    flink_deployment: Annotated[str | None, typer.Option(help="FlinkDeployment of the TA job (torghut-ta)")] = None
    clickhouse_service: Annotated[str | None, typer.Option(help="Service of ClickHouse (torghut-clickhouse)")] = None
    cnpg_cluster: Annotated[str | None, typer.Option(help="CloudNativePG Cluster (torghut-db)")] = None
    from_snapshot: Annotated[Path | None, typer.Option(help="read the system from a snapshot, to plan only")] = None
    branch: Annotated[bool, typer.Option("--branch", help="commit on a new branch of the repository, push nothing")] = (
        False
    )
    pr: Annotated[bool, typer.Option("--pr", help="push and open a pull request, or adopt the one that is open")] = (
        False
    )
    draft: Annotated[bool, typer.Option("--draft", help="open the pull request as a draft")] = False
    label: Annotated[list[str] | None, typer.Option(help="label of the pull request; may be repeated")] = None
    wait: Annotated[bool, typer.Option("--wait", help="with --pr: follow it to the effective state")] = False
    timeout: Annotated[str, typer.Option(metavar="D", help="how long each stage of --wait may take: 90s, 30m, 2h")] = (
        "30m"
    )
    sync: Annotated[bool, typer.Option("--sync", help="with --wait: ask Argo CD to refresh and sync")] = False
    pull_request: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="with --wait: follow this one, plan nothing")
    ] = None
    audit_log: Annotated[Path | None, typer.Option(help="audit log (~/.local/state/torghut/audit.jsonl)")] = None
    output: Annotated[Format | None, typer.Option("-o", "--output", help="how the plan is written")] = None

    @property
    def names(self) -> dict[str, str | None]:
        """The names of resources that were given, by field of `Names`; None where none was."""
        return {key: getattr(self, key) for key in NAME_OPTIONS}

    def load_environment(self, process: Mapping[str, str]) -> Environment:
        """Return the environment that these options choose, with the names they give. Raises ConfigurationError."""
        return load_environment(self.environment, self.config, process).renamed(self.names)


def shared_options(spec_help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the shared options beside its own; it receives them as `options`."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(ProcedureOptions, include_extras=True)
        own_hints = get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(annotation=own_hints[name])
            for name, parameter in inspect.signature(function).parameters.items()
            if name != "options"
        ]
        shared = [
            inspect.Parameter(
                item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=hints[item.name]
            )
            for item in fields(ProcedureOptions)
        ]
        names = {parameter.name for parameter in shared}

        def command(**given: Any) -> None:
            options = ProcedureOptions(**{name: given.pop(name) for name in names})
            function(options=options, **given)

        command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        command.__doc__ = spec_help
        command.__name__ = function.__name__
        return command

    return decorate
