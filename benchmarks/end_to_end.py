"""Kafka in, Kafka and ClickHouse out, beside the same client that consumes and counts; CPU seconds of the process.

`python -m benchmarks.end_to_end` starts Apache Kafka (`make engines`), fills it with trades, and measures each case in a
process of its own, from after its start-up to its last commit.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.market import write_trades
from torghut_core import topics
from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _count(bootstrap: str, events: int) -> float:
    consumer = open_kafka(KafkaAddress(bootstrap=bootstrap, client_id="count")).consumer(
        [topics.TRADES.name], group="count", reset="earliest"
    )
    await consumer.start()
    before, seen = _cpu(), 0
    while seen < events:
        seen += sum(len(batch.values) for batch in await consumer.poll(max_records=30_000, wait_seconds=0.05))
    took = _cpu() - before
    await consumer.close()
    return took


async def _ta(bootstrap: str, events: int, folder: str) -> float:
    from torghut_core.settings import load
    from torghut_core.ta import indicators, scanner
    from torghut_core.ta.service import TaService
    from torghut_core.ta.settings import TaSettings

    environment = {
        "TA_KAFKA_BOOTSTRAP": bootstrap,
        "TA_KAFKA_SECURITY": "PLAINTEXT",
        "TA_AUTO_OFFSET_RESET": "earliest",
        "TA_CHECKPOINT_DIR": f"file:{folder}/checkpoints",
        "TA_CLICKHOUSE_URL": f"embedded:{folder}/clickhouse",
    }
    indicators.warm_up()
    scanner.warm_up()
    service = TaService(load(TaSettings, environment))
    stop = asyncio.Event()
    before = _cpu()
    running = asyncio.create_task(service.run(stop))
    while sum(job.inputs["trades"].position for job in service.jobs.values()) < events:
        await asyncio.wait([running], timeout=0.05)
    stop.set()
    await running
    return _cpu() - before


def main() -> None:
    """Measure and print a markdown table; with arguments, be one case."""
    if len(sys.argv) > 2:
        case, bootstrap, events, folder = sys.argv[1:]
        took = asyncio.run(_count(bootstrap, int(events)) if case == "count" else _ta(bootstrap, int(events), folder))
        print(json.dumps(took))
        return
    from tests.fakes import apache_kafka

    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name, apache_kafka.running(Path(name) / "kafka") as broker:
        path = Path(name) / "trades.ndjson"
        write_trades(path, events)
        asyncio.run(_fill(broker.bootstrap, path.read_bytes().splitlines()))
        print("| case | CPU s | M records per CPU-second | of the count |")
        print("|---|--:|--:|--:|")
        counted = 0.0
        for case, said in (("count", "consume and count"), ("ta", "`run ta`: Kafka in, Kafka and ClickHouse out")):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.end_to_end", case, broker.bootstrap, str(events), name],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            took = float(done.stdout.splitlines()[-1])
            counted = counted or took
            print(f"| {said} | {took:.2f} | {events / took / 1e6:.2f} | {counted / took:.2f} |", flush=True)


async def _fill(bootstrap: str, records: list[bytes]) -> None:
    kafka = open_kafka(KafkaAddress(bootstrap=bootstrap, client_id="fill"))
    await kafka.ensure_topics(topics.ALL)
    producer = await kafka.producer()
    for start in range(0, len(records), 20_000):
        part = records[start : start + 20_000]
        await producer.send(topics.TRADES.name, [json.loads(record)["symbol"].encode() for record in part], part)
    await producer.close()


if __name__ == "__main__":
    main()
