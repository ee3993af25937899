"""A partition number's work after a restart: what it may wait for, and what it may say."""

from __future__ import annotations

import time
from typing import cast

import pytest

from torghut_core.engines.kafka import Consumer, TopicPartition
from torghut_core.ta.engine import SOURCES, Engine, EngineSettings
from torghut_core.ta.job import PartitionJob, _Input


class _AtEnd:
    """A consumer that has read everything."""

    async def is_at_end(self, partition: TopicPartition) -> bool:
        return partition.partition == 0


@pytest.mark.parametrize(("is_silent", "idle"), [(True, frozenset()), (False, frozenset(SOURCES))])
async def test_idle_sources_when_what_is_emitted_stays_out_of_kafka_then_every_source_is_waited_for(
    *, is_silent: bool, idle: frozenset[str]
) -> None:
    """Trades caught up a minute before quotes did: rows of their silence were never committed, so must not be silent."""
    inputs = {
        source: _Input(TopicPartition(source, 0), position=7, heard_at=time.monotonic() - 60, catch_up_to=7)
        for source in SOURCES
    }
    job = PartitionJob(
        number=0,
        group="ta",
        engine=Engine(EngineSettings()),
        inputs=inputs,
        checkpoint_name="",
        ingest_ms=0,
        is_silent=is_silent,
    )
    assert not job.is_catching_up
    assert await job.idle_sources(cast("Consumer", _AtEnd()), 2.0) == idle
