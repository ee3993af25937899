"""How the TA grows with processes: `python -m benchmarks.group [EVENTS]`, one and two `run ta` in one group.

Apache Kafka holds the trades before anything starts. A case is measured from when each of its processes holds partitions
to when all is read and the last rows are out: events over the CPU seconds of our own processes, and over the clock. Of
five turns the median counts; cases take turns. Kafka in, Kafka out, exactly once, checkpoints on, no ClickHouse.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.end_to_end import fill
from benchmarks.market import write_trades

_ROOT = Path(__file__).resolve().parents[1]
_TURNS = 5
PARTITIONS = 4


class Member:
    """One `run ta`, its metrics and its CPU time."""

    def __init__(self, folder: Path, bootstrap: str, group: str, number: int) -> None:
        self.log = folder / f"{group}-{number}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "torghutctl", "run", "ta"],
                env={
                    **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                    "PYTHONPATH": str(_ROOT),
                    "TA_KAFKA_BOOTSTRAP": bootstrap,
                    "TA_KAFKA_SECURITY": "PLAINTEXT",
                    "TA_GROUP_ID": group,
                    "TA_AUTO_OFFSET_RESET": "earliest",
                    "TA_CHECKPOINT_DIR": f"file:{folder}/checkpoints",
                    "TA_HEALTH_PORT": "0",
                    "TA_METRICS_PORT": "0",
                    "TORGHUT_HTTP_HOST": "127.0.0.1",
                },
                stdout=log,
                stderr=log,
            )

    @property
    def cpu(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def is_holding(self) -> bool:
        return b"partition_opened" in self.log.read_bytes()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(40)


async def committed(bootstrap: str, group: str, topic: str) -> int:
    """Return how many trades a group has committed."""
    from torghut_core.engines.kafka import KafkaAddress, TopicPartition
    from torghut_core.engines.kafka_ends import standings

    address = KafkaAddress(bootstrap=bootstrap, client_id="benchmark")
    found = await standings(address, group, [TopicPartition(topic, number) for number in range(PARTITIONS)])
    return sum(each.committed or 0 for each in found.values())


def _measure(folder: Path, bootstrap: str, members: int, turn: int, events: int) -> tuple[float, float]:
    """Return events per CPU-second of the members, and per second of the clock."""
    from torghut_core import topics

    group = f"grow-{members}-{turn}"
    running = [Member(folder, bootstrap, group, number) for number in range(members)]
    try:
        while not all(member.is_holding for member in running):
            time.sleep(0.02)
        began, cpu = time.monotonic(), sum(member.cpu for member in running)
        first = asyncio.run(committed(bootstrap, group, topics.TRADES.name))
        last = first
        while last < 0.97 * events:
            time.sleep(0.2)
            last = asyncio.run(committed(bootstrap, group, topics.TRADES.name))
            if time.monotonic() - began > 300:
                raise TimeoutError(f"{last} of {events} after 300 s; see {running[0].log}")
        used = sum(member.cpu for member in running) - cpu
        return (last - first) / used, (last - first) / (time.monotonic() - began)
    finally:
        for member in running:
            member.end()


def main() -> None:
    """Measure and print a markdown table."""
    from tests.fakes import apache_kafka

    events = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    with (
        tempfile.TemporaryDirectory() as name,
        apache_kafka.running(Path(name) / "kafka", apache_kafka.AS_IN_PRODUCTION) as broker,
    ):
        path = Path(name) / "trades.ndjson"
        write_trades(path, events)
        asyncio.run(fill(broker.bootstrap, path.read_bytes().splitlines(), PARTITIONS))
        for turn in range(_TURNS):
            for members, taken in found.items():
                taken.append(_measure(Path(name), broker.bootstrap, members, turn, events))
                print(f"benchmarks.group: {members} {taken[-1]}", file=sys.stderr, flush=True)
    print("| processes | M events per CPU-second of ours | M events/s by the clock |")
    print("|--:|--:|--:|")
    for members, taken in found.items():
        per_cpu, per_second = (median(each[at] for each in taken) / 1e6 for at in (0, 1))
        print(f"| {members} | {per_cpu:.2f} | {per_second:.2f} |")


if __name__ == "__main__":
    main()
