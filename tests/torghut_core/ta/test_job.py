"""A partition number's work after a restart: what it may wait for, and what it may say."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from tests.fakes.ta_inputs import Run, bar, quote, trade
from torghut_core.engines.kafka import Committed, Consumer, TopicPartition
from torghut_core.engines.kafka_sqlite import SqliteKafka
from torghut_core.ta.checkpoint import Checkpoint, CheckpointError, CheckpointStore, pack
from torghut_core.ta.engine.engine import SOURCES, Engine, EngineSettings, SourceName
from torghut_core.ta.job import PartitionJob, _Input, open_job
from torghut_core.topics import Topic


class _Reader:
    """A consumer whose last look, some seconds ago, found everything read."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def is_at_end(self, partition: TopicPartition, within: float) -> bool:
        return self._seconds <= within


def _job(inputs: dict[SourceName, _Input], **changed: Any) -> PartitionJob:
    """Return a job over these inputs, with an empty engine."""
    engine = Engine(EngineSettings())
    return PartitionJob(
        number=0, group="ta", engine=engine, inputs=inputs, checkpoint_name="0-abc", ingest_ms=0, **changed
    )


@pytest.mark.parametrize(
    ("is_silent", "position", "idle"),
    [(True, 6, []), (True, 7, ["quotes"]), (False, 7, ["trades", "quotes", "bars"])],
    ids=["on the way to the target", "at the target", "beyond it"],
)
def test_idle_sources_when_what_is_emitted_stays_out_of_kafka_then_they_are_those_of_the_commit(
    *, is_silent: bool, position: int, idle: list[str]
) -> None:
    """Rows of a silence that the commit did not know of were never committed, so they must not stay out of Kafka."""
    inputs = {
        source: _Input(TopicPartition(source, 0), position=position, heard_at=time.monotonic() - 60, catch_up_to=7)
        for source in SOURCES
    }
    job = _job(inputs, is_silent=is_silent, idle_at_target=frozenset(["quotes"]))
    assert job.idle_sources(frozenset(SOURCES)) == frozenset(idle)
    assert {said.metadata for said in job.commits().values()} == {" ".join(["0-abc", *sorted(idle)])}


async def test_idle_sources_when_records_wait_unread_then_they_stay_idle_until_the_positions_move() -> None:
    """Rows of a silence were told at these positions: a later commit of them must still say that it was one."""
    at = TopicPartition("trades", 0)
    trades = _Input(at, position=7, heard_at=time.monotonic() - 60, catch_up_to=7)
    job = _job({"trades": trades})
    assert "trades" in job.idle_sources({"trades"})
    assert "trades" in job.idle_sources(frozenset())
    assert "trades" in job.commits()[at].metadata
    trades.position = 8
    assert "trades" not in job.idle_sources(frozenset())


@pytest.mark.parametrize(
    ("heard_before", "looked_before", "deaf", "is_silent"),
    [
        (2.5, 0.1, 0.0, True),
        (1.5, 0.1, 0.0, False),
        (60.0, 3.0, 0.0, False),
        (2.5, 0.1, 1.0, False),
        (60.0, 0.1, 5.0, True),
    ],
    ids=[
        "silence",
        "not for long",
        "its broker does not answer",
        "it was paused in between",
        "silent before the pause",
    ],
)
async def test_silent_sources_when_nothing_was_heard_then_silent_only_if_it_was_listened_to(
    heard_before: float, looked_before: float, deaf: float, is_silent: bool
) -> None:
    """A pause of the process, a full buffer and a broker that is down are no silence: records may wait behind them."""
    at = TopicPartition("trades", 0)
    trades = _Input(at, position=7, heard_at=time.monotonic() - heard_before, catch_up_to=7)
    job = _job({"trades": trades})
    job.was_deaf({at}, deaf)
    silent = await job.silent_sources(cast("Consumer", _Reader(looked_before)), 2.0)
    assert ("trades" in silent) is is_silent
    assert {"quotes", "bars"} <= silent  # they have no input


@dataclass
class _Restart:
    """A group's committed offsets and checkpoint over the embedded log, and its job as another process opens it."""

    kafka: SqliteKafka
    store: CheckpointStore
    topics: dict[SourceName, str] = field(default_factory=lambda: {"trades": "t", "quotes": "q", "bars": "b"})

    async def leave(self, *, checkpointed: int, committed: int, engine: Engine | None = None, idle: str = "") -> None:
        """Leave what a killed process left."""
        engine = engine or Engine(EngineSettings())
        await self.kafka.ensure_topics([Topic(name=name, partitions=1, retention_ms=10**9) for name in "tqb"])
        for name in "tqb":
            await (await self.kafka.producer()).send(name, [b"A"] * 10, [b"{}"] * 10)
        offsets = dict.fromkeys(SOURCES, checkpointed)
        data = pack(Checkpoint(group="g", partition=0, offsets=offsets, ingest_ms=0, engine=engine))
        self.store.write("g/0-named", data)
        consumer = await self._consumer()
        await consumer.commit({TopicPartition(name, 0): Committed(committed, f"0-named{idle}") for name in "tqb"})
        await consumer.close()

    async def open(self) -> PartitionJob:
        consumer = await self._consumer()
        try:
            return await open_job(
                0, self.topics, consumer, store=self.store, settings=EngineSettings(), group="g", reset="earliest"
            )
        finally:
            await consumer.close()

    async def _consumer(self) -> Consumer:
        consumer = self.kafka.consumer(list(self.topics.values()), group="g", reset="earliest")
        await consumer.start()
        return consumer


@pytest.fixture
async def restart(tmp_path: Path) -> AsyncIterator[_Restart]:
    """Log and checkpoints of one test."""
    kafka = SqliteKafka(tmp_path / "kafka")
    yield _Restart(kafka, CheckpointStore(f"file:{tmp_path / 'checkpoints'}"))
    await kafka.close()


async def test_job_when_retention_took_what_it_would_catch_up_with_then_it_goes_on_behind_it(restart: _Restart) -> None:
    """Records between checkpoint and commit are gone: it must not wait for them, or nothing would be told again."""
    await restart.leave(checkpointed=3, committed=7)
    assert (await restart.open()).is_catching_up
    with restart.kafka.writing() as db:
        db.execute("DELETE FROM batches")
    job = await restart.open()
    assert (job.is_catching_up, job.is_silent) == (False, True)
    assert {each.position for each in job.inputs.values()} == {10}


async def test_job_when_a_log_ends_before_its_offset_then_refused(restart: _Restart) -> None:
    """The topic was made anew: what has the same offset now is not what was read."""
    await restart.leave(checkpointed=3, committed=7)
    with restart.kafka.writing() as db:
        db.execute("DELETE FROM batches WHERE topic = 'q'")
        db.execute("UPDATE partitions SET next_offset = 2 WHERE topic = 'q'")
    with pytest.raises(CheckpointError, match="its offset 3 of q-0 is beyond the end, 2: the log is another"):
        await restart.open()


async def test_job_when_its_checkpoint_is_of_another_topic_then_refused(restart: _Restart) -> None:
    """Offsets of one topic say nothing of another's."""
    await restart.leave(checkpointed=3, committed=7)
    await restart.kafka.ensure_topics([Topic(name="other", partitions=1, retention_ms=10**9)])
    restart.topics["quotes"] = "other"
    with pytest.raises(CheckpointError, match="0-named: was taken of another topic than other"):
        await restart.open()


async def test_job_when_it_opens_then_no_checkpoint_is_deleted_before_a_commit(restart: _Restart) -> None:
    """A process that lost its partitions while it opened them would delete what its successor has named."""
    await restart.leave(checkpointed=3, committed=7)
    restart.store.write("g/0-other", b"a crash's, or a successor's")
    restart.store.write("g/1-other", b"another partition number's")
    job = await restart.open()
    assert restart.store.names("g") == ["g/0-named", "g/0-other", "g/1-other"]
    assert job.superseded == ["0-other"]


async def test_job_when_restored_then_it_judges_event_times_as_if_nothing_had_happened(restart: _Restart) -> None:
    """A record that says no ingest time is only taken while its event time goes on from those before it."""
    run = Run()
    run.feed([trade("A", 1, 10), quote("A", 1, 9, 10), bar("A", 0, 10)])
    await restart.leave(checkpointed=3, committed=3, engine=run.engine)
    job = await restart.open()
    for source, record in (("trades", trade("A", 2, 10)), ("quotes", quote("A", 2, 9, 10)), ("bars", bar("A", 1, 10))):
        said = {name: value for name, value in json.loads(record.value).items() if name != "ingest_ts"}
        found = getattr(job.decoder, source)([json.dumps(said).encode()])
        assert found.rejected == {}, source
    assert Run().decoder.trades([record.value.replace(b"ingest_ts", b"x")]).rejected


async def test_job_when_a_crash_left_a_checkpoint_half_written_then_it_goes_with_the_next(restart: _Restart) -> None:
    """What no commit names is deleted after the next one, the scratch file of a killed write too."""
    await restart.leave(checkpointed=3, committed=3)
    restart.store.write("g/0-unnamed", b"whole")
    restart.store.write("g/0-half.new", b"hal")
    restart.store.write("g/1-others", b"whole")
    assert (await restart.open()).superseded == ["0-half.new", "0-unnamed"]


async def test_job_when_rows_of_a_silence_were_committed_where_the_checkpoint_was_taken_then_they_stay_out_of_kafka(
    restart: _Restart,
) -> None:
    """The checkpoint was taken at these positions before a source fell silent: its rows are committed, and not in it."""
    await restart.leave(checkpointed=3, committed=3, idle=" bars quotes")
    job = await restart.open()
    assert (job.is_catching_up, job.is_silent) == (False, True)
    assert job.idle_sources(frozenset(SOURCES)) == frozenset(["bars", "quotes"])
