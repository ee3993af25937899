"""The forwarder against the simulator, over real sockets, into a real log."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.envelope import decode
from torghut_core.ingest import service
from torghut_core.ingest.service import Forwarder
from torghut_core.ingest.settings import IngestSettings
from torghut_core.settings import load
from torghut_core.simulator import process as simulator

pytestmark = pytest.mark.slow


def _environment(market: simulator.SimulatorProcess, folder: Path, **changes: str) -> dict[str, str]:
    return {
        "ALPACA_KEY_ID": simulator.KEY_ID,
        "ALPACA_SECRET_KEY": simulator.SECRET_KEY,
        "ALPACA_STREAM_URL": market.ws,
        "SYMBOLS": "AAPL,MSFT",
        "KAFKA_BOOTSTRAP": f"embedded:{folder / 'kafka'}",
        "RECONNECT_BASE_MS": "50",
        "RECONNECT_MAX_MS": "200",
        "RECONNECT_REFUSED_MS": "100",
        **changes,
    }


@asynccontextmanager
async def _running(environment: dict[str, str]) -> AsyncIterator[Forwarder]:
    settings = load(IngestSettings, environment)
    kafka = open_kafka(service.kafka_address(settings))
    forwarder, stop = Forwarder(settings, kafka), asyncio.Event()
    task = asyncio.create_task(forwarder.run(stop))
    try:
        yield forwarder
    finally:
        stop.set()
        await task
        await kafka.close()


async def _until(condition: Callable[[], Any] | Callable[[], Awaitable[Any]], seconds: float = 20) -> None:
    async def wait() -> None:
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)

    await asyncio.wait_for(wait(), seconds)


async def test_forwarder_when_a_recording_is_replayed_then_every_message_is_in_the_log_once(tmp_path: Path) -> None:
    """Nothing received is lost, doubled or reordered; sequence numbers rise per symbol and channel."""
    recording = tmp_path / "slice.ndjson"
    arguments = ["--dump", str(recording), "--minutes", "2", "--symbols", "AAPL,MSFT", "--start", "10:00"]
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "torghut_core.simulator", *arguments, "--calendar", "always-open"
    )
    assert await done.wait() == 0
    expected = [json.loads(line) for line in recording.read_text().splitlines()]
    replay = ["--market", "replay", "--file", str(recording), "--speed", "600", "--hold", "--calendar", "always-open"]
    with simulator.running(tmp_path, replay) as market:
        async with _running(_environment(market, tmp_path)):
            await _until(lambda: market.state()["finished"], 60)
            kafka = open_kafka(KafkaAddress(bootstrap=f"embedded:{tmp_path / 'kafka'}", client_id="reader"))
            consumer = kafka.consumer(["torghut.trades.v1", "torghut.quotes.v1"], group="g", reset="earliest")
            await consumer.start()
            found = []
            wanted = [each for each in expected if each["T"] in "tq"]
            while len(found) < len(wanted):
                for batch in await consumer.poll(max_records=10_000, wait_seconds=1):
                    found += [decode(value) for value in batch.values]
            await consumer.close()
            await kafka.close()
    for kind, channel in (("t", "trades"), ("q", "quotes")):
        for symbol in ("AAPL", "MSFT"):
            mine = [each for each in found if (each.channel, each.symbol) == (channel, symbol)]
            assert [each.payload for each in mine] == [
                {key: value for key, value in each.items() if key != "T"}
                for each in expected
                if (each["T"], each["S"]) == (kind, symbol)
            ]
            assert all(later.seq > earlier.seq for earlier, later in pairwise(mine))


async def test_forwarder_when_another_client_takes_the_slot_then_406_and_it_recovers_by_itself(tmp_path: Path) -> None:
    """Reconnects go on for as long as it takes; readiness says why."""
    with simulator.running(tmp_path, ["--symbols", "AAPL,MSFT", "--calendar", "always-open"]) as market:
        async with _running(_environment(market, tmp_path)) as forwarder:
            await _until(lambda: forwarder.readiness()[0])
            market.call("/simulator/occupy", {})
            market.call("/simulator/disconnect", {"stream": "data"})
            await _until(lambda: forwarder.readiness()[1]["error_class"] == "alpaca_406_second_connection")
            ready, body = forwarder.readiness()
            assert (ready, body["status"]) == (False, "not_ready")
            assert body["gates"] == {"alpaca_ws": False, "kafka": True, "trade_updates": True}
            market.call("/simulator/release", {})
            await _until(lambda: forwarder.readiness()[0])
            assert forwarder.readiness()[1]["error_class"] is None


async def test_forwarder_when_credentials_are_wrong_then_alpaca_auth(tmp_path: Path) -> None:
    """402 is a matter of credentials, and the secret is in no answer."""
    with simulator.running(tmp_path, ["--symbols", "AAPL,MSFT", "--calendar", "always-open"]) as market:
        environment = _environment(market, tmp_path, ALPACA_SECRET_KEY="wrong-secret-value")
        async with _running(environment) as forwarder:
            await _until(lambda: forwarder.readiness()[1]["error_class"] == "alpaca_auth")
            assert "wrong-secret-value" not in json.dumps(forwarder.readiness()[1])


async def test_forwarder_when_the_universe_cannot_be_read_then_the_last_known_is_kept(tmp_path: Path) -> None:
    """An unreachable or empty universe never unsubscribes anything, and is told."""
    with simulator.running(tmp_path, ["--symbols", "AAPL,MSFT", "--calendar", "always-open"]) as market:
        environment = _environment(market, tmp_path, JANGAR_SYMBOLS_URL="http://127.0.0.1:9/symbols")
        async with _running(environment) as forwarder:
            await _until(lambda: forwarder.readiness()[0] and forwarder.universe.error)
            assert forwarder.readiness()[1]["symbols"] == 2


async def test_readiness_when_asked_then_the_contracts_shape_and_what_was_wrong_before(tmp_path: Path) -> None:
    """Status, gates, class and detail; `recent` has each episode with its beginning and its end."""
    with simulator.running(tmp_path, ["--symbols", "AAPL,MSFT", "--calendar", "always-open"]) as market:
        async with _running(_environment(market, tmp_path)) as forwarder:
            is_ready, body = forwarder.readiness()
            assert (is_ready, body["error_class"]) == (False, "kafka_metadata")
            await _until(lambda: forwarder.readiness()[0])
            body = forwarder.readiness()[1]
    assert list(body)[:5] == ["status", "ready", "error_class", "detail", "gates"]
    assert (body["status"], body["ready"], body["error_class"], body["detail"]) == ("ready", True, None, None)
    assert body["gates"] == {"alpaca_ws": True, "kafka": True, "trade_updates": True}
    first = body["recent"][0]
    assert (first["error_class"], first["detail"]) == ("kafka_metadata", "Kafka was not asked yet")
    assert first["since"] <= first["until"]
