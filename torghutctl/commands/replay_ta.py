"""`torghutctl replay-ta start|status|exit`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from torghut_core.rfc3339 import format_ns
from torghutctl.actuation.request import Outcome
from torghutctl.commands.option_group import one_of, with_options
from torghutctl.commands.procedure_options import ProcedureOptions
from torghutctl.commands.procedure_request import Acting, build_request, default_audit_path, moment, parse_moment
from torghutctl.commands.procedure_run import run_procedure
from torghutctl.effects.replay_state import ReplayState
from torghutctl.errors import ConfigurationError, ExitCode
from torghutctl.procedures.replay_actions import TYPED_TOPICS, Places
from torghutctl.procedures.replay_ta import SPEC, Mode, Replay, plan_exit, plan_start, verify
from torghutctl.render.output import View, columns, write
from torghutctl.render.streams import tell

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help=SPEC.help_text())

IdOption = Annotated[
    str, typer.Option("--id", metavar="NAME", help="name of this replay, never used before: a-z, 0-9, -")
]


@app.command("start")
@with_options(
    ProcedureOptions, "Plan or do the next step of a replay; repeat it after each step.\n\n" + SPEC.help_text()
)
def start(
    *,
    options: ProcedureOptions,
    identity: IdOption,
    mode: Annotated[
        Mode, typer.Option(metavar=one_of(Mode), help="from-scratch deletes topics and state first")
    ] = Mode.BACKFILL,
    since: Annotated[str | None, typer.Option(metavar="RFC3339", help="begin of the window that is wanted")] = None,
    kafka_pod: Annotated[
        str | None, typer.Option(metavar="NAME", help="from scratch: exact name of a Kafka broker's pod")
    ] = None,
    kafka_bootstrap: Annotated[
        str, typer.Option(metavar="ADDRESS", help="from scratch: the broker as that pod sees it")
    ] = "localhost:9092",
    minio_pod: Annotated[
        str | None, typer.Option(metavar="NAME", help="from scratch: exact name of the MinIO pod")
    ] = None,
    minio_namespace: Annotated[str, typer.Option(metavar="NAME", help="from scratch: its namespace")] = "minio",
    bucket: Annotated[
        str, typer.Option(metavar="BUCKET", help="from scratch: alias/bucket in that pod's mc")
    ] = "local/flink-checkpoints",
    state_prefix: Annotated[
        str, typer.Option(metavar="PREFIX", help="from scratch: prefix of checkpoints and savepoints")
    ] = "torghut/technical-analysis",
    act: Annotated[
        bool, typer.Option("--act", help="carry out the deleting steps now; for a person at a terminal")
    ] = False,
) -> None:
    environment = options.load_environment(os.environ)
    state = _state(options, environment.name, identity)
    places = None
    if mode is Mode.FROM_SCRATCH and kafka_pod and minio_pod:
        places = Places(
            kafka_namespace=environment.names.kafka_namespace,
            kafka_pod=kafka_pod,
            kafka_bootstrap=kafka_bootstrap,
            minio_namespace=minio_namespace,
            minio_pod=minio_pod,
            bucket=bucket,
            prefix=state_prefix,
        )
    replay = Replay(
        identity=identity,
        mode=mode,
        since_ns=None if since is None else parse_moment("--since", since),
        ticket=options.ticket,
        places=places,
        is_state_removed=bool(state.read().get("isStateRemoved")),
    )
    outcome = run_procedure(
        options,
        SPEC,
        lambda given: plan_start(given, replay),
        verify,
        {"step": "start", "id": identity, "mode": mode.value, "since": since or ""},
        words=["start", "--id", identity, "--mode", mode.value, *(["--since", since] if since else [])],
        acting=Acting(
            act=act,
            second_phrase=TYPED_TOPICS,
            only_a_person=mode is Mode.FROM_SCRATCH,
            replay_group=replay.group,
            storage_namespace=minio_namespace if mode is Mode.FROM_SCRATCH else None,
        ),
    )
    if outcome is not None and outcome.plan.result is not None:
        state.add_step(
            _step(options, outcome), id=identity, mode=mode.value, **({"isStateRemoved": True} if act else {})
        )


@app.command("exit")
@with_options(
    ProcedureOptions, "Leave the replay that git is in: the steady group, offset reset and upgrade mode come back."
)
def leave(options: ProcedureOptions) -> None:
    run_procedure(options, SPEC, plan_exit, verify, {"step": "exit"}, words=["exit"])


@app.command("status")
@with_options(
    ProcedureOptions,
    "Tell where a replay stands: what git wants, what is live, which steps were done from here.\n\n"
    "Exit code: 0 told, 5 the ConfigMap or the FlinkDeployment could not be read.",
)
def status(
    options: ProcedureOptions,
    identity: Annotated[
        str | None, typer.Option("--id", metavar="NAME", help="the replay whose steps are shown")
    ] = None,
) -> None:
    from torghutctl.actuation.engine import observe
    from torghutctl.procedures.verification import check_all

    if options.branch or options.pr:
        raise ConfigurationError("replay-ta status: changes nothing", hint="leave --branch and --pr out")
    request = build_request(options, SPEC, plan_exit, {})
    given = observe(request)
    checks = check_all(verify, given)
    remembered = _state(options, request.environment.name, identity).read() if identity else {}
    report = {
        "schemaVersion": "torghut.replay/v1",
        "id": identity,
        "mode": remembered.get("mode"),
        "steps": remembered.get("steps", []),
        "checks": [{"stage": c.stage.value, "name": c.name, "ok": c.ok, "detail": c.detail} for c in checks],
    }
    write(report, options.output, table=_table)
    if any(check.ok is None for check in checks):
        tell("could not be read: " + ", ".join(c.name for c in checks if c.ok is None))
        raise typer.Exit(int(ExitCode.UNKNOWN))


def _table(report: Mapping[str, Any]) -> View:
    steps = [
        (str(s["at"]), str(s["summary"]), str(s.get("pullRequest") or s.get("branch") or "")) for s in report["steps"]
    ]
    said = {True: "yes", False: "no", None: "not known"}
    checks = [(said[c["ok"]], str(c["name"]), str(c["detail"])) for c in report["checks"]]
    return [columns(rows) for rows in (steps, checks) if rows]


def _step(options: ProcedureOptions, outcome: Outcome) -> dict[str, Any]:
    plan, result = outcome.plan, outcome.plan.result
    pull = result.pull_request if result is not None else None
    return {
        "at": format_ns(moment(options.at)),
        "summary": plan.draft.summary,
        "digest": plan.digest,
        "branch": result.branch if result is not None else None,
        "pullRequest": pull.url if pull is not None else None,
        "before": {change.label: change.before for change in plan.draft.changes},
    }


def _state(options: ProcedureOptions, environment: str, identity: str) -> ReplayState:
    folder: Path = (options.audit_log or default_audit_path(os.environ)).parent / "replays"
    safe = "".join(c if c.isalnum() or c == "-" else "_" for c in f"{environment}-{identity}")
    return ReplayState(folder / f"{safe}.json")
