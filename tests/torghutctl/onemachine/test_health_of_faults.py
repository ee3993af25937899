"""The health report of a running system while the simulator misbehaves, fault by fault."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from torghut_core.simulator import process as simulator
from torghut_core.simulator.faults import FAULTS

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("one system for all faults"),
]
_PATIENCE_SECONDS = 90
_IN_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 2 << 30


class System:
    """`torghutctl up` on a simulated market that runs at twenty times its speed."""

    def __init__(self, folder: Path, market: simulator.SimulatorProcess) -> None:
        self.folder, self.market = folder, market
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._environment = inherited | {"NO_COLOR": "1"}
        environment = {
            **self._environment,
            "APCA_API_KEY_ID": simulator.KEY_ID,
            "APCA_API_SECRET_KEY": simulator.SECRET_KEY,
            "APCA_API_BASE_URL": market.http,
            "ALPACA_BASE_URL": market.http,
            "ALPACA_STREAM_URL": market.ws,
            "SYMBOLS": "AAPL,MSFT",
            "TORGHUT_CLOCK": f"file:{folder / 'clock.json'}",
            "TORGHUT_MARKET_CALENDAR": "always-open",
            "TRADING_POLL_MS": "500",
            "TRADING_RECONCILE_MS": "500",
            # Asked many times faster than a real account; the simulated broker has no limit.
            "TRADING_BROKER_REQUESTS_PER_MINUTE": "6000",
            "TA_CLICKHOUSE_FLUSH_MS": "250",
            "GUARDRAILS_SCRAPE_SECONDS": "1",
            "RECONNECT_BASE_MS": "100",
            "RECONNECT_MAX_MS": "500",
            "RECONNECT_REFUSED_MS": "500",
        }
        command = [sys.executable, "-m", "torghutctl", "up", "--dir", str(folder / "up"), "--port", "0"]
        with (folder / "up.log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def report(self) -> tuple[int, dict[str, Any]]:
        """Ask for the health report."""
        command = [
            sys.executable,
            "-m",
            "torghutctl",
            "health-report",
            "--local",
            str(self.folder / "up"),
            "-o",
            "json",
        ]
        done = subprocess.run(command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else {}

    def log(self) -> str:
        """Return what the system has logged."""
        return (self.folder / "up" / "torghut.log").read_text()

    def times_it_led(self) -> int:
        """Return how often trading has become the leader."""
        return self.log().count('"event": "leadership", "is_leader": true')

    def until(self, code: int, reason: str | None) -> dict[str, Any]:
        """Ask until exit code and top cause are these; return the last report."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            found, report = self.report()
            cause = (report.get("topCause") or {}).get("reason")
            if (found, cause) == (code, reason):
                return report
            assert time.monotonic() <= deadline, f"expected {(code, reason)}, got {(found, cause)}: {self.said(report)}"
            time.sleep(0.5)

    def said(self, report: dict[str, Any]) -> str:
        """Return a report, and what led to it."""
        has_begun = (self.folder / "up" / "torghut.log").exists()
        lanes = [line for line in self.log().splitlines() if '"lane_' in line] if has_begun else []
        return f"{report}\n{(self.folder / 'up.log').read_text()[-1500:]}\n" + "\n".join(lanes[-40:])


def _disk() -> Path | None:
    """Return where a sync is not held up by what other tests write, whole environments among it; None: where it usually is.

    A database whose disk stalls for many seconds is a database that is away, and the report rightly says so.
    """
    is_there = os.access(_IN_MEMORY, os.W_OK) and shutil.disk_usage(_IN_MEMORY).free > _NEEDED_BYTES
    return _IN_MEMORY if is_there else None


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """One system for all faults: each is switched off again, and it recovers by itself."""
    with tempfile.TemporaryDirectory(prefix="torghut-engine-", dir=_disk(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        arguments = ["--symbols", "AAPL,MSFT", "--calendar", "always-open", "--speed", "20"]
        with simulator.running(folder, [*arguments, "--clock-file", str(folder / "clock.json")]) as market:
            running = System(folder, market)
            try:
                running.until(0, None)
                yield running
            finally:
                running.process.terminate()
                running.process.wait(30)


NAMED = [
    ("reject_406", True, 4, "alpaca_406_second_connection", "restart-ws"),
    ("auth_401", True, 4, "alpaca_auth", "rotate-credentials"),
    ("stream_500", True, 3, "forwarder_not_ready", "restart-ws"),
    ("upgrade_status", True, 3, "forwarder_not_ready", "restart-ws"),
    ("refuse_subscription", True, 4, "alpaca_config", "forwarder-config"),
    ("silent_socket", False, 4, "feed_silent", "restart-ws"),
    ("http_500", False, 3, "trading_error", "trading-loop"),
    ("http_timeout", False, 3, "trading_error", "trading-loop"),
    ("http_cut", False, 3, "trading_error", "trading-loop"),
    ("slow_reader", False, 3, "alpaca_slow_client", "forwarder-config"),
]
ABSORBED = [
    "duplicates",
    "out_of_order",
    "malformed",
    "order_answer_lost",
    "order_doubled",
    "http_late",
    "trade_updates_disconnect",
    "reject_orders",
]


def test_faults_when_counted_then_every_one_of_the_simulator_has_a_verdict() -> None:
    """A fault that the simulator learns needs a verdict here."""
    assert {fault.name for fault in FAULTS} == {row[0] for row in NAMED} | set(ABSORBED)


@pytest.mark.parametrize(("fault", "cuts", "code", "reason", "procedure"), NAMED)
def test_report_when_a_fault_is_on_then_its_cause_is_named_and_it_heals_when_it_is_off(
    system: System, fault: str, cuts: bool, code: int, reason: str, procedure: str
) -> None:
    """The right cause and the right next procedure, and no restart is needed afterwards."""
    system.market.switch_fault(fault)
    if cuts:
        system.market.call("/simulator/disconnect", {"stream": "data"})
    try:
        report = system.until(code, reason)
    finally:
        system.market.switch_fault(fault, on=False)
    assert report["nextProcedure"]["name"] == procedure
    system.until(0, None)


def test_report_when_the_database_was_killed_then_it_is_started_again_and_trading_leads(system: System) -> None:
    """The server is out of memory's first victim: nobody restarts a machine's processes for it."""
    data = system.folder / "up" / "engines" / "postgres" / "data"
    before = (data / "postmaster.pid").read_text().splitlines()[0]
    led = system.times_it_led()
    os.kill(int(before), signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    # Until trading has missed the server, and leads by a new lock, a report may speak of a moment before it was killed.
    while system.times_it_led() == led:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "postgres_started_again" in system.log()
    assert (data / "postmaster.pid").read_text().splitlines()[0] != before
    system.until(0, None)


@pytest.mark.parametrize("fault", ABSORBED)
def test_report_when_a_fault_is_absorbed_then_healthy(system: System, fault: str) -> None:
    """Noise is no outage."""
    system.until(0, None)  # what another fault left behind is not this one's
    system.market.switch_fault(fault)
    try:
        for _ in range(4):
            code, report = system.report()
            assert (code, report["topCause"]) == (0, None), system.said(report)
    finally:
        system.market.switch_fault(fault, on=False)
    system.until(0, None)
