"""What the job must know of Kafka before it begins: how many partitions, and from where."""

from __future__ import annotations

from dataclasses import dataclass

from torghut_core.engines.kafka import TopicPartition
from torghut_core.engines.kafka_ends import standings
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.errors import ConfigurationError
from torghut_core.ta.engine.engine import SourceName
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.wiring import assert_same_partitions, input_topics, kafka_address, used_topics


@dataclass(frozen=True)
class Bearings:
    """Partitions of each input, and per number and source where a job without state begins."""

    partitions: int
    starts: dict[int, dict[SourceName, int]]


async def take_bearings(settings: TaSettings, *, is_restored: bool) -> Bearings:
    """Create the topics that are missing, and look where the group stands.

    Raises ConfigurationError when the inputs have unequally many partitions, when a replay group without state has
    offsets, and when a group has none and TA_AUTO_OFFSET_RESET is none; KafkaUnavailableError.
    """
    address = kafka_address(settings)
    kafka = open_kafka(address)
    counts = await kafka.ensure_topics(used_topics(settings))
    await kafka.close()
    assert_same_partitions(settings, counts)
    inputs = input_topics(settings)
    partitions = counts[settings.trades_topic]
    ats = {
        (number, source): TopicPartition(topic, number)
        for number in range(partitions)
        for source, topic in inputs.items()
    }
    found = await standings(address, settings.group_id, ats.values())
    if settings.is_replay and not is_restored and any(each.committed is not None for each in found.values()):
        raise ConfigurationError(
            f"TA_GROUP_ID={settings.group_id!r}: has offsets but no checkpoint of this replay",
            hint="a replay needs a group id that was never used",
        )
    starts: dict[int, dict[SourceName, int]] = {number: {} for number in range(partitions)}
    for (number, source), at in ats.items():
        offset, earliest, end = found[at].committed, found[at].earliest, found[at].end
        if offset is None and settings.auto_offset_reset == "none":
            raise ConfigurationError(
                f"TA_GROUP_ID={settings.group_id!r}: has no offset for {at.topic}-{at.partition},"
                " and TA_AUTO_OFFSET_RESET is none"
            )
        if offset is None:
            offset = earliest if settings.auto_offset_reset == "earliest" else end
        starts[number][source] = max(offset, earliest)
    return Bearings(partitions, starts)
