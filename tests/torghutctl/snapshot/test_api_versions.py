"""Custom resources are read at the version that the cluster serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import Cluster, Fault, serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.health.report import Operator, judge
from torghutctl.snapshot.model import Failure, Snapshot
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

NOW = parse_ns(base.NOW)


def strimzi_at(cluster: Cluster, *versions: str) -> None:
    """Serve Strimzi's resources at these versions and at no other."""
    held = {key: item for key, item in cluster.objects.items() if "kafka.strimzi.io" in key[0]}
    for key in held:
        del cluster.objects[key]
    cluster.collections = {name for name in cluster.collections if "kafka.strimzi.io" not in name}
    for version in versions:
        for (collection, _), item in held.items():
            cluster.put(collection.replace("kafka.strimzi.io/v1/", f"kafka.strimzi.io/{version}/"), item)


def reading(cluster: Cluster, folder: Path) -> Snapshot:
    with serve(cluster, folder) as kubeconfig:
        return read(Target(kubeconfig=kubeconfig), at_ns=NOW, process={})


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        (("v1",), "v1"),
        (("v1beta2",), "v1beta2"),
        (("v1beta2", "v1"), "v1"),
        (("v3", "v1beta2"), "v1beta2"),
        (("v3",), "v3"),
    ],
)
def test_strimzi_when_a_version_is_served_then_kafka_not_ready_is_seen_at_it(
    served: tuple[str, ...], asked: str, tmp_path: Path
) -> None:
    """The newest known version that is served is read, an unknown one where there is no other; a broken Kafka is seen."""
    cluster = base.healthy()
    kafka = cluster.get(f"{base.KAFKA}/kafkas", "kafka")
    kafka["status"]["conditions"] = [base.condition("Ready", "False", reason="Error", since=base.ago(900))]
    strimzi_at(cluster, *served)
    report = judge(reading(cluster, tmp_path), Operator())
    paths = {path for path in cluster.requests if "kafka.strimzi.io" in path}
    assert {path.split("/")[3] for path in paths} == {asked}
    top = report["topCause"]
    assert (report["classification"], top["component"], top["reason"]) == ("down", "kafka", "kafka_not_ready")


def test_strimzi_when_no_version_is_served_then_its_absence_says_so(tmp_path: Path) -> None:
    """A cluster without the operator: absent, in words that name the group."""
    cluster = base.healthy()
    strimzi_at(cluster)
    found = reading(cluster, tmp_path).readings["kafka/cluster"]
    assert (found.failure, found.detail) == (Failure.ABSENT, "the cluster serves no API group kafka.strimzi.io")


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(body=b"<html>"), Fault(body=b'{"kind":"APIGroupList"}')])
def test_discovery_when_it_does_not_answer_then_the_newest_known_versions_are_read(
    fault: Fault, tmp_path: Path
) -> None:
    """One broken answer costs itself alone."""
    cluster = base.healthy()
    cluster.faults["/apis"] = fault
    snapshot = reading(cluster, tmp_path)
    assert judge(snapshot, Operator())["classification"] == "healthy"
    assert snapshot.readings["kafka/cluster"].is_ok


def test_discovery_when_asked_then_once_a_reading(tmp_path: Path) -> None:
    """A dozen resources share one request."""
    cluster = base.healthy()
    reading(cluster, tmp_path)
    assert cluster.requests.count("/apis") == 1
