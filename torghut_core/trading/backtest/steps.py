"""Which instants of a recording have to be gone through one by one.

Live, every instant of a row and every mark of the clock is dealt with. Most of them change nothing: flat, without an open
order, and without a row on which a strategy could want something. Those are passed over here, and only those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np

from torghut_core.market_calendar import MarketCalendar, Session
from torghut_core.trading.backtest.recording import Ints, Series
from torghut_core.trading.decision.exits import Holding
from torghut_core.trading.model import Strategy

_NEVER = 1 << 62


class Steps:
    """Gives the next instant that has to be gone through."""

    def __init__(
        self,
        series: Sequence[Series],
        places: Sequence[Ints],
        *,
        period_ns: int,
        from_ns: int,
        to_ns: int,
    ) -> None:
        """`places` are each series' rows on which a strategy could want something; instants are in [from, to)."""
        self._series = series
        self._period_ns = period_ns
        self._to_ns = to_ns
        every = [each.event_ns for each in series]
        instants = np.unique(np.concatenate(every)) if every else np.zeros(0, np.int64)
        self.instants: Ints = instants[(instants >= from_ns) & (instants < to_ns)]
        at = [each.event_ns[place] for each, place in zip(series, places, strict=True)]
        events = np.concatenate(at) if at else np.zeros(0, np.int64)
        which = np.repeat(np.arange(len(series)), [len(place) for place in places])
        rows = np.concatenate(places) if places else np.zeros(0, np.int64)
        inside = (events >= from_ns) & (events < to_ns)
        events, which, rows = events[inside], which[inside], rows[inside]
        ranked = np.argsort(events, kind="stable")
        self._events, self._which, self._rows = events[ranked], which[ranked], rows[ranked]
        self._forced: Ints = np.zeros(0, np.int64)
        self._watched: dict[str, Ints] = {}

    @property
    def count(self) -> int:
        """Return how many rows the instants have."""
        first, last = (int(self.instants[0]), int(self.instants[-1])) if len(self.instants) else (0, -1)
        return sum(int(np.diff(np.searchsorted(each.event_ns, (first, last + 1)))[0]) for each in self._series)

    def force(self, instants: Ints) -> None:
        """Set instants that are gone through whatever is held."""
        self._forced = instants

    def newest(self, instant_ns: int) -> int | None:
        """Return the newest instant of a row at or before one, None before the first."""
        at = int(np.searchsorted(self.instants, instant_ns, side="right")) - 1
        return int(self.instants[at]) if at >= 0 else None

    def candidates(self, instant_ns: int) -> list[tuple[Series, int]]:
        """Return the rows of an instant on which a strategy could want something."""
        first, last = np.searchsorted(self._events, (instant_ns, instant_ns + 1)).tolist()
        return [(self._series[self._which[at]], int(self._rows[at])) for at in range(first, last)]

    def watch(self, touching: dict[str, Ints]) -> None:
        """Set the instants at which a held symbol's price may touch a stop, by symbol."""
        self._watched = touching

    def after(self, done_ns: int, *, has_business: bool, is_holding: bool) -> int | None:
        """Return the next instant after one that was gone through, None at the end."""
        found = min(_next(self._events, done_ns), _next(self._forced, done_ns))
        if has_business:
            found = min(found, _next(self.instants, done_ns))
        if has_business or is_holding:
            found = min(found, (done_ns // self._period_ns + 1) * self._period_ns)
        for instants in self._watched.values():
            found = min(found, _next(instants, done_ns))
        last = int(self.instants[-1]) if len(self.instants) else -1
        return found if found < self._to_ns and found <= last else None


def _next(instants: Ints, done_ns: int) -> int:
    at = int(np.searchsorted(instants, done_ns, side="right"))
    return int(instants[at]) if at < len(instants) else _NEVER


def silences(instants: Ints, *, limit_ns: int, period_ns: int, calendar: MarketCalendar, latency_ns: int) -> Ints:
    """Return the instants around a silence so long that entries rest after it: its last mark, and the rows after."""
    found: list[int] = []
    for at in np.flatnonzero(np.diff(instants) > limit_ns).tolist():
        mark = (int(instants[at + 1]) - 1) // period_ns * period_ns
        if mark > instants[at] and calendar.session(mark + latency_ns) is Session.REGULAR:
            found += [mark, *instants[at + 1 : at + 11].tolist()]
    return np.unique(np.array(found, np.int64))


def touching(
    holding: Holding,
    entries: Iterable[Decimal],
    strategies: Iterable[Strategy],
    levels: tuple[Sequence[Decimal], Sequence[Decimal]],
    *,
    series: Sequence[Series],
    after_ns: int,
) -> Ints | None:
    """Return the instants after one at which a row may touch a stop: all that do, and maybe more.

    `entries` are the prices that the strategies' shares of loss and gain are counted from; `levels` are stops and targets
    that stand at a price. None when a row's price only counts together with those before it: every instant has to be gone through.
    """
    traders = [each for each in strategies if not each.symbols or holding.symbol in each.symbols]
    if any(each.trailing_stop_pct is not None for each in traders):
        return None
    losses = [each.stop_loss_pct for each in traders if each.stop_loss_pct is not None]
    gains = [each.take_profit_pct for each in traders if each.take_profit_pct is not None]
    sign = 1 if holding.is_long else -1
    stops, targets = [float(level) for level in levels[0]], [float(level) for level in levels[1]]
    for entry in entries:
        stops += [float(entry * (1 - sign * share)) for share in losses]
        targets += [float(entry * (1 + sign * share)) for share in gains]
    if not stops and not targets:
        return np.zeros(0, np.int64)
    # A hair nearer than the nearest: the loop compares decimals.
    stop = (max(sign * mark for mark in stops) if stops else -np.inf) + 1e-9
    target = (min(sign * mark for mark in targets) if targets else np.inf) - 1e-9
    found = []
    for each in series:
        if each.symbol != holding.symbol:
            continue
        start = each.at_or_before(after_ns) + 1
        bid, ask = each.columns["imbalance_bid_px"][start:], each.columns["imbalance_ask_px"][start:]
        quoted = (bid > 0) & (ask > 0) & (bid <= ask)
        price = np.where(quoted, bid if holding.is_long else ask, each.columns["close"][start:])
        found.append(each.event_ns[start:][(sign * price <= stop) | (sign * price >= target)])
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
