"""How fast the TA API answers: `python -m benchmarks.visuals [--rows 1000000] [--symbols 100] [--clients 20]`.

`run visuals` as a process of its own over an embedded ClickHouse that holds so many bars and as many signals, a writer in it
that adds a row a second for each symbol, and one open stream, as of one open page. This process asks: the newest rows, ranges
of 5,000 bars, then both kinds of cached answers by so many clients at once. Latency is from before the request to after its
last byte. With `--url` a ClickHouse server that already holds the rows is read instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

_BARS = (
    "INSERT INTO torghut.ta_microbars (symbol, event_ts, seq, ingest_ts, is_final, source, window_size, window_step,"
    " version, o, h, l, c, v, vwap, count) SELECT concat('S', toString(number % {symbols})), at, toUnixTimestamp(at), at,"
    " 1, 'ta', 'PT1S', 'PT1S', 1, 100, 101, 99, 100 + (number % 97) / 97, 500, 100, 5 FROM (SELECT number,"
    " fromUnixTimestamp64Milli({start} + intDiv(number, {symbols}) * 1000) AS at FROM numbers({first}, {rows}))"
)
_SIGNALS = (
    "INSERT INTO torghut.ta_signals (symbol, event_ts, seq, ingest_ts, is_final, source, window_size, window_step, version,"
    " macd, macd_signal, macd_hist, ema12, ema26, rsi14, boll_mid, boll_upper, boll_lower, vwap_session, vwap_w5m, close,"
    " warm) SELECT concat('S', toString(number % {symbols})), at, toUnixTimestamp(at), at, 1, 'ta', 'PT1S', 'PT1S', 1,"
    " 0.1, 0.2, 0.3, 100, 101, 55, 100, 101, 99, 100, 100, 100, 1 FROM (SELECT number,"
    " fromUnixTimestamp64Milli({start} + intDiv(number, {symbols}) * 1000) AS at FROM numbers({first}, {rows}))"
)


def serve(folder: str, url: str | None, rows: int, symbols: int, told: Any) -> None:
    """Fill the store, serve it, and go on writing a row a second for each symbol."""
    from torghut_core.engines.clickhouse import Address, open_clickhouse
    from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions, create_schema
    from torghut_core.visuals.service import run

    address = url or f"embedded:{folder}"
    clickhouse = open_clickhouse(Address(url=address))
    create_schema(clickhouse, SchemaOptions(cluster=None, is_simulated=False))
    start = (int(time.time()) - rows // symbols) * 1000

    def fill(first: int, count: int) -> None:
        for statement in (_BARS, _SIGNALS):
            clickhouse.command(statement.format(symbols=symbols, start=start, first=first, rows=count))

    fill(0, rows)

    async def go_on() -> None:
        for turn in range(10_000):
            await asyncio.sleep(1)
            await asyncio.to_thread(fill, rows + turn * symbols, symbols)

    async def both() -> None:
        environment = {"TA_CLICKHOUSE_URL": address, "VISUALS_PORT": "0", "TORGHUT_HTTP_HOST": "127.0.0.1"}
        writing = asyncio.create_task(go_on())
        await run(environment, clickhouse=clickhouse, on_ready=told.put)
        writing.cancel()

    asyncio.run(both())


async def timed(ask: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    """Return the milliseconds of so many questions, one after the other."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await ask()
        found.append(1000 * (time.perf_counter() - began))
    return found


def line(name: str, found: list[float]) -> str:
    """Return a row of the table."""
    ordered = sorted(found)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return f"| {name} | {len(found)} | {statistics.median(found):.1f} | {at(0.95):.1f} | {at(0.99):.1f} |"


class Connection:
    """One kept-alive connection with next to no work of its own: what is timed is the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> bytes:
        """Return the body of an answer that is 200."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
        reader, writer = self._streams
        writer.write(f"GET /api/torghut{path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(body[:200])
        return body


async def listen(port: int) -> None:
    """Be one open page: follow the stream for as long as it lasts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /api/torghut/stream?symbol=S0&window=PT1S HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    while await reader.read(1 << 16):
        pass


async def measure(port: int, symbols: int, clients: int) -> list[str]:
    """Ask in all the ways, and return the table's rows."""
    pick = random.Random(7)
    one = Connection(port)

    def of_any(path: str) -> Callable[[], Awaitable[bytes]]:
        return lambda: one.get(path.format(symbol=f"S{pick.randrange(symbols)}"))

    listening = asyncio.create_task(listen(port))
    while json.loads(await one.get("/ta/latest?symbol=S0"))["bars"] is None:  # noqa: ASYNC110  the first look fills the cache
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    until = int(time.time()) - 60
    span = f"from={until - 4999}&to={until}&limit=5000"
    rows = len(json.loads(await one.get(f"/ta/bars?symbol=S1&{span}"))["items"])
    table = [
        line("`ta/latest`, one client", await timed(of_any("/ta/latest?symbol={symbol}"), 2000)),
        line(f"`ta/bars`, {rows} bars, one client", await timed(of_any(f"/ta/bars?symbol={{symbol}}&{span}"), 100)),
        line(
            f"`ta/signals`, {rows} rows, one client", await timed(of_any(f"/ta/signals?symbol={{symbol}}&{span}"), 50)
        ),
    ]
    for name, path in (("ta/latest", "/ta/latest?symbol=S3"), ("ta/newest", "/ta/newest"), ("system", "/system")):
        many = [Connection(port) for _ in range(clients)]
        found = await asyncio.gather(*(timed(lambda own=own, path=path: own.get(path), 100) for own in many))
        table.append(line(f"`{name}`, {clients} clients at once", [each for each_one in found for each in each_one]))
    listening.cancel()
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.visuals", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--url", help="a ClickHouse server instead of the embedded one")
    chosen = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    with tempfile.TemporaryDirectory(prefix="torghut-engine-", ignore_cleanup_errors=True) as folder:
        arguments = (folder, chosen.url, chosen.rows, chosen.symbols, told)
        server = context.Process(target=serve, args=arguments, daemon=True)
        server.start()
        try:
            port = told.get(timeout=300)
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start.\n")
            print("| Question | asked | p50 ms | p95 ms | p99 ms |\n|---|---|---|---|---|")
            for row in asyncio.run(measure(port, chosen.symbols, chosen.clients)):
                print(row)
        finally:
            server.terminate()
            server.join(20)


if __name__ == "__main__":
    main()
