"""From window close to signal record: `python -m benchmarks.latency [--rate 20000] [--seconds 120] [--symbols 200]
[--runs 1]`.

The broker first runs thousands of transactions of somebody else's: a JVM of a minute's age interprets most of what a
transaction runs, and takes four times as long over it as one that has been up for a morning. `--cold` leaves that out.

A real Apache Kafka (`make engines`), `run ta` as a process of its own with ClickHouse embedded, this process, which sends
trades and quotes at a steady rate under the wall clock's event times, and another, which reads the signals back as a
read_committed consumer. A window closes when the record is sent that takes the last of its sources past the window's end
and the tolerance; its latency is the time from before that send, its records made, to after the read. The send, the fetch,
the transaction over rows and offsets, and the read are all in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from tests.fakes import apache_kafka
from tests.fakes.ta_process import TaProcess
from torghut_core import topics
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import Committed, Kafka, KafkaAddress, TopicPartition, partition_of
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.rfc3339 import format_ns
from torghut_core.topics import Topic

_TICK_SECONDS = 0.01
_WARM_UP_SECONDS = 10
_WARM_UP_TRANSACTIONS = 5_000
_SCRATCH = Topic(name="warm-up", partitions=1, retention_ms=60_000)
_TOLERANCE_MS = 2_000
_MARKET = {
    topics.TRADES: (
        "trades",
        '{"S":"%s","i":1,"x":"V","p":%.2f,"s":100,"c":["@"],"t":"AT","z":"C"}',
    ),
    topics.QUOTES: (
        "quotes",
        '{"S":"%s","bx":"V","bp":%.2f,"bs":3,"ax":"V","ap":400.0,"as":1,"c":["R"],"t":"AT","z":"C"}',
    ),
}
"""Channel and payload per topic."""
_ENVELOPE = (
    '{"ingest_ts":"AT","event_ts":"AT","feed":"sip","channel":"%s","symbol":"%s","seq":1,"is_final":true,'
    '"source":"ws","window":null,"payload":%s,"version":1}'
)
_DRAWN = 10_007
"""Records that are drawn beforehand and sent over and over under other times: drawing takes longer than sending."""


class _Window(msgspec.Struct):
    size: str
    end: str


class _Signal(msgspec.Struct):
    symbol: str
    seq: int
    window: _Window


class Closings:
    """When each window of each partition number was closed, by what was sent."""

    def __init__(self) -> None:
        self._highest: dict[tuple[int, Topic], int] = {}
        self._at: dict[tuple[int, int, Topic], float] = {}

    def sent(self, topic: Topic, number: int, event_ns: int, now: float) -> None:
        """Note the highest event time of what goes to a partition `now`."""
        passed = (event_ns - _TOLERANCE_MS * 1_000_000) // 1_000_000_000
        before = self._highest.get((number, topic), passed)
        self._highest[number, topic] = max(before, passed)
        for end in range(before + 1, passed + 1):
            self._at[number, end, topic] = now

    def of(self, symbol: str, end: int) -> float | None:
        """Return when the later of its sources passed it; None when it closed before the first record."""
        number = _partition(symbol)
        times = [self._at.get((number, end, topic)) for topic in _MARKET]
        return None if None in times else max(time for time in times if time is not None)


def _partition(symbol: str) -> int:
    return partition_of(symbol.encode(), topics.TRADES.partitions)


class Market:
    """Trades and quotes as templates into which a time is put."""

    def __init__(self, symbols: Sequence[str]) -> None:
        chance = random.Random(20260602)
        self._next = 0
        self._drawn: dict[Topic, list[tuple[int, bytes, list[bytes]]]] = {topic: [] for topic in _MARKET}
        self._ages_ms = [int(200 * chance.random()) for _ in range(_DRAWN)]  # a feed is never quite in order
        for topic, (channel, payload) in _MARKET.items():
            for _ in range(_DRAWN):
                symbol = symbols[int(len(symbols) * chance.random() ** 4)]
                said = _ENVELOPE % (channel, symbol, payload % (symbol, chance.uniform(10, 400)))
                self._drawn[topic].append((_partition(symbol), symbol.encode(), said.encode().split(b"AT")))

    def records(
        self, topic: Topic, count: int, now_ms: int, highest: dict[tuple[Topic, int], int]
    ) -> tuple[list[bytes], list[bytes]]:
        """Return the next keys and values, and note each partition's highest event time in `highest`."""
        keys, values = [], []
        drawn = self._drawn[topic]
        for _ in range(count):
            self._next = (self._next + 1) % _DRAWN
            number, key, parts = drawn[self._next]
            ms = now_ms - self._ages_ms[self._next]
            keys.append(key)
            values.append(_at(ms).join(parts))
            if ms > highest.get((topic, number), 0):
                highest[topic, number] = ms
        return keys, values


@lru_cache(maxsize=1024)
def _at(ms: int) -> bytes:
    return format_ns(ms * 1_000_000 + 123_456).encode()


async def _send(kafka: Kafka, closings: Closings, market: Market, rate: int, until: float) -> int:
    """Send `rate` events a second, half of them trades, until `until`; return how many."""
    producer = await kafka.producer()
    started, sent = time.perf_counter(), 0
    while time.perf_counter() < until:
        now = time.perf_counter()
        due = int((now - started) * rate) - sent
        highest: dict[tuple[Topic, int], int] = {}
        made = [
            (topic.name, *market.records(topic, due // 2, time.time_ns() // 1_000_000, highest)) for topic in _MARKET
        ]
        for (topic, number), ms in highest.items():
            closings.sent(topic, number, ms * 1_000_000, time.perf_counter())
        await asyncio.gather(*(producer.send(name, keys, ByteColumn.of(values)) for name, keys, values in made))
        sent += due // 2 * 2
        await asyncio.sleep(max(0.0, _TICK_SECONDS - (time.perf_counter() - now)))
    await producer.close()
    return sent


async def _receive(bootstrap: str, found: Path) -> None:
    """Note each second's signal and when it was read (this machine's monotonic clock), until told to end."""
    kafka = open_kafka(KafkaAddress(bootstrap=bootstrap, client_id="latency-reader"))
    consumer = kafka.consumer([topics.TA_SIGNALS.name], group="latency", reset="latest")
    await consumer.start()
    decoder = msgspec.json.Decoder(_Signal)
    with found.open("w") as lines:
        while True:
            for batch in await consumer.poll(max_records=10_000, wait_seconds=1):
                now = time.perf_counter()
                for signal in map(decoder.decode, batch.values):
                    if signal.window.size == "PT1S":
                        lines.write(f"{signal.symbol} {signal.seq} {now}\n")
            lines.flush()


@contextlib.contextmanager
def _receiving(bootstrap: str, found: Path) -> Iterator[None]:
    """Read in a process of its own: what sends must not hold up what reads."""
    reader = multiprocessing.get_context("spawn").Process(target=_read, args=(bootstrap, found), daemon=True)
    reader.start()
    try:
        yield
    finally:
        reader.terminate()
        reader.join()


def _read(bootstrap: str, found: Path) -> None:
    asyncio.run(_receive(bootstrap, found))


async def _warm_up(kafka: Kafka) -> None:
    """Have the broker compile what a transaction and its reader run."""
    await kafka.ensure_topics([_SCRATCH])
    producer = await kafka.producer("warm-up")
    consumer = kafka.consumer([_SCRATCH.name], group="warm-up", reset="earliest")
    await consumer.start()
    keys, values = ByteColumn.of([b"A"] * 70), ByteColumn.of([b"v" * 600] * 70)
    for number in range(_WARM_UP_TRANSACTIONS):
        offsets = {TopicPartition(_SCRATCH.name, 0): Committed(number)}
        await producer.transact({_SCRATCH.name: (keys, values)}, "warm-up", offsets)
        await consumer.poll(max_records=10_000, wait_seconds=0.01)
    await consumer.close()
    await producer.close()


async def measure(
    bootstrap: str, process: TaProcess, rate: int, seconds: float, symbols: Sequence[str], *, is_cold: bool
) -> tuple[int, list[float]]:
    """Return how many events were sent, and the sorted latencies in seconds after the warm-up."""
    kafka = open_kafka(KafkaAddress(bootstrap=bootstrap, client_id="latency"))
    await kafka.ensure_topics(topics.ALL)
    if not is_cold:
        await _warm_up(kafka)
    process.start()
    market, closings, found = Market(symbols), Closings(), process.folder / "signals.txt"
    with _receiving(bootstrap, found):
        while not process.is_caught_up:  # noqa: ASYNC110  a process has no event to wait for
            await asyncio.sleep(0.2)
        await _send(kafka, closings, market, rate, time.perf_counter() + _WARM_UP_SECONDS)
        begin = time.perf_counter()
        sent = await _send(kafka, closings, market, rate, begin + seconds)
        await asyncio.sleep(1)
    await kafka.close()
    latencies = []
    for symbol, end, read in map(str.split, found.read_text().splitlines()):
        closed = closings.of(symbol, int(end))
        if closed is not None and closed >= begin:
            latencies.append(float(read) - closed)
    return sent, sorted(latencies)


def _run(chosen: argparse.Namespace) -> tuple[int, list[float]]:
    """Return how many events were sent, and the sorted latencies, of one run against a broker of its own."""
    with (
        tempfile.TemporaryDirectory() as name,
        apache_kafka.running(Path(name) / "kafka", apache_kafka.AS_IN_PRODUCTION) as broker,
    ):
        process = TaProcess(
            Path(name), broker.bootstrap, TA_MAX_OUT_OF_ORDER_MS=str(_TOLERANCE_MS), TORGHUT_CLOCK="system",
            TA_AUTO_OFFSET_RESET="latest", TA_CHECKPOINT_INTERVAL_MS="10000", TA_CLICKHOUSE_FLUSH_MS="1000",
        )  # fmt: skip
        try:
            symbols = [f"SYM{number:03d}" for number in range(chosen.symbols)]
            measured = measure(broker.bootstrap, process, chosen.rate, chosen.seconds, symbols, is_cold=chosen.cold)
            sent, found = asyncio.run(measured)
            code = process.end()
        finally:
            process.kill()
    if not found or code:
        raise SystemExit(f"{len(found)} signals came, `run ta` ended with {code}")
    return sent, found


def main() -> None:
    """Measure and print a markdown table, a row a run, and the median of each column where there are several."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--rate", type=int, default=20_000, help="events a second, trades and quotes alike")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--runs", type=int, default=1, help="one after the other, each with a broker of its own")
    parser.add_argument("--cold", action="store_true", help="measure against a broker that has just started")
    chosen = parser.parse_args()
    if chosen.runs < 1 or chosen.seconds <= 0:
        parser.error("--runs must be at least 1, --seconds above 0")
    print("| broker | events/s sent | symbols | signals | p50 ms | p90 ms | p99 ms | max ms |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    state = "just started" if chosen.cold else "warm"
    runs: list[list[float]] = []
    for _ in range(chosen.runs):
        sent, found = _run(chosen)
        runs.append([found[min(len(found) - 1, int(len(found) * part))] * 1000 for part in (0.5, 0.9, 0.99, 1.0)])
        cells = " | ".join(f"{point:.1f}" for point in runs[-1])
        print(f"| {state} | {sent / chosen.seconds:,.0f} | {chosen.symbols} | {len(found):,} | {cells} |", flush=True)
    if len(runs) > 1:
        medians = " | ".join(f"{statistics.median(points):.1f}" for points in zip(*runs, strict=True))
        print(f"| median of {len(runs)} | | | | {medians} |")


if __name__ == "__main__":
    main()
