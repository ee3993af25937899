"""A partition number's work after a restart: what it may wait for, and what it may say."""

from __future__ import annotations

import time
from typing import cast

import pytest

from torghut_core.engines.kafka import Consumer, TopicPartition
from torghut_core.ta.engine import SOURCES, Engine, EngineSettings
from torghut_core.ta.job import PartitionJob, _Input


class _Reader:
    """A consumer that has read everything, or not."""

    def __init__(self, *, is_at_end: bool = True) -> None:
        self._is_at_end = is_at_end

    async def is_at_end(self, partition: TopicPartition) -> bool:
        return self._is_at_end


@pytest.mark.parametrize(
    ("is_silent", "position", "idle"),
    [(True, 6, []), (True, 7, ["quotes"]), (False, 7, ["trades", "quotes", "bars"])],
    ids=["on the way to the target", "at the target", "beyond it"],
)
async def test_idle_sources_when_what_is_emitted_stays_out_of_kafka_then_they_are_those_of_the_commit(
    *, is_silent: bool, position: int, idle: list[str]
) -> None:
    """Rows of a silence that the commit did not know of were never committed, so they must not stay out of Kafka."""
    inputs = {
        source: _Input(TopicPartition(source, 0), position=position, heard_at=time.monotonic() - 60, catch_up_to=7)
        for source in SOURCES
    }
    job = PartitionJob(
        number=0,
        group="ta",
        engine=Engine(EngineSettings()),
        inputs=inputs,
        checkpoint_name="0-abc",
        ingest_ms=0,
        is_silent=is_silent,
        idle_at_target=frozenset(["quotes"]),
    )
    assert await job.idle_sources(cast("Consumer", _Reader()), 2.0) == frozenset(idle)
    assert {said.metadata for said in job.commits().values()} == {" ".join(["0-abc", *sorted(idle)])}


async def test_idle_sources_when_records_wait_unread_then_they_stay_idle_until_the_positions_move() -> None:
    """Rows of a silence were told at these positions: a later commit of them must still say that it was one."""
    at = TopicPartition("trades", 0)
    trades = _Input(at, position=7, heard_at=time.monotonic() - 60, catch_up_to=7)
    job = PartitionJob(
        number=0,
        group="ta",
        engine=Engine(EngineSettings()),
        inputs={"trades": trades},
        checkpoint_name="0-abc",
        ingest_ms=0,
    )
    end, unread = (cast("Consumer", _Reader(is_at_end=is_at_end)) for is_at_end in (True, False))
    assert "trades" in await job.idle_sources(end, 2.0)
    assert "trades" in await job.idle_sources(unread, 2.0)
    assert "trades" in job.commits()[at].metadata
    trades.position = 8
    assert "trades" not in await job.idle_sources(unread, 2.0)
