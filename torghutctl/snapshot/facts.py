"""Typed facts out of a snapshot's readings. Says what is, never whether that is good.

Every accessor answers None (or an empty tuple) for what was not read; `Facts.failure` tells why. Times are nanoseconds
since the epoch unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torghut_core.rfc3339 import parse_ns
from torghutctl.snapshot import sources
from torghutctl.snapshot.model import Failure, Reading, Snapshot


def moment(text: Any) -> int | None:
    """Return a kept time as nanoseconds since the epoch."""
    return parse_ns(text) if isinstance(text, str) else None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition of an object."""

    type: str
    status: str
    reason: str | None
    since: str | None
    signatures: tuple[str, ...] = ()

    @property
    def is_true(self) -> bool:
        return self.status == "True"

    @property
    def is_false(self) -> bool:
        return self.status == "False"


def conditions(value: Mapping[str, Any] | None) -> dict[str, Condition]:
    """Return an object's conditions by type."""
    return {
        str(item.get("type")): Condition(
            type=str(item.get("type")),
            status=str(item.get("status")),
            reason=item.get("reason"),
            since=item.get("since"),
            signatures=signature_names(item.get("signatures")),
        )
        for item in (value or {}).get("conditions", [])
    }


def signature_names(value: Any) -> tuple[str, ...]:
    """Return the names of kept signatures, the latest first."""
    return tuple(str(item["signature"]) for item in value or () if isinstance(item, dict) and "signature" in item)


@dataclass(frozen=True, kw_only=True)
class ContainerFact:
    """One container's state now and before its last restart; a state is `waiting`, `running` or `terminated`."""

    name: str
    is_init: bool
    is_ready: bool
    restarts: int
    image: str | None
    state: str | None
    reason: str | None
    exit_code: int | None
    signatures: tuple[Mapping[str, Any], ...]
    last_reason: str | None
    last_exit_code: int | None
    last_finished: str | None


@dataclass(frozen=True, kw_only=True)
class PodFact:
    """One pod."""

    name: str
    labels: Mapping[str, str]
    owners: tuple[str, ...]
    phase: str | None
    created: str | None
    is_terminating: bool
    conditions: Mapping[str, Condition]
    containers: tuple[ContainerFact, ...]
    container_names: tuple[str, ...]
    """Containers of the spec; a pod that has just been made has no state of them yet."""

    @property
    def is_alive(self) -> bool:
        """Whether it counts at all: not finished, not being deleted."""
        return not self.is_terminating and self.phase not in ("Succeeded", "Failed")

    @property
    def is_running(self) -> bool:
        return self.is_alive and self.phase == "Running"

    @property
    def is_ready(self) -> bool:
        ready = self.conditions.get("Ready")
        if ready is not None:
            return self.is_running and ready.is_true
        own = [item for item in self.containers if not item.is_init]
        return self.is_running and bool(own) and all(item.is_ready for item in own)


def pod(value: Mapping[str, Any]) -> PodFact:
    """Return the fact of a kept pod."""
    return PodFact(
        name=str(value.get("name")),
        labels={key: str(item) for key, item in value.get("labels", {}).items()},
        owners=tuple(str(item.get("name")) for item in value.get("owners", [])),
        phase=value.get("phase"),
        created=value.get("created"),
        is_terminating=value.get("deleting") is not None,
        conditions=conditions(value),
        containers=tuple(_container(item) for item in value.get("containers", [])),
        container_names=tuple(str(item) for item in value.get("specContainers", [])),
    )


def _container(value: Mapping[str, Any]) -> ContainerFact:
    state, last = value.get("state") or {}, value.get("lastState") or {}
    return ContainerFact(
        name=str(value.get("name")),
        is_init=bool(value.get("isInit")),
        is_ready=bool(value.get("isReady")),
        restarts=int(value.get("restarts") or 0),
        image=value.get("imageID") or value.get("image"),
        state=state.get("kind"),
        reason=state.get("reason"),
        exit_code=state.get("exitCode"),
        signatures=tuple(state.get("signatures") or ()),
        last_reason=last.get("reason"),
        last_exit_code=last.get("exitCode"),
        last_finished=last.get("finished"),
    )


@dataclass(frozen=True, kw_only=True)
class Latest:
    """When a symbol's newest rows happened; None when there is none."""

    symbol: str
    bars_ns: int | None
    signals_ns: int | None


class Facts:
    """A snapshot's readings, parsed on demand."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.names = snapshot.names
        self.is_local = snapshot.target == "local"

    def reading(self, source: str) -> Reading:
        """Return the reading of `source`."""
        return self.snapshot.reading(source)

    def value(self, source: str) -> Any:
        """Return what was read of `source`, None when it could not be."""
        return self.snapshot.reading(source).value

    def failure(self, source: str) -> Failure | None:
        """Return why `source` gave no value, None when it did."""
        return self.snapshot.reading(source).failure

    def family(self, head: str) -> Iterator[tuple[str, Reading]]:
        """Yield the members of a family of sources, each under what follows its head."""
        for source, reading in self.snapshot.readings.items():
            if source.startswith(head):
                yield source.removeprefix(head), reading

    def pods(self, source: str = sources.PODS) -> tuple[PodFact, ...] | None:
        """Return every pod of a namespace, None when they could not be listed."""
        value = self.value(source)
        return None if value is None else tuple(pod(item) for item in value)

    def forwarder_pods(self) -> tuple[PodFact, ...]:
        """Return the forwarder's pods: labelled `app`, or owned by a ReplicaSet of the Deployment."""
        wanted = self.names.ws_deployment
        return tuple(item for item in self.pods() or () if belongs_to(item, wanted))

    def scheduler_pods(self) -> tuple[PodFact, ...]:
        """Return the pods of the Deployment that runs the trading loop, where there is one."""
        if self.value(sources.TRADING_SCHEDULER) is None:
            return ()
        return tuple(item for item in self.pods() or () if belongs_to(item, SCHEDULER))

    def ta_pods(self) -> tuple[PodFact, ...]:
        """Return job manager and task managers of the FlinkDeployment, or the pods of the one-process TA."""
        return self._labelled("app", self.names.flink_deployment)

    def clickhouse_pods(self) -> tuple[PodFact, ...]:
        """Return the ClickHouse replicas' pods."""
        return self._labelled("clickhouse.altinity.com/chi", self.names.clickhouse_service)

    def keeper_pods(self) -> tuple[PodFact, ...]:
        """Return the Keeper pods."""
        return tuple(item for item in self.pods() or () if "clickhouse-keeper.altinity.com/chk" in item.labels)

    def postgres_pods(self) -> tuple[PodFact, ...]:
        """Return the PostgreSQL instances' pods."""
        return self._labelled("cnpg.io/cluster", self.names.cnpg_cluster)

    def trading_pods(self) -> tuple[PodFact, ...]:
        """Return the pods of every revision of the trading service."""
        return self._labelled("serving.knative.dev/service", self.names.service)

    def kafka_pods(self) -> tuple[PodFact, ...]:
        """Return the brokers' pods: of a Strimzi cluster, named after its `kafka` part."""
        return tuple(
            item
            for item in self.pods(sources.KAFKA_PODS) or ()
            if "strimzi.io/cluster" in item.labels and item.labels.get("strimzi.io/name", "kafka").endswith("kafka")
        )

    def warnings(self, pod_name: str) -> tuple[str, ...]:
        """Return a pod's Warning Events, the last first: reason, count, time."""
        found = [
            item
            for item in self.value(sources.EVENTS) or []
            if item["type"] == "Warning" and item["kind"] == "Pod" and item["name"] == pod_name
        ]
        found.sort(key=lambda item: str(item["last"] or item["first"] or ""), reverse=True)
        return tuple(
            f"event {item['reason']} of pod {pod_name}: {item['count']} times, last {item['last'] or 'at no known time'}"
            for item in found
        )

    def _labelled(self, key: str, value: str) -> tuple[PodFact, ...]:
        return tuple(item for item in self.pods() or () if item.labels.get(key) == value)

    def variable(self, source: str, name: str) -> str | None:
        """Return a variable's value as an object sets it (Deployment, Revision, ConfigMap), None when it is not shown."""
        for item in (self.value(source) or {}).get("variables", []):
            if item["name"] == name:
                shown = item.get("value")
                return str(shown) if shown is not None else None
        return None

    @property
    def feed(self) -> str:
        """Return the market-data feed the forwarder is set to; iex unless something says otherwise."""
        local = (self.value(sources.LOCAL) or {}).get("feed")
        for found in (
            local,
            self.variable(sources.FORWARDER_DEPLOYMENT, "ALPACA_FEED"),
            self.variable(sources.FORWARDER_CONFIG, "ALPACA_FEED"),
        ):
            if found:
                return str(found)
        return "iex"

    @property
    def calendar(self) -> str:
        """Return the market calendar's name."""
        return str((self.value(sources.LOCAL) or {}).get("marketCalendar", "XNYS"))

    @property
    def is_clock_simulated(self) -> bool:
        return bool((self.value(sources.LOCAL) or {}).get("isClockSimulated"))

    def forwarder_ready(self) -> dict[str, Reading]:
        """Return each running forwarder pod's `/readyz` by pod name (`local` for a local target)."""
        return dict(self.family(sources.FORWARDER_READY))

    def is_forwarder_ready(self) -> bool:
        """Tell whether some forwarder says it is ready."""
        return any(item.is_ok and item.value["ready"] for item in self.forwarder_ready().values())

    def ta_process(self) -> Mapping[str, Any] | None:
        """Return the one-process TA's Deployment, where it stands in the FlinkDeployment's place; None otherwise."""
        found = self.value(sources.TA_PROCESS)
        is_instead = self.failure(sources.TA_DEPLOYMENT) is Failure.ABSENT
        return found if is_instead and isinstance(found, dict) else None

    def ta_pods_ready(self) -> dict[str, Reading]:
        """Return `/readyz` of each running pod of the one-process TA, by pod name."""
        return dict(self.family(sources.TA_POD_READY))

    def is_ta_running(self) -> bool:
        """Tell whether the TA job runs: FlinkDeployment RUNNING, or the one-process TA's `/readyz` 200."""
        if self.is_local:
            return bool((self.value(sources.TA_READY) or {}).get("ready"))
        if self.ta_process() is not None:
            return any(item.is_ok and item.value["ready"] for item in self.ta_pods_ready().values())
        found = self.value(sources.TA_DEPLOYMENT) or {}
        return bool(found.get("wantedState") == "running" and found.get("job") == "RUNNING")

    def is_ta_readable(self) -> bool:
        """Tell whether the TA's required source was read."""
        if self.ta_process() is not None:
            return True
        return self.reading(sources.TA_READY if self.is_local else sources.TA_DEPLOYMENT).is_ok

    def gauges(self) -> Mapping[str, Mapping[str, float]] | None:
        """Return the guardrail gauges by replica."""
        value = self.value(sources.CLICKHOUSE_GAUGES)
        return value if isinstance(value, dict) else None

    def disk_free_ratios(self) -> dict[str, float]:
        """Return the free share of each ClickHouse replica's disk (0 to 1)."""
        ratios: dict[str, float] = {}
        for replica, found in (self.gauges() or {}).items():
            if "disk_free_ratio" in found:
                ratios[replica] = found["disk_free_ratio"]
            elif found.get("disk_total_bytes") and "disk_free_bytes" in found:
                ratios[replica] = found["disk_free_bytes"] / found["disk_total_bytes"]
        return ratios

    def readonly_replicas(self) -> tuple[str, ...]:
        """Return the ClickHouse replicas that hold a read-only table."""
        return tuple(key for key, found in (self.gauges() or {}).items() if found.get("any_replica_readonly", 0) >= 1)

    def minute_volume_ratios(self) -> dict[str, float]:
        """Return the share of the provider's minute volume that each replica's own seconds hold, where it is told."""
        found = self.gauges() or {}
        return {replica: row["minute_volume_ratio"] for replica, row in found.items() if "minute_volume_ratio" in row}

    def latest(self) -> tuple[Latest, ...]:
        """Return the newest rows of every symbol that could be asked for."""
        return tuple(
            Latest(
                symbol=symbol,
                bars_ns=moment((reading.value.get("bars") or {}).get("event")),
                signals_ns=moment((reading.value.get("signals") or {}).get("event")),
            )
            for symbol, reading in self.family(sources.LATEST)
            if reading.is_ok
        )

    def gauge_latest_ns(self, gauge: str) -> int | None:
        """Return the newest event time of a guardrail gauge over all replicas."""
        found = [int(entry[gauge] * 1_000_000_000) for entry in (self.gauges() or {}).values() if entry.get(gauge)]
        return max(found, default=None)

    def trading_status(self) -> dict[str, Mapping[str, Any]]:
        """Return each trading pod's `/trading/status` that could be read, by pod name."""
        return {pod_name: reading.value for pod_name, reading in self.family(sources.TRADING_STATUS) if reading.is_ok}

    def logs(self, pod_name: str) -> tuple[str, ...]:
        """Return the signatures in a pod's logs, those of the running containers before those of the last crash."""
        found: list[str] = []
        for head in (sources.LOGS, sources.LOGS_PREVIOUS):
            for _, reading in self.family(f"{head}{pod_name}/"):
                found += signature_names((reading.value or {}).get("signatures"))
        return tuple(dict.fromkeys(found))

    def desired(self) -> Mapping[str, Any] | None:
        """Return what git wants, None when no repository was read."""
        value = self.value(sources.DESIRED)
        return value if isinstance(value, dict) else None


SCHEDULER = "torghut-scheduler"
VISUALS = "torghut-visuals"
"""Deployment and Service of the visuals API."""


def belongs_to(item: PodFact, deployment: str) -> bool:
    """Tell whether a pod is a Deployment's: by the label `app`, or by its ReplicaSet's name."""
    template = item.labels.get("pod-template-hash")
    return item.labels.get("app") == deployment or (bool(template) and f"{deployment}-{template}" in item.owners)
