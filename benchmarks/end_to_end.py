"""Kafka in, Kafka and ClickHouse out, beside the same client that consumes and counts; CPU seconds of the process.

`python -m benchmarks.end_to_end` starts Apache Kafka (`make engines`), fills it with trades, and measures each case in a
process of its own, from when it has read a tenth of them to its end, the last rows' wait for silence included. What comes
before (imports, opening ClickHouse, tables, joining the group) is no rate. Cases take turns, three each; the median counts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from benchmarks.market import PER_SECOND, write_trades
from torghut_core import topics
from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka

_TURNS = 3
_QUIET_SECONDS = 3
"""Longer than a silent source is waited for: what is not out by then is not coming."""


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _count(bootstrap: str, events: int, folder: str) -> tuple[float, int, int]:
    """The client as it is installed, without anything of this project. Returns CPU seconds, of how many events, rows."""
    consumer = AIOKafkaConsumer(
        topics.TRADES.name,
        bootstrap_servers=bootstrap,
        group_id=f"count-{Path(folder).name}",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    before, begun_at, seen = 0.0, 0, 0
    while seen < events:
        seen += sum(map(len, (await consumer.getmany(timeout_ms=50, max_records=30_000)).values()))
        if not begun_at and seen >= events // 10:
            before, begun_at = _cpu(), seen
    took = _cpu() - before
    await consumer.stop()
    return took, events - begun_at, 0


async def _ta(bootstrap: str, events: int, folder: str) -> tuple[float, int, int]:
    """The whole runtime. Returns CPU seconds, of how many events, rows."""
    from torghut_core.settings import load
    from torghut_core.ta.service import TaService
    from torghut_core.ta.settings import TaSettings
    from torghut_core.ta.wiring import warm_up

    environment = {
        "TA_KAFKA_BOOTSTRAP": bootstrap,
        "TA_GROUP_ID": f"ta-{Path(folder).name}",
        "TA_KAFKA_SECURITY": "PLAINTEXT",
        "TA_AUTO_OFFSET_RESET": "earliest",
        "TA_CHECKPOINT_DIR": f"file:{folder}/checkpoints",
        "TA_CLICKHOUSE_URL": f"embedded:{folder}/clickhouse",
    }
    warm_up()
    service = TaService(load(TaSettings, environment))
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    read = out = quiet = 0
    while read < events // 10:
        await asyncio.wait([running], timeout=0.01)
        read = sum(job.inputs["trades"].position for job in service.jobs.values())
    before, begun_at = _cpu(), read
    while read < events or quiet < _QUIET_SECONDS or sum(service.readiness()[1]["waiting_rows"].values()):
        await asyncio.wait([running], timeout=1)
        read = sum(job.inputs["trades"].position for job in service.jobs.values())
        before_out, out = out, sum(job.output_rows for job in service.jobs.values())
        quiet = quiet + 1 if out == before_out else 0
    stop.set()
    await running
    return _cpu() - before, events - begun_at, out


def main() -> None:
    """Measure and print a markdown table; with arguments, be one case."""
    if len(sys.argv) > 2:
        case, bootstrap, count, folder = sys.argv[1:]
        run = _count(bootstrap, int(count), folder) if case == "count" else _ta(bootstrap, int(count), folder)
        print(json.dumps(asyncio.run(run)))
        return
    from tests.fakes import apache_kafka

    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with (
        tempfile.TemporaryDirectory() as name,
        apache_kafka.running(Path(name) / "kafka", apache_kafka.AS_IN_PRODUCTION) as broker,
    ):
        path = Path(name) / "trades.ndjson"
        write_trades(path, events)
        asyncio.run(fill(broker.bootstrap, path.read_bytes().splitlines()))
        print("| case | records measured | rows out in all | CPU s | M records per CPU-second | of the count |")
        print("|---|--:|--:|--:|--:|--:|")
        found: dict[str, list[tuple[float, int, int]]] = {"count": [], "ta": []}
        for turn in range(_TURNS):
            for case, taken in found.items():
                arguments = [case, broker.bootstrap, str(events), f"{name}/{turn}"]
                done = subprocess.run(
                    [sys.executable, "-m", "benchmarks.end_to_end", *arguments],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                taken.append(json.loads(done.stdout.splitlines()[-1]))
        counted = 0.0
        for case, said in (("count", "consume and count"), ("ta", "`run ta`: Kafka in, Kafka and ClickHouse out")):
            took, measured, rows = sorted(found[case], key=lambda each: each[1] / each[0])[_TURNS // 2]
            rate = measured / took / 1e6
            counted = counted or rate
            print(f"| {said} | {measured:,} | {rows:,} | {took:.2f} | {rate:.2f} | {rate / counted:.2f} |")


async def fill(
    bootstrap: str, records: list[bytes], partitions: int | None = None, *, more: Sequence[str] = ()
) -> None:
    """Put trades into Kafka, with quotes and bars that are ahead of them; topics of so many partitions, or their own."""
    from tests.fakes.ta_inputs import bar, quote

    kafka = open_kafka(KafkaAddress(bootstrap=bootstrap, client_id="fill"))
    if partitions is not None:
        inputs = (topics.TRADES, topics.QUOTES, topics.BARS_1M)
        await kafka.ensure_topics([dataclasses.replace(topic, partitions=partitions) for topic in inputs])
    await kafka.ensure_topics([*topics.ALL, *map(topics.TA_SIGNALS.renamed, more)])
    producer = await kafka.producer()
    for start in range(0, len(records), 20_000):
        part = records[start : start + 20_000]
        await producer.send(topics.TRADES.name, [json.loads(record)["symbol"].encode() for record in part], part)
    # Quotes and bars that are ahead of all trades: windows close as trades pass them, as on a day when all three flow.
    ahead = len(records) // PER_SECOND // 60 + 60
    symbols = [f"SYM{number:03d}" for number in range(40)]
    for topic, of_all in (
        (topics.QUOTES, [quote(symbol, 60.0 * ahead, 9.9, 10.0) for symbol in symbols]),
        (topics.BARS_1M, [bar(symbol, ahead, 10.0) for symbol in symbols]),
    ):
        await producer.send(topic.name, [symbol.encode() for symbol in symbols], [record.value for record in of_all])
    await producer.close()


if __name__ == "__main__":
    main()
