"""The exchange's view of a recorded market: any quote by its place in arrays, one message at a time only where an order waits."""

from __future__ import annotations

from collections.abc import Collection, Set
from decimal import Decimal

import numpy as np

from torghut_core.exchange.broker import Broker
from torghut_core.exchange.messages import Message
from torghut_core.exchange.prices import middle
from torghut_core.trading.backtest.recording import Ints, Market, Ticks


class Tape:
    """Prices of a recorded market up to a place in it; the place only moves on."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._ticks = market.ticks
        self._newest_trades = {symbol: _newest(ticks.trade_ns) for symbol, ticks in market.ticks.items()}
        self._place = 0
        """How many messages of all were published."""
        self._prices: dict[str, Decimal | None] = {}
        """Last prices that were asked for at `_prices_place`."""
        self._prices_place = 0
        self.now_ns = 0
        self._statuses = list(market.statuses)
        self._status_at = 0

    @property
    def symbols(self) -> Set[str]:
        return self._ticks.keys()

    def quote(self, symbol: str) -> Message | None:
        """Return the standing quote, None before the first."""
        ticks = self._ticks.get(symbol)
        if ticks is None:
            return None
        at = int(ticks.quote_order.searchsorted(self._place)) - 1
        return None if at < 0 else self._quote(symbol, ticks, at)

    def last_price(self, symbol: str) -> Decimal | None:
        """Return the newest trade's price, before any trade the middle of the quote, None before both."""
        if self._prices_place != self._place:
            self._prices, self._prices_place = {}, self._place
        if symbol not in self._prices:
            self._prices[symbol] = self._last_price(symbol)
        return self._prices[symbol]

    def _last_price(self, symbol: str) -> Decimal | None:
        ticks = self._ticks.get(symbol)
        if ticks is None:
            return None
        at = int(ticks.trade_order.searchsorted(self._place)) - 1
        if at < 0:
            return middle(self.quote(symbol))
        return Decimal(str(float(ticks.trade_price[self._newest_trades[symbol][at]])))

    def advance(self, until_ns: int, broker: Broker) -> None:
        """Let `broker` see the market up to an instant: every message of symbols in which its orders wait."""
        if until_ns <= self.now_ns:
            return
        end = int(np.searchsorted(self._market.at_ns, until_ns, side="right"))
        for place, kind, symbol, at in self._between(tuple(broker.working_symbols), end):
            if not broker.working_symbols:
                break
            self._tell_statuses(place, broker)
            self._place = place + 1
            ticks = self._ticks[symbol]
            message = self._quote(symbol, ticks, at) if kind == "q" else self._trade(symbol, ticks, at)
            broker.end_day(message.at_ns)
            broker.observe(message)
        self._tell_statuses(end - 1, broker)
        self._place, self.now_ns = max(end, self._place), until_ns
        broker.end_day(until_ns)

    def _tell_statuses(self, last: int, broker: Broker) -> None:
        """Let `broker` see the halts and resumptions that come before the message at place `last`, or at it."""
        while self._status_at < len(self._statuses) and self._statuses[self._status_at][0] <= last:
            _, symbol, code = self._statuses[self._status_at]
            self._status_at += 1
            broker.observe(Message(0, 0, "s", symbol, b'{"sc":"%b"}' % code.encode()))

    def _between(self, symbols: Collection[str], end: int) -> list[tuple[int, str, str, int]]:
        """Return place, kind, symbol and own number of the messages of `symbols` from the present place to `end`."""
        found: list[tuple[int, str, str, int]] = []
        for symbol in symbols:
            ticks = self._ticks.get(symbol)
            if ticks is None:
                continue
            for kind, order in (("q", ticks.quote_order), ("t", ticks.trade_order)):
                first, last = np.searchsorted(order, (self._place, end)).tolist()
                found += [(int(order[at]), kind, symbol, at) for at in range(first, last)]
        return sorted(found)

    def _quote(self, symbol: str, ticks: Ticks, at: int) -> Message:
        bid, ask, bid_size, ask_size = ticks.quotes[at].tolist()
        return Message(
            int(self._market.at_ns[ticks.quote_order[at]]),
            int(ticks.quote_ns[at]),
            "q",
            symbol,
            b"",
            bid=bid,
            ask=ask,
            bid_size=bid_size,
            ask_size=ask_size,
        )

    def _trade(self, symbol: str, ticks: Ticks, at: int) -> Message:
        return Message(
            int(self._market.at_ns[ticks.trade_order[at]]),
            int(ticks.trade_ns[at]),
            "t",
            symbol,
            b"",
            price=float(ticks.trade_price[at]),
        )


def _newest(event_ns: Ints) -> Ints:
    """Return, for each trade, the place of the one that is the newest by its own time, it and all before it counted."""
    if not len(event_ns):
        return np.zeros(0, np.int64)
    is_newest = event_ns == np.maximum.accumulate(event_ns)
    return np.maximum.accumulate(np.where(is_newest, np.arange(len(event_ns)), 0))
