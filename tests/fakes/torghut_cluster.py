"""A healthy Torghut on Kubernetes as objects of a fake API server; cases bend it.

Shapes: Kubernetes API for pods and Deployments; the CRD schemas of the Flink operator 1.13, Knative Serving 1.x,
Altinity 0.25, CloudNativePG 1.25, Strimzi 0.47 and Argo CD 3.2 for the rest (field names as in the operating facts).
"""

from __future__ import annotations

from typing import Any

from tests.fakes.kubernetes_api import Cluster
from torghut_core.rfc3339 import format_ns, parse_ns

NOW = "2026-02-11T15:30:00Z"
"""A Wednesday, 10:30 in New York."""
LONG_AGO = "2026-02-10T12:00:00Z"
PODS = "api/v1/namespaces/torghut/pods"
KAFKA_PODS = "api/v1/namespaces/kafka/pods"
DEPLOYMENTS = "apis/apps/v1/namespaces/torghut/deployments"
CONFIGMAPS = "api/v1/namespaces/torghut/configmaps"
EVENTS = "api/v1/namespaces/torghut/events"
SLICES = "apis/discovery.k8s.io/v1/namespaces/torghut/endpointslices"
BUDGETS = "apis/policy/v1/namespaces/torghut/poddisruptionbudgets"
FLINK = "apis/flink.apache.org/v1beta1/namespaces/torghut/flinkdeployments"
KNATIVE = "apis/serving.knative.dev/v1/namespaces/torghut"
CLICKHOUSE = "apis/clickhouse.altinity.com/v1/namespaces/torghut/clickhouseinstallations"
KEEPER = "apis/clickhouse-keeper.altinity.com/v1/namespaces/torghut/clickhousekeeperinstallations"
POSTGRES = "apis/postgresql.cnpg.io/v1/namespaces/torghut/clusters"
KAFKA = "apis/kafka.strimzi.io/v1/namespaces/kafka"
ARGOCD = "apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
GAUGES = "services/torghut-clickhouse-guardrails-exporter:9108/metrics"
SYMBOLS = "services/torghut-visuals:8090/api/torghut/symbols"
LATEST = "services/torghut-visuals:8090/api/torghut/ta/latest?symbol={}"
READYZ = "pods/torghut-ws-7d9f-abcde:8080/readyz"
STATUS = "pods/{}:8181/trading/status"
HEALTH = "pods/{}:8181/trading/health"
WS_POD = "torghut-ws-7d9f-abcde"
JOB_MANAGER = "torghut-ta-6c5b-jm"
TASK_MANAGER = "torghut-ta-taskmanager-1-1"
VISUALS_POD = "torghut-visuals-5c4d-vvvv"
EXPORTER_POD = "torghut-clickhouse-guardrails-exporter-6e5f-eeee"
TRADING_POD = "torghut-00007-deployment-aaaa"
OLD_TRADING_POD = "torghut-00006-deployment-bbbb"
JOB_ID = "a" * 32
IMAGE = "registry.example/lab/torghut@sha256:" + "1" * 64


def ago(seconds: float) -> str:
    """Return the time that many seconds before NOW."""
    return format_ns(parse_ns(NOW) - int(seconds * 1e9))


def condition(kind: str, status: str, *, reason: str = "", since: str = LONG_AGO, message: str = "") -> dict[str, Any]:
    """Return a condition."""
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


def pod(
    name: str,
    labels: dict[str, str],
    *,
    container: str = "main",
    ready: bool = True,
    phase: str = "Running",
    since: str = LONG_AGO,
    created: str = LONG_AGO,
    state: dict[str, Any] | None = None,
    last_state: dict[str, Any] | None = None,
    restarts: int = 0,
    deleting: str | None = None,
    env: list[dict[str, Any]] | None = None,
    scheduled: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a pod with one container."""
    metadata: dict[str, Any] = {"name": name, "namespace": "torghut", "labels": labels, "creationTimestamp": created}
    if deleting:
        metadata["deletionTimestamp"] = deleting
    status = {
        "name": container,
        "image": IMAGE,
        "ready": ready,
        "restartCount": restarts,
        "state": state or {"running": {"startedAt": created}},
        "lastState": last_state or {},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": container, "image": IMAGE, "env": env or []}]},
        "status": {
            "phase": phase,
            "startTime": created,
            "conditions": [
                scheduled or condition("PodScheduled", "True", since=created),
                condition("Ready", "True" if ready else "False", since=since),
            ],
            "containerStatuses": [] if scheduled else [status],
        },
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """Return a container state that waits."""
    return {"waiting": {"reason": reason, "message": message}}


def terminated(reason: str, code: int, finished: str = LONG_AGO) -> dict[str, Any]:
    """Return a container state that ended."""
    return {"terminated": {"reason": reason, "exitCode": code, "finishedAt": finished}}


def ws_labels() -> dict[str, str]:
    return {"app": "torghut-ws", "pod-template-hash": "7d9f"}


def revision_labels(number: int) -> dict[str, str]:
    return {"serving.knative.dev/service": "torghut", "serving.knative.dev/revision": f"torghut-{number:05d}"}


def revision(
    number: int, *, ready: str = "True", reason: str = "", since: str = LONG_AGO, created: str = LONG_AGO
) -> dict[str, Any]:
    """Return a Knative Revision."""
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {"name": f"torghut-{number:05d}", "labels": revision_labels(number), "creationTimestamp": created},
        "spec": {"containers": [{"name": "user-container", "image": IMAGE, "env": trading_env()}]},
        "status": {"conditions": [condition("Ready", ready, reason=reason, since=since)]},
    }


def trading_env() -> list[dict[str, Any]]:
    return [
        {"name": "TRADING_ENABLED", "value": "true"},
        {"name": "TRADING_MODE", "value": "paper"},
        {"name": "TRADING_LIVE_ENABLED", "value": "false"},
        {"name": "TRADING_KILL_SWITCH_ENABLED", "value": "false"},
        {"name": "APCA_API_KEY_ID", "valueFrom": {"secretKeyRef": {"name": "torghut-alpaca", "key": "key"}}},
    ]


def trading_status(**changes: Any) -> dict[str, Any]:
    """Return `/trading/status` of a loop that trades on paper."""
    return {
        "enabled": True,
        "mode": "paper",
        "live_enabled": False,
        "kill_switch_enabled": False,
        "running": True,
        "leader": True,
        "last_run_at": ago(3),
        "last_reconcile_at": ago(10),
        "last_error": None,
        "metrics": {"decisions_total": 12},
        "llm": {
            "enabled": False,
            "shadow_mode": True,
            "fail_mode": "veto",
            "policy_resolution": {"classification": "compliant"},
            "circuit": None,
        },
        **changes,
    }


def readyz(error_class: str | None = None) -> tuple[int, dict[str, Any]]:
    """Return the forwarder's `/readyz`."""
    is_ready = error_class is None
    gates = {
        "alpaca_ws": not (error_class or "").startswith("alpaca"),
        "kafka": not (error_class or "").startswith("kafka"),
        "trade_updates": True,
    }
    body = {
        "status": "ready" if is_ready else "not_ready",
        "ready": is_ready,
        "error_class": error_class,
        "gates": gates,
    }
    return (200 if is_ready else 503), body


def gauges(
    *, up: tuple[float, float] = (1, 1), free: tuple[float, float] = (0.6, 0.61), readonly: float = 0, scraped: str = NOW,
    success: float = 1, signals: str | None = None,
) -> str:  # fmt: skip
    """Return the guardrail exporter's metrics for two replicas."""
    stamp = parse_ns(signals or ago(5)) / 1e9
    lines = ["# HELP torghut_clickhouse_guardrails_clickhouse_up one when it answers", "# TYPE x gauge"]
    for index in range(2):
        label = f'{{replica="chi-torghut-clickhouse-default-0-{index}"}}'
        values = {
            "clickhouse_up": up[index],
            "disk_free_bytes": free[index] * 5e10,
            "disk_total_bytes": 5e10,
            "disk_free_ratio": free[index],
            "any_replica_readonly": readonly,
            "ta_signals_max_event_ts_seconds": stamp,
            "ta_microbars_max_window_end_seconds": stamp,
            "last_scrape_success": success,
            "last_scrape_ts_seconds": parse_ns(scraped) / 1e9,
        }
        lines += [f"torghut_clickhouse_guardrails_{name}{label} {value}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def latest(symbol: str, *, bars: str | None, signals: str | None) -> dict[str, Any]:
    """Return `/api/torghut/ta/latest`."""

    def row(stamp: str | None) -> dict[str, Any] | None:
        return (
            None
            if stamp is None
            else {"symbol": symbol, "event_ts": stamp.replace("T", " ").rstrip("Z"), "window_size": "PT1S"}
        )

    return {"ok": True, "symbol": symbol, "bars": row(bars), "signals": row(signals)}


def set_latest(cluster: Cluster, bars: str | None, signals: str | None, *symbols: str) -> None:
    """Make the newest rows of the symbols (of all three when none is named) this old."""
    for symbol in symbols or ("AAPL", "MSFT", "NVDA"):
        cluster.services[LATEST.format(symbol)] = (200, latest(symbol, bars=bars, signals=signals))


def healthy(now: str = NOW) -> Cluster:
    """Return the healthy system; rows are a few seconds old at `now`."""
    cluster = Cluster()
    fresh = format_ns(parse_ns(now) - 3_000_000_000)
    cluster.put(PODS, pod(WS_POD, ws_labels(), container="ws"))
    for name in (JOB_MANAGER, TASK_MANAGER):
        cluster.put(PODS, pod(name, {"app": "torghut-ta"}, container="flink-main-container"))
    for index in range(2):
        labels = {"clickhouse.altinity.com/chi": "torghut-clickhouse", "clickhouse.altinity.com/cluster": "default"}
        cluster.put(PODS, pod(f"chi-torghut-clickhouse-default-0-{index}-0", labels, container="clickhouse"))
    cluster.put(PODS, pod("chk-torghut-keeper-0-0-0", {"clickhouse-keeper.altinity.com/chk": "torghut-keeper"}))
    cluster.put(PODS, pod("torghut-db-1", {"cnpg.io/cluster": "torghut-db"}, container="postgres"))
    for name, container in ((VISUALS_POD, "visuals"), (EXPORTER_POD, "exporter")):
        cluster.put(PODS, pod(name, {"app": name.rsplit("-", 2)[0]}, container=container))
    cluster.put(PODS, pod(TRADING_POD, revision_labels(7), container="user-container", env=trading_env()))
    cluster.put(KAFKA_PODS, pod("kafka-pool-0", {"strimzi.io/cluster": "kafka", "strimzi.io/name": "kafka-kafka"}))
    cluster.put(DEPLOYMENTS, forwarder())
    data = {"ALPACA_FEED": "iex", "KAFKA_BOOTSTRAP": "kafka:9092"}
    cluster.put(CONFIGMAPS, {"kind": "ConfigMap", "metadata": {"name": "torghut-ws-config"}, "data": data})
    data = {"TA_GROUP_ID": "torghut-ta-2026-01", "TA_AUTO_OFFSET_RESET": "latest"}
    cluster.put(CONFIGMAPS, {"kind": "ConfigMap", "metadata": {"name": "torghut-ta-config"}, "data": data})
    cluster.put(
        CONFIGMAPS, {"kind": "ConfigMap", "metadata": {"name": "torghut-strategy-config"}, "data": {"s.yaml": "x"}}
    )
    cluster.put(FLINK, flink_deployment())
    cluster.put(f"{KNATIVE}/services", knative_service())
    cluster.put(f"{KNATIVE}/configurations", {"kind": "Configuration", "metadata": {"name": "torghut"}, "status": {}})
    cluster.put(f"{KNATIVE}/revisions", revision(7))
    cluster.put(f"{KNATIVE}/revisions", revision(6))
    installation = {"status": {"status": "Completed", "hosts": 2, "hostsCompleted": 2}}
    cluster.put(CLICKHOUSE, {"metadata": {"name": "torghut-clickhouse"}, **installation})
    cluster.put(KEEPER, {"metadata": {"name": "torghut-keeper"}, "status": {"status": "Completed", "hosts": 1}})
    cluster.put(POSTGRES, cnpg_cluster())
    ready = {"conditions": [condition("Ready", "True")]}
    cluster.put(f"{KAFKA}/kafkas", {"kind": "Kafka", "metadata": {"name": "kafka"}, "status": ready})
    for topic in ("torghut.trades.v1", "torghut.ta.signals.v1"):
        spec = {"partitions": 3, "replicas": 3, "config": {"retention.ms": 604800000}}
        cluster.put(f"{KAFKA}/kafkatopics", {"metadata": {"name": topic}, "spec": spec, "status": ready})
    cluster.put(f"{KAFKA}/kafkausers", {"metadata": {"name": "torghut-ws"}, "status": ready})
    cluster.put(ARGOCD, application())
    for service, count in (("torghut-clickhouse", 2), ("keeper-torghut-keeper", 1)):
        endpoints = [{"addresses": [f"10.0.0.{index}"], "conditions": {"ready": True}} for index in range(count)]
        labels = {"kubernetes.io/service-name": service}
        cluster.put(SLICES, {"metadata": {"name": f"{service}-x", "labels": labels}, "endpoints": endpoints})
    cluster.put(BUDGETS, {"metadata": {"name": "torghut-ws"}, "status": {"currentHealthy": 1, "expectedPods": 1}})
    cluster.collections.add(EVENTS)
    cluster.services[READYZ] = readyz()
    cluster.services[STATUS.format(TRADING_POD)] = (200, trading_status())
    dependencies = {key: {"ok": True, "detail": "ok"} for key in ("postgres", "clickhouse", "alpaca")}
    cluster.services[HEALTH.format(TRADING_POD)] = (
        200,
        {"status": "ok", "scheduler": {"ok": True, "detail": "ok"}, "dependencies": dependencies},
    )
    cluster.services[GAUGES] = (200, gauges(scraped=now, signals=fresh))
    cluster.services[SYMBOLS] = (200, {"symbols": ["AAPL", "MSFT", "NVDA"]})
    set_latest(cluster, fresh, fresh)
    rest = f"services/torghut-ta-rest:8081/jobs/{JOB_ID}"
    counts = {
        "counts": {"completed": 900, "failed": 0},
        "latest": {"completed": {"latest_ack_timestamp": parse_ns(fresh) // 10**6}},
    }
    cluster.services[f"{rest}/checkpoints"] = (200, counts)
    cluster.services[f"{rest}/exceptions"] = (200, {"exceptionHistory": {"entries": []}})
    for name, container in (
        (WS_POD, "ws"),
        (JOB_MANAGER, "flink-main-container"),
        (TASK_MANAGER, "flink-main-container"),
        (TRADING_POD, "user-container"),
    ):
        cluster.logs[name, container, False] = "started\nall is well\n"
    return cluster


def forwarder(*, replicas: int = 1, ready: int = 1, available: str = "True", since: str = LONG_AGO) -> dict[str, Any]:
    """Return the forwarder's Deployment."""
    template = {"metadata": {}, "spec": {"containers": [{"name": "ws", "image": IMAGE, "env": []}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "torghut-ws", "generation": 3, "creationTimestamp": LONG_AGO},
        "spec": {"replicas": replicas, "strategy": {"type": "Recreate"}, "template": template},
        "status": {
            "observedGeneration": 3,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "updatedReplicas": replicas,
            "conditions": [condition("Available", available, since=since)],
        },
    }


def flink_deployment(
    *, state: str = "running", job: str | None = "RUNNING", lifecycle: str = "STABLE", manager: str = "READY",
    updated: str = LONG_AGO, error: str | None = None, reconciliation: str = "DEPLOYED", reconciled: str = LONG_AGO,
) -> dict[str, Any]:  # fmt: skip
    """Return the FlinkDeployment."""
    return {
        "apiVersion": "flink.apache.org/v1beta1",
        "kind": "FlinkDeployment",
        "metadata": {"name": "torghut-ta", "generation": 5, "creationTimestamp": LONG_AGO},
        "spec": {"image": IMAGE, "restartNonce": 4, "job": {"state": state, "upgradeMode": "last-state"}},
        "status": {
            "lifecycleState": lifecycle,
            "jobManagerDeploymentStatus": manager,
            "observedGeneration": 5,
            "error": error,
            "jobStatus": {"state": job, "jobId": JOB_ID, "updateTime": str(parse_ns(updated) // 10**6)},
            "reconciliationStatus": {"state": reconciliation, "reconciliationTimestamp": parse_ns(reconciled) // 10**6},
        },
    }


def knative_service(
    *, created: int = 7, ready_number: int = 7, ready: str = "True", reason: str = "", since: str = LONG_AGO
) -> dict[str, Any]:
    """Return the Knative Service."""
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "torghut", "generation": 9},
        "spec": {
            "template": {"spec": {"containers": [{"name": "user-container", "image": IMAGE, "env": trading_env()}]}}
        },
        "status": {
            "observedGeneration": 9,
            "conditions": [condition("Ready", ready, reason=reason, since=since)],
            "latestCreatedRevisionName": f"torghut-{created:05d}",
            "latestReadyRevisionName": f"torghut-{ready_number:05d}",
            "traffic": [{"revisionName": f"torghut-{ready_number:05d}", "percent": 100, "latestRevision": True}],
        },
    }


def cnpg_cluster(*, phase: str = "Cluster in healthy state", ready: int = 1, instances: int = 1) -> dict[str, Any]:
    """Return the CloudNativePG Cluster; like the operator's Go it leaves out a count of zero."""
    counts = {"readyInstances": ready} if ready else {}
    return {
        "kind": "Cluster",
        "metadata": {"name": "torghut-db"},
        "spec": {"instances": instances},
        "status": {
            "phase": phase,
            "instances": instances,
            "currentPrimary": "torghut-db-1",
            "targetPrimary": "torghut-db-1",
            "conditions": [condition("Ready", "True" if ready == instances else "False", since=ago(900))],
            **counts,
        },
    }


def application(**changes: Any) -> dict[str, Any]:
    """Return the Argo CD Application; `sync`, `health`, `operation` are status words, times go by name."""
    values = {
        "sync": "Synced",
        "health": "Healthy",
        "operation": "Succeeded",
        "finished": LONG_AGO,
        "health_since": LONG_AGO,
    }
    values |= changes
    return {
        "kind": "Application",
        "metadata": {"name": "torghut", "namespace": "argocd"},
        "spec": {"source": {"path": "argocd/applications/torghut"}},
        "status": {
            "sync": {"status": values["sync"], "revision": "c" * 40},
            "health": {"status": values["health"], "lastTransitionTime": values["health_since"]},
            "operationState": {
                "phase": values["operation"],
                "finishedAt": values["finished"],
                "startedAt": values["finished"],
                "message": "",
            },
            "resources": [
                {"kind": "Deployment", "name": "torghut-ws", "status": values["sync"], "health": {"status": "Healthy"}}
            ],
            "history": [{"id": 1, "revision": "c" * 40, "deployedAt": LONG_AGO}],
        },
    }
