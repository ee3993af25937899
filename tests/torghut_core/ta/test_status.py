"""What the TA says of itself: degraded over old data or no data, and only while the market is open."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from tests.fakes.ta_inputs import START, Run, bar, trade
from torghut_core.engines.kafka import TopicPartition
from torghut_core.feeds import FEEDS
from torghut_core.market_calendar import MarketCalendar
from torghut_core.ta.job import PartitionJob, _Input
from torghut_core.ta.status import Metrics, Progress, status_record

_MINUTE = 60
_WEEKEND = 4 * 86_400
"""START is a Tuesday."""


@dataclass
class _Told:
    """What `Progress` said, minute by minute, of one job."""

    calendar: str = "XNYS"
    feed: str = "sip"
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        self.progress = Progress(MarketCalendar(self.calendar), 120_000, FEEDS[self.feed])  # type: ignore[arg-type]
        at = _Input(TopicPartition("trades", 0), 0, 0.0, 0)
        self.job = PartitionJob(0, "ta", self.run.engine, {"trades": at}, "", 0)

    def after(self, seconds: float) -> str | None:
        return self.progress.trouble({0: self.job}, round((START + seconds) * 1e9))


@pytest.mark.parametrize("calendar", ["XNYS", "always-open"])
def test_status_when_input_stops_in_the_session_then_it_is_degraded_until_it_comes_again(calendar: str) -> None:
    """Two minutes are waited; then the input is what is missing."""
    told = _Told(calendar)
    told.run.feed([trade("A", 0, 10)])
    assert told.after(1) is None
    assert told.after(2 * _MINUTE) is None
    assert told.after(2 * _MINUTE + 2) == "no_input"
    told.run.feed([trade("A", 2 * _MINUTE + 2, 10)])
    assert told.after(2 * _MINUTE + 3) is None


def test_status_when_what_comes_is_old_then_it_lags() -> None:
    """Ten-minute-old data is not ok because it flows."""
    told = _Told()
    for minute in range(3):
        told.run.feed([trade("A", minute, 10)])
        assert told.after(10 * _MINUTE + minute) == "lag"


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (-_WEEKEND + 86_400, "a Saturday"),
        (7 * 3600, "after the close"),
        (-31 * _MINUTE, "before the open"),
        (-29 * _MINUTE, "the first minutes after the open"),
        (31 * 86_400 + 1, "a holiday"),
    ],
)
def test_status_when_the_session_is_not_long_open_then_silence_is_well(start: int, what: str) -> None:
    """START is ten in the morning in New York; 3 July 2026 is a holiday."""
    told = _Told()
    told.run.feed([trade("A", start - 3600, 10)])
    assert told.after(start) is None, what
    assert told.after(start + 10) is None, what


def test_metrics_when_a_partition_number_goes_then_nothing_stale_is_told_of_it() -> None:
    """Its watermark and its checkpoint's age would otherwise grow for ever, and alarm."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    told = _Told()
    told.run.feed([trade("A", 0, 10)])
    metrics.observe({0: told.job, 1: told.job}, {})
    for number in (0, 1):
        metrics.checkpointed(number, 5, 0.1)
    metrics.forget(0)
    metrics.forget(7)
    by_partition = {
        (metric.name, sample.labels["partition"])
        for metric in registry.collect()
        for sample in metric.samples
        if "partition" in sample.labels
    }
    names = ["watermark_seconds", "checkpoint_completed_seconds", "checkpoint_bytes", "checkpoint_duration_seconds"]
    assert by_partition == {(f"torghut_ta_{name}", "1") for name in names}


def test_status_when_the_feed_is_late_by_design_then_its_delay_is_no_lag() -> None:
    """Fifteen minutes behind is where delayed_sip belongs; two more are too many, and iex has no such excuse."""
    told, prompt = _Told(feed="delayed_sip"), _Told(feed="iex")
    for each in (told, prompt):
        each.run.feed([trade("A", 0, 10)])
    assert (told.after(15 * _MINUTE + 60), prompt.after(15 * _MINUTE + 60)) == (None, "lag")
    assert told.after(17 * _MINUTE + 1) == "lag"
    jobs = {0: told.job}
    for feed, behind in (("delayed_sip", 62_000), ("sip", 962_000)):
        record = status_record(jobs, (START + 960) * 10**9, feed=FEEDS[feed], status="ok", reason=None)
        assert json.loads(record)["payload"]["watermark_lag_ms"] == behind


def test_status_when_the_feed_is_of_the_night_then_its_hours_are_the_nights() -> None:
    """Between 20:00 and 04:00 New York an hour without input is no health; by day it is; minutes are usual at night."""
    evening = 11 * 3600  # 21:00 New York
    told = _Told(feed="overnight")
    told.run.feed([trade("A", evening, 10)])
    assert told.after(evening + 1) is None
    assert told.after(evening + 30 * _MINUTE) is None
    assert told.after(evening + 46 * _MINUTE + 2) == "no_input"
    by_day = _Told(feed="overnight")
    assert (by_day.after(1), by_day.after(3600)) == (None, None)


def test_status_when_minutes_were_compared_then_ratios_by_symbol() -> None:
    """Own volume over the provider's, of each symbol's newest minute, in the record and in the metrics."""
    run = Run()
    run.feed([trade("A", 1, 10, 50), trade("B", 2, 10, 7), trade("A", 61, 10, 90), trade("B", 200, 10, 1)])
    run.feed([bar("A", 0, 10, volume=100), bar("A", 1, 10, volume=100), bar("B", 0, 10, volume=7)])
    run.emit(frozenset(["quotes", "bars"]))
    jobs = {0: PartitionJob(0, "ta", run.engine, {}, "", 0)}
    record = json.loads(status_record(jobs, (START + 210) * 10**9, feed=FEEDS["sip"], status="ok", reason=None))
    assert record["payload"]["volume_ratio"] == 147 / 207
    assert record["payload"]["minute_volume_ratio"] == {
        "A": {"minute_end": "2026-06-02T14:02:00Z", "ratio": 0.9},
        "B": {"minute_end": "2026-06-02T14:01:00Z", "ratio": 1.0},
    }
    registry = CollectorRegistry()
    Metrics(registry).observe(jobs, {})
    told = {symbol: registry.get_sample_value("torghut_ta_minute_volume_ratio", {"symbol": symbol}) for symbol in "AB"}
    assert told == {"A": 0.9, "B": 1.0}
