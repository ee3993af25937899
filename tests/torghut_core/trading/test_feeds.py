"""A feed that is late by design: its rows are found, and their age is counted from its delay."""

from __future__ import annotations

import pytest

from tests.fakes.trading_values import make_context, make_settings, make_signal
from torghut_core.trading.risk import signal_stale


@pytest.mark.parametrize(
    ("feed", "age_ms", "reason"),
    [
        ("iex", 120_000, None),
        ("iex", 120_001, "signal_stale"),
        ("delayed_sip", 900_000, None),
        ("delayed_sip", 1_020_000, None),
        ("delayed_sip", 1_020_001, "signal_stale"),
        ("delayed_sip", -120_001, "signal_stale"),
    ],
)
def test_signal_when_its_feed_is_late_by_design_then_its_age_counts_from_that_delay(
    feed: str, age_ms: int, reason: str | None
) -> None:
    """Fifteen minutes more for the past, and nothing more for the future."""
    context = make_context(settings=make_settings(ALPACA_FEED=feed))
    signal = make_signal(event_ns=context.now_ns - age_ms * 1_000_000)
    assert signal_stale.check(make_context(settings=make_settings(ALPACA_FEED=feed), signal=signal)) == reason


@pytest.mark.parametrize(("feed", "minutes"), [("iex", (15, 5)), ("delayed_sip", (30, 20))])
def test_lookback_when_the_feed_is_late_by_design_then_it_reaches_as_much_further(
    feed: str, minutes: tuple[int, int]
) -> None:
    """Rows of a quarter of an hour ago are its newest ones."""
    settings = make_settings(ALPACA_FEED=feed)
    assert (settings.signal_lookback_ns, settings.price_lookback_ns) == tuple(60_000_000_000 * n for n in minutes)
