"""Every answer with a field dropped, emptied or of another type: nothing raises, and no fault is hidden by nonsense."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import direct_reading, incidents, incidents_compound, incidents_sessions, incidents_single
from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import Cluster
from torghutctl.health.report import Operator, judge
from torghutctl.render import health_table, health_view

assert incidents_compound and incidents_sessions and incidents_single, "importing them registers their cases"
_KNATIVE = f"{base.KNATIVE}/services"
_OTHER_TYPES: dict[type, tuple[Any, ...]] = {
    str: ({"x": 1}, ["x"], 7, True),
    int: ("x", {"x": 1}, ["x"]),
    float: ("x", {"x": 1}),
    bool: ("yes", {"x": 1}, 3),
    dict: ("x", ["x"], 5),
    list: ("x", {"x": 1}, 5),
    type(None): ({"x": 1}, ["x"]),
}


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from _paths(entry, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _documents(cluster: Cluster) -> list[dict[str, Any]]:
    found = [item for _, item in sorted(cluster.objects.items())]
    return found + [body for _, (_, body) in sorted(cluster.services.items()) if isinstance(body, dict)]


def _judge(cluster: Cluster, at: str = base.NOW, *, live: bool = False) -> dict[str, Any]:
    report = judge(direct_reading.read(cluster, at), Operator(is_live_declared=live))
    assert health_table.table(report) and health_view.markdown(report)
    return report


def _is_told(report: dict[str, Any]) -> bool:
    """Tell whether some source is listed as unread: nonsense from one that is not required changes no status."""
    return any(item["reason"] == "unreadable" for component in report["components"] for item in component["findings"])


def _bend_each(kind: str, count: int, seed: int) -> list[str]:
    """Bend one random field of random incidents; return those that were bad and became healthy without a word."""
    chance = random.Random(seed)
    hidden = []
    for _ in range(count):
        case = chance.choice(incidents.CASES)
        cluster = copy.deepcopy(base.healthy(case.at))
        case.bend(cluster)
        document = chance.choice(_documents(cluster))
        path = chance.choice([path for path in _paths(document) if "labels" not in path])
        parent, key = _at(document, path[:-1]), path[-1]
        if kind == "drop":
            del parent[key]
        else:
            parent[key] = None if kind == "null" else chance.choice(_OTHER_TYPES[type(parent[key])])
        report = _judge(cluster, case.at, live=case.is_live_declared)
        is_hidden = report["classification"] == "healthy" and not _is_told(report)
        if kind == "type" and case.classification != "healthy" and is_hidden:
            hidden.append(f"{case.name}: {'.'.join(map(str, path))}")
    return hidden


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["drop", "null", "type"])
def test_report_when_any_field_is_bent_then_nothing_raises_and_nonsense_hides_no_fault(kind: str) -> None:
    """Random fields of random incidents; a value of another type never turns a bad verdict into healthy."""
    assert _bend_each(kind, 1500, seed=12) == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["drop", "null", "type"])
def test_report_when_thousands_of_fields_are_bent_then_the_same(kind: str) -> None:
    """The same over ten thousand cases, others each time."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    assert _bend_each(kind, 10_000, seed=seed) == []


DECISIVE = {
    "forwarder": [
        (base.DEPLOYMENTS, "torghut-ws", "spec.replicas"),
        (base.DEPLOYMENTS, "torghut-ws", "spec"),
        (base.DEPLOYMENTS, "torghut-ws", "status"),
        (base.DEPLOYMENTS, "torghut-ws", "status.conditions"),
        (base.PODS, base.WS_POD, "metadata"),
        (base.PODS, base.WS_POD, "status"),
        (base.PODS, base.WS_POD, "status.phase"),
        (base.PODS, base.WS_POD, "status.conditions"),
        (base.PODS, base.WS_POD, "status.containerStatuses"),
        (base.PODS, base.WS_POD, "status.containerStatuses.0.ready"),
        (base.PODS, base.WS_POD, "status.containerStatuses.0.state.running"),
    ],
    "ta": [
        (base.FLINK, "torghut-ta", path)
        for path in (
            "spec", "spec.job", "spec.job.state", "status", "status.jobStatus", "status.jobStatus.state",
            "status.lifecycleState", "status.jobManagerDeploymentStatus", "status.reconciliationStatus",
            "status.reconciliationStatus.state",
        )
    ],
    "postgres": [
        (base.POSTGRES, "torghut-db", path)
        for path in ("spec", "spec.instances", "status", "status.readyInstances", "status.phase", "status.conditions")
    ],
    "trading": [
        (_KNATIVE, "torghut", path)
        for path in (
            "status", "status.conditions", "status.conditions.0.status", "status.latestCreatedRevisionName",
            "status.latestReadyRevisionName", "spec.template", "spec.template.spec.containers",
            "spec.template.spec.containers.0.env", "spec.template.spec.containers.0.env.2.value",
            "spec.template.spec.containers.0.env.2.name",
        )
    ],
    "argocd": [
        (base.ARGOCD, "torghut", path)
        for path in (
            "spec", "status", "status.sync", "status.sync.status", "status.health", "status.health.status",
            "status.operationState", "status.operationState.phase",
        )
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("component", "collection", "name", "path"),
    [(component, *row) for component, rows in DECISIVE.items() for row in rows],
)
def test_report_when_a_decisive_field_has_another_type_then_its_component_is_unreadable(
    component: str, collection: str, name: str, path: str
) -> None:
    """What a verdict rests on is refused when it is nonsense, and never taken for good news or for worse news."""
    keys = tuple(int(key) if key.isdigit() else key for key in path.split("."))
    cluster = base.healthy()
    document = cluster.get(collection, name)
    parent, key = _at(document, keys[:-1]), keys[-1]
    for nonsense in _OTHER_TYPES[type(parent[key])]:
        parent[key] = nonsense
        report = _judge(cluster)
        top = report["topCause"]
        assert ("unknown", component, "unreadable") == (
            report["classification"],
            top and top["component"],
            top and top["reason"],
        ), (nonsense, health_table.table(report))


@pytest.mark.parametrize("key", ["enabled", "mode", "live_enabled", "kill_switch_enabled", "running"])
def test_report_when_a_switch_of_trading_has_another_type_then_unreadable(key: str) -> None:
    """A switch that is no boolean, and a mode that is neither paper nor live, is not an answer."""
    cluster = base.healthy()
    cluster.services[base.STATUS.format(base.TRADING_POD)] = (200, base.trading_status(**{key: "LIVE"}))
    assert tuple(_judge(cluster)["topCause"][part] for part in ("component", "reason")) == ("trading", "unreadable")


@pytest.mark.parametrize(
    ("collection", "name", "changes", "component"),
    [
        (base.FLINK, "torghut-ta", base.flink_deployment(state="paused"), "ta"),
        (base.FLINK, "torghut-ta", base.flink_deployment(reconciliation="PONDERING"), "ta"),
        (base.ARGOCD, "torghut", base.application(sync="Sunk"), "argocd"),
        (base.ARGOCD, "torghut", base.application(health="Poorly"), "argocd"),
        (base.ARGOCD, "torghut", base.application(operation="Hesitating"), "argocd"),
    ],
)
def test_report_when_a_state_is_a_word_nobody_knows_then_unreadable(
    collection: str, name: str, changes: dict[str, Any], component: str
) -> None:
    """An enum may grow: a new word is unknown, neither healthy nor one of the old ones."""
    cluster = base.healthy()
    cluster.put(collection, changes)
    assert name == changes["metadata"]["name"]
    report = _judge(cluster)
    assert ("unknown", component) == (report["classification"], report["topCause"]["component"])


@pytest.mark.parametrize("path", ["status", "status.status"])
def test_report_when_the_operators_word_has_another_type_then_it_is_told_and_no_verdict(path: str) -> None:
    """The installation is not required, so nonsense in it changes no status, but it is named as not read."""
    *heads, key = path.split(".")
    for nonsense in ({"x": 1}, ["x"], 7) if heads else ("x", ["x"], 5):
        cluster = base.healthy()
        _at(cluster.get(base.CLICKHOUSE, "torghut-clickhouse"), tuple(heads))[key] = nonsense
        report = _judge(cluster)
        told = [item for part in report["components"] if part["name"] == "clickhouse" for item in part["findings"]]
        assert (report["classification"], [item["reason"] for item in told]) == ("healthy", ["unreadable"])
