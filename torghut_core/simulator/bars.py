"""Minute and daily bars from trades, sent when Alpaca sends them.

A minute's bar `b` goes out at the minute's end. A trade of that minute that arrives later corrects the bar, and the
correction `u` goes out half a minute after the minute's end. A daily bar `d` goes out with each minute bar. Every trade
counts, whatever its conditions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.exchange.messages import Message, encode_message
from torghut_core.market_calendar import NEW_YORK, new_york_date

MINUTE_NS = 60 * NANOS_PER_SECOND
_HALF_MINUTE_NS = MINUTE_NS // 2


@dataclass(kw_only=True)
class Bar:
    """A bar in the making; open and close follow event time, not arrival."""

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    first_ns: int
    last_ns: int
    volume: float = 0.0
    notional: float = 0.0
    count: int = 0

    @classmethod
    def begin(cls, start_ns: int, trade: Message) -> Bar:
        """Return a bar of one trade."""
        price, event_ns = trade.price, trade.event_ns
        bar = cls(
            start_ns=start_ns, open=price, high=price, low=price, close=price, first_ns=event_ns, last_ns=event_ns
        )
        bar.add(trade)
        return bar

    def add(self, trade: Message) -> None:
        """Count one more trade in."""
        price = trade.price
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        if trade.event_ns < self.first_ns:
            self.open, self.first_ns = price, trade.event_ns
        if trade.event_ns >= self.last_ns:
            self.close, self.last_ns = price, trade.event_ns
        self.volume += trade.size
        self.notional += price * trade.size
        self.count += 1

    def fields(self, kind: str, symbol: str) -> dict[str, Any]:
        """Return the bar with Alpaca's keys; `vw` is the price weighted by size."""
        volume = round(self.volume, 9)
        return {
            "T": kind,
            "S": symbol,
            "o": self.open,
            "h": self.high,
            "l": self.low,
            "c": self.close,
            "v": int(volume) if volume.is_integer() else volume,
            "n": self.count,
            "vw": round(self.notional / self.volume, 6) if self.volume else self.close,
        }


class BarBoard:
    """The bars in the making of every symbol, and the messages that are due."""

    def __init__(self) -> None:
        self._open: dict[str, Bar] = {}
        self._closed: dict[str, Bar] = {}
        self._corrected: set[str] = set()
        self._days: dict[str, Bar] = {}
        self._touched_days: set[str] = set()
        self._minute_ns = 0
        self.next_mark_ns = 0
        """When `advance` has something to do next."""

    @property
    def has_open(self) -> bool:
        """Whether a bar or a correction is still to be sent."""
        return bool(self._open or self._corrected)

    def add(self, trade: Message) -> None:
        """Count a trade in; `advance` to its arrival comes first."""
        start_ns = trade.event_ns // MINUTE_NS * MINUTE_NS
        symbol = trade.symbol
        if start_ns >= self._minute_ns:
            bar = self._open.get(symbol)
            if bar is None:
                self._open[symbol] = Bar.begin(start_ns, trade)
            else:
                bar.add(trade)
        else:
            late = self._closed.get(symbol)
            if late is not None and late.start_ns == start_ns:
                late.add(trade)
                self._corrected.add(symbol)
        self._add_to_day(trade)

    def _add_to_day(self, trade: Message) -> None:
        day = self._days.get(trade.symbol)
        # A bar's day begins at New York's midnight; within it, comparing with the known bounds avoids the calendar.
        if day is not None and day.start_ns <= trade.event_ns < day.start_ns + 20 * 60 * MINUTE_NS:
            day.add(trade)
        else:
            start_ns = day_start_ns(trade.event_ns)
            if day is not None and day.start_ns == start_ns:
                day.add(trade)
            elif day is None or start_ns > day.start_ns:
                self._days[trade.symbol] = Bar.begin(start_ns, trade)
        self._touched_days.add(trade.symbol)

    def day(self, symbol: str) -> Bar | None:
        """Return the running day's bar of a symbol."""
        return self._days.get(symbol)

    def advance(self, now_ns: int) -> list[Message]:
        """Return the bars and corrections due up to `now_ns`, in the order of their time."""
        due: list[Message] = []
        if now_ns < self.next_mark_ns:
            return due
        minute_ns = now_ns // MINUTE_NS * MINUTE_NS
        if self._corrected and now_ns >= self._minute_ns + _HALF_MINUTE_NS:
            due += self._send(self._corrected, self._closed, "u", self._minute_ns + _HALF_MINUTE_NS)
            self._corrected = set()
        if minute_ns > self._minute_ns:
            if self._open:
                end_ns = self._minute_ns + MINUTE_NS
                due += self._send(self._open, self._open, "b", end_ns)
                due += self._send(self._touched_days, self._days, "d", end_ns)
                self._touched_days = set()
            self._closed, self._open = self._open, {}
            self._minute_ns = minute_ns
        is_second_half = now_ns >= minute_ns + _HALF_MINUTE_NS
        self.next_mark_ns = minute_ns + (MINUTE_NS if is_second_half else _HALF_MINUTE_NS)
        return due

    @staticmethod
    def _send(symbols: Any, bars: dict[str, Bar], kind: str, at_ns: int) -> list[Message]:
        return [
            encode_message(at_ns, bars[symbol].start_ns, bars[symbol].fields(kind, symbol))
            for symbol in sorted(symbols)
        ]


def day_start_ns(ns: int) -> int:
    """Return New York's midnight of the day `ns` is in."""
    midnight = datetime.combine(new_york_date(ns), time(0), NEW_YORK)
    return int(midnight.timestamp()) * NANOS_PER_SECOND
