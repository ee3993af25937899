"""The next command can be pasted as it stands: it names the same system, and the program takes it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.fakes import direct_reading, incidents, incidents_compound, incidents_sessions, incidents_single
from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import Cluster, serve
from torghutctl.cli import app
from torghutctl.commands.health_report import advice
from torghutctl.health.reasons import REASONS
from torghutctl.health.report import Operator, judge
from torghutctl.snapshot import bundle, sources
from torghutctl.snapshot.model import Reading, Snapshot
from torghutctl.snapshot.target import Target

assert incidents_compound and incidents_sessions and incidents_single, "importing them registers their cases"
pytestmark = pytest.mark.slow  # a command of each reason is run
RUNNER = CliRunner()
ONE_PER_REASON = {case.top.split(" ")[1]: case for case in incidents.CASES if case.top and case.at == base.NOW}
WITH_COMMAND = sorted(name for name in ONE_PER_REASON if REASONS[name].procedure is not None)


def _run(*arguments: str | Path) -> Any:
    return RUNNER.invoke(app, [str(argument) for argument in arguments])


def _next(result: Any) -> str:
    command = json.loads(result.stdout)["nextProcedure"]["command"]
    assert isinstance(command, str)
    return command


@pytest.mark.parametrize("reason", WITH_COMMAND)
def test_command_when_pasted_then_the_program_takes_it(reason: str, gitops: Any, tmp_path: Path) -> None:
    """Each reason's command, run as it was shown, plans or is refused by a gate; it is never a wrong usage or a bug."""
    case = ONE_PER_REASON[reason]
    cluster = base.healthy()
    case.bend(cluster)
    if reason == "ta_suspended":  # else git and cluster differ, which is another reason
        gitops.replace("ta/flinkdeployment.yaml", "state: running", "state: suspended")
    with serve(cluster, tmp_path) as kubeconfig:
        shown = _run("health-report", "--kubeconfig", kubeconfig, "--repo", gitops.bare, "--at", base.NOW, "-o", "json")
        program, *words = shlex.split(_next(shown))
        pasted = _run(*words)
    assert (program, pasted.exit_code in (0, 6)) == ("torghutctl", True), pasted.stderr


def test_command_when_paths_are_relative_then_it_can_be_pasted_in_any_folder(
    gitops: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and folders stand in the command by their whole path."""
    cluster = base.healthy()
    incidents.stop_forwarder(cluster, "alpaca_406_second_connection")
    (tmp_path / "environments.yaml").write_text("environments: {}\n")
    monkeypatch.chdir(tmp_path)
    with serve(cluster, tmp_path):
        where = ("--kubeconfig", "kubeconfig", "--config", "environments.yaml")
        repo = gitops.bare.relative_to(tmp_path)
        command = _next(_run("health-report", *where, "--repo", repo, "--at", base.NOW, "-o", "json"))
        monkeypatch.chdir("/")
        pasted = _run(*shlex.split(command)[1:])
    assert (
        f"--repo {gitops.bare} --config {tmp_path / 'environments.yaml'} --kubeconfig {tmp_path / 'kubeconfig'}"
        in command
    )
    assert pasted.exit_code == 0, pasted.stderr


NAMED = {
    "--namespace": "desk",
    "--service": "trader",
    "--ws-deployment": "feed",
    "--flink-deployment": "bars",
    "--clickhouse-service": "house",
    "--cnpg-cluster": "ledger",
}
PLACES = {"--context": "test", "--base": "main", "--gitops-path": "argocd/applications/torghut"}


def test_command_when_the_system_has_other_names_then_every_option_is_repeated_and_obeyed(
    gitops: Any, tmp_path: Path
) -> None:
    """What says which system is meant stands in the command, and the pasted command plans for that system."""
    gitops.replace("ws/deployment.yaml", "name: torghut-ws\n", "name: feed\n")
    config = tmp_path / "environments.yaml"
    config.write_text("environments:\n  desk: {live: false}\n")
    cluster = Cluster()
    with serve(cluster, tmp_path) as kubeconfig:
        given = {**NAMED, **PLACES, "--kubeconfig": str(kubeconfig), "--config": str(config), "--repo": gitops.bare}
        words = [str(word) for pair in given.items() for word in pair]
        snapshot = tmp_path / "bundle.tar.gz"
        _run("snapshot", snapshot, "-e", "desk", *words, "--at", base.NOW)
    told = bundle.read(snapshot).reading(sources.OPERATOR)
    report = judge(_second_connection(told), Operator())
    command = shlex.split(report["nextProcedure"]["command"])
    assert command[:4] == ["torghutctl", "restart-ws", "-e", "desk"]
    shown = dict(zip(command[2::2], command[3::2], strict=True))
    assert {name: shown.get(name) for name in given} == {name: str(value) for name, value in given.items()}
    plan = _run(*command[1:], "--at", base.NOW, "-o", "json")
    assert (plan.exit_code, [file["path"] for file in json.loads(plan.stdout)["files"]]) == (
        0,
        ["argocd/applications/torghut/ws/deployment.yaml"],
    ), plan.stderr


def _second_connection(told: Reading) -> Snapshot:
    cluster = base.healthy()
    incidents.stop_forwarder(cluster, "alpaca_406_second_connection")
    snapshot = direct_reading.read(cluster, base.NOW)
    readings = {**snapshot.readings, sources.OPERATOR: told}
    return Snapshot(observed_at_ns=snapshot.observed_at_ns, names=snapshot.names, readings=readings)


def _told(**changes: Any) -> Reading:
    value = {"environment": None, "repo": None, "isLiveDeclared": False, "options": [], **changes}
    return Reading(source=sources.OPERATOR, value=value)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (Operator(), "-e staging --repo /srv/a --kubeconfig /k --base main"),
        (Operator(repo="/srv/b"), "-e staging --repo /srv/b --kubeconfig /k --base main"),
        (Operator(options=(("--base", "next"),)), "-e staging --repo /srv/a --kubeconfig /k --base next"),
        (Operator(environment="other"), "-e other"),
    ],
)
def test_command_when_a_bundle_is_read_then_told_options_hold_unless_said_otherwise(
    now: Operator, expected: str
) -> None:
    """Option by option; another environment named now takes nothing over from the one the bundle was told of."""
    told = _told(environment="staging", repo="/srv/a", options=[["--kubeconfig", "/k"], ["--base", "main"]])
    command = judge(_second_connection(told), now)["nextProcedure"]["command"]
    reason = "--reason 'forwarder alpaca_406_second_connection'"
    assert command == f"torghutctl restart-ws {expected} {reason}"


def test_live_declaration_when_another_environment_is_named_then_the_bundles_own_does_not_count() -> None:
    """Real money declared for one system is not declared for another."""
    cluster = base.healthy()
    incidents.status_of(cluster, mode="live", live_enabled=True)
    snapshot = direct_reading.read(cluster, base.NOW)
    readings = {**snapshot.readings, sources.OPERATOR: _told(environment="real", isLiveDeclared=True)}
    declared = Snapshot(observed_at_ns=snapshot.observed_at_ns, names=snapshot.names, readings=readings)
    assert judge(declared, Operator())["classification"] == "healthy"
    assert judge(declared, Operator(environment="lab"))["classification"] == "down"


@pytest.fixture
def default_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environments file whose default has a repository of its own."""
    path = tmp_path / "config" / "torghut" / "environments.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("default: mine\nenvironments:\n  mine: {repo: /srv/mine, live: true}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return path


def test_health_report_when_bundle_of_another_system_then_default_environment_is_not_mixed_in(
    default_environment: Path, tmp_path: Path
) -> None:
    """The reader's own default environment says nothing about a bundle that somebody else sent."""
    path = tmp_path / "theirs"
    bundle.write(_second_connection(_told(repo="/srv/theirs")), path, "PATH")
    result = _run("health-report", "--from-snapshot", path, "-o", "json")
    assert "--repo /srv/theirs" in _next(result)
    assert "/srv/mine" not in result.stdout


@pytest.mark.parametrize(
    ("told", "notes"),
    [
        ({"repo": "/srv/a"}, ["is not the live system"]),
        ({}, ["is not the live system", "needs the GitOps repository, and none is known: give --repo"]),
    ],
)
def test_health_report_when_command_cannot_be_pasted_blindly_then_said_on_stderr(
    told: dict[str, Any], notes: list[str], tmp_path: Path
) -> None:
    """A bundle is not a live system, and a command without a repository is incomplete; standard output stays the report."""
    path = tmp_path / "bundle"
    bundle.write(_second_connection(_told(**told)), path, "PATH")
    result = _run("health-report", "--from-snapshot", path)
    lines = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert len(lines) == len(notes)
    assert all(note in line for note, line in zip(notes, lines, strict=True))
    assert "note: " not in result.stdout


def test_advice_when_command_is_complete_then_none() -> None:
    """A live report with a repository needs no word beside it; a runbook neither."""
    complete = {"nextProcedure": {"command": "torghutctl restart-ws --repo /srv/a --reason x"}}
    runbook = {"nextProcedure": {"command": None}}
    for report in (complete, runbook, {"nextProcedure": None}):
        assert advice(report, Target(), 0) == []


def test_advice_when_the_system_is_local_or_the_repository_holds_a_secret_then_said() -> None:
    """A local system is named by an environment; what was masked must be put back by hand."""
    bare = {"nextProcedure": {"command": "torghutctl restart-ws --reason x"}}
    assert "name an environment with `local` and `repo`" in advice(bare, Target(local=Path(".demo")), 0)[0]
    masked = {
        "nextProcedure": {"command": "torghutctl restart-ws --repo https://bob:pa55word@git.example/a --reason x"}
    }
    assert advice(masked, Target(), 0) == [
        "note: a secret is left out of the next command: put it back where it says (hidden)"
    ]
