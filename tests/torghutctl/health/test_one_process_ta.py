"""The TA as one process on a cluster: a Deployment in the FlinkDeployment's place, its pods and their /readyz."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import Cluster, Fault, serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.health.report import Operator, judge
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

POD = "torghut-ta-6b7c-zzzz"
READY = f"pods/{POD}:8080/readyz"


def healthy() -> Cluster:
    """Return the healthy system with the TA as one process."""
    cluster = base.healthy()
    cluster.remove(base.FLINK, "torghut-ta")
    cluster.remove(base.PODS, base.JOB_MANAGER)
    cluster.remove(base.PODS, base.TASK_MANAGER)
    cluster.put(base.PODS, base.pod(POD, {"app": "torghut-ta"}, container="torghut-ta"))
    deployment = base.forwarder()
    deployment["metadata"]["name"] = "torghut-ta"
    cluster.put(base.DEPLOYMENTS, deployment)
    cluster.services[READY] = (200, {"ready": True, "reason": None})
    cluster.logs[POD, "torghut-ta", False] = "started\n"
    return cluster


def report(cluster: Cluster, folder: Path) -> dict[str, Any]:
    with serve(cluster, folder) as kubeconfig:
        return judge(read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={}), Operator())


def found(cluster: Cluster, folder: Path) -> tuple[str, str | None, str | None, str | None]:
    """Return classification, component and reason of the top cause, and the next procedure."""
    made = report(cluster, folder)
    top, following = made["topCause"] or {}, made["nextProcedure"] or {}
    return made["classification"], top.get("component"), top.get("reason"), following.get("name")


def not_ready(cluster: Cluster, reason: str, since: str) -> None:
    cluster.services[READY] = (503, {"ready": False, "reason": reason})
    cluster.get(base.DEPLOYMENTS, "torghut-ta")["status"]["conditions"] = [
        base.condition("Available", "False", since=since)
    ]


def test_process_when_its_pod_is_ready_then_the_system_is_healthy(tmp_path: Path) -> None:
    """`/readyz` 200 stands for RUNNING; the FlinkDeployment that is not there is no failure."""
    assert found(healthy(), tmp_path) == ("healthy", None, None, None)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("clickhouse_disk_full", ("down", "ta", "ta_failed_disk_full", "suspend-ta")),
        ("clickhouse_readonly", ("down", "ta", "ta_failed_readonly_table", "restore-replica")),
        ("kafka_metadata", ("down", "ta", "ta_failed_kafka", "kafka-recovery")),
    ],
)
def test_process_when_it_names_a_cause_then_the_reason_is_that_ones(
    reason: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    """What a Flink job says by its state, the process says by its reason."""
    cluster = healthy()
    not_ready(cluster, reason, base.ago(900))
    assert found(cluster, tmp_path) == expected


def test_process_when_it_is_not_ready_then_a_restart_has_its_grace(tmp_path: Path) -> None:
    """Info for 300 s, degraded after."""
    cluster = healthy()
    not_ready(cluster, "starting", base.ago(100))
    assert found(cluster, tmp_path)[0] == "healthy"
    not_ready(cluster, "starting", base.ago(900))
    assert found(cluster, tmp_path) == ("degraded", "ta", "ta_restarting", "restart-ta")


def test_process_when_it_has_no_replica_then_it_is_suspended(tmp_path: Path) -> None:
    """In an open market that is degraded, and the next procedure lets it run."""
    cluster = healthy()
    cluster.remove(base.PODS, POD)
    deployment = cluster.get(base.DEPLOYMENTS, "torghut-ta")
    deployment["spec"]["replicas"] = 0
    deployment["status"] |= {"readyReplicas": 0, "availableReplicas": 0, "updatedReplicas": 0}
    assert found(cluster, tmp_path) == ("degraded", "ta", "ta_suspended", "resume-ta")


def test_process_when_its_pod_cannot_be_asked_then_the_ta_is_unknown(tmp_path: Path) -> None:
    """Unknown is not healthy."""
    cluster = healthy()
    cluster.faults[f"/api/v1/namespaces/torghut/pods/{POD}:8080/proxy/readyz"] = Fault(status=403)
    assert found(cluster, tmp_path)[:3] == ("unknown", "ta", "unreadable")


def test_process_when_neither_it_nor_a_job_is_there_then_the_ta_is_unknown(tmp_path: Path) -> None:
    """Nothing stands in the place of the other."""
    cluster = healthy()
    cluster.remove(base.DEPLOYMENTS, "torghut-ta")
    assert found(cluster, tmp_path)[:3] == ("unknown", "ta", "unreadable")


def test_process_when_a_flink_job_is_there_too_then_the_job_is_judged(tmp_path: Path) -> None:
    """The FlinkDeployment is the one that the reference deploys."""
    cluster = healthy()
    cluster.put(base.FLINK, base.flink_deployment(job="FAILED", updated=base.ago(900)))
    assert found(cluster, tmp_path)[:3] == ("down", "ta", "ta_failed")
