"""Alpaca's equity feeds: where their stream is, when they are open, how late they are.

Sources: https://docs.alpaca.markets/docs/real-time-stock-pricing-data, https://docs.alpaca.markets/docs/market-data-faq
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One feed; its hours are `MarketCalendar.feed_open_since`'s."""

    name: str
    path: str
    """Of the stream, behind the host."""
    history: str
    """Its name in historical requests."""
    delay_seconds: int = 0
    """How late it is by design."""


FEEDS = {
    feed.name: feed
    for feed in (
        Feed(name="iex", path="/v2/iex", history="iex"),
        Feed(name="sip", path="/v2/sip", history="sip"),
        Feed(name="delayed_sip", path="/v2/delayed_sip", history="sip", delay_seconds=900),
        Feed(name="overnight", path="/v1beta1/overnight", history="overnight"),
    )
}
