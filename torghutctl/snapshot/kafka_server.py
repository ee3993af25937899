"""Kafka itself, asked only for a replay and only when its address is in the environment: the group, and what is held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghut_core.rfc3339 import format_ns
from torghut_core.topics import QUOTES, TRADES
from torghutctl.adapters import kafka_client
from torghutctl.errors import UpstreamError
from torghutctl.snapshot import sources
from torghutctl.snapshot.collector import Task
from torghutctl.snapshot.http import ReadError
from torghutctl.snapshot.model import Failure

INPUT_TOPICS = (TRADES.name, QUOTES.name)


def tasks(process: Mapping[str, str], group: str | None) -> list[Task]:
    """Return the task that asks for `group` and the input topics; none without a group or an address in `process`."""
    options = kafka_client.connection(process) if group else None
    if options is None or group is None:
        return []

    def ask(seconds: float) -> dict[str, Any]:
        try:
            found = kafka_client.ask(options, group, INPUT_TOPICS, seconds=seconds)
        except UpstreamError as error:
            raise ReadError(Failure.UNREACHABLE, "the brokers do not answer") from error
        return {
            "group": group,
            "hasOffsets": found.has_offsets,
            "heldSince": {
                topic: None if ms is None else format_ns(ms * 1_000_000) for topic, ms in found.held_since_ms.items()
            },
        }

    return [Task(source=sources.KAFKA_REPLAY, read=ask)]
