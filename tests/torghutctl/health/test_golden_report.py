"""The report as people read it, kept as files: a change of wording is seen in review.

Written anew with TORGHUT_WRITE_GOLDEN=1 in the environment of pytest's process (read before the scrubbing fixture).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes import incidents, incidents_compound, incidents_sessions, incidents_single, torghut_cluster
from tests.fakes.kubernetes_api import serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.health.report import Operator, judge
from torghutctl.render import health_table, health_view
from torghutctl.render.output import Format, render
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

assert incidents_compound and incidents_sessions and incidents_single, "importing them registers their cases"
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "health"
WRITES = os.environ.get("TORGHUT_WRITE_GOLDEN") == "1"
SUFFIXES = {Format.TABLE: "txt", Format.MARKDOWN: "md", Format.JSON: "json", Format.YAML: "yaml"}


@pytest.mark.slow
@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("name", ["down_kafka_takes_forwarder_and_ta", "down_forwarder_406", "healthy_one_late_symbol"])
def test_report_when_rendered_then_as_kept(name: str, form: Format, tmp_path: Path) -> None:
    """Table, markdown, JSON and YAML of three incidents, with an environment and a repository in the command."""
    case = next(item for item in incidents.CASES if item.name == name)
    cluster = torghut_cluster.healthy(case.at)
    case.bend(cluster)
    with serve(cluster, tmp_path) as kubeconfig:
        snapshot = read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(case.at), process={})
    report = judge(snapshot, Operator(environment="staging", repo="/srv/git ops"))
    text = render(report, form, table=health_table.table, markdown=health_view.markdown)
    path = GOLDEN / f"{name}.{SUFFIXES[form]}"
    if WRITES:
        path.write_text(text)
    assert path.read_text() == text
