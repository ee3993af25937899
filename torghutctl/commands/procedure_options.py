"""The options that every procedure shares, declared once, and the way from them to the engine."""

from __future__ import annotations

import getpass
import inspect
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from torghut_core.clock import SystemClock
from torghut_core.rfc3339 import parse_ns
from torghutctl.errors import ConfigurationError, ExitCode, RefusedError
from torghutctl.render.output import Format


@dataclass(frozen=True, kw_only=True)
class ProcedureOptions:
    """What the command line gave, by the names of the contract."""

    environment: Annotated[str | None, typer.Option("-e", "--environment", help="entry of the environments file")] = (
        None
    )
    config: Annotated[Path | None, typer.Option(help="environments file (~/.config/torghut/environments.yaml)")] = None
    repo: Annotated[str | None, typer.Option(help="path or URL of the GitOps repository")] = None
    base: Annotated[str | None, typer.Option(help="branch that is deployed (main)")] = None
    gitops_path: Annotated[str | None, typer.Option(help="folder of the application (argocd/applications/torghut)")] = (
        None
    )
    reason: Annotated[str, typer.Option(help="why; required to act, kept in the commit and the audit log")] = ""
    confirm: Annotated[str, typer.Option(help="ACTUATE_TORGHUT, exactly; asked for on a terminal")] = ""
    plan: Annotated[str | None, typer.Option(metavar="DIGEST", help="act only if the plan is still this one")] = None
    at: Annotated[str | None, typer.Option(metavar="RFC3339", help="take this for the time now")] = None
    ticket: Annotated[str, typer.Option(metavar="ID", help="ticket of the change")] = ""
    kubeconfig: Annotated[Path | None, typer.Option(help="kubeconfig to read the cluster with")] = None
    context: Annotated[str | None, typer.Option(help="context of the kubeconfig")] = None
    from_snapshot: Annotated[Path | None, typer.Option(help="read the system from a snapshot, to plan only")] = None
    branch: Annotated[bool, typer.Option("--branch", help="commit on a new branch of the repository, push nothing")] = (
        False
    )
    pr: Annotated[bool, typer.Option("--pr", help="push and open a pull request, or adopt the one that is open")] = (
        False
    )
    draft: Annotated[bool, typer.Option("--draft", help="open the pull request as a draft")] = False
    label: Annotated[list[str] | None, typer.Option(help="label of the pull request; may be repeated")] = None
    audit_log: Annotated[Path | None, typer.Option(help="audit log (~/.local/state/torghut/audit.jsonl)")] = None
    output: Annotated[Format | None, typer.Option("-o", "--output", help="how the plan is written")] = None


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


def run_procedure(options: ProcedureOptions, spec: Any, planner: Any, arguments: Mapping[str, str]) -> None:
    """Plan, and do what the options ask for; write the plan to standard output.

    Raises the errors that the contract's exit codes stand for, after the plan has been written where there is one.
    """
    from torghutctl.actuation.engine import run
    from torghutctl.actuation.request import Effect
    from torghutctl.render.output import write
    from torghutctl.render.plan_view import plan_markdown, plan_table

    request = build_request(options, spec, planner, arguments)
    outcome = run(request)
    plan = outcome.plan
    for note in outcome.notes:
        typer.echo(note, err=True)
    if plan.is_empty and not outcome.notes and not plan.draft.skipped:
        typer.echo("nothing to change", err=True)
    write(plan.report(), options.output, table=plan_table, markdown=plan_markdown)
    if plan.draft.skipped:
        raise RefusedError(
            "left as they are: " + "; ".join(plan.draft.skipped), hint="edit these files by hand; the others are done"
        )
    if request.effect is Effect.SHOW:
        if plan.refusals and not plan.is_empty:
            closed = "; ".join(f"{item.name}: {item.detail}" for item in plan.refusals)
            raise RefusedError(f"this plan would be refused: {closed}", hint="mend that first; nothing was changed")
        if not plan.is_empty:
            typer.echo("plan only; add --reason TEXT --confirm ACTUATE_TORGHUT and --branch or --pr to act", err=True)


def list_releases(options: ProcedureOptions) -> None:
    """Write the last images of the trading service, newest first."""
    from torghutctl.actuation.engine import plan_input
    from torghutctl.procedures.rollback_image import SPEC, releases
    from torghutctl.procedures.switches import KNATIVE_FILE
    from torghutctl.render.output import columns, write

    given = plan_input(build_request(options, SPEC, None, {}))
    rows = [release.row() for release in releases(given.history[KNATIVE_FILE], 10)]

    def table(report: Mapping[str, Any]) -> str:
        head = ("digest", "version", "commit", "at", "rolled back")
        cells = [
            (
                str(r["digest"])[:19],
                str(r["version"]),
                str(r["commit"])[:12],
                str(r["at"]),
                "yes" if r["wasRolledBack"] else "no",
            )
            for r in report["releases"]
        ]
        return columns([head, *cells]) if cells else "the file's history has no image digest"

    write({"schemaVersion": "torghut.releases/v1", "releases": rows}, options.output, table=table)


def build_request(options: ProcedureOptions, spec: Any, planner: Any, arguments: Mapping[str, str]) -> Any:
    """Return the engine's request for these options. Raises ConfigurationError when they contradict each other."""
    from torghutctl.actuation.request import Effect, Request
    from torghutctl.environments import load_environment
    from torghutctl.planning.gates import Intent

    if options.branch and options.pr:
        raise ConfigurationError("--branch and --pr: choose one")
    if options.from_snapshot is not None and (options.branch or options.pr):
        raise ConfigurationError("--from-snapshot: is for a mere plan", hint="act on what the system says now")
    environment = load_environment(options.environment, options.config, os.environ)
    repo = options.repo or environment.repo
    if repo is None:
        raise ConfigurationError(
            "--repo: must be given",
            hint="the path or URL of the GitOps repository, or an entry in the environments file",
        )
    effect = Effect.BRANCH if options.branch else Effect.PULL_REQUEST if options.pr else Effect.SHOW
    is_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    credential = forge_credential(repo, environment.token_file)
    return Request(
        spec=spec,
        planner=planner,
        arguments=arguments,
        environment=environment,
        repo=repo,
        base=options.base or environment.base,
        gitops_path=options.gitops_path or environment.gitops_path,
        effect=effect,
        intent=Intent(
            reason=options.reason,
            confirm=_confirmation(options, effect is not Effect.SHOW and is_terminal),
            is_environment_named=environment.is_named,
            is_production=environment.production,
            agent_run=read_agent_run(os.environ),
            is_person_at_terminal=is_terminal,
        ),
        at_ns=moment(options.at),
        plan_digest=options.plan,
        ticket=options.ticket,
        audit_path=options.audit_log or default_audit_path(os.environ),
        actor=f"{_user()}@{socket.gethostname()}",
        is_draft=options.draft,
        labels=tuple(options.label or ()),
        credential=credential,
        read_snapshot=_snapshot_reader(options, environment, is_needed=spec.needs_cluster),
        open_forge=_forge_opener(environment, credential),
    )


def moment(at: str | None) -> int:
    """Return --at, or now, in nanoseconds since the epoch. Raises ConfigurationError."""
    if at is None:
        return SystemClock().now_ns()
    try:
        return parse_ns(at)
    except ValueError as error:
        raise ConfigurationError(f"--at: {error}") from error


def default_audit_path(environment: Mapping[str, str]) -> Path:
    """Return where the audit log is without --audit-log."""
    root = environment.get("XDG_STATE_HOME") or str(
        Path(environment.get("HOME", "~")).expanduser() / ".local" / "state"
    )
    return Path(root) / "torghut" / "audit.jsonl"


def read_agent_run(environment: Mapping[str, str]) -> Any:
    """Return the AgentRun this process is part of, None outside of one.

    The platform's runner names its description in AGENT_RUN_SPEC; its presence, even empty, means "in an AgentRun", and
    what cannot be read is handed on as such, for the gates to refuse.
    """
    from torghutctl.planning.gates import AgentRun

    markers = [
        name for name in ("AGENT_RUN_SPEC", "AGENT_RUNNER_SPEC_PATH", "AGENT_RUNNER_SPEC") if name in environment
    ]
    if not markers:
        return None
    path = environment.get("AGENT_RUN_SPEC", "")
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return AgentRun(source=f"AGENT_RUN_SPEC={path or '(empty)'}", document=None)
    inner = document.get("agentRun", document) if isinstance(document, dict) else None
    return AgentRun(source=path, document=inner if isinstance(inner, dict) else None)


def forge_credential(repo: str, token_file: str | None) -> Any:
    """Return the token for a remote repository: GITHUB_TOKEN, GH_TOKEN, or the environment entry's tokenFile."""
    from torghutctl.adapters.git_client import Credential, local_path, locate, remote_host

    address = repo
    path = local_path(repo)
    if path is not None and path.is_dir():
        address = locate(repo).remote or repo
    host = remote_host(address)
    if host is None:
        return None
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or ""
    if not token and token_file:
        try:
            token = Path(token_file).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigurationError(f"tokenFile {token_file}: cannot be read: {error.strerror}") from error
    return Credential(host=host, token=token) if token else None


def _snapshot_reader(options: ProcedureOptions, environment: Any, *, is_needed: bool) -> Any:
    """Return how to read the system; None when it is not needed and nothing says where it is."""
    from torghutctl.snapshot.reader import Target, read

    is_named = any((options.from_snapshot, options.kubeconfig, options.context, environment.context, environment.local))
    if not is_needed and not is_named:
        return None
    is_local = environment.local and not any((options.from_snapshot, options.kubeconfig, options.context))
    kubeconfig = options.kubeconfig or (Path(environment.kubeconfig).expanduser() if environment.kubeconfig else None)
    target = Target(
        bundle=options.from_snapshot,
        local=Path(environment.local) if is_local else None,
        kubeconfig=kubeconfig,
        context=options.context or environment.context,
        names=environment.names,
    )
    at_ns = moment(options.at) if options.at else None
    return lambda: read(target, at_ns=at_ns, tell=_tell)


def _tell(line: str) -> None:
    from torghutctl.render.redaction import redact_text

    typer.echo(redact_text(line), err=True)


def _forge_opener(environment: Any, credential: Any) -> Any:
    """Return how to open the forge: the entry's, else local for a bare repository on this machine, else GitHub."""

    def open_forge(repository: Any) -> Any:
        from torghutctl.adapters.git_client import local_path, remote_slug
        from torghutctl.adapters.github_client import GitHubClient, api_address
        from torghutctl.effects.github_forge import GitHubForge
        from torghutctl.effects.local_forge import LocalForge

        remote = repository.location.remote
        path = local_path(remote)
        if path is not None and environment.forge in (None, "local"):
            return LocalForge(path, repository.client)
        if environment.forge == "local":
            raise ConfigurationError(
                f"forge local: {remote} is not a repository on this machine", hint="use forge: github"
            )
        if credential is None:
            raise ConfigurationError(
                "--pr: needs a token for the forge", hint="set GITHUB_TOKEN, or tokenFile in the environments file"
            )
        api = environment.forge_url or api_address(credential.host)
        return GitHubForge(GitHubClient(api=api, slug=remote_slug(remote), token=credential.token))

    return open_forge


def _confirmation(options: ProcedureOptions, may_ask: bool) -> str:
    if options.confirm or not may_ask:
        return options.confirm
    return str(typer.prompt("type ACTUATE_TORGHUT to go on", default="", show_default=False, err=True))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


__all__ = ["ExitCode", "ProcedureOptions", "build_request", "run_procedure", "shared_options"]
