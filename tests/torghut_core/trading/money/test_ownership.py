"""Any sequence of purchases, exits, late hearing, people's trades and splits: nobody sells what is another strategy's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.trading_values import make_account, make_position
from torghut_core.trading.decision.book import Book
from torghut_core.trading.decision.desk import open_book
from torghut_core.trading.decision.exits import exit_qty
from torghut_core.trading.model import Side, Snapshot
from torghut_core.trading.money.account import Account
from torghut_core.trading.money.attribution import Settled, corrections
from torghut_core.trading.money.events import Correction, Trade

ZERO = Decimal(0)
SYMBOL = "AAPL"
NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class _Unheard:
    """An order that is filled at the broker and open in our books."""

    trade: Trade

    client_order_id = property(lambda self: self.trade.order_id)
    symbol = property(lambda self: self.trade.symbol)
    side = property(lambda self: self.trade.side)
    qty = property(lambda self: self.trade.qty)
    filled_qty = ZERO


@dataclass
class _World:
    """The broker's truth beside what our books say."""

    books: Account = field(default_factory=Account)
    held: Decimal = ZERO
    entry: Decimal = Decimal(100)
    own: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(NAMES, ZERO))
    """Whose the shares really are."""
    unheard: list[_Unheard] = field(default_factory=list)
    settled: Settled | None = None
    events: int = 0

    @property
    def nobodys(self) -> Decimal:
        return max(ZERO, self.held - sum(self.own.values(), ZERO))

    def trade(self, name: str, side: Side, qty: Decimal, leg: Any, *, is_heard: bool) -> None:
        self.events += 1
        trade = Trade(
            at_ns=self.events,
            order_id=f"{self.events}",
            strategy=name,
            symbol=SYMBOL,
            side=side,
            qty=qty,
            price=self.entry,
            leg=leg,
        )
        if side == "buy":
            self.own[name] += qty
            self.held += qty
        else:
            self.own[name] -= min(qty, self.own[name])
            self.held -= qty
        if is_heard:
            self.books.take(trade)
        else:
            self.unheard.append(_Unheard(trade))

    def is_selling(self, name: str) -> bool:
        """Tell whether an exit of the strategy is not heard of yet."""
        return any(order.trade.strategy == name and order.trade.leg == "exit" for order in self.unheard)

    def hear(self) -> None:
        for order in self.unheard:
            self.books.take(order.trade)
        self.unheard.clear()

    def book(self) -> Book:
        position = make_position(SYMBOL, str(self.held), available=self.held, entry_price=self.entry)
        return open_book(
            Snapshot(account=make_account(), positions={SYMBOL: position} if self.held else {}),
            claims=(),
            strategies={order.client_order_id: str(order.trade.strategy) for order in self.unheard},
            owned=self.books.owned,
            prices={},
            known=self.unheard,
        )

    def settle(self) -> None:
        """Let the account's reading correct the books, as it does where nothing is on its way."""
        if self.unheard:
            return
        after = max((int(order) for order in self.books._filled), default=0)
        now = Settled(qty=self.held, entry_price=self.entry if self.held else ZERO, after=after)
        owned = {name: qty for (name, _), qty in self.books.owned.items()}
        for correction in corrections(SYMBOL, owned, now, self.settled, at_ns=self.events):
            self._correct(correction)
        self.settled = now

    def _correct(self, correction: Correction) -> None:
        self.books.take(correction)
        if correction.kind == "handed_over":
            # Who lost what of a person's sale is what the correction says: nobody could know it better.
            self.own[correction.strategy] = self.books.owned.get((correction.strategy, SYMBOL), ZERO)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["buy", "buy", "exit", "exit", "hear", "settle", "settle", "person_buys", "person_sells", "split"]
        ),
        st.sampled_from(NAMES),
        st.integers(1, 30).map(Decimal),
        st.booleans(),
    ),
    max_size=30,
)


def _carry_out(world: _World, steps: Any) -> Iterator[tuple[str, Decimal, Decimal]]:
    """Carry out the steps; yield of each exit who, how much, and how much it might have been."""
    for what, name, qty, is_heard in steps:
        if what in ("buy", "exit") and world.is_selling(name):
            # An entry against an open order is refused, and an exit is asked again only once its last attempt is settled.
            continue
        if what == "buy":
            world.trade(name, "buy", qty, "entry", is_heard=is_heard)
        elif what == "exit":
            sold = exit_qty(world.book(), name, SYMBOL)
            yield name, sold, world.own[name] + world.nobodys
            if sold:
                world.trade(name, "sell", sold, "exit", is_heard=is_heard)
        elif what == "hear":
            world.hear()
        elif what == "settle":
            world.settle()
        elif what == "person_buys":
            world.held += qty
        elif what == "person_sells":
            # A person sells what is a person's: selling a strategy's shares makes them nobody's loss, told apart below.
            world.held -= min(qty, world.nobodys)
        elif what == "split" and not world.unheard and world.held:
            world.settle()
            world.held, world.entry = world.held * 2, world.entry / 2
            world.own = {owner: shares * 2 for owner, shares in world.own.items()}
            world.settle()


@settings(max_examples=150)
@given(_STEPS)
def test_exit_when_anything_happened_before_then_never_anothers_shares(steps: Any) -> None:
    """At most one's own and nobody's, whatever was bought, sold, split, and heard of late."""
    for name, sold, most in _carry_out(_World(), steps):
        assert sold <= most, name


@settings(max_examples=100)
@given(_STEPS)
def test_books_when_all_is_heard_and_settled_then_they_are_the_truth(steps: Any) -> None:
    """Every strategy owns in the books what it really owns, and what is left is nobody's, which any may exit."""
    world = _World()
    for _ in _carry_out(world, steps):
        pass
    world.hear()
    world.settle()
    assert {name: world.books.owned.get((name, SYMBOL), ZERO) for name in NAMES} == world.own
    book = world.book()
    assert all(exit_qty(book, name, SYMBOL) == world.own[name] + world.nobodys for name in NAMES if world.held)


@settings(max_examples=60)
@given(_STEPS, st.integers(1, 60).map(Decimal))
def test_exits_when_a_person_sells_strategies_shares_then_all_that_is_left_can_be_sold(
    steps: Any, qty: Decimal
) -> None:
    """No share stays that nobody may sell: one exit of each strategy after the other ends flat."""
    world = _World()
    for _ in _carry_out(world, steps):
        pass
    world.hear()
    world.held -= min(qty, world.held)
    world.settle()
    world.settle()
    for name in NAMES:
        sold = exit_qty(world.book(), name, SYMBOL)
        if sold:
            world.trade(name, "sell", sold, "exit", is_heard=True)
    assert world.held == 0
