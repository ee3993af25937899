"""A forwarder in this process, between a simulator and a real log, and what is in the topics afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from torghut_core import topics
from torghut_core.engines.kafka import Kafka
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.envelope import Envelope, decode
from torghut_core.ingest import service
from torghut_core.ingest.service import Forwarder
from torghut_core.ingest.settings import IngestSettings
from torghut_core.settings import load
from torghut_core.simulator import process as simulator

MARKET = ["--symbols", "AAPL,MSFT", "--calendar", "always-open", "--history-minutes", "1", "--late-trades", "0"]


def environment(market: simulator.SimulatorProcess, bootstrap: str | Path, **changes: str) -> dict[str, str]:
    """Return what `run ws` is given; the bootstrap servers, or the folder of an embedded log."""
    return {
        "ALPACA_KEY_ID": simulator.KEY_ID,
        "ALPACA_SECRET_KEY": simulator.SECRET_KEY,
        "ALPACA_STREAM_URL": market.ws,
        "ALPACA_BASE_URL": market.http,
        "SYMBOLS": "AAPL,MSFT",
        "KAFKA_BOOTSTRAP": f"embedded:{bootstrap}" if isinstance(bootstrap, Path) else bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
        "TORGHUT_MARKET_CALENDAR": "always-open",
        "RECONNECT_BASE_MS": "50",
        "RECONNECT_MAX_MS": "200",
        "RECONNECT_REFUSED_MS": "100",
        **changes,
    }


@asynccontextmanager
async def forwarding(given: Mapping[str, str]) -> AsyncIterator[Forwarder]:
    """Run a forwarder for the block."""
    settings = load(IngestSettings, given)
    kafka = open_kafka(service.kafka_address(settings))
    forwarder, stop = Forwarder(settings, kafka), asyncio.Event()
    task = asyncio.create_task(forwarder.run(stop))
    try:
        yield forwarder
    finally:
        stop.set()
        await task
        await kafka.close()


async def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until the condition is true; a limit for tests that hang, not a judgement of speed."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


async def ready(forwarder: Forwarder, seconds: float = 45) -> None:
    """Wait until it is ready."""
    await until(lambda: forwarder.readiness()[0], seconds)


async def unready(forwarder: Forwarder, error_class: str, seconds: float = 30) -> dict[str, Any]:
    """Wait until it is not ready for this reason; return the body."""

    def body() -> dict[str, Any] | None:
        is_ready, said = forwarder.readiness()
        return said if not is_ready and said["error_class"] == error_class else None

    found: dict[str, Any] = await until(body, seconds)
    return found


async def read_topic(kafka: Kafka, topic: str, partitions: int = 3) -> list[Envelope]:
    """Return every record of a topic, partition by partition."""
    found: list[Envelope] = []
    for partition in range(partitions):
        batch = await kafka.last_record(topic, partition, 10_000_000)
        found += [decode(value) for value in batch.values] if batch is not None else []
    return found


def is_rising(envelopes: list[Envelope]) -> bool:
    """Tell whether numbers rise strictly for each symbol and channel."""
    by_key: dict[tuple[str, str], list[int]] = {}
    for each in envelopes:
        by_key.setdefault((each.symbol, each.channel), []).append(each.seq)
    return all(later > earlier for numbers in by_key.values() for earlier, later in pairwise(numbers))


def trade_numbers(envelopes: list[Envelope], symbol: str) -> list[int]:
    """Return the numbers of a symbol's trades, in the order of the topic."""
    return [each.payload["i"] for each in envelopes if each.symbol == symbol and "T" not in each.payload]


async def market_trades(market: simulator.SimulatorProcess, symbol: str) -> list[int]:
    """Return the numbers of every trade the market made."""
    headers = {"APCA-API-KEY-ID": simulator.KEY_ID, "APCA-API-SECRET-KEY": simulator.SECRET_KEY}
    numbers: list[int] = []
    token = ""
    async with httpx.AsyncClient(headers=headers) as client:
        while True:
            query = {"symbols": symbol, "limit": "10000"} | ({"page_token": token} if token else {})
            body = (await client.get(f"{market.http}/v2/stocks/trades", params=query)).json()
            numbers += [row["i"] for row in body["trades"].get(symbol, [])]
            token = body.get("next_page_token") or ""
            if not token:
                return numbers


async def assert_complete(kafka: Kafka, market: simulator.SimulatorProcess) -> list[Envelope]:
    """Check that from the first trade in the topic to the last none is missing, none is twice, and numbers rise."""
    found = await read_topic(kafka, topics.TRADES.name)
    assert is_rising(found)
    for symbol in ("AAPL", "MSFT"):
        numbers = trade_numbers(found, symbol)
        assert numbers, "no trade of this symbol arrived"
        assert len(set(numbers)) == len(numbers)
        made = await market_trades(market, symbol)
        first, last = made.index(numbers[0]), made.index(numbers[-1])
        missing, extra = set(made[first : last + 1]) - set(numbers), set(numbers) - set(made)
        assert (missing, extra) == (set(), set()), f"{symbol}: missing {sorted(missing)}, extra {sorted(extra)}"
        # The market lists trades by their time; with none sent late (MARKET) that is the order they came in.
        assert numbers == made[first : last + 1], f"{symbol}: order differs"
    return found
