"""The newest prices of a market, as the exchange fills by them."""

from __future__ import annotations

from collections.abc import Set
from decimal import Decimal
from typing import Protocol

from torghut_core.exchange.messages import Message


class Prices(Protocol):
    """What is quoted and was traded last."""

    @property
    def symbols(self) -> Set[str]:
        """Return every symbol that was quoted or traded."""

    def quote(self, symbol: str) -> Message | None:
        """Return the standing quote, None before the first."""

    def last_price(self, symbol: str) -> Decimal | None:
        """Return the newest trade's price, before any trade the middle of the quote, None before both."""


class Board:
    """The newest quote and trade of each symbol; every message passes `apply` once, in the order of its time."""

    def __init__(self) -> None:
        self.quotes: dict[str, Message] = {}
        self.trades: dict[str, Message] = {}

    @property
    def symbols(self) -> Set[str]:
        return self.quotes.keys() | self.trades.keys()

    def apply(self, message: Message) -> None:
        """Take note of one message."""
        if message.kind == "q":
            self.quotes[message.symbol] = message
        elif message.kind == "t":
            newest = self.trades.get(message.symbol)
            if newest is None or message.event_ns >= newest.event_ns:
                self.trades[message.symbol] = message

    def quote(self, symbol: str) -> Message | None:
        return self.quotes.get(symbol)

    def last_price(self, symbol: str) -> Decimal | None:
        trade = self.trades.get(symbol)
        if trade is not None:
            return Decimal(str(trade.price))
        return middle(self.quotes.get(symbol))


def middle(quote: Message | None) -> Decimal | None:
    """Return the middle of a quote, None without one."""
    return None if quote is None else (Decimal(str(quote.bid)) + Decimal(str(quote.ask))) / 2
