"""Kafka topics by contract: names, partitions, retention."""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic's shape."""

    name: str
    partitions: int
    retention_ms: int
    """How long records are kept, counted from their wall-clock timestamps."""
    is_compacted: bool = False
    """Whether the newest record of each key is kept beside the retention (`compact,delete`)."""

    def renamed(self, name: str) -> Topic:
        """Return the same shape under another name, as `TOPIC_*` variables allow."""
        return Topic(
            name=name, partitions=self.partitions, retention_ms=self.retention_ms, is_compacted=self.is_compacted
        )


TRADES = Topic(name="torghut.trades.v1", partitions=3, retention_ms=7 * DAY_MS)
QUOTES = Topic(name="torghut.quotes.v1", partitions=3, retention_ms=7 * DAY_MS)
BARS_1M = Topic(name="torghut.bars.1m.v1", partitions=3, retention_ms=30 * DAY_MS)
STATUS = Topic(name="torghut.status.v1", partitions=3, retention_ms=7 * DAY_MS, is_compacted=True)
TA_BARS_1S = Topic(name="torghut.ta.bars.1s.v1", partitions=1, retention_ms=14 * DAY_MS)
TA_SIGNALS = Topic(name="torghut.ta.signals.v1", partitions=1, retention_ms=14 * DAY_MS)
TA_STATUS = Topic(name="torghut.ta.status.v1", partitions=1, retention_ms=7 * DAY_MS, is_compacted=True)

ALL = (TRADES, QUOTES, BARS_1M, STATUS, TA_BARS_1S, TA_SIGNALS, TA_STATUS)
