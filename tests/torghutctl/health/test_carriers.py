"""Visuals and the guardrails exporter are no components: what they no longer carry is judged, and their pods say why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes import direct_reading, incidents_compound
from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import Cluster
from torghutctl.health.report import Operator, judge


@pytest.mark.parametrize(
    ("bend", "component", "line"),
    [
        (
            incidents_compound.unknown_visuals_cannot_pull_its_image,
            "freshness",
            f"pod {base.VISUALS_POD}, container visuals: waiting ImagePullBackOff, image {base.IMAGE}",
        ),
        (
            incidents_compound.unknown_guardrails_exporter_keeps_crashing,
            "clickhouse",
            f"pod {base.EXPORTER_POD}, container exporter: waiting CrashLoopBackOff, 4 restarts, last exit code 1",
        ),
        (
            incidents_compound.unknown_guardrails_exporter_is_scaled_to_nothing,
            "clickhouse",
            "torghut-clickhouse-guardrails-exporter: there is no pod of it",
        ),
    ],
)
def test_report_when_a_carrier_is_away_then_its_pod_is_the_evidence(
    bend: Callable[[Cluster], None], component: str, line: str
) -> None:
    """The component that cannot be judged says which pod stands in the way."""
    cluster = base.healthy()
    bend(cluster)
    report = judge(direct_reading.read(cluster, base.NOW), Operator())
    entry = next(item for item in report["components"] if item["name"] == component)
    assert (entry["status"], line in entry["findings"][0]["evidence"]) == ("unknown", True), entry


def test_report_when_a_carrier_is_well_then_its_pods_are_no_evidence() -> None:
    """A source that fails behind a ready pod is not blamed on the pod."""
    cluster = base.healthy()
    del cluster.services[base.GAUGES]
    report = judge(direct_reading.read(cluster, base.NOW), Operator())
    entry = next(item for item in report["components"] if item["name"] == "clickhouse")
    assert not any("pod" in line for line in entry["findings"][0]["evidence"])
