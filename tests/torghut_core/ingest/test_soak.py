"""`make soak`: one forwarder through every fault in turn, on Apache Kafka, with trade backfill on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes import apache_kafka
from tests.fakes.forwarding import (
    MARKET,
    environment,
    forwarding,
    is_rising,
    market_trades,
    read_topic,
    ready,
    trade_numbers,
    unready,
    until,
)
from torghut_core import topics
from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.ingest.service import Forwarder
from torghut_core.simulator import process as simulator

pytestmark = [pytest.mark.soak, pytest.mark.kafka, pytest.mark.timeout(1800)]


async def _grow(forwarder: Forwarder) -> None:
    lane = forwarder.publisher.lanes[topics.TRADES.name]
    wanted = lane.counts.produced + 10
    await until(lambda: lane.counts.produced >= wanted, 120)


async def test_forwarder_when_every_fault_comes_in_turn_then_no_trade_is_missing_or_twice(tmp_path: Path) -> None:
    """Ready again without help after each; the right class meanwhile; all trades of the market, each once, rising."""
    with (
        apache_kafka.running(tmp_path / "kafka") as broker,
        simulator.running(tmp_path, [*MARKET, "--speed", "5", "--clock-file", str(tmp_path / "clock.json")]) as market,
    ):
        given = environment(
            market, broker.bootstrap, ENABLE_TRADES_BACKFILL="true", ENABLE_BARS_BACKFILL="true",
            RECONNECT_REFUSED_MS="5000", TORGHUT_CLOCK=f"file:{tmp_path / 'clock.json'}",
        )  # fmt: skip
        async with forwarding(given) as forwarder:
            await ready(forwarder)
            noticed: dict[str, float] = {}

            async def judged(name: str, error_class: str, begun: float) -> None:
                await unready(forwarder, error_class, 60)
                noticed[name] = round(time.monotonic() - begun, 1)

            for round_ in range(3):
                begun = time.monotonic()
                broker.stop(kill=True)
                await judged(f"killed {round_}", "kafka_metadata", begun)
                await asyncio.sleep(10)
                await asyncio.to_thread(broker.start)
                await ready(forwarder, 120)
                await _grow(forwarder)
            begun = time.monotonic()
            broker.pause()
            await judged("frozen", "kafka_metadata", begun)
            await asyncio.sleep(45 - noticed["frozen"])
            broker.resume()
            await ready(forwarder, 120)
            await _grow(forwarder)
            for _ in range(100):
                reconnects = forwarder.session.reconnects
                market.call("/simulator/disconnect", {"stream": "data"})
                await until(lambda reconnects=reconnects: forwarder.session.reconnects > reconnects)
                await ready(forwarder)
            await _grow(forwarder)
            market.call("/simulator/occupy", {})
            begun = time.monotonic()
            market.call("/simulator/disconnect", {"stream": "data"})
            await judged("406", "alpaca_406_second_connection", begun)
            await asyncio.sleep(60)
            attempts = forwarder.session.reconnects
            market.call("/simulator/release", {})
            await ready(forwarder, 120)
            market.switch_fault("auth_401", code=402)
            begun = time.monotonic()
            market.call("/simulator/disconnect", {"stream": "data"})
            await judged("auth", "alpaca_auth", begun)
            market.switch_fault("auth_401", on=False)
            await ready(forwarder, 120)
            market.switch_fault("silent_socket")
            begun = time.monotonic()
            await judged("silent", "feed_silent", begun)
            market.switch_fault("silent_socket", on=False)
            await ready(forwarder, 120)
            market.switch_fault("malformed", share=0.01)
            await until(lambda: sum(forwarder.drops.values()) > 50, 300)
            market.switch_fault("malformed", on=False)
            await _grow(forwarder)
            await until(lambda: forwarder._backfill.is_idle, 60)  # type: ignore[union-attr]
            dropped, drops, received = forwarder.publisher.dropped, forwarder.drops, forwarder.received
        kafka = open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="checker"))
        found = await read_topic(kafka, topics.TRADES.name)
        missing = 0
        for symbol in ("AAPL", "MSFT"):
            numbers = trade_numbers(found, symbol)
            assert len(set(numbers)) == len(numbers)
            made = await market_trades(market, symbol)
            last = max(made.index(number) for number in numbers)
            gone = sorted(set(made[: last + 1]) - set(numbers))
            missing += len(gone)
            runs = [number for number in gone if number - 1 not in gone or number + 1 not in gone]
            print(f"\n{symbol}: {len(made)} made, missing from and to {runs}")
        print(f"\nreceived {received}, trades {len(found)}, missing {missing}, dropped {dropped}, bad {drops}")
        print(f"noticed after seconds: {noticed}; sessions begun again: {attempts}")
        assert (missing, dropped) == (0, {})
        assert is_rising(found)
        assert is_rising(await read_topic(kafka, topics.QUOTES.name))


async def test_run_ws_when_told_to_stop_while_kafka_is_frozen_or_killed_then_zero_within_twenty_seconds(
    tmp_path: Path,
) -> None:
    """The command as a pod runs it; `terminationGracePeriodSeconds` is thirty."""
    for fault in ("killed", "frozen"):
        folder = tmp_path / fault
        folder.mkdir()
        with apache_kafka.running(folder / "kafka") as broker, simulator.running(folder, MARKET) as market:
            given = environment(market, broker.bootstrap, HEALTH_PORT="0", METRICS_PORT="0")
            log = folder / "ws.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "torghutctl", "run", "ws"], stderr=output,
                    env={**given, "PATH": os.environ["PATH"]}, cwd=Path(__file__).resolve().parents[3],
                )  # fmt: skip
            try:
                await until(lambda log=log: b'"event": "subscribed"' in log.read_bytes(), 60)
                await asyncio.sleep(3)
                broker.stop(kill=True) if fault == "killed" else broker.pause()
                await until(lambda log=log: b"kafka_trouble" in log.read_bytes(), 10)
                begun = time.monotonic()
                process.send_signal(signal.SIGTERM)
                code = await asyncio.to_thread(process.wait, 25)
                took = time.monotonic() - begun
                print(f"\n{fault}: exit code {code} after {took:.1f} s")
                assert (code, b"records_lost_at_shutdown" in log.read_bytes()) == (0, True)
                assert took < 20
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                if fault == "frozen":
                    broker.resume()
