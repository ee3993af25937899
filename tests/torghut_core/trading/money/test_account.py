"""The fold of money: positions by strategy, average price, profit, and whose shares an exit closes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.money_values import DAY_NS, FREE, NOON_NS, make_handed, make_trade
from torghut_core.trading.money.account import NOBODY, Account, fold
from torghut_core.trading.money.events import Correction, Event, Mark, Trade
from torghut_core.trading.money.fees import FeeRates, Fees
from torghut_core.trading.money.statement import make_statement

_TRADES = st.builds(
    make_trade,
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 500),
    st.integers(1, 1000).map(lambda cents: str(Decimal(cents) / 10)),
    strategy=st.sampled_from(["s", "t", None]),
    symbol=st.sampled_from(["AAPL", "MSFT"]),
    leg=st.sampled_from(["entry", "exit"]),
    order_id=st.integers(0, 5).map(str),
    at_ns=st.integers(0, 4).map(lambda day: NOON_NS + day * DAY_NS),
)
_CORRECTIONS = st.builds(
    Correction,
    at_ns=st.just(NOON_NS),
    strategy=st.sampled_from(["s", "t"]),
    symbol=st.just("AAPL"),
    kind=st.sampled_from(["handed_over", "split"]),
    qty=st.integers(-300, 300).map(Decimal),
)
_EVENTS = st.lists(st.one_of(_TRADES, _TRADES, _CORRECTIONS), max_size=25)


def _is_close(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) < Decimal("0.00001")


@given(_EVENTS, st.integers(1, 900), st.integers(1, 900))
def test_fold_when_valued_at_any_price_then_profit_is_cash_and_worth(events: list[Event], aapl: int, msft: int) -> None:
    """What trades brought, but for shares of unknown cost, and what is held is worth, is what was gained: no more."""
    account = fold([*events, *_marks(aapl, msft)], FREE)
    worth = sum(
        (lot.qty * {"AAPL": aapl, "MSFT": msft}[symbol] for (_, symbol), lot in account.lots.items()), Decimal(0)
    )
    assert _is_close(account.cash - account.foreign_proceeds + worth, account.realised + account.unrealised)


def _marks(aapl: int, msft: int) -> list[Mark]:
    prices = (("AAPL", aapl), ("MSFT", msft))
    return [Mark(at_ns=NOON_NS, symbol=symbol, price=Decimal(price)) for symbol, price in prices]


@given(_EVENTS)
def test_statement_when_summed_over_strategies_symbols_or_days_then_the_total(events: list[Event]) -> None:
    """No share, dollar or fee is counted twice, or by nobody."""
    statement = make_statement(events)
    trades = [event for event in events if isinstance(event, Trade)]
    for sums in (statement.by_strategy, statement.by_symbol, statement.by_day):
        total = sum(sums.values(), type(statement.total)())
        assert _is_close(total.fees.total, statement.account.fees.total)
        assert total.bought_qty + total.sold_qty == sum((trade.qty for trade in trades), Decimal(0))
        assert _is_close(total.foreign, statement.account.foreign_proceeds)
    # What is realised where two strategies' shares meet as nobody's is realised by no trade.
    met = sum((lot.realised for lot in statement.account.lots.values()), Decimal(0))
    assert _is_close(met, statement.account.realised)
    if not any(isinstance(event, Correction) for event in events):
        assert _is_close(statement.total.realised, statement.account.realised)


@given(_EVENTS, st.integers(2, 4))
def test_fold_when_fills_are_split_then_the_same_money(events: list[Event], parts: int) -> None:
    """An order that fills in pieces is worth what it is worth in one, its capped fee too."""
    pieces: list[Event] = []
    for event in events:
        if isinstance(event, Trade):
            each = [event.qty / 8 if i else event.qty - (parts - 1) * event.qty / 8 for i in range(parts)]
            pieces += [
                Trade(**{**{name: getattr(event, name) for name in Trade.__dataclass_fields__}, "qty": qty})
                for qty in each
            ]
        else:
            pieces.append(event)
    whole, split = fold(events), fold(pieces)
    assert {key: lot.qty for key, lot in whole.lots.items()} == {key: lot.qty for key, lot in split.lots.items()}
    assert _is_close(whole.realised, split.realised)
    assert _is_close(whole.fees.total, split.fees.total)
    assert _is_close(whole.unrealised, split.unrealised)


@given(_EVENTS)
def test_account_when_valued_step_by_step_then_as_valued_at_once(events: list[Event]) -> None:
    """The running value is the sum over all positions."""
    account = fold(events)
    assert _is_close(account.unrealised, sum((account.unrealised_of(key) for key in account.lots), Decimal(0)))


@pytest.mark.parametrize(
    ("trades", "qty", "average", "realised"),
    [
        ([("buy", 10, 100), ("buy", 10, 110)], 20, 105, 0),
        ([("buy", 10, 100), ("sell", 4, 110)], 6, 100, 40),
        ([("sell", 10, 100), ("buy", 4, 90)], -6, 100, 40),
        ([("buy", 10, 100), ("sell", 15, 110)], -5, 110, 100),
        ([("sell", 10, 100), ("buy", 15, 90)], 5, 90, 100),
        ([("buy", 10, 100), ("sell", 10, 90)], 0, None, -100),
    ],
)
def test_fold_when_long_short_or_turned_then_average_cost(
    trades: list[tuple[Any, int, int]], qty: int, average: int | None, realised: int
) -> None:
    """Adding averages, closing realises against the average, turning starts anew at the price."""
    account = fold((make_trade(*trade) for trade in trades), FREE)
    lot = account.lots["s", "AAPL"]
    assert (lot.qty, lot.average_price, account.realised) == (qty, average, realised)


def test_fold_when_two_strategies_hold_a_symbol_then_each_its_own() -> None:
    """One's sale realises against its own price, and leaves the other's shares alone."""
    account = fold(
        [
            make_trade("buy", 10, 100),
            make_trade("buy", 10, 120, strategy="t"),
            make_trade("sell", 10, 110, strategy="t", leg="exit"),
        ],
        FREE,
    )
    assert account.owned == {("s", "AAPL"): 10}
    assert (account.realised, account.unrealised) == (-100, 100)


def test_fold_when_an_exit_closes_more_than_its_own_then_the_rest_is_nobodys() -> None:
    """Ten of its own and five that a person bought: ten realise, five are counted; the next ten bought are all its own."""
    account = fold(
        [
            make_trade("buy", 10, 100),
            make_trade("sell", 15, 110, leg="exit"),
            make_trade("buy", 10, 100, order_id="b2"),
        ],
        FREE,
    )
    assert account.owned == {("s", "AAPL"): 10}
    assert (account.realised, account.foreign_proceeds) == (100, 550)


def test_fold_when_shares_are_handed_over_then_at_cost_and_anyones_exit_realises_them() -> None:
    """Nothing is gained by being nobody's; who sells them realises against what they cost."""
    account = fold([make_trade("buy", 10, 100), make_handed(4)], FREE)
    assert (account.owned, account.realised) == ({("s", "AAPL"): 6}, 0)
    booked = account.take(make_trade("sell", 4, 110, strategy="t", leg="exit"))
    assert [(part.owner, part.qty, part.realised) for part in booked] == [("t", 0, 0), (NOBODY, 4, 40)]
    assert account.realised == 40


def test_fold_when_more_is_handed_over_than_is_owned_then_only_that() -> None:
    """A correction takes no strategy below nothing."""
    assert fold([make_trade("buy", 10, 100), make_handed(14)]).owned == {}
    assert fold([make_trade("buy", 10, 100), make_handed(-4)]).owned == {("s", "AAPL"): 10}


def test_fold_when_split_then_more_shares_at_the_same_cost() -> None:
    """Four for one: 40 shares at 25."""
    lot = fold([make_trade("buy", 10, 100), make_handed(30, kind="split")]).lots["s", "AAPL"]
    assert (lot.qty, lot.average_price) == (40, 25)


def test_fold_when_sold_then_the_fees_of_a_sale_and_a_purchase_has_none() -> None:
    """$20.60 a million dollars, and $0.000195 a share; the order's cap holds over its fills."""
    account = Account()
    account.take(make_trade("buy", 100, 50))
    assert account.fees == Fees()
    account.take(make_trade("sell", 100, 50, leg="exit"))
    assert account.fees == Fees(sec=Decimal("0.103"), taf=Decimal("0.0195"))
    many = fold([make_trade("sell", 30_000, 1, order_id="o"), make_trade("sell", 30_000, 1, order_id="o")])
    assert many.fees.taf == Decimal("9.79")


def test_fold_when_a_share_costs_a_commission_then_both_sides_pay_it() -> None:
    """Half a cent a share."""
    rates = FeeRates(sec_rate=Decimal(0), taf_per_share=Decimal(0), commission_per_share=Decimal("0.005"))
    account = fold([make_trade("buy", 100, 50), make_trade("sell", 100, 51)], rates)
    assert (account.fees, account.profit) == (Fees(commission=Decimal(1)), 99)


def test_fold_when_a_position_begins_turns_and_ends_then_since_when() -> None:
    """Adding keeps the beginning, turning over begins anew, flat is no position."""
    account = Account()
    seen = []
    for minute, (side, qty) in enumerate((("buy", 10), ("buy", 5), ("sell", 20), ("buy", 5))):
        account.take(make_trade(side, qty, 100, at_ns=NOON_NS + minute))
        seen.append(account.opened_ns.get(("s", "AAPL")))
    assert seen == [NOON_NS, NOON_NS, NOON_NS + 2, None]


def test_fold_when_an_entry_is_heard_of_after_the_exit_that_sold_it_then_it_was_its_own() -> None:
    """Bought at noon and sold a second later, told the other way round: nothing is owned, ten dollars a share are gained."""
    account = fold(
        [
            make_trade("sell", 10, 110, leg="exit", at_ns=NOON_NS + 1),
            make_trade("buy", 10, 100, at_ns=NOON_NS),
            make_trade("buy", 4, 100, order_id="later", at_ns=NOON_NS + 2),
        ],
        FREE,
    )
    assert account.owned == {("s", "AAPL"): 4}
    assert (account.realised, account.foreign_proceeds) == (100, 0)
