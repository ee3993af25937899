"""`torghutctl run ta` as a process of its own, to be killed, stopped and started again; and what it left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fakes.ta_inputs import START, Record, Run
from torghut_core import topics
from torghut_core.clock import FileClock
from torghut_core.engines.kafka import Kafka, partition_of
from torghut_core.ta.engine.engine import EngineSettings

Rows = dict[tuple[str, str, str, int], dict[str, Any]]
"""By table, window size, symbol and epoch second of the window's end."""

INPUTS = {"trades": topics.TRADES.name, "quotes": topics.QUOTES.name, "bars": topics.BARS_1M.name}
OUTPUTS = {"bar": topics.TA_BARS_1S.name, "signal": topics.TA_SIGNALS.name}
_READ = """
import json, sys
from torghut_core.engines.clickhouse import Address, open_clickhouse
clickhouse = open_clickhouse(Address(url=sys.argv[1]))
for name in ("bar", "signal"):
    table = {"bar": "ta_microbars", "signal": "ta_signals"}[name]
    for row in clickhouse.query(f"SELECT * EXCEPT (ingest_ts, event_ts, window_start, window_end, window_step) "
                                f"FROM torghut.{table} FINAL"):
        print(json.dumps([name, row]))
clickhouse.close()
"""


def in_process(folder: Path, **changed: str) -> dict[str, str]:
    """Return the environment of a TA that is given its log and ClickHouse; the clock is the night after the records.

    While the market is open, old trades would be a lag.
    """
    clock = folder / "clock.json"
    FileClock.write(clock, origin_ns=(START + 12 * 3600) * 10**9, speed=1.0)
    return {
        "TORGHUT_CLOCK": f"file:{clock}",
        "TA_KAFKA_BOOTSTRAP": "embedded:unused",
        "TA_GROUP_ID": "ta",
        "TA_AUTO_OFFSET_RESET": "earliest",
        "TA_CHECKPOINT_DIR": f"file:{folder / 'checkpoints'}",
        "TA_CHECKPOINT_INTERVAL_MS": "100",
        "TA_MAX_OUT_OF_ORDER_MS": "200",
        "TA_HEALTH_PORT": "0",
        "TA_METRICS_PORT": "0",
        "TORGHUT_HTTP_HOST": "127.0.0.1",
    } | changed


class TaProcess:
    """One instance; what it logs goes to `log`. `options` are the command's."""

    def __init__(
        self, folder: Path, bootstrap: str, name: str = "a", *, options: Sequence[str] = (), **environment: str
    ) -> None:
        self._options = options
        self.folder = folder
        self.clickhouse = f"embedded:{folder / f'clickhouse-{name}'}"
        self.log = folder / f"ta-{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._logged = 0
        clock = folder / "clock.json"
        if not clock.exists():  # the rows' own day: on the machine's clock the tables' TTL would drop them
            FileClock.write(clock, origin_ns=(START + 3600) * 10**9, speed=1.0)
        self._environment = {
            "TA_KAFKA_BOOTSTRAP": bootstrap,
            "TA_KAFKA_SECURITY": "PLAINTEXT",
            "TA_GROUP_ID": "torghut-ta-test",
            "TA_AUTO_OFFSET_RESET": "earliest",
            "TA_CHECKPOINT_DIR": f"file:{folder / 'checkpoints'}",
            "TA_CHECKPOINT_INTERVAL_MS": "300",
            "TA_CLICKHOUSE_URL": self.clickhouse,
            "TA_CLICKHOUSE_FLUSH_MS": "100",
            "TA_MAX_OUT_OF_ORDER_MS": "1000",
            "TA_HEALTH_PORT": "0",
            "TA_METRICS_PORT": "0",
            "TORGHUT_HTTP_HOST": "127.0.0.1",
            "TORGHUT_CLOCK": f"file:{clock}",
            **environment,
        }
        self._environment = {name: value for name, value in self._environment.items() if value}

    def start(self) -> None:
        self._logged = self.log.stat().st_size if self.log.exists() else 0
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME", "PYTHONPATH") if name in os.environ}
        root = str(Path(__file__).resolve().parents[2])
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "torghutctl", "run", "ta", *self._options],
                env=kept | {"PYTHONPATH": root} | self._environment,
                stdout=log,
                stderr=log,
            )

    @property
    def is_caught_up(self) -> bool:
        """Whether every partition number was opened since the last start, and has caught up with its commits."""
        lines = [json.loads(line) for line in self.log.read_bytes()[self._logged :].splitlines() if line[:1] == b"{"]
        behind = {line["partition"] for line in lines if line.get("catching_up")}
        caught = {line["partition"] for line in lines if line.get("event") == "caught_up"}
        opened = {line["partition"] for line in lines if line.get("event") == "partition_opened"}
        return len(opened) == topics.TRADES.partitions and behind <= caught

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait(20)
            self._process = None

    def end(self) -> int:
        """SIGTERM, and return the exit code."""
        self.signal(signal.SIGTERM)
        assert self._process is not None
        code = self._process.wait(30)
        self._process = None
        return code

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def rows_in_clickhouse(self) -> Rows:
        """Return what its ClickHouse holds; the process must have ended."""
        done = subprocess.run(
            [sys.executable, "-c", _READ, self.clickhouse],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        rows: Rows = {}
        for line in done.stdout.splitlines():
            name, row = json.loads(line)
            rows[name, row["window_size"], row["symbol"], row["seq"]] = row
        return rows


async def produce(kafka: Kafka, records: Iterable[Record], partitions: int = topics.TRADES.partitions) -> None:
    """Send records to their topics, keyed by symbol, order kept; inputs that are not there get so many partitions."""
    inputs = [replace(topic, partitions=partitions) for topic in topics.ALL if topic.name in INPUTS.values()]
    await kafka.ensure_topics(inputs)
    await kafka.ensure_topics(topics.ALL)
    producer = await kafka.producer()
    by_source: dict[str, tuple[list[bytes], list[bytes]]] = {source: ([], []) for source in INPUTS}
    for record in records:
        keys, values = by_source[record.source]
        keys.append(json.loads(record.value)["symbol"].encode())
        values.append(record.value)
    for source, (keys, values) in by_source.items():
        for start in range(0, len(keys), 5000):
            await producer.send(INPUTS[source], keys[start : start + 5000], values[start : start + 5000])
    await producer.close()


def expected_rows(
    records: Iterable[Record], settings: EngineSettings, partitions: int = topics.TRADES.partitions
) -> Rows:
    """Return the rows of an undisturbed run: the engine alone, a partition number at a time."""
    by_number: dict[int, list[Record]] = {}
    for record in records:
        key = json.loads(record.value)["symbol"].encode()
        by_number.setdefault(partition_of(key, partitions), []).append(record)
    rows: Rows = {}
    for its in by_number.values():
        run = Run(settings)
        run.feed(sorted(its, key=lambda record: record.source))  # of one source, the order is kept
        run.finish()
        rows |= {(*key[:3], row["seq"]): row for key, row in run.rows.items()}
    return rows


class Outputs:
    """The newest committed record per key, read as it comes."""

    def __init__(self, kafka: Kafka) -> None:
        self.rows: Rows = {}
        self.count = 0
        """Records, repeats included."""
        self._consumer = kafka.consumer(
            list(OUTPUTS.values()), group=f"checker-{uuid.uuid4().hex[:8]}", reset="earliest"
        )
        self._kind = {topic: name for name, topic in OUTPUTS.items()}

    async def start(self) -> Outputs:
        await self._consumer.start()
        return self

    async def read(self) -> None:
        """Take what is there."""
        for batch in await self._consumer.poll(max_records=100_000, wait_seconds=0.1):
            self.count += len(batch.values)
            for value in batch.values:
                row = json.loads(value)
                self.take((self._kind[batch.topic], row["window"]["size"], row["symbol"], row["seq"]), row["payload"])

    def take(self, key: tuple[str, str, str, int], payload: dict[str, Any]) -> None:
        """Take one record."""
        self.rows[key] = payload

    async def until(self, is_so: Callable[[], bool], seconds: float, processes: Iterable[TaProcess] = ()) -> None:
        """Read until `is_so`; fail after `seconds`."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline:
                logs = "\n".join(process.log.read_text()[-3000:] for process in processes)
                raise TimeoutError(f"{self.count} records, {len(self.rows)} keys after {seconds} s\n{logs}")
            await self.read()

    async def settle(self, seconds: float = 1.0) -> None:
        """Read until nothing has come for `seconds`."""
        last, heard = self.count, time.monotonic()
        while time.monotonic() - heard < seconds:
            await self.read()
            if self.count != last:
                last, heard = self.count, time.monotonic()

    async def close(self) -> None:
        await self._consumer.close()


class Told(Outputs):
    """The records, and which of them say again what the one before them of their key said."""

    def __init__(self, kafka: Kafka) -> None:
        super().__init__(kafka)
        self.repeats: list[str] = []

    def take(self, key: tuple[str, str, str, int], payload: dict[str, Any]) -> None:
        # Signals alone: a bar goes out again with a signal whose quotes changed.
        if key[0] == "signal" and self.rows.get(key) == payload:
            self.repeats.append(f"told twice: {key}")
        super().take(key, payload)


def differences(expected: Rows, actual: Rows) -> list[str]:
    """Return what differs in the columns that both sides have, a line each."""
    found = [f"missing {key}" for key in expected.keys() - actual.keys()]
    found += [f"too many {key}" for key in actual.keys() - expected.keys()]
    for key in expected.keys() & actual.keys():
        for name in expected[key].keys() & actual[key].keys():
            if expected[key][name] != actual[key][name]:
                found.append(f"{key} {name}: expected {expected[key][name]}, found {actual[key][name]}")
    return sorted(found)
