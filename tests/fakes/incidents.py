"""Incidents as bent copies of the healthy cluster, each with the verdict it must get.

A case's name begins with that verdict. `shape` says where the form of the bent objects comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import Cluster
from tests.fakes.torghut_cluster import (
    CONFIGMAPS,
    FLINK,
    GAUGES,
    JOB_ID,
    JOB_MANAGER,
    NOW,
    OLD_TRADING_POD,
    POSTGRES,
    READYZ,
    STATUS,
    TRADING_POD,
    WS_POD,
    ago,
)

CRD_FLINK = "FlinkDeployment CRD schema, operator 1.13"
CRD_KNATIVE = "Knative Serving API, conditions and revision labels"
CRD_CNPG = "CloudNativePG Cluster CRD schema; phases as the operator's source names them"
CRD_STRIMZI = "Strimzi Kafka CRD schema"
CRD_ARGO = "Argo CD Application CRD schema"
CORE = "Kubernetes API: container states and pod conditions"
CONTRACT = "this system's HTTP contract"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One incident and its verdict: classification, top cause as `component reason`, name of the next step."""

    name: str
    bend: Callable[[Cluster], None]
    top: str | None
    next: str | None
    shape: str
    at: str = NOW
    is_live_declared: bool = False
    follows: tuple[str, ...] = ()
    """Failing components that must be called consequences of another."""
    apart: tuple[str, ...] = ()
    """Failing components that must be called independent of the top cause."""

    @property
    def classification(self) -> str:
        return self.name.split("_", 1)[0]


CASES: list[Case] = []


def case(
    top: str | None,
    step: str | None,
    shape: str,
    *,
    at: str = NOW,
    live: bool = False,
    follows: tuple[str, ...] = (),
    apart: tuple[str, ...] = (),
) -> Callable[[Callable[[Cluster], None]], Callable[[Cluster], None]]:
    """Register a function that bends the healthy cluster as a case of its own name."""

    def register(bend: Callable[[Cluster], None]) -> Callable[[Cluster], None]:
        CASES.append(
            Case(
                name=bend.__name__,
                bend=bend,
                top=top,
                next=step,
                shape=shape,
                at=at,
                is_live_declared=live,
                follows=follows,
                apart=apart,
            )
        )
        return bend

    return register


def healthy_at(now: str) -> Cluster:
    """Return the healthy cluster whose rows are fresh at `now`."""
    return base.healthy(now)


def status_of(cluster: Cluster, pod: str = TRADING_POD, **changes: Any) -> None:
    """Change `/trading/status` of a pod."""
    cluster.services[STATUS.format(pod)] = (200, base.trading_status(**changes))


def fail_job(cluster: Cluster, log: str = "", **changes: Any) -> None:
    """Let the TA job fail, with these last words of the job manager."""
    cluster.put(FLINK, base.flink_deployment(job="FAILED", lifecycle="FAILED", updated=ago(1200), **changes))
    cluster.logs[JOB_MANAGER, "flink-main-container", False] = f"switched from RUNNING to FAILED\n{log}\n"


def crash(
    cluster: Cluster,
    name: str,
    labels: dict[str, str],
    *,
    container: str = "main",
    state: dict[str, Any] | None = None,
    since: str | None = None,
    restarts: int = 4,
    **changes: Any,
) -> None:
    """Replace a pod by one that is not ready and whose container waits."""
    cluster.put(
        base.PODS,
        base.pod(
            name,
            labels,
            container=container,
            ready=False,
            since=since or ago(1800),
            state=state or base.waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container"),
            last_state=changes.pop("last_state", base.terminated("Error", 1)),
            restarts=restarts,
            **changes,
        ),
    )


def stop_forwarder(cluster: Cluster, error_class: str) -> None:
    """Let the forwarder say it is not ready and why; its pod has been unready for 20 minutes."""
    cluster.services[READYZ] = base.readyz(error_class)
    cluster.put(base.PODS, base.pod(WS_POD, base.ws_labels(), container="ws", ready=False, since=ago(1200)))
    cluster.put(base.DEPLOYMENTS, base.forwarder(ready=0, available="False", since=ago(1200)))


def set_gauges(cluster: Cluster, **changes: Any) -> None:
    """Change the guardrail gauges."""
    cluster.services[GAUGES] = (200, base.gauges(**changes))


def add_completeness(cluster: Cluster, *ratios: float) -> None:
    """Let the exporter tell of each replica how much of the provider's minute volume its seconds hold."""
    name = 'torghut_clickhouse_guardrails_minute_volume_ratio{replica="chi-torghut-clickhouse-default-0-'
    lines = "".join(f'{name}{index}"}} {ratio}\n' for index, ratio in enumerate(ratios))
    cluster.services[GAUGES] = (200, base.gauges() + lines)


def route_not_ready(cluster: Cluster, *, since: str) -> None:
    """Let every revision be ready and the route to it not, as when the ingress does not take it."""
    service = base.knative_service(ready="False", reason="IngressNotConfigured", since=since)
    service["status"]["conditions"] += [
        base.condition("ConfigurationsReady", "True"),
        base.condition("RoutesReady", "False", reason="IngressNotConfigured", since=since),
    ]
    cluster.put(f"{base.KNATIVE}/services", service)


def stale(cluster: Cluster, seconds: float) -> None:
    """Make every symbol's rows this old."""
    base.set_latest(cluster, ago(seconds), ago(seconds))


def replay_group(cluster: Cluster) -> None:
    """Leave the replay's group in the TA's ConfigMap."""
    data = {"TA_GROUP_ID": "torghut-ta-replay-20260201", "TA_AUTO_OFFSET_RESET": "earliest"}
    cluster.put(CONFIGMAPS, {"kind": "ConfigMap", "metadata": {"name": "torghut-ta-config"}, "data": data})


def newest_fails(
    cluster: Cluster, *, log: str = "", old_serves: bool, since: str | None = None, state: dict[str, Any] | None = None
) -> None:
    """Let revision 8 be created and not become ready; revision 7 serves on or not."""
    began = since or ago(1500)
    service = base.knative_service(created=8, ready_number=7, ready="False", reason="RevisionFailed", since=began)
    cluster.put(f"{base.KNATIVE}/services", service)
    cluster.put(
        f"{base.KNATIVE}/revisions", base.revision(8, ready="False", reason="ExitCode1", since=began, created=began)
    )
    name = "torghut-00008-deployment-cccc"
    crash(cluster, name, base.revision_labels(8), container="user-container", since=began, created=began, state=state)
    cluster.logs[name, "user-container", False] = log
    cluster.logs[name, "user-container", True] = log
    if not old_serves:
        cluster.remove(base.PODS, TRADING_POD)


def add_old_revision_pod(cluster: Cluster, **changes: Any) -> None:
    """Add a pod of revision 6."""
    cluster.put(base.PODS, base.pod(OLD_TRADING_POD, base.revision_labels(6), container="user-container", **changes))
    cluster.services[STATUS.format(OLD_TRADING_POD)] = (200, base.trading_status())
    cluster.services[base.HEALTH.format(OLD_TRADING_POD)] = (200, {"status": "ok"})
    cluster.logs[OLD_TRADING_POD, "user-container", False] = "fine\n"


def flink_exception(cluster: Cluster, text: str) -> None:
    """Let Flink's REST tell of this exception."""
    entry = {"exceptionName": "x", "stacktrace": text, "timestamp": 1770823800000}
    cluster.services[f"services/torghut-ta-rest:8081/jobs/{JOB_ID}/exceptions"] = (
        200,
        {"exceptionHistory": {"entries": [entry]}},
    )


def kafka_not_ready(cluster: Cluster) -> None:
    """Let Strimzi call the brokers not ready."""
    state = base.condition("Ready", "False", reason="UnforceableProblem", since=ago(700))
    cluster.put(
        f"{base.KAFKA}/kafkas", {"kind": "Kafka", "metadata": {"name": "kafka"}, "status": {"conditions": [state]}}
    )


def keeper_down(cluster: Cluster) -> None:
    """Let the one Keeper pod fail to pull its image."""
    labels = {"clickhouse-keeper.altinity.com/chk": "torghut-keeper"}
    crash(
        cluster, "chk-torghut-keeper-0-0-0", labels, state=base.waiting("ImagePullBackOff"), restarts=0, last_state={}
    )


def postgres_down(cluster: Cluster) -> None:
    """Let no PostgreSQL instance be ready."""
    cluster.put(POSTGRES, base.cnpg_cluster(phase="Failing over", ready=0))


SCHEDULER_POD = "torghut-scheduler-5f6a-xyz"


def add_scheduler(cluster: Cluster, **status: Any) -> None:
    """Let a Deployment of its own run the trading loop."""
    scheduler = base.forwarder()
    scheduler["metadata"]["name"] = "torghut-scheduler"
    cluster.put(base.DEPLOYMENTS, scheduler)
    cluster.put(base.PODS, base.pod(SCHEDULER_POD, {"app": "torghut-scheduler"}, container="scheduler"))
    cluster.services[f"pods/{SCHEDULER_POD}:8183/trading/status"] = (200, base.trading_status(**status))
    cluster.services[f"pods/{SCHEDULER_POD}:8183/trading/health"] = (200, {"status": "ok"})
    cluster.logs[SCHEDULER_POD, "scheduler", False] = "fine\n"
