"""Runs the whole trading runtime in the test's own event loop and talks to it over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.fakes.broker_server import KEY, SECRET
from tests.fakes.signal_tables import SignalTables
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.service import run


def service_environment(broker_url: str, **changes: str) -> dict[str, str]:
    return {
        "TRADING_ENABLED": "true",
        "TRADING_KILL_SWITCH_ENABLED": "false",
        "TRADING_STATIC_SYMBOLS": "AAPL,MSFT",
        "TORGHUT_MARKET_CALENDAR": "always-open",
        "TRADING_HTTP_PORT": "0",
        "TRADING_HTTP_HOST": "127.0.0.1",
        "TRADING_POLL_MS": "20",
        "TRADING_RECONCILE_MS": "20",
        "TRADING_BROKER_REQUESTS_PER_MINUTE": "1000000",
        "TRADING_TRADE_UPDATES_ENABLED": "false",
        "APCA_API_BASE_URL": broker_url,
        "APCA_API_KEY_ID": KEY,
        "APCA_API_SECRET_KEY": SECRET,
        **changes,
    }


@asynccontextmanager
async def running(
    environment: dict[str, str], tables: SignalTables, postgres: Postgres
) -> AsyncIterator[httpx.AsyncClient]:
    """Run the service while the block runs; yields a client of its HTTP."""
    stop = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        run(environment, clickhouse=tables, postgres=postgres, on_ready=ready.set_result, stop=stop)  # type: ignore[arg-type]
    )
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ready.result()}", timeout=10) as client:
            yield client
    finally:
        stop.set()
        await task


async def eventually(client: httpx.AsyncClient, path: str, is_true: Callable[[Any], bool]) -> Any:
    """Return the body of `path` once it is as wanted; the test's own time limit ends the wait."""
    while True:
        body = (await client.get(path)).json()
        if is_true(body):
            return body
        await asyncio.sleep(0.02)


def cross_up(tables: SignalTables, symbol: str = "AAPL") -> None:
    now_ms = time.time_ns() // 1_000_000 // 1000 * 1000
    tables.prices[symbol] = 100.0
    tables.add(symbol, now_ms - 2000, macd=-1.0, rsi14=20.0)
    tables.add(symbol, now_ms - 1000, macd=1.0, rsi14=40.0)


def cross_down(tables: SignalTables, symbol: str = "AAPL") -> None:
    """Write the two rows on which the default strategy sells, just now."""
    now_ms = time.time_ns() // 1_000_000
    tables.add(symbol, now_ms - 1, macd=1.0, rsi14=80.0)
    tables.add(symbol, now_ms, macd=-1.0, rsi14=60.0)
