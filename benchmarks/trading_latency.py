"""From signal row to order sent: `python -m benchmarks.trading_latency [--signals 200] [--pause-ms 250]`.

The whole runtime over an embedded PostgreSQL and a broker over HTTP in this process; its tables are in memory. A row is
written that makes the rule buy, and the time is taken until the broker has the order's bytes: the wait for the next poll
(10 ms here, `TRADING_POLL_MS`), the decision's row, a reading of the account, sizing, every gate, and the claim are all in
it; the AI review, off by default, is not. One symbol after the other, so that no entry waits for another's.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from typing import Any

from tests.fakes.broker_server import BrokerServer, create_broker_app
from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_service import eventually, running, service_environment
from torghut_core.engines.postgres import Postgres, open_postgres
from torghut_core.http_server import Binding, serving
from torghut_core.trading.store.schema import migrate

POLL_MS = 10


class _Bodies(list[dict[str, Any]]):
    """Orders as posted; remembers when each symbol's came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, float] = {}
        self._more = asyncio.Event()

    def append(self, body: dict[str, Any]) -> None:
        self.came.setdefault(body["symbol"], time.perf_counter())
        super().append(body)
        self._more.set()

    async def has(self, count: int) -> None:
        """Return once so many were posted."""
        while len(self) < count:
            self._more.clear()
            await self._more.wait()


async def measure(postgres: Postgres, *, signals: int, pause_seconds: float) -> list[float]:
    """Return the milliseconds from each row to its order, sorted."""
    symbols = [f"S{number:04d}" for number in range(signals)]
    tables, state, bodies = SignalTables(), BrokerServer(), _Bodies()
    state.bodies, state.order_status = bodies, "filled"
    async with serving(create_broker_app(state), Binding(port=0, variable="BENCH", host="127.0.0.1")) as port:
        environment = service_environment(
            f"http://127.0.0.1:{port}",
            TRADING_STATIC_SYMBOLS=",".join(symbols),
            TRADING_POLL_MS=str(POLL_MS),
            TRADING_RECONCILE_MS="15000",
        )
        written = await _write(environment, tables, postgres, bodies, symbols, pause_seconds)
    return sorted((bodies.came[symbol] - written[symbol]) * 1000 for symbol in symbols)


async def _write(
    environment: dict[str, str],
    tables: SignalTables,
    postgres: Postgres,
    bodies: _Bodies,
    symbols: list[str],
    pause_seconds: float,
) -> dict[str, float]:
    written: dict[str, float] = {}
    async with running(environment, tables, postgres) as client:
        before_ms = time.time_ns() // 1_000_000 - 1000
        for symbol in symbols:
            tables.add(symbol, before_ms, macd=-1.0, rsi14=20.0)
        await eventually(client, "/trading/status", lambda body: body["metrics"]["signals_total"] >= len(symbols))
        for symbol in symbols:
            now_ms = time.time_ns() // 1_000_000
            written[symbol] = time.perf_counter()
            tables.add(symbol, now_ms, macd=1.0, rsi14=40.0)
            await asyncio.sleep(pause_seconds)
        await bodies.has(len(symbols))
    return written


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trading_latency", description=__doc__)
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--pause-ms", type=float, default=250.0, help="between two rows")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torghut-bench-", ignore_cleanup_errors=True) as folder:
        server = open_postgres(f"embedded:{folder}/pg")
        try:
            migrate(server)
            took = asyncio.run(measure(server, signals=chosen.signals, pause_seconds=chosen.pause_ms / 1000))
        finally:
            server.close()
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    print("| from signal row to order sent | ms |\n|---|---|")
    print(f"| p50 of {len(took)} | {cuts[49]:.0f} |\n| p99 | {cuts[98]:.0f} |\n| most | {took[-1]:.0f} |")


if __name__ == "__main__":
    main()
