"""A crash at every step that leaves a trace outside the process: before it, and after it before anybody knows.

Steps are transactions, commits of offsets, ClickHouse inserts, and writing and deleting checkpoints. From the crash on
nothing of that process reaches Kafka, ClickHouse or the checkpoint store; the next one starts from what is there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.ta_inputs import Record, bar, quote, trade
from tests.fakes.ta_process import Outputs, Rows, Told, differences, expected_rows, in_process, produce
from torghut_core import topics
from torghut_core.engines.clickhouse import ClickHouse, ClickHouseError, Trouble
from torghut_core.engines.kafka import Kafka, KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.errors import UpstreamError
from torghut_core.settings import load
from torghut_core.ta import service
from torghut_core.ta.checkpoint import CheckpointStore
from torghut_core.ta.engine.engine import EngineSettings
from torghut_core.ta.service import TaService
from torghut_core.ta.settings import TaSettings

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group("chdb"), pytest.mark.timeout(1200)]
SETTINGS = EngineSettings(max_out_of_order_ms=200)
RECORDS: list[Record] = [
    record
    for second in range(20)
    for record in (quote("A", second + 0.1, 9, 10), trade("A", second + 0.3, 10 + second % 5), trade("A", second + 0.2, 11))
] + [bar("A", 0, 10)] + [trade("D", second + 0.4, 5) for second in range(8)]  # fmt: skip
SILENCES: list[list[Record]] = [
    [quote("A", 0.1, 9, 10)] + [trade("A", second + 0.3, 10) for second in range(6)],
    [quote("A", 5.1, 9, 11), trade("A", 6.2, 11)],
    [quote("A", 6.4, 9, 12), trade("B", 6.3, 7), quote("B", 7.1, 7, 8), trade("D", 6.2, 3)],
    [trade(symbol, second, 13) for second in range(8, 11) for symbol in ("A", "D")],
]
"""Sent one after the other, each when the rows of what came before are out: most are told because nothing comes.

A and B are of one partition number, D is of another, whose turns are beside theirs.
"""
NEVER = 10**9


class Life:
    """One process's time: after `steps` of them it is dead, and nothing it does has an effect."""

    def __init__(self, steps: int) -> None:
        self._left = steps
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def step(self) -> bool:
        """Take a step, and return whether the process is still there."""
        with self._lock:  # inserts and checkpoints are written by threads
            self._left -= 1
            return not self.is_over

    async def live(self) -> None:
        """Take a step; a dead process waits for ever."""
        if not self.step():
            await asyncio.Event().wait()


class _Wrapped:
    def __init__(self, inner: Any, life: Life) -> None:
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class MortalKafka(_Wrapped):
    """The log as one process sees it."""

    async def producer(self, transactional_id: str | None = None) -> Any:
        return _Producer(await self._inner.producer(transactional_id), self._life)

    def consumer(self, *arguments: Any, **named: Any) -> Any:
        return _Consumer(self._inner.consumer(*arguments, **named), self._life)


class _Producer(_Wrapped):
    async def transact(self, *arguments: Any) -> None:
        await self._life.live()
        await self._inner.transact(*arguments)
        await self._life.live()


class _Consumer(_Wrapped):
    async def commit(self, offsets: Any) -> None:
        await self._life.live()
        await self._inner.commit(offsets)
        await self._life.live()


class MortalClickHouse(ClickHouse):
    """The real engine as one process sees it."""

    def __init__(self, inner: ClickHouse, life: Life) -> None:
        self._inner = inner
        self._life = life

    def command(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Any:
        return self._inner.command(statement, parameters)

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return self._inner.query(statement, parameters)

    def insert(self, table: str, columns: Sequence[str], block: bytes) -> None:
        self._live()
        self._inner.insert(table, columns, block)
        self._live()

    def _live(self) -> None:
        if not self._life.step():
            raise ClickHouseError(Trouble.REFUSED, "an insert")


def mortal_store(life: Life) -> type[CheckpointStore]:
    """Return the store as one process sees it."""

    def live() -> None:
        if not life.step():
            raise UpstreamError("dead")

    class MortalStore(CheckpointStore):
        def write(self, name: str, data: bytes) -> None:
            live()
            super().write(name, data)
            live()

        def delete(self, name: str) -> None:
            live()
            super().delete(name)
            live()

    return MortalStore


class World:
    """A log, a ClickHouse and a checkpoint folder that outlive the processes."""

    def __init__(self, folder: Path, kafka: Kafka, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
        environment = in_process(folder, TA_CLICKHOUSE_FLUSH_MS="10")
        # A checkpoint whenever the last one is done.
        self._settings = load(TaSettings, environment).model_copy(update={"checkpoint_interval_ms": 0})
        self._kafka = kafka
        self._clickhouse = clickhouse
        self._monkeypatch = monkeypatch
        self.sent = 0
        """Phases that were sent."""
        self._records: list[Record] = []
        self._wanted: Set[tuple[str, str, str, int]] = frozenset()

    async def run(self, outputs: Outputs, phases: Sequence[Sequence[Record]], steps: int = NEVER) -> Life:
        """Let one process run until it dies, or every phase was sent, its rows are out and it has ended cleanly."""
        life = Life(steps)
        self._monkeypatch.setattr(service, "CheckpointStore", mortal_store(life))
        ta = TaService(
            self._settings,
            kafka=MortalKafka(self._kafka, life),
            clickhouse=MortalClickHouse(self._clickhouse, life),
        )
        stop = asyncio.Event()
        running = asyncio.create_task(ta.run(stop))
        try:
            while not life.is_over and not (self.sent == len(phases) and self._wanted <= outputs.rows.keys()):
                if self._wanted <= outputs.rows.keys():
                    self._records += phases[self.sent]
                    await produce(self._kafka, phases[self.sent])
                    self.sent += 1
                    self._wanted = expected_rows(self._records, SETTINGS).keys()
                await outputs.until(lambda: life.is_over or self._wanted <= outputs.rows.keys(), 60)
            # ClickHouse follows Kafka, and a process that ends here ends as a dead one does.
            await outputs.until(lambda: life.is_over or self._wanted <= self.rows().keys(), 60)
        finally:
            stop.set()
            await running
        return life

    def rows(self) -> Rows:
        """Return what ClickHouse holds."""
        found: Rows = {}
        for name, table in (("bar", "ta_microbars"), ("signal", "ta_signals")):
            statement = f"SELECT * EXCEPT (ingest_ts, event_ts, window_start, window_end) FROM torghut.{table} FINAL"
            try:
                rows = self._clickhouse.query(statement)
            except ClickHouseError:
                return {}  # it died before the tables were made
            for row in rows:
                found[name, row["window_size"], row["symbol"], row["seq"]] = row
        return found


async def _crash(
    step: int, folder: Path, engine: ClickHouse, monkeypatch: pytest.MonkeyPatch, phases: Sequence[Sequence[Record]]
) -> tuple[bool, list[str]]:
    """Crash at `step`, go on, and return whether there was such a step, and what is not as without the crash."""
    expected = expected_rows([record for phase in phases for record in phase], SETTINGS)
    engine.command("DROP DATABASE IF EXISTS torghut")
    kafka = open_kafka(KafkaAddress(bootstrap=f"embedded:{folder}", client_id="test"))
    await kafka.ensure_topics(topics.ALL)
    outputs = await Told(kafka).start()
    world = World(folder, kafka, engine, monkeypatch)
    life = await world.run(outputs, phases, step)
    if life.is_over:
        await world.run(outputs, phases)
    await outputs.settle(0.3)
    await outputs.close()
    await kafka.close()
    found = differences(expected, outputs.rows) + differences(expected, world.rows())
    if len(phases) > 1:  # a row that was told in a silence could not hold the quotes after it
        found = [line for line in found if "imbalance" not in line]
    return life.is_over, [f"step {step}: {line}" for line in found + outputs.repeats]


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("phases", [[RECORDS], SILENCES], ids=["backlog", "silences"])
async def test_ta_when_it_crashes_at_any_step_then_kafka_and_clickhouse_are_as_without_the_crash(
    phases: list[list[Record]], stride: int, tmp_path: Path, engine: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is lost, none is another, none is told twice; each `stride`th step, until there is none to crash at."""
    monkeypatch.setattr(service, "_END_SECONDS", 0.0)  # a dead process does not end by itself
    monkeypatch.setattr(service, "_POLL_RECORDS", 10)
    crashes, was_there, found = -1, True, []
    while was_there:
        crashes += 1
        step = 1 + crashes * stride
        was_there, differing = await _crash(step, tmp_path / str(step), engine, monkeypatch, phases)
        found += differing
    print(f"{crashes} crashes")
    assert found == []
    assert crashes * stride > 50
