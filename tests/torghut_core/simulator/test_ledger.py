"""Account arithmetic: fills move money between cash and positions and create none."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from torghut_core.exchange.ledger import Ledger, Position, Side, plain

PRICES = st.decimals(min_value="0.01", max_value="5000", places=2)
QUANTITIES = st.decimals(min_value="0.001", max_value="10000", places=3)
FILLS = st.lists(
    st.tuples(st.sampled_from(["A", "B"]), st.sampled_from(["buy", "sell"]), QUANTITIES, PRICES), max_size=40
)


def ledger(cash: str = "100000") -> Ledger:
    """Return books with twice the equity to buy with."""
    return Ledger(cash=Decimal(cash), multiplier=Decimal(2))


@given(FILLS)
def test_fill_when_priced_at_itself_then_equity_is_conserved(fills: list[tuple[str, Side, Decimal, Decimal]]) -> None:
    """At a fill's own price, cash and positions together are worth the same before and after, to the last digit."""
    books = ledger()
    prices = {"A": Decimal(1), "B": Decimal(1)}
    for symbol, side, qty, price in fills:
        prices[symbol] = price
        before = books.equity(prices.get)
        books.apply_fill(symbol, side, qty, price)
        assert books.equity(prices.get) == before


@given(FILLS)
def test_fill_when_summed_up_then_cash_and_quantities_are_the_fills(
    fills: list[tuple[str, Side, Decimal, Decimal]],
) -> None:
    """Cash is the start less what was bought plus what was sold; a holding is the signed sum of its fills."""
    books = ledger()
    cash, held = Decimal(100_000), {"A": Decimal(0), "B": Decimal(0)}
    for symbol, side, qty, price in fills:
        signed = qty if side == "buy" else -qty
        cash -= signed * price
        held[symbol] += signed
        books.apply_fill(symbol, side, qty, price)
    assert books.cash == cash
    assert {symbol: books.held(symbol) for symbol in held} == held
    assert [position.symbol for position in books.positions()] == [symbol for symbol in held if held[symbol]]


@given(FILLS)
def test_buying_power_when_asked_then_it_is_never_negative(fills: list[tuple[str, Side, Decimal, Decimal]]) -> None:
    """Losses can eat it up and no more."""
    books = ledger("10")
    for symbol, side, qty, price in fills:
        books.apply_fill(symbol, side, qty, price)
        assert books.buying_power(lambda _symbol: Decimal(7), Decimal(3)) >= 0


def test_position_when_reduced_then_its_average_stays() -> None:
    """Selling a part keeps the entry price of the rest."""
    books = ledger()
    books.apply_fill("A", "buy", Decimal(10), Decimal(100))
    books.apply_fill("A", "buy", Decimal(10), Decimal(110))
    books.apply_fill("A", "sell", Decimal(5), Decimal(200))
    assert books.position("A") == Position(symbol="A", qty=Decimal(15), cost=Decimal(1575))
    assert books.position("A").average_entry == Decimal(105)  # type: ignore[union-attr]


def test_position_when_turned_over_then_the_new_side_has_the_new_price() -> None:
    """Selling more than is held opens a short position at the price of that sale."""
    books = ledger()
    books.apply_fill("A", "buy", Decimal(10), Decimal(100))
    books.apply_fill("A", "sell", Decimal(15), Decimal(120))
    assert books.position("A") == Position(symbol="A", qty=Decimal(-5), cost=Decimal(-600))
    assert books.market_values(lambda _symbol: Decimal(120)) == (Decimal(0), Decimal(-600))


def test_plain_when_a_number_has_zeros_then_they_go() -> None:
    """Numbers leave as plain text without exponents or trailing zeros."""
    assert [plain(Decimal(text)) for text in ("100000", "1E+3", "0.500", "-0", "1.23456789012")] == [
        "100000",
        "1000",
        "0.5",
        "0",
        "1.23456789",
    ]
