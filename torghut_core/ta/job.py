"""One partition number's work: engine, input positions, checkpoints, and what to do after a restart.

A checkpoint holds the state at offsets C. The group's committed offsets T (T ≥ C) name it in their metadata. A restart
restores the state, reads from C again, and up to T sends nothing to Kafka, for those rows were committed with T; the
metadata also say which sources were idle then, so that what was not waited for before is not waited for again. What
ClickHouse may have missed between C and T it gets again, under the same keys. The first checkpoint holds the empty state
at the first offsets, and is written before anything is read: a crash before the next one begins there again.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from bisect import bisect_left
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from torghut_core.engines.kafka import Batch, Committed, Consumer, OffsetReset, TopicPartition
from torghut_core.errors import ConfigurationError
from torghut_core.logs import event
from torghut_core.ta.checkpoint import Checkpoint, CheckpointError, CheckpointStore, pack, unpack
from torghut_core.ta.decoding.decode import Decoder
from torghut_core.ta.engine.engine import SOURCES, Engine, EngineSettings, RowBlock, SourceName
from torghut_core.ta.outputs.rows import TableRows, to_tables

_logger = logging.getLogger("torghut.ta")
_LOOK_SECONDS = 1.0
"""How old the look may be that found a silent input read to its end, if the silence itself is not longer."""
_OF_OTHER_LOGS = "give the group's own topics, or start with a new TA_GROUP_ID"


class Ends(Protocol):
    """Whoever knows what there is to be read."""

    async def is_at_end(self, partition: TopicPartition, within: float) -> bool:
        """Tell whether everything has been read that was there at the last look, no longer than `within` seconds ago."""


@dataclass
class _Input:
    """One topic's partition."""

    at: TopicPartition
    position: int
    heard_at: float
    """Monotonic time of its last record, later by the time in which it was not listened to."""
    catch_up_to: int
    sought: int = -1
    """The position that was sought again because records before the ones that came were missing."""
    behind: int = 0
    """Batches from before the position, since the last one at it."""


@dataclass
class PartitionJob:
    """State of one partition number while this process owns it."""

    number: int
    group: str
    engine: Engine
    inputs: dict[SourceName, _Input]
    checkpoint_name: str
    """The checkpoint the committed offsets name, or will name with the next commit; empty before the first."""
    ingest_ms: int
    decoder: Decoder = field(default_factory=Decoder)
    output_rows: int = 0
    checkpointed_work: tuple[int, ...] = ()
    """What `work` was at the last checkpoint."""
    checkpointed_at: float = 0.0
    superseded: list[str] = field(default_factory=list)
    """Checkpoints to be deleted once a commit has named the present one."""
    first_commits: dict[TopicPartition, Committed] | None = None
    """What to commit before anything else: where a new job began."""
    idle: frozenset[SourceName] = frozenset()
    """What the last emission did not wait for."""
    _idle_positions: dict[TopicPartition, int] = field(default_factory=dict)
    """Where it was."""
    idle_at_target: frozenset[SourceName] = frozenset()
    """What the emission did not wait for whose rows were committed with the target's offsets."""
    is_silent: bool = False
    """Whether rows stay out of Kafka because the offsets they belong to are committed already."""

    @property
    def is_catching_up(self) -> bool:
        return any(each.position < each.catch_up_to for each in self.inputs.values())

    @property
    def is_at_target(self) -> bool:
        """Whether the next emission is the one that ends catching up."""
        return self.is_silent and not self.is_catching_up

    @property
    def positions(self) -> dict[TopicPartition, int]:
        return {each.at: each.position for each in self.inputs.values()}

    @property
    def work(self) -> tuple[int, ...]:
        """What a checkpoint would hold more than one that was taken when this was different: input, or rows of silence."""
        return (self.output_rows, *(each.position for each in self.inputs.values()))

    def take(self, source: SourceName, batch: Batch) -> None:
        """Feed a batch of one source. While catching up it must not reach beyond the source's target."""
        read = {"trades": self.decoder.trades, "quotes": self.decoder.quotes, "bars": self.decoder.bars}[source]
        self.engine.add(read(batch.values))
        its = self.inputs[source]
        its.position = batch.next_offset
        its.behind = 0
        its.heard_at = time.monotonic()

    async def silent_sources(self, consumer: Ends, silence_seconds: float) -> frozenset[SourceName]:
        """Return the sources of which nothing came for `silence_seconds`, and of which there is nothing to be read."""
        now, within = time.monotonic(), max(silence_seconds, _LOOK_SECONDS)
        found: set[SourceName] = set()
        for source in SOURCES:
            its = self.inputs.get(source)
            if its is None or (now - its.heard_at >= silence_seconds and await consumer.is_at_end(its.at, within)):
                found.add(source)
        return frozenset(found)

    def was_deaf(self, to: Set[TopicPartition], seconds: float) -> None:
        """Leave out of an input's silence the time in which it was not listened to."""
        now = time.monotonic()
        for its in self.inputs.values():
            if its.at in to:
                its.heard_at = min(now, its.heard_at + seconds)

    def idle_sources(self, silent: Set[SourceName]) -> frozenset[SourceName]:
        """Return what not to wait for: the silent sources; on the way to the target, those that were idle there.

        The emission that ends catching up stays out of Kafka: it must hold exactly the rows that were committed. So what
        was idle once at some positions stays idle until they move: a commit of these positions must say so.
        """
        positions = self.positions
        if self.is_silent:
            self.idle = frozenset() if self.is_catching_up else self.idle_at_target
        elif positions == self._idle_positions:
            self.idle |= silent
        else:
            self.idle = frozenset(silent)
        self._idle_positions = positions
        return self.idle

    def blocked(self) -> set[TopicPartition]:
        """Return the inputs that must wait: those that caught up while others of this number have not."""
        if not self.is_catching_up:
            return set()
        return {each.at for each in self.inputs.values() if each.position >= each.catch_up_to}

    def tables(self, blocks: Sequence[RowBlock], now_ms: int) -> list[TableRows]:
        """Return rows under an ingest time that no earlier rows of this partition number have."""
        found: list[TableRows] = []
        for block in blocks:
            self.ingest_ms = max(now_ms, self.ingest_ms + 1)
            found += to_tables(block, self.ingest_ms)
        self.output_rows += sum(map(len, found))
        return found

    def commits(self) -> dict[TopicPartition, Committed]:
        """Return what to commit: positions, and the checkpoint they continue."""
        said = " ".join([self.checkpoint_name, *sorted(self.idle)])
        return {at: Committed(position, said) for at, position in self.positions.items()}

    def snapshot(self) -> tuple[str, bytes, dict[TopicPartition, Committed]]:
        """Return a new checkpoint's name and bytes, and the commit that would name it at its own offsets."""
        name = f"{self.number}-{uuid.uuid4().hex[:12]}"
        offsets: dict[str, int] = {source: its.position for source, its in self.inputs.items()}
        data = pack(
            Checkpoint(
                group=self.group,
                partition=self.number,
                offsets=offsets,
                ingest_ms=self.ingest_ms,
                output_rows=self.output_rows,
                engine=self.engine,
            )
        )
        return name, data, {its.at: Committed(its.position, name) for its in self.inputs.values()}


async def open_job(
    number: int,
    topics: Mapping[SourceName, str],
    consumer: Consumer,
    *,
    store: CheckpointStore,
    settings: EngineSettings,
    group: str,
    reset: OffsetReset,
) -> PartitionJob:
    """Restore a partition number's job, or begin it, and seek its inputs.

    Raises CheckpointError when the checkpoint the offsets name cannot be trusted, or is of other or newer logs,
    ConfigurationError when a replay group has offsets but no checkpoint of this replay.
    """
    # Never named by a commit, if the job says so: a crash came between. Listed before the offsets are asked for.
    stored = await asyncio.to_thread(store.names, group)
    committed = {source: await consumer.committed(TopicPartition(topic, number)) for source, topic in topics.items()}
    found = {said.metadata for said in committed.values() if said is not None and said.metadata}
    if len(found) > 1:
        raise CheckpointError(f"group {group!r}, partition {number}: its offsets name different checkpoints")
    checkpoint: Checkpoint | None = None
    name, *idle = found.pop().split(" ") if found else [""]
    if name:
        for source, said in committed.items():
            if said is None:
                raise CheckpointError(
                    f"checkpoint {group}/{name}: was taken of another topic than {topics[source]}, or that was made anew",
                    hint=_OF_OTHER_LOGS,
                )
        data = await asyncio.to_thread(store.read, f"{group}/{name}")
        if data is None:
            raise CheckpointError(
                f"checkpoint {group}/{name}: is named by the group's offsets, but is not in TA_CHECKPOINT_DIR",
                hint="restore the folder or bucket, or start with a new TA_GROUP_ID",
            )
        checkpoint = unpack(data, settings, f"{group}/{name}")
        if (checkpoint.group, checkpoint.partition) != (group, number):
            raise CheckpointError(f"checkpoint {group}/{name}: belongs to {checkpoint.group}/{checkpoint.partition}")
    elif settings.is_replay and any(committed.values()):
        raise ConfigurationError(
            f"TA_GROUP_ID={group!r}: has offsets but no checkpoint of this replay",
            hint="a replay needs a group id that was never used",
        )
    bounds = await consumer.bounds([TopicPartition(topic, number) for topic in topics.values()])
    inputs: dict[SourceName, _Input] = {}
    for source, topic in topics.items():
        at = TopicPartition(topic, number)
        said = committed[source]
        start = checkpoint.offsets.get(source) if checkpoint is not None else None
        if start is None:
            start = said.offset if said is not None else _first_position(at, bounds[at], group, reset)
        target = said.offset if checkpoint is not None and said else start
        earliest, end = bounds[at]
        if start > end:
            raise CheckpointError(
                f"group {group!r}: its offset {start} of {topic}-{number} is beyond the end, {end}: the log is another",
                hint=_OF_OTHER_LOGS,
            )
        if start < earliest:
            event(
                _logger,
                "records_lost",
                logging.WARNING,
                topic=topic,
                partition=number,
                offset=start,
                earliest=earliest,
            )
            start = earliest
        inputs[source] = _Input(at, start, time.monotonic(), target)
        await consumer.seek(at, start)
    engine = checkpoint.engine if checkpoint is not None else Engine(settings)
    job = PartitionJob(
        number=number,
        group=group,
        engine=engine,
        inputs=inputs,
        checkpoint_name=name,
        ingest_ms=checkpoint.ingest_ms if checkpoint is not None else 0,
        output_rows=checkpoint.output_rows if checkpoint is not None else 0,
        checkpointed_at=time.monotonic(),
        idle_at_target=frozenset([source for source in SOURCES if source in idle]),
    )
    # At the target itself too: rows of a silence may have been committed there after the checkpoint was taken.
    job.is_silent = checkpoint is not None
    if checkpoint is None:
        job.checkpoint_name, data, job.first_commits = job.snapshot()
        await asyncio.to_thread(store.write, f"{group}/{job.checkpoint_name}", data)
    its_own = [each.rpartition("/")[2] for each in stored]
    job.superseded = [each for each in its_own if each.startswith(f"{number}-") and each != job.checkpoint_name]
    return job


def held_job(
    number: int,
    topics: Mapping[SourceName, str],
    starts: Mapping[SourceName, int],
    *,
    data: bytes | None,
    settings: EngineSettings,
    group: str,
) -> PartitionJob:
    """Return a partition number's job from a checkpoint's bytes, or a new one that begins at the offsets `starts`.

    For a runtime that reads the inputs and keeps checkpoints and commits itself: nothing is sought, and no row is silent.
    Raises CheckpointError when the bytes cannot be trusted.
    """
    checkpoint = None if data is None else unpack(data, settings, f"{group}/{number}")
    if checkpoint is not None and (checkpoint.group, checkpoint.partition) != (group, number):
        raise CheckpointError(f"checkpoint {group}/{number}: belongs to {checkpoint.group}/{checkpoint.partition}")
    offsets = {source: checkpoint.offsets[source] if checkpoint is not None else starts[source] for source in topics}
    now = time.monotonic()
    return PartitionJob(
        number=number,
        group=group,
        engine=Engine(settings) if checkpoint is None else checkpoint.engine,
        inputs={
            source: _Input(TopicPartition(topic, number), offsets[source], now, offsets[source])
            for source, topic in topics.items()
        },
        checkpoint_name="",
        ingest_ms=0 if checkpoint is None else checkpoint.ingest_ms,
        output_rows=0 if checkpoint is None else checkpoint.output_rows,
    )


def _first_position(at: TopicPartition, bounds: tuple[int, int], group: str, reset: OffsetReset) -> int:
    earliest, end = bounds
    if reset == "none":
        raise ConfigurationError(
            f"TA_GROUP_ID={group!r}: has no offset for {at.topic}-{at.partition}, and TA_AUTO_OFFSET_RESET is none"
        )
    return earliest if reset == "earliest" else end


def cut(batch: Batch, target: int) -> Batch | None:
    """Return the part of a batch below offset `target`, None when there is none."""
    count = bisect_left(batch.offsets, target)
    if count == len(batch.offsets):
        return batch
    return batch.part(0, count) if count else None
