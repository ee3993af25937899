"""Tables and curves of the money: by New York day, strategy and symbol; equity, and how far it fell from its best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from torghut_core.market_calendar import new_york_date
from torghut_core.trading.money.account import Account, Booked, Key
from torghut_core.trading.money.events import Event, Trade
from torghut_core.trading.money.fees import FeeRates, Fees, charged

ZERO = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums of some trades; dollars. `fills` are counted, `closes` those that closed something, `wins` those with a gain."""

    realised: Decimal = ZERO
    fees: Fees = field(default_factory=Fees)
    bought_qty: Decimal = ZERO
    bought: Decimal = ZERO
    sold_qty: Decimal = ZERO
    sold: Decimal = ZERO
    fills: int = 0
    closes: int = 0
    wins: int = 0
    foreign: Decimal = ZERO
    """Dollars from closing shares of which the cost is not known: in `sold` or `bought`, not in `realised`."""

    @property
    def net(self) -> Decimal:
        """Realised, fees taken off."""
        return self.realised - self.fees.total

    def with_booked(self, part: Booked) -> Totals:
        """Return the sums with one owner's part of a trade."""
        value = part.qty * part.trade.price
        is_buy = part.trade.side == "buy"
        is_known_close = part.is_closing and part.is_cost_known and part.qty > 0
        return Totals(
            realised=self.realised + part.realised,
            fees=self.fees + part.fees,
            bought_qty=self.bought_qty + (part.qty if is_buy else ZERO),
            bought=self.bought + (value if is_buy else ZERO),
            sold_qty=self.sold_qty + (ZERO if is_buy else part.qty),
            sold=self.sold + (ZERO if is_buy else value),
            fills=self.fills + (1 if part.qty else 0),
            closes=self.closes + is_known_close,
            wins=self.wins + (is_known_close and part.realised > 0),
            foreign=self.foreign + part.foreign,
        )

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            realised=self.realised + other.realised,
            fees=self.fees + other.fees,
            bought_qty=self.bought_qty + other.bought_qty,
            bought=self.bought + other.bought,
            sold_qty=self.sold_qty + other.sold_qty,
            sold=self.sold + other.sold,
            fills=self.fills + other.fills,
            closes=self.closes + other.closes,
            wins=self.wins + other.wins,
            foreign=self.foreign + other.foreign,
        )


@dataclass(frozen=True, kw_only=True)
class Point:
    """Equity at an instant: `start` plus what was realised and is not yet, fees taken off. Dollars."""

    at_ns: int
    equity: Decimal


@dataclass(frozen=True, kw_only=True)
class Drawdown:
    """The deepest fall of a curve from its best so far: dollars, share of the best (None where that is not above 0)."""

    dollars: Decimal = ZERO
    share: Decimal | None = None
    peak_ns: int | None = None
    trough_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a span of time came to. Rows are by (New York day, strategy, symbol); positions are those at its end."""

    start: Decimal
    rows: Mapping[tuple[date, str, str], Totals]
    account: Account
    """As it stands at the end of the span."""
    curve: tuple[Point, ...]
    drawdown: Drawdown

    @property
    def total(self) -> Totals:
        return sum(self.rows.values(), Totals())

    def by(self, name: Callable[[date, str, str], str]) -> dict[str, Totals]:
        """Return the sums by what `name` says of (day, strategy, symbol), in order of the names."""
        found: dict[str, Totals] = {}
        for key, row in self.rows.items():
            found[name(*key)] = found.get(name(*key), Totals()) + row
        return dict(sorted(found.items()))

    @property
    def by_day(self) -> dict[str, Totals]:
        return self.by(lambda day, _strategy, _symbol: day.isoformat())

    @property
    def by_strategy(self) -> dict[str, Totals]:
        return self.by(lambda _day, strategy, _symbol: strategy)

    @property
    def by_symbol(self) -> dict[str, Totals]:
        return self.by(lambda _day, _strategy, symbol: symbol)

    @property
    def charged(self) -> Fees:
        """What the broker charges for the days: each kind of fee rounded up to the cent, each day."""
        return sum((charged(row.fees) for row in self.by_day.values()), Fees())

    @property
    def positions(self) -> list[Key]:
        """The positions that are open at the end, in order of strategy and symbol."""
        return sorted(key for key, lot in self.account.lots.items() if lot.qty)


def make_statement(
    events: Iterable[Event],
    *,
    rates: FeeRates | None = None,
    start: Decimal = ZERO,
    first: date | None = None,
    last: date | None = None,
) -> Statement:
    """Fold all events, in their order, and return the statement of the New York days `first` to `last`, both included.

    What was before `first` is folded too: it is what positions cost. `start` is the equity before the first event of
    the span. A trade marks its symbol's price, as a `Mark` does.
    """
    account = Account(rates=rates or FeeRates())
    rows: dict[tuple[date, str, str], Totals] = {}
    curve: list[Point] = []
    base: Decimal | None = None
    for event in events:
        day = new_york_date(event.at_ns)
        if last is not None and day > last:
            # The events of a day need not come in the order of days: what was heard late belongs to its own.
            continue
        is_shown = first is None or day >= first
        if is_shown and base is None:
            base = account.profit
        for part in account.take(event):
            if is_shown:
                key = (day, part.owner, part.trade.symbol)
                rows[key] = rows.get(key, Totals()).with_booked(part)
        if is_shown and base is not None:
            point = Point(at_ns=event.at_ns, equity=start + account.profit - base)
            if curve and isinstance(event, Trade) and curve[-1].at_ns == event.at_ns:
                curve[-1] = replace(curve[-1], equity=point.equity)
            else:
                curve.append(point)
    return Statement(start=start, rows=rows, account=account, curve=tuple(curve), drawdown=drawdown(curve, start=start))


def drawdown(curve: Iterable[Point], *, start: Decimal | None = None) -> Drawdown:
    """Return the deepest fall of the curve, `start` counted as its first best."""
    peak, peak_ns, deepest = start, None, Drawdown()
    for point in curve:
        if peak is None or point.equity > peak:
            peak, peak_ns = point.equity, point.at_ns
        fall = peak - point.equity
        if fall > deepest.dollars:
            share = fall / peak if peak > 0 else None
            deepest = Drawdown(dollars=fall, share=share, peak_ns=peak_ns, trough_ns=point.at_ns)
    return deepest
