"""What an operator sees: it fits the screen, says every state in words, and its command stays in one piece."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.fakes import direct_reading, incidents, incidents_compound, incidents_sessions, incidents_single
from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.health.effective_state import show
from torghutctl.health.report import Operator, judge
from torghutctl.render import health_table, status_view
from torghutctl.render.output import Screen, as_text
from torghutctl.snapshot import bundle
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

assert incidents_compound and incidents_sessions and incidents_single, "importing them registers their cases"
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_OPERATOR = Operator(environment="staging", repo="/srv/gitops")


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
def test_table_when_on_a_screen_then_no_line_but_the_command_is_wider(width: int) -> None:
    """Every incident fits but for an image's one long word; the command is one line, and colour changes no character."""
    for case in incidents.CASES:
        cluster = base.healthy(case.at)
        case.bend(cluster)
        report = judge(direct_reading.read(cluster, case.at), _OPERATOR)
        text = health_table.table(report, width=width)
        command = (report["nextProcedure"] or {}).get("command")
        wide = [
            line
            for line in text.splitlines()
            if len(line) > width and not line.startswith("next:") and " " in line.strip()
        ]
        assert wide == [], case.name
        assert command is None or f"next:     {command}" in text.splitlines()
        assert text == _COLOUR.sub("", health_table.table(report, width=width, is_coloured=True))
        assert text.startswith(report["classification"].upper())


def test_table_when_live_trading_is_undeclared_then_banner_comes_first() -> None:
    """Real money nobody declared is said before the cause, even where something upstream is down."""
    cluster = base.healthy()
    incidents.kafka_not_ready(cluster)
    incidents.status_of(cluster, mode="live", live_enabled=True)
    snapshot = direct_reading.read(cluster, base.NOW)
    lines = health_table.table(judge(snapshot, Operator())).splitlines()
    assert lines[2].startswith("TRADING WITH REAL MONEY IS ON")
    assert lines[4] == "cause:    kafka: kafka_not_ready"
    declared = health_table.table(judge(snapshot, Operator(is_live_declared=True)))
    assert "REAL MONEY IS ON" not in declared


def test_table_when_a_source_is_not_read_then_it_is_named_on_the_screen() -> None:
    """What is not required and could not be read stands in the table by name."""
    cluster = base.healthy()
    cluster.collections.discard(f"{base.KAFKA}/kafkatopics")
    text = health_table.table(judge(direct_reading.read(cluster, base.NOW), Operator()))
    assert "not required and not read: kafka/topics" in text


def test_status_when_on_a_screen_of_80_columns_then_fits() -> None:
    """Images and commits are named by the first digits of their digest."""
    view = status_view.table(show(direct_reading.read(base.healthy(), base.NOW)))
    assert [line for line in as_text(view, Screen(width=80)).splitlines() if len(line) > 80] == []


def test_status_when_a_scheduler_trades_then_its_deployment_is_what_git_is_compared_with() -> None:
    """The service beside it only answers: its switch is off for good, and is no difference."""
    cluster = base.healthy()
    incidents.add_scheduler(cluster)
    scheduler = cluster.get(base.DEPLOYMENTS, "torghut-scheduler")
    scheduler["spec"]["template"]["spec"]["containers"][0]["env"] = base.trading_env()
    off = [{**item, "value": "false"} if item["name"] == "TRADING_ENABLED" else item for item in base.trading_env()]
    service = cluster.get(f"{base.KNATIVE}/services", "torghut")
    service["spec"]["template"]["spec"]["containers"][0]["env"] = off
    row = next(
        item for item in show(direct_reading.read(cluster, base.NOW))["settings"] if item["name"] == "TRADING_ENABLED"
    )
    assert (row["live"], row["revision"], row["effective"], row["agrees"]) == ("true", None, "true", True)


def test_reading_when_one_process_stands_in_the_flink_job_s_place_then_no_word_of_its_absence(tmp_path: Path) -> None:
    """As the manifests are shipped there is no FlinkDeployment; without either its absence is told."""
    cluster = base.healthy()
    cluster.remove(base.FLINK, "torghut-ta")
    told: list[list[str]] = []
    for _ in range(2):
        lines: list[str] = []
        with serve(cluster, tmp_path) as kubeconfig:
            read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={}, tell=lines.append)
        told.append([line for line in lines if "flinkdeployment" in line])
        process = base.forwarder()
        process["metadata"]["name"] = "torghut-ta"
        cluster.put(base.DEPLOYMENTS, process)
    assert told == [["not read, absent (HTTP 404): ta/flinkdeployment"], []]


def _on_a_terminal(folder: Path, columns: int, **environment: str) -> str:
    path = folder / "bundle.tar.gz"
    cluster = base.healthy()
    incidents.stop_forwarder(cluster, "alpaca_auth")
    bundle.write(direct_reading.read(cluster, base.NOW), path, "PATH")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "TERM")}
    command = [sys.executable, "-m", "torghutctl", "health-report", "--from-snapshot", str(path)]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env={**kept, **environment}) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        assert process.wait(30) == 4
    os.close(ours)
    return shown.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_health_report_when_on_a_terminal_then_width_is_its_own_and_no_color_is_kept(
    environment: dict[str, str], is_coloured: bool, tmp_path: Path
) -> None:
    """A real terminal of 80 columns: wrapped to it, in colour unless it or the operator says otherwise."""
    text = _on_a_terminal(tmp_path, 80, **environment)
    assert is_coloured == ("\x1b[" in text)
    assert max(len(line) for line in _COLOUR.sub("", text).splitlines()) <= 80
