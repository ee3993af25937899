"""The processes of `up` and `demo`, judged by the same rules through their HTTP endpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import torghut_cluster as base
from tests.fakes.local_services import LocalServices, serve
from torghut_core.clock import FileClock
from torghut_core.rfc3339 import parse_ns
from torghutctl.health.report import Operator, judge
from torghutctl.snapshot import bundle
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.target import Target


def _report(services: LocalServices, folder: Path, *, at: str | None = base.NOW, **changes: Any) -> dict[str, Any]:
    with serve(services, folder, **changes) as path:
        snapshot = read(Target(local=path), at_ns=parse_ns(at) if at else None)
    report = judge(snapshot, Operator())
    bundle.write(snapshot, folder / "bundle", "PATH")
    assert report == judge(bundle.read(folder / "bundle"), Operator())
    return report


def _set(path: str, status: int, body: Any) -> Callable[[LocalServices], None]:
    def change(services: LocalServices) -> None:
        services.answers[path] = (status, body)

    return change


def _ta(reason: str) -> Callable[[LocalServices], None]:
    return _set("/ta/readyz", 503, {"status": "not_ready", "ready": False, "reason": reason})


def _forwarder(error_class: str) -> Callable[[LocalServices], None]:
    return _set("/forwarder/readyz", *base.readyz(error_class))


def _age(seconds: float) -> Callable[[LocalServices], None]:
    def change(services: LocalServices) -> None:
        for symbol in ("AAPL", "MSFT"):
            services.set_latest(symbol, base.ago(seconds))

    return change


def _gone(path: str) -> Callable[[LocalServices], None]:
    return lambda services: services.answers.pop(path) and None


CASES = {
    "healthy": (lambda services: None, "healthy", None, None),
    "406": (_forwarder("alpaca_406_second_connection"), "down", "alpaca_406_second_connection", "restart-ws"),
    "auth": (_forwarder("alpaca_auth"), "down", "alpaca_auth", "rotate-credentials"),
    "kafka": (_forwarder("kafka_produce"), "down", "kafka_produce", "kafka-recovery"),
    "cut": (_forwarder("unknown"), "degraded", "forwarder_not_ready", "restart-ws"),
    "disk": (_ta("clickhouse_disk_full"), "down", "ta_failed_disk_full", "suspend-ta"),
    "readonly": (_ta("clickhouse_readonly"), "down", "ta_failed_readonly_table", "restore-replica"),
    "ta-kafka": (_ta("kafka_metadata"), "down", "ta_failed_kafka", "kafka-recovery"),
    "ta-starting": (_ta("starting"), "degraded", "ta_restarting", "restart-ta"),
    "stalled": (_age(1000), "down", "ta_stalled", "restart-ta"),
    "loop": (
        _set("/trading/trading/status", 200, base.trading_status(running=False)),
        "degraded",
        "trading_loop_stopped",
        "trading-loop",
    ),
    "low-disk": (
        _set("/guardrails/metrics", 200, base.gauges(free=(0.1, 0.2))),
        "degraded",
        "clickhouse_disk_low",
        "suspend-ta",
    ),
    "no-ready": (_gone("/forwarder/readyz"), "unknown", "unreadable", "access"),
    "no-ta": (_gone("/ta/readyz"), "unknown", "unreadable", "access"),
    "no-status": (_gone("/trading/trading/status"), "unknown", "unreadable", "access"),
    "no-gauges": (_gone("/guardrails/metrics"), "unknown", "unreadable", "access"),
    "no-symbols": (_gone("/visuals/api/torghut/symbols"), "unknown", "unreadable", "access"),
    "lying-ready": (
        _set("/forwarder/readyz", 503, {"status": "ready", "ready": True}),
        "unknown",
        "unreadable",
        "access",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_report_when_local_services_answer_then_verdict(name: str, tmp_path: Path) -> None:
    """Each answer gets the verdict that the same state has on a cluster."""
    change, classification, reason, step = CASES[name]
    services = LocalServices()
    change(services)
    report = _report(services, tmp_path / "demo")
    top, following = report["topCause"], report["nextProcedure"]
    assert (classification, reason, step) == (
        report["classification"],
        top and top["reason"],
        following and following["name"],
    )


def test_report_when_local_then_components_without_counterpart_are_not_present(tmp_path: Path) -> None:
    """Keeper, PostgreSQL's operator, Kafka's and Argo CD have no counterpart, and change nothing."""
    report = _report(LocalServices(), tmp_path / "demo")
    absent = {item["name"] for item in report["components"] if item["status"] == "not present"}
    assert {"keeper", "postgres", "kafka", "argocd"} == absent


def test_report_when_processes_are_gone_then_unknown(tmp_path: Path) -> None:
    """A folder whose processes ended is unknown, not healthy and not a crash."""
    with serve(LocalServices(), tmp_path / "demo") as folder:
        pass
    report = judge(read(Target(local=folder), at_ns=parse_ns(base.NOW)), Operator())
    assert report["classification"] == "unknown"


def test_report_when_clock_is_simulated_then_ages_are_judged_on_it(tmp_path: Path) -> None:
    """On a recorded day the rows of that day are fresh, though they are years old."""
    clock = tmp_path / "clock.json"
    day = "2013-10-07T15:00:00Z"
    FileClock.write(clock, origin_ns=parse_ns(day), speed=1.0)
    services = LocalServices()
    for symbol in ("AAPL", "MSFT"):
        services.set_latest(symbol, day)
    report = _report(services, tmp_path / "demo", at=None, clock=f"file:{clock}")
    assert (
        report["classification"],
        report["marketSession"],
        report["observedAt"][:10],
    ) == ("healthy", "regular", "2013-10-07")


def test_report_when_calendar_is_always_open_then_weekend_rows_must_be_fresh(tmp_path: Path) -> None:
    """The demo's market never closes: silence on a Sunday is a stalled job there."""
    sunday = "2026-02-15T15:30:00Z"
    services = LocalServices(sunday)
    for symbol in ("AAPL", "MSFT"):
        services.set_latest(symbol, "2026-02-15T15:00:00Z")
    report = _report(services, tmp_path / "demo", at=sunday, marketCalendar="always-open")
    assert (report["marketSession"], report["topCause"]["reason"]) == ("regular", "ta_stalled")


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"schemaVersion": "torghut.local/v2"}', '{"schemaVersion": "torghut.local/v1", "services": []}'],
)
def test_read_when_endpoints_file_is_wrong_then_input_error_names_it(content: str, tmp_path: Path) -> None:
    """A broken endpoints.json is a usage error that names the file."""
    from torghutctl.errors import InputError

    (tmp_path / "endpoints.json").write_text(content)
    with pytest.raises(InputError, match=r"--local"):
        read(Target(local=tmp_path), at_ns=0)
