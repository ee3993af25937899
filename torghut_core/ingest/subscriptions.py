"""What the forwarder wants, what Alpaca acknowledged, and what it must do without: per channel and symbol."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torghut_core.ingest.protocol import CHANNELS, OPTIONAL_CHANNELS, ErrorClass, SubscriptionRequest

_SHOWN = 10


@dataclass
class Subscriptions:
    """Requests go out one at a time: a refusal does not say what it is about."""

    batch_size: int
    max_subscriptions: int | None = None
    """Trades and quotes that the plan allows together; each symbol takes two."""
    wanted: frozenset[str] = frozenset()
    acknowledged: dict[str, frozenset[str]] = field(default_factory=dict)
    refused_symbols: dict[str, int] = field(default_factory=dict)
    """Symbols that Alpaca refused alone, and with which code."""
    refused_channels: set[str] = field(default_factory=set)
    _pending: deque[SubscriptionRequest] = field(default_factory=deque)
    asked: SubscriptionRequest | None = None
    """The request that waits for its answer."""
    _is_full: bool = False

    def want(self, symbols: frozenset[str]) -> None:
        """Set the universe; what is not wanted any more is unsubscribed first, before anything new is asked for."""
        self.wanted = symbols
        self.refused_symbols = {}
        self._is_full = False
        self.plan()

    def restart(self) -> None:
        """Begin again on a new connection, where nothing is subscribed."""
        self.acknowledged = {}
        self.refused_symbols = {}
        self.refused_channels = set()
        self._is_full = False
        self.asked = None
        self.plan()

    def plan(self) -> None:
        """Work out what is to be asked now."""
        self._pending.clear()
        gone = sorted(frozenset().union(*self.acknowledged.values()) - self.chosen)
        self._queue("unsubscribe", gone)
        self._queue("subscribe", sorted(self.missing))

    def _queue(self, action: str, symbols: list[str]) -> None:
        channels = tuple(channel for channel in CHANNELS if channel not in self.refused_channels)
        for start in range(0, len(symbols), self.batch_size):
            self._pending.append(SubscriptionRequest(action, tuple(symbols[start : start + self.batch_size]), channels))

    @property
    def chosen(self) -> frozenset[str]:
        """Return the wanted symbols that fit the local budget."""
        if self.max_subscriptions is None:
            return self.wanted
        return frozenset(sorted(self.wanted)[: self.max_subscriptions // 2])

    @property
    def left_out(self) -> list[str]:
        """Return the symbols that no subscription is left for."""
        over = {symbol for symbol, code in self.refused_symbols.items() if code == 405}
        return sorted((self.wanted - self.chosen) | over)

    @property
    def missing(self) -> frozenset[str]:
        """Return the symbols that lack at least one channel and were not refused."""
        channels = [channel for channel in CHANNELS if channel not in self.refused_channels]
        return frozenset(
            symbol
            for symbol in self.chosen - self.refused_symbols.keys()
            if any(symbol not in self.acknowledged.get(channel, frozenset()) for channel in channels)
        )

    @property
    def is_settled(self) -> bool:
        """Tell whether everything was acknowledged or refused, and something is subscribed."""
        return bool(self.acknowledged.get("trades")) and not self.missing and self.asked is None

    def next_request(self) -> SubscriptionRequest | None:
        """Return the next request, None when one waits for its answer or there is none."""
        if self.asked is not None:
            return None
        if not self._pending and self.missing:
            self.plan()
        if not self._pending:
            return None
        self.asked = self._pending.popleft()
        return self.asked

    def acknowledge(self, message: Mapping[str, Any]) -> None:
        """Take a subscription message; each names everything that is subscribed now."""
        for channel in CHANNELS:
            symbols = message.get(channel)
            if isinstance(symbols, list):
                self.acknowledged[channel] = frozenset(str(symbol) for symbol in symbols)
        self.refused_channels = {channel for channel in self.refused_channels if not self.acknowledged.get(channel)}
        channels = [channel for channel in CHANNELS if channel not in self.refused_channels]
        self.refused_symbols = {
            symbol: code
            for symbol, code in self.refused_symbols.items()
            if any(symbol not in self.acknowledged.get(channel, frozenset()) for channel in channels)
        }
        self.asked = None

    def unanswered(self) -> None:
        """Ask again for what got no answer."""
        if self.asked is not None:
            self._pending.appendleft(self.asked)
            self.asked = None

    @property
    def has_refused(self) -> bool:
        """Tell whether anything that is wanted was refused."""
        return bool(self.refused_symbols or self.refused_channels)

    def ask_again(self) -> None:
        """Ask once more for what was refused; until an answer comes, it counts as refused."""
        self._is_full = False
        if self.refused_channels:
            symbols = sorted(self.chosen - self.refused_symbols.keys())
            for start in range(0, len(symbols), self.batch_size):
                part = tuple(symbols[start : start + self.batch_size])
                self._pending.append(SubscriptionRequest("subscribe", part, tuple(sorted(self.refused_channels))))
        self._queue("subscribe", sorted(self.refused_symbols.keys() & self.chosen))

    def refuse(self, code: int) -> None:
        """Take the refusal of the request that waits: ask for parts of it, or do without what cannot be parted."""
        request, self.asked = self.asked, None
        if request is None:
            return
        parts = () if code == 405 and self._is_full else request.parts(code)
        if parts:
            self._pending.extendleft(reversed(parts))
        elif code == 410:
            self.refused_channels.update(request.channels)
        else:
            self._is_full |= code == 405
            self.refused_symbols |= dict.fromkeys(request.symbols, code)

    @property
    def problem(self) -> tuple[ErrorClass, str] | None:
        """Return what the subscription lacks although it is settled, None when it lacks nothing."""
        bad = sorted(symbol for symbol, code in self.refused_symbols.items() if code != 405)
        channels = sorted(self.refused_channels - OPTIONAL_CHANNELS)
        if channels:
            return ErrorClass.CONFIG, f"410: the feed has no channel {', '.join(channels)}"
        if bad:
            return ErrorClass.CONFIG, f"400: Alpaca refuses the symbols {_named(bad)}"
        if self.left_out:
            return ErrorClass.SYMBOL_LIMIT, f"405: no subscription left for {_named(self.left_out)}"
        return None


def _named(symbols: list[str]) -> str:
    more = len(symbols) - _SHOWN
    return ", ".join(symbols[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
