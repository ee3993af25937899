"""The fold: trades and corrections in their order → each strategy's position in each symbol, profit and fees.

Profit is at average cost: a sale realises its price less the average price of what is held, and the rest keeps its
average. It is the method by which Alpaca tells `avg_entry_price` within a day (weighted average,
https://alpaca.markets/docs/position-average-entry-price-calculation; overnight it compresses by FIFO, which changes the
split between realised and unrealised, never their sum).

An exit closes the strategy's own shares first. What it closes beyond them is nobody's: at the cost at which a
strategy's shares were handed over, as far as there are such; of the others (a person's, older ones) the cost is not
known, so they are counted and realise nothing. A purchase that is heard of only after the exit that sold it is found again:
it was traded before, and the exit was its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from torghut_core.trading.model import Side
from torghut_core.trading.money.events import Correction, Event, Mark, Trade
from torghut_core.trading.money.fees import FeeRates, Fees, fees_of_fill
from torghut_core.trading.orders.ledger import Lot

ZERO = Decimal(0)
NOBODY = ""
"""The owner of shares that are no strategy's."""
_LATE_NS = 86_400_000_000_000
"""How much later than its exit a purchase may be heard of."""
Key = tuple[str, str]
"""(strategy id or NOBODY, symbol)"""


@dataclass(frozen=True, kw_only=True)
class Booked:
    """What one trade came to: dollars realised before fees, its fees, and whether it closed something."""

    trade: Trade
    owner: str
    qty: Decimal
    """Shares of it that are this owner's."""
    realised: Decimal
    fees: Fees
    is_closing: bool
    is_cost_known: bool = True
    foreign: Decimal = ZERO
    """Dollars from closing shares of which the cost is not known; negative where it became known."""


@dataclass
class _Beyond:
    """What an exit closed beyond its strategy's own shares: at that time, as far as was heard."""

    at_ns: int
    side: Side
    qty: Decimal
    price: Decimal
    is_cost_known: bool


@dataclass
class Account:
    """Positions by strategy and symbol; `take` moves it on by one event."""

    rates: FeeRates = field(default_factory=FeeRates)
    lots: dict[Key, Lot] = field(default_factory=dict)
    opened_ns: dict[Key, int] = field(default_factory=dict)
    """When each open position began: with the trade or correction that made it one, or turned it over."""
    prices: dict[str, Decimal] = field(default_factory=dict)
    """Each symbol's newest price: of a mark, or of a trade."""
    realised: Decimal = ZERO
    fees: Fees = field(default_factory=Fees)
    foreign_proceeds: Decimal = ZERO
    """Dollars from closing shares of which the cost is not known; not in the profit."""
    cash: Decimal = ZERO
    """Dollars that all trades brought, fees not taken off."""
    unrealised: Decimal = ZERO
    """Dollars that the positions are worth above their cost, at the newest prices."""
    _filled: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    _beyond: dict[Key, list[_Beyond]] = field(default_factory=lambda: defaultdict(list))
    _owners: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _open: dict[str, Decimal] = field(default_factory=dict)

    def take(self, event: Event) -> tuple[Booked, ...]:
        """Book an event, and return what each owner's part of it came to."""
        booked: tuple[Booked, ...] = ()
        if isinstance(event, Mark):
            self.prices[event.symbol] = event.price
        elif isinstance(event, Correction):
            self._correct(event)
        else:
            booked = self._trade(event)
        self._value(event.symbol)
        return booked

    def _value(self, symbol: str) -> None:
        """Value one symbol anew: an event moves no other."""
        worth = sum((self.unrealised_of((owner, symbol)) for owner in self._owners[symbol]), ZERO)
        self.unrealised += worth - self._open.get(symbol, ZERO)
        self._open[symbol] = worth

    def _put(self, key: Key, lot: Lot, at_ns: int) -> None:
        before = self.lots.get(key, Lot()).qty
        if not lot.qty:
            self.opened_ns.pop(key, None)
        elif before * lot.qty <= 0:
            self.opened_ns[key] = at_ns
        self.lots[key] = lot
        self._owners[key[1]].add(key[0])

    def _trade(self, trade: Trade) -> tuple[Booked, ...]:
        before = self._filled[trade.order_id]
        self._filled[trade.order_id] = before + trade.qty
        fees = fees_of_fill(trade.side, trade.qty, trade.price, before=before, rates=self.rates)
        self.prices[trade.symbol] = trade.price
        self.cash += (trade.qty if trade.side == "sell" else -trade.qty) * trade.price
        self.fees += fees
        owner = trade.strategy or NOBODY
        found: list[Booked] = []
        if trade.leg == "entry":
            found = self._find_again(trade, owner)
            parts = [(owner, trade.qty - sum((part.qty for part in found), ZERO))]
        else:
            own = _closable(self.lots.get((owner, trade.symbol)), trade.side, trade.qty)
            left = trade.qty - own
            known = _closable(self.lots.get((NOBODY, trade.symbol)), trade.side, left) if owner != NOBODY else ZERO
            parts = [(owner, own), (NOBODY, known)]
            self._note_beyond(trade, owner, known, is_cost_known=True)
        booked = [*(self._book(trade, name, qty) for name, qty in parts if qty), *found]
        rest = trade.qty - sum((part.qty for part in booked), ZERO)
        if rest:
            foreign = (rest if trade.side == "sell" else -rest) * trade.price
            self.foreign_proceeds += foreign
            self._note_beyond(trade, owner, rest, is_cost_known=False)
            booked.append(
                Booked(
                    trade=trade,
                    owner=NOBODY,
                    qty=rest,
                    realised=ZERO,
                    fees=Fees(),
                    is_closing=True,
                    is_cost_known=False,
                    foreign=foreign,
                )
            )
        # Whoever gave the order pays for it, whosever the shares were.
        first = booked[0]
        if first.owner != owner:
            booked.insert(0, Booked(trade=trade, owner=owner, qty=ZERO, realised=ZERO, fees=fees, is_closing=True))
        else:
            booked[0] = replace(first, fees=fees)
        return tuple(booked)

    def _note_beyond(self, trade: Trade, owner: str, qty: Decimal, *, is_cost_known: bool) -> None:
        if not qty or owner == NOBODY:
            return
        kept = [item for item in self._beyond[owner, trade.symbol] if item.at_ns > trade.at_ns - _LATE_NS]
        item = _Beyond(at_ns=trade.at_ns, side=trade.side, qty=qty, price=trade.price, is_cost_known=is_cost_known)
        self._beyond[owner, trade.symbol] = [*kept, item]

    def _find_again(self, trade: Trade, owner: str) -> list[Booked]:
        """Book what of an entry an exit closed already that was traded later, and heard of sooner."""
        found: list[Booked] = []
        left = trade.qty
        for item in self._beyond.get((owner, trade.symbol), ()):
            qty = min(left, item.qty)
            if item.side == trade.side or trade.at_ns >= item.at_ns or not qty:
                continue
            item.qty -= qty
            left -= qty
            if item.is_cost_known:
                # Nobody's shares were taken for it: what was bought stands in their place, at its own cost.
                found.append(self._book(trade, NOBODY, qty))
                continue
            sign = 1 if trade.side == "buy" else -1
            gain, proceeds = sign * qty * (item.price - trade.price), sign * qty * item.price
            key = (owner, trade.symbol)
            lot = self.lots.get(key, Lot())
            self._put(key, replace(lot, realised=lot.realised + gain), trade.at_ns)
            self.realised += gain
            self.foreign_proceeds -= proceeds
            found.append(
                Booked(
                    trade=trade, owner=owner, qty=qty, realised=gain, fees=Fees(), is_closing=False, foreign=-proceeds
                )
            )
        return found

    def _book(self, trade: Trade, owner: str, qty: Decimal) -> Booked:
        key = (owner, trade.symbol)
        lot = self.lots.get(key, Lot())
        signed = qty if trade.side == "buy" else -qty
        after = lot.after(trade.side, qty, trade.price)
        self._put(key, after, trade.at_ns)
        gain = after.realised - lot.realised
        self.realised += gain
        return Booked(
            trade=trade, owner=owner, qty=qty, realised=gain, fees=Fees(), is_closing=bool(lot.qty * signed < 0)
        )

    def _correct(self, event: Correction) -> None:
        key = (event.strategy, event.symbol)
        lot = self.lots.get(key, Lot())
        if event.kind == "split":
            self._put(key, Lot(qty=lot.qty + event.qty, cost=lot.cost, realised=lot.realised), event.at_ns)
            return
        average = lot.average_price
        qty = _within(event.qty, lot.qty)
        if average is None or not qty:
            return
        left = lot.qty - qty
        self._put(key, Lot(qty=left, cost=left * average, realised=lot.realised), event.at_ns)
        nobody = (NOBODY, event.symbol)
        before = self.lots.get(nobody, Lot())
        side: Side = "buy" if qty > 0 else "sell"
        self._put(nobody, before.after(side, abs(qty), average), event.at_ns)
        self.realised += self.lots[nobody].realised - before.realised

    @property
    def owned(self) -> Mapping[Key, Decimal]:
        """Signed shares by (strategy, symbol), those of strategies alone."""
        return {key: lot.qty for key, lot in self.lots.items() if lot.qty and key[0] != NOBODY}

    def unrealised_of(self, key: Key) -> Decimal:
        """Return one position's dollars above its cost, at its newest price."""
        lot, price = self.lots.get(key, Lot()), self.prices.get(key[1])
        return lot.qty * price - lot.cost if price is not None and lot.qty else ZERO

    @property
    def profit(self) -> Decimal:
        """Dollars: realised and not, fees taken off."""
        return self.realised + self.unrealised - self.fees.total


def fold(events: Iterable[Event], rates: FeeRates | None = None) -> Account:
    """Return the account after the events, in their order."""
    account = Account(rates=rates or FeeRates())
    for event in events:
        account.take(event)
    return account


def _closable(lot: Lot | None, side: Side, qty: Decimal) -> Decimal:
    """Return how many of `qty` shares traded on `side` close what the lot holds."""
    if lot is None:
        return ZERO
    return min(qty, max(ZERO, lot.qty if side == "sell" else -lot.qty))


def _within(qty: Decimal, held: Decimal) -> Decimal:
    """Return as much of `qty` as is held, ZERO where it has the other sign."""
    if qty * held <= 0:
        return ZERO
    return min(qty, held) if held > 0 else max(qty, held)
