"""`up` over a recording on the simulator, until the trading loop has gone through all of it; and a backtest of the same."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from torghut_core.engines.postgres import open_postgres
from torghut_core.simulator import process as simulator
from torghut_core.ta.engine.engine import EngineSettings
from torghut_core.trading.backtest.outcomes import read_outcomes
from torghut_core.trading.backtest.run import Plan, run_backtest
from torghut_core.trading.store.database import Database
from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue
from torghutctl.commands.trading_backtest import backtest_settings, own_postgres
from torghutctl.onemachine.folder import LocalFolder
from torghutctl.onemachine.recorded import read_recording
from torghutctl.onemachine.system import LocalSystem, local_environment

RECONCILE_MS = "15000"


def outcomes_of_backtest(recording: Path) -> list[dict[str, Any]]:
    """Return what a backtest of the file comes to, with an account as the simulator's."""
    plan = Plan(
        entries=read_catalogue(DEFAULT_PATH),
        settings=backtest_settings({"TRADING_RECONCILE_MS": RECONCILE_MS, "ALPACA_FEED": "sip"}, "XNYS"),
    )
    with own_postgres() as postgres:
        found = run_backtest(read_recording([recording], EngineSettings()), plan, postgres)
    return [outcome.fields() for outcome in found.outcomes]


async def outcomes_of_replay(
    recording: Path, folder: Path, *, speed: float, symbols: str, end_ns: int
) -> list[dict[str, Any]]:
    """Return what the running system comes to, up to the row at `end_ns`."""
    folder.mkdir(parents=True, exist_ok=True)
    clock = folder / "clock.json"
    arguments = ["--market", "replay", "--file", str(recording), "--hold", "--calendar", "XNYS"]
    with simulator.running(folder, [*arguments, "--clock-file", str(clock), "--speed", str(speed)]) as market:
        given = {
            "APCA_API_KEY_ID": simulator.KEY_ID,
            "APCA_API_SECRET_KEY": simulator.SECRET_KEY,
            "APCA_API_BASE_URL": market.http,
            "ALPACA_BASE_URL": market.http,
            "ALPACA_STREAM_URL": market.ws,
            "ALPACA_FEED": "sip",
            "SYMBOLS": symbols,
            "TORGHUT_CLOCK": f"file:{clock}",
            "TRADING_POLL_MS": "200",
            "TRADING_RECONCILE_MS": RECONCILE_MS,
            "TRADING_BROKER_REQUESTS_PER_MINUTE": "1000000",
            "TA_CLICKHOUSE_FLUSH_MS": "200",
        }
        system = LocalSystem(LocalFolder(folder), local_environment(LocalFolder(folder), given, 0), lambda _: None)
        found: list[dict[str, Any]] = []

        async def work(running: LocalSystem) -> None:
            await _reached(running, end_ns)
            found.extend(await asyncio.to_thread(_stored, running.environment["DB_DSN"]))
            running.stop.set()

        root = logging.getLogger()
        before = list(root.handlers)
        try:
            await system.run(work)
        finally:
            # A process of its own ends with its log; here the next test would find it open.
            mine = [each for each in root.handlers if each not in before and isinstance(each, logging.StreamHandler)]
            root.handlers[:] = before
            for handler in mine:
                handler.stream.close()
    return found


async def _reached(system: LocalSystem, end_ns: int) -> None:
    """Wait until the loop has turned past an instant; the test's own time limit ends the wait."""
    async with httpx.AsyncClient(timeout=10.0) as http:
        while True:
            try:
                body = (await http.get(f"{system.services['trading']['api']}/trading/status")).json()
                at = body.get("last_run_at")
            except httpx.HTTPError:
                at = None
            if at is not None and datetime.fromisoformat(at).timestamp() * 1e9 >= end_ns:
                return
            await asyncio.sleep(0.2)


def _stored(address: str) -> list[dict[str, Any]]:
    server = open_postgres(address)
    database = Database(server)
    database.open()
    try:
        return [outcome.fields() for outcome in read_outcomes(database)]
    finally:
        database.close()
        server.close()
