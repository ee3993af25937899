"""What is known of the market up to now: newest quotes and trades, and a bounded history."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from torghut_core.exchange.messages import Message
from torghut_core.exchange.prices import Board
from torghut_core.simulator.bars import BarBoard

_TRADES_KEPT = 250_000
_BARS_KEPT = 30_000
"""Per symbol: about two months of minutes, and more trades than most symbols have in a day."""


class Book(Board):
    """The market's memory. Every message passes `apply` once, in the order it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.bars = BarBoard()
        self._trade_history: dict[str, deque[Message]] = {}
        self._bar_history: dict[str, deque[Message]] = {}

    def apply(self, message: Message) -> None:
        """Take note of one message."""
        super().apply(message)
        if message.kind == "t":
            self.bars.add(message)
            history = self._trade_history.get(message.symbol)
            if history is None:
                history = self._trade_history[message.symbol] = deque(maxlen=_TRADES_KEPT)
            history.append(message)

    def advance(self, now_ns: int) -> list[Message]:
        """Return the bars due by `now_ns`, and keep them."""
        due = self.bars.advance(now_ns)
        for message in due:
            if message.kind == "d":
                continue
            history = self._bar_history.setdefault(message.symbol, deque(maxlen=_BARS_KEPT))
            if message.kind == "u" and history and history[-1].event_ns == message.event_ns:
                history[-1] = message
            else:
                history.append(message)
        return due

    def bar_history(self, symbol: str, start_ns: int, end_ns: int) -> list[Message]:
        """Return the minute bars that begin in `[start_ns, end_ns]`, corrections applied, by time."""
        return _between(self._bar_history.get(symbol), start_ns, end_ns)

    def trade_history(self, symbol: str, start_ns: int, end_ns: int) -> list[Message]:
        """Return the trades of `[start_ns, end_ns]` by time."""
        return _between(self._trade_history.get(symbol), start_ns, end_ns)


def _between(history: deque[Message] | None, start_ns: int, end_ns: int) -> list[Message]:
    if history is None:
        return []
    ordered = sorted(history, key=lambda message: message.event_ns)
    first = bisect_left(ordered, start_ns, key=lambda message: message.event_ns)
    last = bisect_left(ordered, end_ns + 1, key=lambda message: message.event_ns)
    return ordered[first:last]
