"""Every incident gets its verdict over HTTP through the unmodified Kubernetes client, and the same bytes offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import incidents, incidents_compound, incidents_sessions, incidents_single, torghut_cluster
from tests.fakes.kubernetes_api import serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.health.reasons import REASONS
from torghutctl.health.report import Operator, judge
from torghutctl.render import health_table
from torghutctl.render.output import Format, render
from torghutctl.snapshot import bundle
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

assert incidents_compound and incidents_sessions and incidents_single, "importing them registers their cases"


_ONE_IN = 8
"""Of the incidents, in `make test-fast`; all of them are in `make test`."""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[] if at % _ONE_IN == 0 else [pytest.mark.slow])
        for at, case in enumerate(incidents.CASES)
    ],
)
def test_report_when_incident_then_classification_cause_and_next_step(case: incidents.Case, tmp_path: Path) -> None:
    """The verdict named by the case is the report's, and a bundle of the same moment gives the same bytes."""
    cluster = torghut_cluster.healthy(case.at)
    case.bend(cluster)
    operator = Operator(is_live_declared=case.is_live_declared)
    with serve(cluster, tmp_path) as kubeconfig:
        snapshot = read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(case.at), process={})
    report = judge(snapshot, operator)
    top, step = report["topCause"], report["nextProcedure"]
    assert (case.classification, case.top, case.next) == (
        report["classification"],
        f"{top['component']} {top['reason']}" if top else None,
        step["name"] if step else None,
    ), health_table.table(report)
    assert set(case.follows) <= _called(report, "a consequence of")
    assert set(case.apart) <= _called(report, "independent of the top cause")
    bundle.write(snapshot, tmp_path / "bundle.tar.gz", "PATH")
    offline = judge(bundle.read(tmp_path / "bundle.tar.gz"), operator)
    assert render(report, Format.JSON, table=health_table.table) == render(
        offline, Format.JSON, table=health_table.table
    )


def _called(report: dict[str, Any], words: str) -> set[str]:
    """Return the components whose worst finding says of itself how it hangs together with the others."""
    return {
        component["name"]
        for component in report["components"]
        for finding in component["findings"][:1]
        if any(line.startswith(words) for line in finding["evidence"])
    }


def test_suite_when_counted_then_every_reason_and_enough_of_each_kind() -> None:
    """No reason of the table lacks a case that names it first, but for those that never are; at least 60 cases."""
    named = {case.top.split(" ")[1] for case in incidents.CASES if case.top}
    never_first = {"trading_paused", "kill_switch_on", "microbars_stale", "ta_suspended_drift"}
    assert set(REASONS) - never_first == named
    assert len(incidents.CASES) >= 60
    assert sum(case.classification == "healthy" for case in incidents.CASES) >= 10
    assert len({case.name for case in incidents.CASES}) == len(incidents.CASES)
