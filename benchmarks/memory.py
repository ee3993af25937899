"""Memory of `run ta`: `python -m benchmarks.memory [--symbols 10000] [--seconds 330]`.

A real Apache Kafka (`make engines`), `run ta` as a process of its own with ClickHouse embedded, and every symbol trading
and quoted once a second for longer than the longest window: what the process held at its most, by the kernel's count.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.fakes import apache_kafka
from tests.fakes.ta_inputs import START
from tests.fakes.ta_process import TaProcess
from torghut_core import topics
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.engines.kafka import Kafka, KafkaAddress, TopicPartition
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.rfc3339 import format_ns

_ENVELOPE = (
    '{"ingest_ts":"%s","event_ts":"%s","feed":"sip","channel":"%s","symbol":"%s","seq":1,"is_final":true,'
    '"source":"ws","window":null,"payload":%s,"version":1}'
)
_TRADE = '{"p":%d.25,"s":100}'
_QUOTE = '{"bp":%d.2,"bs":3,"ap":%d.3,"as":1}'
_QUIET_SECONDS = 10


def _peak_mb(process: TaProcess) -> float:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this system does not tell a process's peak memory")


def _second(number: int, symbols: list[str]) -> Iterator[tuple[topics.Topic, list[bytes]]]:
    at = format_ns((START + number) * 1_000_000_000 + 500_000_000)
    price = 10 + number % 7
    trade, quote = _TRADE % price, _QUOTE % (price, price)
    yield topics.TRADES, [(_ENVELOPE % (at, at, "trades", symbol, trade)).encode() for symbol in symbols]
    yield topics.QUOTES, [(_ENVELOPE % (at, at, "quotes", symbol, quote)).encode() for symbol in symbols]


async def _signals(kafka: Kafka) -> int:
    consumer = kafka.consumer([topics.TA_SIGNALS.name], group="memory", reset="latest")
    await consumer.start()
    ends = await consumer.bounds([TopicPartition(topics.TA_SIGNALS.name, 0)])
    await consumer.close()
    return sum(end for _, end in ends.values())


async def measure(bootstrap: str, process: TaProcess, symbols: int, seconds: int) -> tuple[float, float, int]:
    """Return the peak in MiB before the first record, the peak after the last row, and how many signals came."""
    kafka = open_kafka(KafkaAddress(bootstrap=bootstrap, client_id="memory"))
    await kafka.ensure_topics(topics.ALL)
    process.start()
    while not process.is_caught_up:  # noqa: ASYNC110  a process has no event to wait for
        await asyncio.sleep(0.2)
    before = _peak_mb(process)
    producer = await kafka.producer()
    names = [f"SYM{number:05d}" for number in range(symbols)]
    keys = [name.encode() for name in names]
    for number in range(seconds):
        for topic, values in _second(number, names):
            await producer.send(topic.name, keys, ByteColumn.of(values))
    await producer.close()
    told, quiet = await _signals(kafka), 0
    while quiet < _QUIET_SECONDS:
        await asyncio.sleep(1)
        earlier, told = told, await _signals(kafka)
        quiet = quiet + 1 if told == earlier and told > 0 else 0
    await kafka.close()
    return before, _peak_mb(process), told


def main() -> None:
    """Measure and print a markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--symbols", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=330, help="of the market; longer than the longest window")
    chosen = parser.parse_args()
    print("| ClickHouse | symbols | signal records | MiB before the first record | MiB at the most |")
    print("|---|--:|--:|--:|--:|")
    for said, changed in (("none: Kafka alone", {"TA_CLICKHOUSE_URL": ""}), ("embedded, in the same process", {})):
        with (
            tempfile.TemporaryDirectory() as name,
            apache_kafka.running(Path(name) / "kafka", apache_kafka.AS_IN_PRODUCTION) as broker,
        ):
            process = TaProcess(
                Path(name),
                broker.bootstrap,
                TA_CHECKPOINT_INTERVAL_MS="10000",
                TA_CLICKHOUSE_FLUSH_MS="1000",
                **changed,
            )
            try:
                found = asyncio.run(measure(broker.bootstrap, process, chosen.symbols, chosen.seconds))
                code = process.end()
            finally:
                process.kill()
        if code:
            raise SystemExit(f"`run ta` ended with {code}")
        print(f"| {said} | {chosen.symbols:,} | {found[2]:,} | {found[0]:,.0f} | {found[1]:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
