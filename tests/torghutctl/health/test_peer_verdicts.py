"""Status documents that Argo CD's resource customizations also judge: its verdict, ours, and why where they differ.

The shapes (which fields an operator sets in which state) are those of the operators; the documents are ours. A peer
says of one resource whether it is as its operator wants it; the report says whether market data is traded on. Where
the two part, the row says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from tests.fakes import direct_reading
from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import Cluster
from tests.fakes.torghut_cluster import ago, condition
from torghutctl.health.report import Operator, judge

Verdict = Literal["Healthy", "Progressing", "Degraded", "Suspended", "Unknown"]
_YOUNG, _OLD = ago(60), ago(3600)
_ALIKE: dict[Verdict, set[str]] = {
    "Healthy": {"healthy"},
    "Progressing": {"healthy"},
    "Degraded": {"degraded", "down"},
    "Suspended": {"degraded", "down"},
    "Unknown": {"unknown"},
}
"""What of ours agrees with each verdict of the peer: what progresses, and has not for long, needs nobody."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One status document in the healthy system, and what is said of it."""

    name: str
    component: str
    put: Callable[[Cluster], None]
    peer: Verdict
    ours: str
    reason: str | None = None
    differs: str | None = None
    """Why ours is not the peer's; None where the two agree."""


def _flink(
    name: str, peer: Verdict, ours: str, reason: str | None = None, differs: str | None = None, **status: Any
) -> Row:
    """Return a row of a FlinkDeployment; `status` bends the status of one that runs, `spec_state` its wanted state."""

    def put(cluster: Cluster) -> None:
        changes = dict(status)
        made = base.flink_deployment(state=changes.pop("spec_state", "running"), updated=changes.pop("updated", _YOUNG))
        made["metadata"]["deletionTimestamp"] = changes.pop("deleting", None)
        for key in changes.pop("without", ()):
            made["status"].pop(key)
        job = changes.pop("job", None)
        if job is not None:
            made["status"]["jobStatus"]["state"] = job
        made["status"]["reconciliationStatus"]["state"] = changes.pop("reconciled", "DEPLOYED")
        made["status"].update(changes)
        if changes.get("nothing"):
            made["status"] = {}
            made["metadata"]["creationTimestamp"] = _YOUNG
        cluster.put(base.FLINK, made)

    return Row(name=f"flink {name}", component="ta", put=put, peer=peer, ours=ours, reason=reason, differs=differs)


_OPEN = "in an open market a TA that is meant to be suspended is said: nothing is computed and nothing can be traded"
_FLINK = (
    _flink("running", "Healthy", "healthy"),
    _flink("running, by an operator that sets no lifecycle", "Healthy", "healthy", without=("lifecycleState",)),
    _flink("deployed", "Healthy", "healthy", lifecycleState="DEPLOYED"),
    _flink("suspended as wanted", "Healthy", "degraded", "ta_suspended", _OPEN, spec_state="suspended",
           job="FINISHED", lifecycleState="SUSPENDED", jobManagerDeploymentStatus="MISSING"),
    _flink("suspended before it was ever deployed", "Healthy", "degraded", "ta_suspended", _OPEN,
           spec_state="suspended", job="", lifecycleState="CREATED", jobManagerDeploymentStatus="MISSING"),
    _flink("suspending", "Progressing", "degraded", "ta_suspended", _OPEN, spec_state="suspended", job="SUSPENDED",
           lifecycleState="UPGRADING", reconciled="UPGRADING"),
    _flink("its job manager is being deployed", "Progressing", "healthy", "ta_restarting", job="RECONCILING",
           jobManagerDeploymentStatus="DEPLOYING"),
    _flink("deployed and not ready", "Progressing", "healthy", "ta_restarting", job="RECONCILING",
           jobManagerDeploymentStatus="DEPLOYED_NOT_READY"),
    _flink("deployed and not ready for an hour", "Progressing", "degraded", "ta_restarting",
           "what has been under way for an hour does not get there by itself", job="RECONCILING", updated=_OLD,
           jobManagerDeploymentStatus="DEPLOYED_NOT_READY"),
    _flink("upgrading", "Progressing", "healthy", "ta_restarting", lifecycleState="UPGRADING", reconciled="UPGRADING"),
    _flink("restarting", "Progressing", "healthy", "ta_restarting", job="RESTARTING"),
    _flink("failing", "Progressing", "healthy", "ta_restarting", job="FAILING"),
    _flink("created", "Progressing", "healthy", "ta_restarting", job="CREATED", lifecycleState="CREATED"),
    _flink("rolling back", "Progressing", "healthy", "ta_restarting", lifecycleState="ROLLING_BACK",
           reconciled="ROLLING_BACK"),
    _flink("no status yet", "Progressing", "healthy", "ta_restarting", nothing=True),
    _flink("failed", "Degraded", "down", "ta_failed", job="FAILED", lifecycleState="FAILED"),
    _flink("its job failed while it is called stable", "Degraded", "down", "ta_failed", job="FAILED"),
    _flink("its job manager cannot start", "Degraded", "down", "ta_spec_error", job="RECONCILING",
           jobManagerDeploymentStatus="ERROR"),
    _flink("refused for its configuration", "Degraded", "down", "ta_spec_error", job="RECONCILING",
           jobManagerDeploymentStatus="ERROR", error='{"type":"IllegalConfigurationException"}'),
    _flink("rolled back", "Degraded", "down", "ta_spec_error", lifecycleState="ROLLED_BACK", reconciled="ROLLED_BACK"),
    _flink("its job ended", "Healthy", "down", "ta_failed",
           "a stream has no end: a job that finished computes nothing any more", job="FINISHED"),
    _flink("a spec not seen yet", "Progressing", "healthy", None,
           None, observedGeneration=4),
    _flink("being deleted", "Progressing", "healthy", None, None, deleting=_YOUNG),
)  # fmt: skip


def _knative(name: str, peer: Verdict, ours: str, reason: str | None = None, differs: str | None = None, *,
             states: dict[str, tuple[str, str]], since: str = _YOUNG, newest: int = 7) -> Row:  # fmt: skip
    """Return a row of a Knative Service: condition by type as status and reason; `newest` was created, 7 is ready."""

    def put(cluster: Cluster) -> None:
        service = base.knative_service(created=newest, ready_number=7)
        service["status"]["conditions"] = [
            condition(kind, status, reason=why, since=base.LONG_AGO if status == "True" else since)
            for kind, (status, why) in states.items()
        ]
        cluster.put(f"{base.KNATIVE}/services", service)
        if newest != 7:
            ready, why = ("Unknown", "Deploying") if states["Ready"][0] == "Unknown" else ("False", "ExitCode1")
            cluster.put(
                f"{base.KNATIVE}/revisions", base.revision(newest, ready=ready, reason=why, since=since, created=since)
            )

    return Row(
        name=f"knative {name}", component="trading", put=put, peer=peer, ours=ours, reason=reason, differs=differs
    )


_FINE = {"ConfigurationsReady": ("True", ""), "Ready": ("True", ""), "RoutesReady": ("True", "")}
_ROLLING = {"Ready": ("Unknown", "RolloutInProgress"), "RoutesReady": ("Unknown", "RolloutInProgress")}
_KNATIVE = (
    _knative("ready", "Healthy", "healthy", states=_FINE),
    _knative("rollout in progress", "Progressing", "healthy", "trading_route_not_ready", states=_FINE | _ROLLING),
    _knative("a revision is being deployed", "Progressing", "healthy", "trading_revision_failed", newest=8,
             states=_FINE | {"Ready": ("Unknown", ""), "ConfigurationsReady": ("Unknown", "")}),
    _knative("a revision failed", "Degraded", "degraded", "trading_revision_failed", newest=8, since=_OLD,
             states={"ConfigurationsReady": ("False", "RevisionFailed"), "Ready": ("False", "RevisionFailed"),
                     "RoutesReady": ("True", "")}),
    _knative("a revision failed a minute ago", "Degraded", "healthy", "trading_revision_failed",
             "a new revision has five minutes to start; an older one serves meanwhile", newest=8,
             states={"ConfigurationsReady": ("False", "RevisionFailed"), "Ready": ("False", "RevisionFailed"),
                     "RoutesReady": ("True", "")}),
    _knative("the ingress does not take the route", "Degraded", "degraded", "trading_route_not_ready", since=_OLD,
             states=_FINE | {"Ready": ("False", "IngressNotConfigured"), "RoutesReady": ("False", "IngressNotConfigured")}),
    _knative("the route was never looked at", "Progressing", "degraded", "trading_route_not_ready",
             "an hour without an ingress is no progress; the image is not blamed for it", since=_OLD,
             states=_FINE | {"Ready": ("Unknown", "Uninitialized"), "RoutesReady": ("Unknown", "Uninitialized")}),
)  # fmt: skip


def _cnpg(name: str, peer: Verdict, ours: str, reason: str | None = None, differs: str | None = None, *, phase: str,
          ready: int = 3, hibernation: str | None = None, annotations: dict[str, str] | None = None) -> Row:  # fmt: skip
    """Return a row of a CloudNativePG Cluster of three instances."""

    def put(cluster: Cluster) -> None:
        made = base.cnpg_cluster(phase=phase, ready=ready, instances=3)
        made["metadata"]["annotations"] = annotations or {}
        if hibernation is not None:
            made["status"]["conditions"].append(condition("cnpg.io/hibernation", hibernation, reason="Hibernated"))
        cluster.put(base.POSTGRES, made)

    return Row(name=f"cnpg {name}", component="postgres", put=put, peer=peer, ours=ours, reason=reason, differs=differs)


_SERVES = "whoever writes orders wants to know of less than the whole database, though it serves"
_GOOD = "Cluster in healthy state"
_CNPG = (
    _cnpg("healthy", "Healthy", "healthy", phase=_GOOD),
    _cnpg("reconciliation is switched off", "Suspended", "healthy", None,
          "a paused reconciliation is no evidence of failure: the instances serve", phase=_GOOD,
          annotations={"cnpg.io/reconciliationLoop": "disabled"}),
    _cnpg("hibernated", "Suspended", "down", "postgres_down", phase=_GOOD, ready=0, hibernation="True"),
    _cnpg("failing over", "Degraded", "degraded", "postgres_degraded", phase="Failing over", ready=2),
    _cnpg("switching over", "Degraded", "degraded", "postgres_degraded", phase="Switchover in progress"),
    _cnpg("waiting for a person", "Degraded", "degraded", "postgres_degraded", phase="Waiting for user action"),
    _cnpg("setting up its primary", "Progressing", "down", "postgres_down",
          "no instance takes an order's row, whatever is under way", phase="Setting up primary", ready=0),
    _cnpg("creating a replica", "Progressing", "degraded", "postgres_degraded", _SERVES, phase="Creating a new replica", ready=2),
    _cnpg("upgrading", "Progressing", "degraded", "postgres_degraded", _SERVES, phase="Upgrading cluster"),
    _cnpg("waiting for its instances", "Progressing", "degraded", "postgres_degraded", _SERVES,
          phase="Waiting for the instances to become active", ready=2),
    _cnpg("unrecoverable", "Suspended", "down", "postgres_down",
          phase="Cluster is unrecoverable and needs manual intervention", ready=0),
    _cnpg("a phase nobody has written down", "Unknown", "unknown", "unreadable", phase="Contemplating"),
)  # fmt: skip


def _kafka(
    name: str, peer: Verdict, ours: str, reason: str | None = None, differs: str | None = None, **status: Any
) -> Row:
    def put(cluster: Cluster) -> None:
        cluster.put(f"{base.KAFKA}/kafkas", {"kind": "Kafka", "metadata": {"name": "kafka"}, "status": status})

    return Row(name=f"kafka {name}", component="kafka", put=put, peer=peer, ours=ours, reason=reason, differs=differs)


_KAFKA = (
    _kafka("ready", "Healthy", "healthy", conditions=[condition("Ready", "True")]),
    _kafka("not ready", "Degraded", "down", "kafka_not_ready",
           conditions=[condition("NotReady", "True", reason="FatalProblem", since=_OLD)]),
    _kafka("being created", "Progressing", "healthy", "kafka_not_ready",
           conditions=[condition("NotReady", "True", reason="Creating", since=_YOUNG)]),
    _kafka("no status", "Progressing", "healthy", "kafka_not_ready"),
    _kafka("paused", "Progressing", "healthy", None,
           conditions=[condition("ReconciliationPaused", "True", since=_OLD)]),
    _kafka("a warning beside ready", "Healthy", "healthy", None,
           conditions=[condition("Warning", "True", reason="DeprecatedFields"), condition("Ready", "True")]),
)  # fmt: skip


def _clickhouse(
    name: str, peer: Verdict, ours: str, reason: str | None = None, differs: str | None = None, **status: Any
) -> Row:
    def put(cluster: Cluster) -> None:
        cluster.put(base.CLICKHOUSE, {"metadata": {"name": "torghut-clickhouse"}, "status": status})

    return Row(
        name=f"clickhouse {name}", component="clickhouse", put=put, peer=peer, ours=ours, reason=reason, differs=differs
    )


_CLICKHOUSE = (
    _clickhouse("completed", "Healthy", "healthy", status="Completed", hosts=2, hostsCompleted=2),
    _clickhouse("in progress", "Progressing", "healthy", status="InProgress", hosts=2, hostsCompleted=1),
    _clickhouse("no status", "Progressing", "healthy"),
    _clickhouse("given up", "Degraded", "degraded", "clickhouse_operator_failed", status="Aborted", hosts=2),
    _clickhouse("completed after an error", "Healthy", "healthy", status="Completed", error="FAILED to reconcile once"),
)  # fmt: skip


def _deployment(name: str, peer: Verdict, ours: str, reason: str | None = None, differs: str | None = None, *,
                replicas: int = 1, ready: int = 1, since: str = _YOUNG, paused: bool = False, stuck: bool = False) -> Row:  # fmt: skip
    def put(cluster: Cluster) -> None:
        made = base.forwarder(replicas=replicas, ready=ready, available="True" if ready else "False", since=since)
        made["spec"]["paused"] = paused
        if stuck:
            made["status"]["conditions"].append(
                condition("Progressing", "False", reason="ProgressDeadlineExceeded", since=since)
            )
        cluster.put(base.DEPLOYMENTS, made)
        if not ready:
            cluster.put(base.PODS, base.pod(base.WS_POD, base.ws_labels(), container="ws", ready=False, since=since))
            cluster.services[base.READYZ] = base.readyz("unknown")

    return Row(
        name=f"deployment {name}", component="forwarder", put=put, peer=peer, ours=ours, reason=reason, differs=differs
    )


_DEPLOYMENT = (
    _deployment("available", "Healthy", "healthy"),
    _deployment("rolling out", "Progressing", "healthy", "forwarder_not_ready", ready=0),
    _deployment("past its deadline", "Degraded", "degraded", "forwarder_not_ready", ready=0, since=_OLD, stuck=True),
    _deployment("paused", "Suspended", "degraded", "forwarder_paused", paused=True),
    _deployment("two replicas wanted and there", "Healthy", "degraded", "forwarder_replicas",
                "Alpaca grants one connection an account: the second forwarder is refused", replicas=2, ready=2),
)  # fmt: skip
ROWS = (*_FLINK, *_KNATIVE, *_CNPG, *_KAFKA, *_CLICKHOUSE, *_DEPLOYMENT)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_report_when_a_peer_judges_the_same_document_then_ours_is_this(row: Row) -> None:
    """The component's status and first reason; a row that differs from the peer's verdict says why, and no other does."""
    cluster = base.healthy()
    row.put(cluster)
    report = judge(direct_reading.read(cluster, base.NOW), Operator())
    component = next(item for item in report["components"] if item["name"] == row.component)
    first = component["findings"][0]["reason"] if component["findings"] else None
    assert (row.ours, row.reason) == (component["status"], first), component
    assert (row.ours in _ALIKE[row.peer]) == (row.differs is None)


def test_rows_when_counted_then_each_kind_of_resource_and_each_verdict_is_there() -> None:
    """Every kind that the report reads of an operator, and every verdict that a peer has."""
    assert {"ta", "trading", "postgres", "kafka", "clickhouse", "forwarder"} == {row.component for row in ROWS}
    assert set(_ALIKE) == {row.peer for row in ROWS}
    assert len(ROWS) >= 40
