"""The whole system on one machine as a user starts it: the simulator, and `torghutctl up` on it as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torghut_core.simulator import process as simulator

ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ("AAPL", "MSFT", "NVDA")


@dataclass(frozen=True)
class RunningSystem:
    """Where its page is, and the market that can be broken."""

    page: str
    market: simulator.SimulatorProcess
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def services(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = json.loads((self.folder / "endpoints.json").read_text())["services"]
        return found


@contextmanager
def running_system(folder: Path, *, speed: float = 5.0, **given: str) -> Iterator[RunningSystem]:
    """Run simulator and system while the block runs; each is ended by its own process id."""
    clock_file = folder / "clock.json"
    arguments = ["--clock-file", str(clock_file), "--seed", "7", "--speed", str(speed)]
    with simulator.running(folder, [*arguments, "--symbols", ",".join(SYMBOLS), "--calendar", "always-open"]) as market:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "APCA_API_KEY_ID": simulator.KEY_ID,
            "APCA_API_SECRET_KEY": simulator.SECRET_KEY,
            "APCA_API_BASE_URL": market.http,
            "ALPACA_BASE_URL": market.http,
            "ALPACA_STREAM_URL": market.ws,
            "SYMBOLS": ",".join(SYMBOLS),
            "TORGHUT_CLOCK": f"file:{clock_file}",
            "TORGHUT_MARKET_CALENDAR": "always-open",
            "TRADING_POLL_MS": "500",
            "TRADING_RECONCILE_MS": "1000",
            "TRADING_BROKER_REQUESTS_PER_MINUTE": "6000",
            "TA_CLICKHOUSE_FLUSH_MS": "250",
            "GUARDRAILS_SCRAPE_SECONDS": "1",
            "RECONNECT_BASE_MS": "200",
            "RECONNECT_MAX_MS": "1000",
            "RECONNECT_REFUSED_MS": "1000",
            **given,
        }
        command = [sys.executable, "-m", "torghutctl", "up", "--dir", str(folder / "up"), "--port", "0"]
        # A file takes everything that is said: a pipe that nobody reads would stop who speaks.
        said = folder / "up.log"
        with said.open("wb") as log, subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log) as system:
            try:
                yield RunningSystem(page=_page_of(system, said), market=market, folder=folder / "up", process=system)
            finally:
                system.terminate()
                system.wait(timeout=60)


def _page_of(system: subprocess.Popen[bytes], said: Path) -> str:
    while "look at it" not in (text := said.read_text()):
        assert system.poll() is None, text
        time.sleep(0.1)
    return text.partition("the page is ")[2].split()[0].rstrip("/")
