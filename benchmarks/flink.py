"""The TA on Flink beside the one process and beside Flink's own SQL windows: `python -m benchmarks.flink [EVENTS [TURNS]]`.

One Apache Kafka (`make engines`), one input, Kafka to Kafka, exactly once, checkpoints on, no ClickHouse; `make flink` first.
CPU seconds are those of our own processes with all they started (JVM, Python workers), not the broker's. Start-up is
what they had used when 60 % of the trades were committed; the rate is of what follows, to when 90 % are: at the input's
very end Flink's source waits up to ten seconds before it commits what it has read. SQL is the second bars alone (open,
high, low, close, volume, VWAP, count), windows by the subtask's own watermark, in the JVM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.end_to_end import fill
from benchmarks.group import PARTITIONS, committed
from benchmarks.market import write_trades
from torghut_core.ta.flink.versions import CONNECTOR_JAR

_ROOT = Path(__file__).resolve().parents[1]
_FLINK = _ROOT / ".flink"
_TURNS = 3
_CHECKPOINT_MS = 1000
_PATIENCE_SECONDS = 300
_FROM, _TO = 0.6, 0.9
"""Of the input: by the first a JVM has compiled most of what it runs."""
_SQL = """
CREATE TABLE trades (
    event_ts STRING, symbol STRING, payload ROW<p DOUBLE, s DOUBLE>,
    ts AS TO_TIMESTAMP(REPLACE(REPLACE(event_ts, 'T', ' '), 'Z', ''), 'yyyy-MM-dd HH:mm:ss.SSSSSS'),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'torghut.trades.v1', 'properties.bootstrap.servers' = '{bootstrap}',
    'properties.group.id' = '{group}', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE bars (
    symbol STRING, window_time TIMESTAMP(3), o DOUBLE, h DOUBLE, l DOUBLE, c DOUBLE, v DOUBLE, vwap DOUBLE, n BIGINT
) WITH ('connector' = 'kafka', 'topic' = 'sql-bars', 'properties.bootstrap.servers' = '{bootstrap}',
    'key.format' = 'raw', 'key.fields' = 'symbol', 'value.format' = 'json', 'properties.compression.type' = 'lz4',
    'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{group}',
    'properties.transaction.timeout.ms' = '120000');
INSERT INTO bars
SELECT symbol, window_time, FIRST_VALUE(p), MAX(p), MIN(p), LAST_VALUE(p), SUM(s), SUM(p * s) / SUM(s), COUNT(*)
FROM TABLE(TUMBLE((SELECT symbol, ts, payload.p AS p, payload.s AS s FROM trades), DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY symbol, window_start, window_end, window_time
"""


class Case(NamedTuple):
    """What is run how."""

    name: str
    parallelism: int
    kind: str


CASES = (
    Case("Flink SQL, second bars alone, 1 subtask", 1, "sql"),
    Case("`run ta`, one process", 1, "process"),
    Case("`run ta --engine flink`, 1 subtask", 1, "flink"),
    Case("`run ta --engine flink`, 2 subtasks", 2, "flink"),
)


class Run(NamedTuple):
    """What a turn gave."""

    start_cpu: float
    per_cpu: float
    per_second: float


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def _cpu(pid: int) -> float:
    ticks = 0
    for each in _tree(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _command(case: Case) -> list[str]:
    if case.kind == "sql":
        return [str(_FLINK / "bin" / "python"), "-m", "benchmarks.flink"]
    engine = ["--engine", "flink"] if case.kind == "flink" else []
    return [sys.executable, "-m", "torghutctl", "run", "ta", *engine]


def _measure(case: Case, bootstrap: str, folder: Path, turn: int, events: int) -> Run:
    group = f"{case.kind}-{case.parallelism}-{turn}"
    with (folder / f"{group}.log").open("wb") as log:
        process = subprocess.Popen(
            _command(case),
            env={
                **{name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME") if name in os.environ},
                "PYTHONPATH": str(_ROOT),
                "TA_KAFKA_BOOTSTRAP": bootstrap,
                "TA_KAFKA_SECURITY": "PLAINTEXT",
                "TA_GROUP_ID": group,
                "TA_AUTO_OFFSET_RESET": "earliest",
                "TA_CHECKPOINT_DIR": f"file:{folder}/checkpoints",
                "TA_CHECKPOINT_INTERVAL_MS": str(_CHECKPOINT_MS),
                "TA_PARALLELISM": str(case.parallelism),
                "TA_FLINK_DIR": str(_FLINK),
                "TA_HEALTH_PORT": "0",
                "TA_METRICS_PORT": "0",
                "TORGHUT_HTTP_HOST": "127.0.0.1",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    topic = "torghut.trades.v1"

    def until(share: float) -> int:
        """Wait until so much of the input is committed, and return how much."""
        began, done = time.monotonic(), 0
        while done < share * events:
            time.sleep(0.1)
            done = asyncio.run(committed(bootstrap, group, topic))
            if process.poll() is not None or time.monotonic() - began > _PATIENCE_SECONDS:
                raise RuntimeError((folder / f"{group}.log").read_text()[-2000:])
        return done

    try:
        first = until(_FROM)
        start_cpu, at = _cpu(process.pid), time.monotonic()
        last = until(_TO)
        used, took = _cpu(process.pid) - start_cpu, time.monotonic() - at
        return Run(start_cpu, (last - first) / used, (last - first) / took)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def main() -> None:
    """Measure and print a markdown table; in PyFlink's Python, be the SQL job."""
    if "TA_GROUP_ID" in os.environ:
        _run_sql(os.environ["TA_KAFKA_BOOTSTRAP"], os.environ["TA_GROUP_ID"])
        return
    from tests.fakes import apache_kafka

    events = int(sys.argv[1]) if len(sys.argv) > 1 else 8_000_000
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else _TURNS
    found: dict[Case, list[Run]] = {case: [] for case in CASES}
    with (
        tempfile.TemporaryDirectory() as name,
        apache_kafka.running(Path(name) / "kafka", apache_kafka.AS_IN_PRODUCTION) as broker,
    ):
        path = Path(name) / "trades.ndjson"
        write_trades(path, events)
        asyncio.run(fill(broker.bootstrap, path.read_bytes().splitlines(), PARTITIONS, more=("sql-bars",)))
        for turn in range(turns):
            for case, runs in found.items():
                runs.append(_measure(case, broker.bootstrap, Path(name), turn, events))
                print(f"benchmarks.flink: {case.name} {runs[-1]}", file=sys.stderr, flush=True)
    print(
        "| case | CPU s for start-up and the first 60 % | M events per CPU-second after it | M events/s by the clock |"
    )
    print("|---|--:|--:|--:|")
    for case, runs in found.items():
        start, per_cpu, per_second = (median(each) for each in zip(*runs, strict=True))
        print(f"| {case.name} | {start:.1f} | {per_cpu / 1e6:.2f} | {per_second / 1e6:.2f} |")


def _run_sql(bootstrap: str, group: str) -> None:
    from pyflink.table import EnvironmentSettings, TableEnvironment

    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    config = environment.get_config()
    config.set("parallelism.default", os.environ["TA_PARALLELISM"])
    config.set("pipeline.jars", (_FLINK / "lib-flink" / CONNECTOR_JAR).as_uri())
    config.set("pipeline.object-reuse", "true")
    config.set("execution.checkpointing.interval", f"{_CHECKPOINT_MS} ms")
    config.set("execution.checkpointing.storage", "filesystem")
    config.set("execution.checkpointing.dir", os.environ["TA_CHECKPOINT_DIR"].replace("file:", "file://", 1) + "/sql")
    *tables, insert = _SQL.format(bootstrap=bootstrap, group=group).split(";\n")
    for statement in tables:
        environment.execute_sql(statement)
    environment.execute_sql(insert).wait()


if __name__ == "__main__":
    main()
