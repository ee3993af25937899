"""What the TA tells of itself: the status record on Kafka, and Prometheus metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as Counted

from torghut_core.envelope import Envelope, encode
from torghut_core.feeds import Feed
from torghut_core.market_calendar import MarketCalendar
from torghut_core.rfc3339 import format_ns
from torghut_core.ta.engine.engine import EngineCounts
from torghut_core.ta.job import PartitionJob


def _highest_ns(jobs: Mapping[int, PartitionJob]) -> int | None:
    highest = max((job.engine.trades.highest_ns for job in jobs.values()), default=0)
    return highest if highest > 0 else None


COUNTED = {
    "unpriced_trades": "Trades of seconds that no trade priced: without a bar.",
    "repeated_trades": "Trades that were others again.",
    "outlier_trades": "Trades whose time could not be believed.",
    "outlier_quotes": "Quotes whose time could not be believed.",
    "outlier_bars": "Minute bars whose time could not be believed.",
    "unknown_conditions": "Trades with a condition that their tape's plan does not have.",
}
_QUIET_NS = 45 * 60 * 1_000_000_000
_MOST_SYMBOLS = 500
"""That the status record tells the ratio of, the lowest first: it must stay a small record."""


def told(counts: EngineCounts) -> dict[str, int]:
    """Return what `COUNTED` names."""
    return {
        "unpriced_trades": counts.unpriced_trades,
        "repeated_trades": counts.repeated_trades,
        **{f"outlier_{source}": counts.rejected[f"outlier_{source}"] for source in ("trades", "quotes", "bars")},
        "unknown_conditions": counts.conditions["unknown"],
    }


def minute_ratios(jobs: Mapping[int, PartitionJob]) -> dict[str, tuple[int, float]]:
    """Return, by symbol, the end (epoch seconds) of its newest compared minute and own volume over the provider's."""
    found: dict[str, tuple[int, float]] = {}
    for job in jobs.values():
        newest = job.engine.compared().newest()
        ratios = (newest.own / newest.theirs).tolist()
        for number, end, ratio in zip(newest.symbol.tolist(), newest.end.tolist(), ratios, strict=True):
            found[job.engine.names[number]] = (end, ratio)
    return found


def _completeness(jobs: Mapping[int, PartitionJob]) -> dict[str, Any]:
    """Return the volume ratio of the last ten minutes over all symbols, and per symbol its newest minute's."""
    compared = [job.engine.compared() for job in jobs.values()]
    theirs = sum(float(each.theirs.sum()) for each in compared)
    lowest = sorted(minute_ratios(jobs).items(), key=lambda item: item[1][1])[:_MOST_SYMBOLS]
    return {
        "volume_ratio": sum(float(each.own.sum()) for each in compared) / theirs if theirs else None,
        "minute_volume_ratio": {
            symbol: {"minute_end": format_ns(end * 1_000_000_000), "ratio": round(ratio, 6)}
            for symbol, (end, ratio) in lowest
        },
    }


def delay_ns(feed: Feed) -> int:
    """Return how late a feed is by design."""
    return feed.delay_seconds * 1_000_000_000


def status_record(
    jobs: Mapping[int, PartitionJob], now_ns: int, *, feed: Feed, status: str, reason: str | None
) -> bytes:
    """Return the heartbeat envelope; lag, counted from the feed's delay, and last event are null before the first trade."""
    highest = _highest_ns(jobs)
    now = format_ns(now_ns // 1_000_000 * 1_000_000)
    watermark = max((job.engine.trades.watermark_ns for job in jobs.values()), default=0)
    counts = [told(job.engine.counts) for job in jobs.values()]
    payload = {
        "watermark_lag_ms": max(0, (now_ns - watermark - delay_ns(feed)) // 1_000_000) if highest is not None else None,
        "last_event_ts": format_ns(highest) if highest is not None else None,
        "status": status,
        "status_reason": reason,
        "heartbeat": True,
        "input_events": sum(job.engine.counts.input_events for job in jobs.values()),
        "output_events": sum(job.output_rows for job in jobs.values()),
        "late_trades": sum(job.engine.counts.late_trades for job in jobs.values()),
        **{name: sum(row[name] for row in counts) for name in COUNTED},
        **_completeness(jobs),
    }
    return encode(
        Envelope(
            ingest_ts=now,
            event_ts=now,
            feed="ta",
            channel="status",
            symbol="ta",
            seq=now_ns // 1000,
            is_final=True,
            source="ta",
            window=None,
            payload=payload,
        )
    )


class Progress:
    """Tells whether the input keeps up: asked only where the session has been open for long enough to tell.

    That is the regular session, as the feed brings it: later by its delay; the night for the overnight feed.
    """

    def __init__(self, calendar: MarketCalendar, limit_ms: int, feed: Feed) -> None:
        self._calendar = calendar
        self._feed = feed
        # At night minutes without a trade are usual, as they are for the forwarder.
        self._limit_ns = max(limit_ms * 1_000_000, _QUIET_NS if feed.name == "overnight" else 0)
        self._count = -1
        self._counted_at_ns = 0

    def trouble(self, jobs: Mapping[int, PartitionJob], now_ns: int) -> str | None:
        """Return `no_input` when nothing came, `lag` when what came is old, None when all is well or nothing is due."""
        count = sum(job.engine.counts.input_events for job in jobs.values())
        if count != self._count:
            self._count, self._counted_at_ns = count, now_ns
        told_ns = now_ns - delay_ns(self._feed)
        if not all(self._is_busy(at) for at in (told_ns - self._limit_ns, told_ns)):
            return None
        if now_ns - self._counted_at_ns > self._limit_ns:
            return "no_input"
        highest = _highest_ns(jobs)
        return "lag" if highest is not None and told_ns - highest > self._limit_ns else None

    def _is_busy(self, at_ns: int) -> bool:
        if self._feed.name == "overnight":
            return self._calendar.is_feed_open(self._feed.name, at_ns)
        return self._calendar.session(at_ns) == "regular"


class Writes(Protocol):
    """What is told of a table's writer."""

    @property
    def table(self) -> str: ...
    @property
    def waiting_rows(self) -> int: ...
    @property
    def written(self) -> int: ...
    @property
    def retries(self) -> int: ...


class Metrics:
    """Prometheus metrics, prefix `torghut_ta_`.

    Where checkpoints are somebody else's, nothing is told of them, not even that there are none.
    """

    def __init__(self, registry: CollectorRegistry, *, has_checkpoints: bool = True) -> None:
        self._input = Gauge("torghut_ta_input_events", "Events taken in since this state began.", registry=registry)
        self._output = Gauge("torghut_ta_output_rows", "Rows that came out since this state began.", registry=registry)
        self._late = Gauge("torghut_ta_late_trades", "Trades dropped as late.", registry=registry)
        self._counted = {name: Gauge(f"torghut_ta_{name}", text, registry=registry) for name, text in COUNTED.items()}
        self._conditions = Gauge(
            "torghut_ta_trade_conditions", "Trades that carry a sale condition.", ["condition"], registry=registry
        )
        self._changes = Gauge(
            "torghut_ta_trade_changes",
            "Cancels and corrections; late ones changed nothing.",
            ["kind"],
            registry=registry,
        )
        self._minute_ratio = Gauge(
            "torghut_ta_minute_volume_ratio",
            "Own volume over the provider's minute bar's, of the symbol's newest minute.",
            ["symbol"],
            registry=registry,
        )
        self._ratios_of: tuple[tuple[int, int, int], ...] = ()
        self._rejected = Gauge(
            "torghut_ta_rejected_events", "Events that could not be used.", ["reason"], registry=registry
        )
        self._watermark = Gauge(
            "torghut_ta_watermark_seconds", "Watermark of trades, epoch seconds.", ["partition"], registry=registry
        )
        self._symbols = Gauge("torghut_ta_symbols", "Symbols with state.", registry=registry)
        self._waiting = Gauge("torghut_ta_clickhouse_waiting_rows", "Rows that wait.", ["table"], registry=registry)
        self._written = Gauge("torghut_ta_clickhouse_written_rows", "Rows written.", ["table"], registry=registry)
        self._retries = Gauge("torghut_ta_clickhouse_retries", "Failed attempts.", ["table"], registry=registry)
        of_checkpoints = registry if has_checkpoints else None
        self._checkpoint_at = Gauge(
            "torghut_ta_checkpoint_completed_seconds",
            "When the last one ended.",
            ["partition"],
            registry=of_checkpoints,
        )
        self._checkpoint_size = Gauge(
            "torghut_ta_checkpoint_bytes", "Size of it.", ["partition"], registry=of_checkpoints
        )
        self._checkpoint_took = Gauge(
            "torghut_ta_checkpoint_duration_seconds", "How long it took.", ["partition"], registry=of_checkpoints
        )
        self._checkpoints = Counted("torghut_ta_checkpoints", "Checkpoints written.", registry=of_checkpoints)

    def observe(self, jobs: Mapping[int, PartitionJob], writers: Mapping[str, Writes]) -> None:
        """Take the figures of now."""
        rejected: dict[str, int] = {}
        for number, job in jobs.items():
            for reason, count in job.engine.counts.rejected.items():
                rejected[reason] = rejected.get(reason, 0) + count
            if job.engine.trades.highest_ns > 0:
                self._watermark.labels(str(number)).set(job.engine.trades.watermark_ns / 1e9)
        for reason, count in rejected.items():
            self._rejected.labels(reason).set(count)
        engines = [job.engine for job in jobs.values()]
        for name, gauge in self._counted.items():
            gauge.set(sum(told(engine.counts)[name] for engine in engines))
        for code, count in sum((engine.counts.conditions for engine in engines), Counter[str]()).items():
            self._conditions.labels(code).set(count)
        for kind, count in sum((engine.counts.changes for engine in engines), Counter[str]()).items():
            self._changes.labels(kind).set(count)
        self._tell_ratios(jobs)
        self._input.set(sum(job.engine.counts.input_events for job in jobs.values()))
        self._output.set(sum(job.output_rows for job in jobs.values()))
        self._late.set(sum(job.engine.counts.late_trades for job in jobs.values()))
        self._symbols.set(sum(len(job.engine.names) for job in jobs.values()))
        for writer in writers.values():
            self._waiting.labels(writer.table).set(writer.waiting_rows)
            self._written.labels(writer.table).set(writer.written)
            self._retries.labels(writer.table).set(writer.retries)

    def _tell_ratios(self, jobs: Mapping[int, PartitionJob]) -> None:
        """Tell the ratios of now, when a minute has closed or come: thousands of symbols are not told every second."""
        state = tuple(
            (number, job.engine.trades.closed_until // 60, job.engine.minutes.highest_ns)
            for number, job in sorted(jobs.items())
        )
        if state != self._ratios_of:
            self._ratios_of = state
            self._minute_ratio.clear()
            for symbol, (_, ratio) in minute_ratios(jobs).items():
                self._minute_ratio.labels(symbol).set(ratio)

    def forget(self, partition: int) -> None:
        """Drop what is told of a partition number that another process has now."""
        for gauge in (self._watermark, self._checkpoint_at, self._checkpoint_size, self._checkpoint_took):
            with suppress(KeyError):
                gauge.remove(str(partition))

    def checkpointed(self, partition: int, size: int, seconds: float) -> None:
        """Note a checkpoint of `size` bytes."""
        self._checkpoints.inc()
        self._checkpoint_at.labels(str(partition)).set(time.time())
        self._checkpoint_size.labels(str(partition)).set(size)
        self._checkpoint_took.labels(str(partition)).set(seconds)
