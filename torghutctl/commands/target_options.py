"""The options that say what to read, shared by health-report, snapshot and status."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torghut_core.market_calendar import is_covered
from torghut_core.market_calendar_table import FIRST_DAY, LAST_DAY
from torghut_core.rfc3339 import parse_ns
from torghutctl.environments import Environment, load_environment, name_option
from torghutctl.errors import InputError
from torghutctl.snapshot.reader import Target

if TYPE_CHECKING:
    from torghutctl.health.report import Operator

EnvironmentOption = Annotated[
    str | None, typer.Option("-e", "--environment", metavar="NAME", help="entry of the environments file")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="environments file, instead of ~/.config/torghut/environments.yaml"),
]
KubeconfigOption = Annotated[Path | None, typer.Option(metavar="FILE", help="kubeconfig file")]
ContextOption = Annotated[str | None, typer.Option(metavar="NAME", help="context in the kubeconfig")]
LocalOption = Annotated[
    Path | None,
    typer.Option("--local", metavar="DIR", help="read the processes of `up` or `demo` through the folder they run in"),
]
BundleOption = Annotated[
    Path | None,
    typer.Option("--from-snapshot", metavar="PATH", help="read a bundle (folder or .tar.gz) instead of anything live"),
]
AtOption = Annotated[str | None, typer.Option("--at", metavar="RFC3339", help="judge as of this time")]
RepoOption = Annotated[
    str | None,
    typer.Option(
        "--repo", metavar="PATH|URL", help="GitOps repository: adds what git wants, and completes the next command"
    ),
]
BaseOption = Annotated[str | None, typer.Option("--base", metavar="BRANCH", help="branch that is applied (main)")]
GitopsPathOption = Annotated[
    str | None, typer.Option("--gitops-path", metavar="DIR", help="folder of the manifests in the repository")
]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", metavar="NAME", help="namespace of the system (torghut)")
]
ServiceOption = Annotated[
    str | None, typer.Option("--service", metavar="NAME", help="Knative Service that trades (torghut)")
]
WsOption = Annotated[
    str | None, typer.Option("--ws-deployment", metavar="NAME", help="Deployment of the forwarder (torghut-ws)")
]
FlinkOption = Annotated[
    str | None, typer.Option("--flink-deployment", metavar="NAME", help="FlinkDeployment of the TA job (torghut-ta)")
]
ClickhouseOption = Annotated[
    str | None, typer.Option("--clickhouse-service", metavar="NAME", help="Service of ClickHouse (torghut-clickhouse)")
]
CnpgOption = Annotated[
    str | None, typer.Option("--cnpg-cluster", metavar="NAME", help="CloudNativePG Cluster (torghut-db)")
]


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
            repo=self.target.repo,
            is_live_declared=self.target.is_live_declared,
            options=self.target.options,
        )


def choose(
    *,
    environment: str | None,
    config: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    local: Path | None,
    from_snapshot: Path | None,
    at: str | None,
    repo: str | None,
    base: str | None,
    gitops_path: str | None,
    namespace: str | None,
    service: str | None,
    ws_deployment: str | None,
    flink_deployment: str | None,
    clickhouse_service: str | None,
    cnpg_cluster: str | None,
) -> Choice:
    """Return target and time. Raises InputError or ConfigurationError for values that cannot be.

    A bundle knows which system it is of: without -e no default environment of this machine is mixed in.
    """
    texts = {"-e": environment, "--context": context, "--repo": repo, "--base": base, "--gitops-path": gitops_path}
    for option, text in texts.items():
        if text == "":
            raise InputError(f"{option} '': must not be empty; leave it out for the default")
    is_of_today = from_snapshot is None or environment is not None
    entry = load_environment(environment, config, os.environ) if is_of_today else Environment()
    given = {
        "namespace": namespace,
        "service": service,
        "ws_deployment": ws_deployment,
        "flink_deployment": flink_deployment,
        "clickhouse_service": clickhouse_service,
        "cnpg_cluster": cnpg_cluster,
    }
    entry = entry.renamed(given)
    where = {
        "--config": config and config.absolute(),
        "--base": base,
        "--gitops-path": gitops_path,
        "--kubeconfig": kubeconfig and kubeconfig.absolute(),
        "--context": context,
        **{name_option(key): value for key, value in given.items()},
    }
    folder = local
    if folder is None and entry.local and from_snapshot is None and kubeconfig is None and context is None:
        folder = Path(entry.local)
    target = Target(
        bundle=from_snapshot,
        local=folder,
        kubeconfig=kubeconfig or (Path(entry.kubeconfig).expanduser() if entry.kubeconfig else None),
        context=context or entry.context,
        names=entry.names,
        repo=_from_any_folder(repo or entry.repo),
        base=base or entry.base,
        gitops_path=gitops_path or entry.gitops_path,
        credential=None if from_snapshot is not None else _credential(repo or entry.repo, entry.token_file),
        environment=entry.name if entry.is_named else None,
        options=tuple((option, str(value)) for option, value in where.items() if value is not None),
        is_live_declared=entry.live,
    )
    return Choice(target=target, at_ns=parse_at(at))


def _from_any_folder(repo: str | None) -> str | None:
    """Return a repository's folder by its whole path, since the next command may be pasted elsewhere; a URL as it is."""
    return str(Path(repo).absolute()) if repo is not None and Path(repo).is_dir() else repo


def _credential(repo: str | None, token_file: str | None) -> Any:
    if repo is None:
        return None
    from torghutctl.commands.procedure_run import forge_credential

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


def tell(line: str) -> None:
    """Write a line of progress to standard error, redacted."""
    from torghutctl.render.redaction import redact_text

    typer.echo(redact_text(line), err=True)
