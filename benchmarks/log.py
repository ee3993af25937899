"""The log's append and read rates: `python -m benchmarks.log [--bootstrap HOST:PORT]`, records of 257 bytes in batches.

Without an address the durable log on SQLite is measured, in a folder of its own; with one, that cluster too.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import uuid

from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.topics import Topic

_RECORD = b"x" * 257
_SYMBOLS = [f"SYM{number}".encode() for number in range(200)]


async def measure(bootstrap: str, records: int, batch: int) -> tuple[float, float]:
    """Return records per second appended (durable when counted), and read back."""
    kafka = open_kafka(KafkaAddress(bootstrap=bootstrap, client_id="benchmark"))
    topic = f"benchmark-{uuid.uuid4().hex[:8]}"
    await kafka.ensure_topics([Topic(name=topic, partitions=3, retention_ms=3_600_000)])
    keys = [_SYMBOLS[number % len(_SYMBOLS)] for number in range(batch)]
    values = [_RECORD] * batch
    producer = await kafka.producer()
    started = time.perf_counter()
    for _ in range(records // batch):
        await producer.send(topic, keys, values)
    appended = time.perf_counter() - started
    await producer.close()
    consumer = kafka.consumer([topic], group="benchmark", reset="earliest")
    await consumer.start()
    count, started = 0, time.perf_counter()
    while count < records // batch * batch:
        count += sum(len(each.values) for each in await consumer.poll(max_records=30_000, wait_seconds=1))
    read = time.perf_counter() - started
    await consumer.close()
    await kafka.close()
    return count / appended, count / read


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log", description=__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--batch", type=int, default=5_000)
    parser.add_argument("--bootstrap", help="a cluster to measure as well")
    chosen = parser.parse_args()
    print("| log | appended, records/s | read, records/s |\n|---|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        cases = {"SQLite, fsync per batch": f"embedded:{folder}"}
        if chosen.bootstrap:
            cases["cluster"] = chosen.bootstrap
        for name, address in cases.items():
            appended, read = asyncio.run(measure(address, chosen.records, chosen.batch))
            print(f"| {name} | {appended:,.0f} | {read:,.0f} |")


if __name__ == "__main__":
    main()
