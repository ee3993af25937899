"""From a procedure's options to the request that the engine takes, or the sentence that says which option is wrong."""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from torghut_core.clock import SystemClock
from torghut_core.rfc3339 import parse_ns
from torghutctl.actuation.request import Effect, ForgeOpener, Planner, Request, SnapshotReader
from torghutctl.adapters.git_client import local_path, locate, remote_host, remote_slug
from torghutctl.adapters.git_user import Credential
from torghutctl.commands.procedure_options import ProcedureOptions
from torghutctl.effects.actions import Hands
from torghutctl.effects.forge import Forge
from torghutctl.environments import Environment, name_option
from torghutctl.errors import ConfigurationError, UpstreamError
from torghutctl.planning.gates import Intent
from torghutctl.planning.plan import Plan
from torghutctl.procedures.specification import Spec
from torghutctl.render.streams import is_terminal, tell, telling_once
from torghutctl.snapshot.agent_run import read_agent_run
from torghutctl.snapshot.repository import Repository

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DISCOVERY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Acting:
    """What a procedure with steps outside git takes besides."""

    act: bool
    second_phrase: str = ""
    only_a_person: bool = False
    """Whether a branch or pull request too is for a person at a terminal."""
    replay_group: str | None = None
    """Consumer group of a replay, which must not have been used."""
    storage_namespace: str | None = None
    """Namespace of the object storage, where its pods have to be known."""


def seconds(text: str) -> float:
    """Return a duration such as 90s, 30m, 2h or 45 in seconds. Raises ConfigurationError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None:
        raise ConfigurationError(f"--timeout {text}: must be a duration such as 90s, 30m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def build_request(
    options: ProcedureOptions,
    spec: Spec,
    planner: Planner,
    arguments: Mapping[str, str],
    *,
    words: tuple[str, ...] = (),
    acting: Acting | None = None,
) -> Request:
    """Return the engine's request for these options. Raises ConfigurationError when they contradict each other."""
    _require_given(options)
    if (options.wait or options.sync or options.pull_request is not None) and not options.pr:
        raise ConfigurationError("--wait, --sync and --pull-request: go with --pr")
    if (options.sync or options.pull_request is not None) and not options.wait:
        raise ConfigurationError("--sync and --pull-request: go with --wait")
    if (options.draft or options.label) and not options.pr:
        raise ConfigurationError("--draft and --label: go with --pr")
    act = acting is not None and acting.act
    if options.branch + options.pr + act > 1:
        raise ConfigurationError("--branch, --pr and --act: choose one")
    if options.from_snapshot is not None and (options.branch or options.pr or act):
        raise ConfigurationError("--from-snapshot: is for a mere plan", hint="act on what the system says now")
    if options.at is not None and spec.needs_cluster and not spec.is_stamped and (options.branch or options.pr or act):
        raise ConfigurationError(
            f"--at {options.at}: is for a mere plan of {spec.name}",
            hint="what it starts is decided by the clock: leave --at out",
        )
    environment = options.load_environment(os.environ)
    if environment.chosen_by:
        tell(f"environment {environment.name}, the default of {environment.chosen_by}")
    gitops_path = options.gitops_path or environment.gitops_path
    repo = options.repo or environment.repo or _enclosing_clone(gitops_path)
    if repo is None:
        raise ConfigurationError(
            "--repo: must be given",
            hint="the path or URL of the GitOps repository, or an entry in the environments file, or run it in a clone",
        )
    now_ns = SystemClock().now_ns()
    effect = (
        Effect.BRANCH if options.branch else Effect.PULL_REQUEST if options.pr else Effect.ACT if act else Effect.SHOW
    )
    is_asked = is_terminal()
    credential = forge_credential(repo, environment.token_file)
    return Request(
        spec=spec,
        words=words,
        planner=planner,
        arguments=arguments,
        environment=environment,
        repo=repo,
        base=options.base or environment.base,
        gitops_path=gitops_path,
        effect=effect,
        intent=Intent(
            reason=options.reason,
            confirm=options.confirm,
            is_environment_named=environment.is_named,
            is_production=environment.production,
            agent_run=read_agent_run(os.environ),
            is_person_at_terminal=is_asked,
        ),
        at_ns=now_ns if options.at is None else moment(options.at),
        now_ns=now_ns,
        options=_where(options, repo, is_repo_known=environment.repo is not None),
        plan_digest=options.plan,
        ticket=options.ticket,
        audit_path=options.audit_log or default_audit_path(os.environ),
        actor=f"{user()}@{socket.gethostname()}",
        is_draft=options.draft,
        labels=tuple(options.label or ()),
        credential=credential,
        read_snapshot=snapshot_reader(
            options,
            environment,
            is_needed=spec.needs_cluster,
            acting=acting,
            at_ns=_time_of_evidence(options, spec, effect),
        ),
        ask_person=_asking(act, acting) if is_asked else None,
        open_forge=_forge_opener(environment, credential),
        second_phrase=acting.second_phrase if acting is not None else "",
        only_a_person=acting is not None and acting.only_a_person,
        open_hands=lambda: _hands(options, environment),
    )


def _time_of_evidence(options: ProcedureOptions, spec: Spec, effect: Effect) -> int | None:
    """Return the time that evidence is judged at; None stands for the clock.

    Where --at is what a change is stamped with, a plan is judged as the act that follows it will be: by the clock.
    """
    if options.at is None or effect is not Effect.SHOW or (spec.is_stamped and options.from_snapshot is None):
        return None
    return moment(options.at)


def _enclosing_clone(gitops_path: str) -> str | None:
    """Return the clone that the working directory is in, where it holds the folder of the application."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            return str(folder) if (folder / gitops_path).is_dir() else None
    return None


def _where(options: ProcedureOptions, repo: str, *, is_repo_known: bool) -> tuple[tuple[str, str], ...]:
    """Return the options that a printed command needs to mean the same place, from any folder."""
    path = local_path(options.repo or repo)
    address = str(path.absolute()) if path is not None and path.is_dir() else repo
    given = {
        "--config": options.config and options.config.absolute(),
        "--repo": None if options.repo is None and is_repo_known else address,
        "--base": options.base,
        "--gitops-path": options.gitops_path,
        "--kubeconfig": options.kubeconfig and options.kubeconfig.absolute(),
        "--context": options.context,
        **{name_option(key): value for key, value in options.names.items()},
        "--audit-log": options.audit_log and options.audit_log.absolute(),
    }
    return tuple((name, str(value)) for name, value in given.items() if value)


def moment(at: str | None) -> int:
    """Return --at, or now, in nanoseconds since the epoch. Raises ConfigurationError."""
    if at is None:
        return SystemClock().now_ns()
    return parse_moment("--at", at)


def parse_moment(option: str, text: str) -> int:
    """Return an option's RFC 3339 time in nanoseconds since the epoch. Raises ConfigurationError."""
    try:
        return parse_ns(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{option} {text!r}: must be an RFC 3339 time with a zone", hint="for example 2026-03-02T14:30:00Z"
        ) from error


def _require_given(options: ProcedureOptions) -> None:
    """Refuse an option that is given and empty: a variable that a script left unset must not choose a default."""
    named = {
        "-e": options.environment,
        "--config": options.config,
        "--repo": options.repo,
        "--base": options.base,
        "--gitops-path": options.gitops_path,
        "--kubeconfig": options.kubeconfig,
        "--context": options.context,
        "--from-snapshot": options.from_snapshot,
        "--audit-log": options.audit_log,
        "--label": next((label for label in options.label or () if not label.strip()), None),
    }
    for name, value in named.items():
        # An empty path is the working directory by the time it gets here.
        if value is not None and str(value).strip() in ("", "."):
            if name in ("--repo", "--gitops-path", "--from-snapshot") and str(value) == ".":
                continue
            raise ConfigurationError(f"{name} {str(value).removesuffix('.')!r}: must not be empty")
    for item in fields(options):
        value = getattr(options, item.name)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str | Path) and not _is_text(str(text)):
                name = f"--{item.name.replace('_', '-')}"
                raise ConfigurationError(f"{name} {str(text)!r}: must be text in UTF-8")
    if options.plan is not None and _DIGEST.fullmatch(options.plan) is None:
        raise ConfigurationError(
            f"--plan {options.plan!r}: must be sha256: and 64 hexadecimal digits", hint="the plan shows its digest"
        )
    seconds(options.timeout)
    if options.pull_request is not None and options.pull_request < 1:
        raise ConfigurationError(f"--pull-request {options.pull_request}: must be 1 or more")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def default_audit_path(environment: Mapping[str, str]) -> Path:
    """Return where the audit log is without --audit-log."""
    root = environment.get("XDG_STATE_HOME") or str(
        Path(environment.get("HOME", "~")).expanduser() / ".local" / "state"
    )
    return Path(root) / "torghut" / "audit.jsonl"


def forge_credential(repo: str, token_file: str | None) -> Credential | None:
    """Return the token for a remote repository: GITHUB_TOKEN, GH_TOKEN, or the environment entry's tokenFile."""
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


def snapshot_reader(
    options: ProcedureOptions,
    environment: Environment,
    *,
    is_needed: bool,
    acting: Acting | None = None,
    at_ns: int | None = None,
) -> SnapshotReader | None:
    """Return how to read the system; None when it is not needed and nothing says where it is.

    `at_ns` stands for the present in a mere plan; what acts is judged by the clock.
    """
    from torghutctl.snapshot.reader import read
    from torghutctl.snapshot.target import Target

    named = (options.from_snapshot, options.kubeconfig, options.context)
    is_named = any((*named, environment.kubeconfig, environment.context, environment.local))
    if not is_needed and not is_named:
        return None
    is_local = not any(named)
    kubeconfig = options.kubeconfig or (Path(environment.kubeconfig).expanduser() if environment.kubeconfig else None)
    target = Target(
        bundle=options.from_snapshot,
        local=Path(environment.local) if environment.local and is_local else None,
        kubeconfig=kubeconfig,
        context=options.context or environment.context,
        names=environment.names,
        replay_group=acting.replay_group if acting is not None else None,
        storage_namespace=acting.storage_namespace if acting is not None else None,
    )
    say = telling_once()  # a wait looks again and again
    return lambda: read(target, at_ns=at_ns, tell=say)


def _forge_opener(environment: Environment, credential: Credential | None) -> ForgeOpener:
    """Return how to open the forge: the entry's, else local for a bare repository on this machine, else GitHub."""

    def open_forge(repository: Repository) -> Forge:
        from torghutctl.adapters.github_client import GitHubClient, api_address
        from torghutctl.effects.github_forge import GitHubForge
        from torghutctl.effects.local_forge import LocalForge

        remote = repository.location.remote or repository.location.given
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


def _hands(options: ProcedureOptions, environment: Environment) -> Hands:
    """Return what carries out actions: commands in pods, and annotations of KafkaTopics."""
    from torghutctl.adapters.kubernetes_client import connect
    from torghutctl.adapters.kubernetes_writer import KubernetesWriter
    from torghutctl.adapters.pod_commands import PodCommands
    from torghutctl.snapshot.api_versions import ServedVersions
    from torghutctl.snapshot.http import ReadError

    kubeconfig = options.kubeconfig or (Path(environment.kubeconfig).expanduser() if environment.kubeconfig else None)
    reader = connect(kubeconfig=kubeconfig, context=options.context or environment.context, environment=os.environ)
    writer, served = KubernetesWriter(reader), ServedVersions(reader)

    def annotate(namespace: str, topic: str, key: str, value: str | None) -> None:
        try:
            version = served.version("kafka.strimzi.io", _DISCOVERY_SECONDS)
        except ReadError as error:
            raise UpstreamError(
                f"KafkaTopic {namespace}/{topic}: {error.detail}", hint="look at the operator"
            ) from error
        path = f"/apis/kafka.strimzi.io/{version}/namespaces/{namespace}/kafkatopics/{topic}"
        writer.merge_patch(path, {"metadata": {"annotations": {key: value}}}, what=f"KafkaTopic {namespace}/{topic}")

    return Hands(run=PodCommands(reader).run, annotate=annotate)


def _asking(act: bool, acting: Acting | None) -> Callable[[Plan, Intent], Intent]:
    phrase = acting.second_phrase if act and acting is not None else ""
    return lambda plan, intent: ask_person(plan, intent, second_phrase=phrase)


def ask_person(plan: Plan, intent: Intent, *, second_phrase: str = "") -> Intent:
    """Ask a person: the plan is shown first, then what is missing is typed."""
    if not has_to_be_asked(intent, second_phrase):
        return intent
    tell_plan(plan)
    if not intent.reason.strip():
        intent = replace(intent, reason=_typed("why"))
    if not intent.confirm:
        intent = replace(intent, confirm=_typed("type ACTUATE_TORGHUT to go on"))
    return replace(intent, typed=_typed("this deletes; type the topics' names to go on")) if second_phrase else intent


def has_to_be_asked(intent: Intent, second_phrase: str = "") -> bool:
    """Tell whether a person at a terminal has something to type, before which the plan is shown."""
    return not (intent.confirm and intent.reason.strip()) or bool(second_phrase)


def tell_plan(plan: Plan) -> None:
    """Show a plan to whoever is asked about it, as the terminal is wide."""
    from torghutctl.render.output import screen
    from torghutctl.render.plan_view import plan_table

    on = screen(os.environ, sys.stderr)
    tell(plan_table(plan.report(), width=on.width, is_coloured=on.is_coloured) + "\n")


def _typed(question: str) -> str:
    """Return what a person types; nothing where the input has ended, which opens no gate."""
    # Written here, since what asks for a line, as `input` does, writes to standard output too.
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


def user() -> str:
    """Return who runs this process, for the audit log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"
