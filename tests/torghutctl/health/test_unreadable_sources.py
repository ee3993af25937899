"""One source fails and all others are well: never healthy by silence when it is required, never a traceback."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import Fault, serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.health.report import Operator, judge
from torghutctl.render import health_table
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target

_HERE = "/api/v1/namespaces/torghut"
REQUIRED = {
    f"{_HERE}/pods": "forwarder",
    f"/{base.DEPLOYMENTS}/torghut-ws": "forwarder",
    f"{_HERE}/pods/{base.WS_POD}:8080/proxy/readyz": "forwarder",
    f"/{base.FLINK}/torghut-ta": "ta",
    f"{_HERE}/services/torghut-clickhouse-guardrails-exporter:9108/proxy/metrics": "clickhouse",
    f"/{base.POSTGRES}/torghut-db": "postgres",
    f"/{base.KNATIVE}/services/torghut": "trading",
    f"{_HERE}/pods/{base.TRADING_POD}:8181/proxy/trading/status": "trading",
    f"/{base.ARGOCD}/torghut": "argocd",
    f"{_HERE}/services/torghut-visuals:8090/proxy/api/torghut/symbols": "freshness",
    f"{_HERE}/services/torghut-visuals:8090/proxy/api/torghut/ta/latest": "freshness",
}
FAULTS = {
    "403": Fault(status=403),
    "404": Fault(status=404),
    "429": Fault(status=429),
    "500": Fault(status=500),
    "503": Fault(status=503),
    "redirect": Fault(status=302),
    "html": Fault(body=b"<html>not what you asked for</html>"),
    "json": Fault(body=b'{"garbage": [1, 2, 3]}'),
    "list": Fault(body=b"[]"),
    "empty": Fault(body=b""),
    "truncated": Fault(truncated=True),
}


def _paths(tmp_path: Path) -> list[str]:
    cluster = base.healthy()
    with serve(cluster, tmp_path) as kubeconfig:
        read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={})
    return sorted({request.split("?")[0] for request in cluster.requests})


QUICK = ("403", "json")
"""The two that stay in the quick run; each of them bends every path in turn."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [pytest.param(FAULTS[name], id=name, marks=[] if name in QUICK else pytest.mark.slow) for name in FAULTS]
)
def test_report_when_one_source_fails_then_required_is_unknown_and_others_are_listed(
    fault: Fault, tmp_path: Path
) -> None:
    """Each path of a healthy reading fails in turn in this way."""
    paths = _paths(tmp_path)
    assert set(REQUIRED) <= set(paths)
    cluster = base.healthy()
    wrong = []
    with serve(cluster, tmp_path) as kubeconfig:
        for path in paths:
            cluster.faults = {path: fault}
            if path == f"{_HERE}/pods":
                # A prefix of the proxied paths too: those alone are to answer.
                cluster.faults |= {request: Fault() for request in paths if request.startswith(f"{path}/")}
            report = judge(read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={}), Operator())
            wrong += _mistakes(path, report)
    assert wrong == []


def _mistakes(path: str, report: dict[str, object]) -> list[str]:
    component = REQUIRED.get(path)
    if component is None:
        return [] if report["classification"] == "healthy" else [f"{path}: {health_table.table(report)}"]
    top = report["topCause"]
    assert isinstance(top, dict) or top is None
    found = (report["classification"], top and top["component"], top and top["reason"])
    return [] if found == ("unknown", component, "unreadable") else [f"{path}: {health_table.table(report)}"]


@pytest.mark.slow
def test_report_when_one_source_hangs_then_its_deadline_is_all_it_costs(tmp_path: Path) -> None:
    """A source that never answers is a time-out of its own; the rest of the report stands."""
    paths = _paths(tmp_path)

    def hang(number: int, path: str) -> list[str]:
        cluster = base.healthy()
        released = threading.Event()
        cluster.waits = lambda _: released.wait(60) and None
        cluster.faults = {path: Fault(delay=1)}
        if path == f"{_HERE}/pods":
            cluster.faults |= {request: Fault() for request in paths if request.startswith(f"{path}/")}
        folder = tmp_path / str(number)
        folder.mkdir()
        with serve(cluster, folder) as kubeconfig:
            snapshot = read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={}, deadline_s=4.0)
            released.set()
        return _mistakes(path, judge(snapshot, Operator()))

    hung = [*REQUIRED, "/apis", f"/{base.KAFKA}/kafkas/kafka", f"/{base.EVENTS}"]
    with ThreadPoolExecutor(3) as pool:  # they mostly wait
        assert [line for lines in pool.map(hang, range(len(hung)), hung) for line in lines] == []


def test_report_when_optional_source_fails_then_listed_as_info(tmp_path: Path) -> None:
    """A source that is not required and fails stands in the report and changes no status."""
    cluster = base.healthy()
    cluster.faults = {f"/{base.KAFKA}/kafkas/kafka": Fault(status=403)}
    with serve(cluster, tmp_path) as kubeconfig:
        report = judge(read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={}), Operator())
    kafka = next(item for item in report["components"] if item["name"] == "kafka")
    assert kafka["status"] == "healthy"
    assert [(item["reason"], item["severity"], item["evidence"]) for item in kafka["findings"]] == [
        ("unreadable", "info", ["kafka/cluster: refused to this reader (HTTP 403)"])
    ]


def test_report_when_api_server_is_gone_then_unknown(tmp_path: Path) -> None:
    """A cluster out of reach is unknown, with the access runbook, and no component is healthy by silence."""
    with serve(base.healthy(), tmp_path) as kubeconfig:
        pass
    report = judge(read(Target(kubeconfig=kubeconfig), at_ns=parse_ns(base.NOW), process={}, deadline_s=2), Operator())
    assert (report["classification"], report["nextProcedure"]["name"]) == ("unknown", "access")
    required = {"forwarder", "ta", "clickhouse", "postgres", "trading", "argocd", "freshness"}
    assert required == {item["name"] for item in report["components"] if item["status"] == "unknown"}
