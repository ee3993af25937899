"""What the TA says of itself: degraded over old data or no data, and only while the market is open."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from tests.fakes.ta_inputs import START, Run, trade
from torghut_core.engines.kafka import TopicPartition
from torghut_core.market_calendar import MarketCalendar
from torghut_core.ta.job import PartitionJob, _Input
from torghut_core.ta.status import Metrics, Progress

_MINUTE = 60
_WEEKEND = 4 * 86_400
"""START is a Tuesday."""


@dataclass
class _Told:
    """What `Progress` said, minute by minute, of one job."""

    calendar: str = "XNYS"
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        self.progress = Progress(MarketCalendar(self.calendar), limit_ms=120_000)  # type: ignore[arg-type]
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
