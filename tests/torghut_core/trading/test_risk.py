"""Each gate alone, its boundary, and the reasons together."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_values import (
    NOW_NS,
    make_account,
    make_book,
    make_context,
    make_position,
    make_settings,
    make_signal,
    make_size,
    make_strategy,
)
from torghut_core.market_calendar import Session
from torghut_core.trading.decision.book import PendingOrder
from torghut_core.trading.decision.quote import Quote
from torghut_core.trading.decision.terms import Terms
from torghut_core.trading.model import Asset
from torghut_core.trading.risk import (
    ENTRY_GATES,
    EXIT_GATES,
    cooldown,
    opposite_holding,
    quantity,
    refusals,
    shorts,
    signal_stale,
    trading_stopped,
)
from torghut_core.trading.risk.context import Control


def test_gates_when_nothing_is_wrong_then_none_refuses() -> None:
    """The default context of these tests passes, so that each test below is about its own change."""
    assert refusals(make_context()) == ()


def _reasons(**changes: Any) -> tuple[str, ...]:
    return refusals(make_context(**changes))


def _pending(side: Any, qty: int, *, symbol: str = "AAPL", price: int | None = None, **changes: Any) -> PendingOrder:
    given = None if price is None else Decimal(price)
    return PendingOrder(symbol=symbol, side=side, qty=Decimal(qty), price=given, **changes)


def _exit(**changes: Any) -> tuple[str, ...]:
    """Judge the sale of 10 held shares."""
    return refusals(make_context(**{"leg": "exit", "side": "sell", "book": make_book(make_position()), **changes}))


EVERYTHING_AGAINST_AN_ENTRY: dict[str, Any] = {
    "settings": make_settings(
        TRADING_MAX_NOTIONAL_PER_TRADE="1",
        TRADING_MAX_POSITION_PCT_EQUITY="0.00001",
        TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE="1",
        TRADING_PORTFOLIO_MAX_NET_EXPOSURE="1",
        TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL="1",
        TRADING_PORTFOLIO_MAX_POSITIONS="1",
        TRADING_COOLDOWN_SECONDS="3600",
        TRADING_ALLOW_SHORTS="false",
    ),
    "strategy": make_strategy(is_enabled=False, symbols=("T",), max_notional_total=Decimal(1)),
    "control": Control(loss_limit="daily_loss", has_late_order=True),
    "emergency_reasons": ("signal_lag_exceeded",),
    "is_flattening": True,
    "signal": make_signal(is_warm=False, event_ns=1),
    "quote": Quote(bid=None, ask=None),
    "size": make_size(0, "qty_below_min"),
    "universe": frozenset(),
    "asset": Asset(is_shortable=False, is_easy=False),
    "last_order_ns": NOW_NS,
    "book": make_book(
        make_position(),
        make_position("DEAD", 1, 1),
        account=make_account(cash=Decimal(-5), buying_power=Decimal(0), equity=Decimal(-1)),
        orders=(_pending("buy", 1),),
    ),
}


def test_exit_when_everything_speaks_against_an_entry_then_it_goes() -> None:
    """No budget, minimum, cooldown, cap, price, staleness, warmth, latch or universe refuses an exit."""
    assert _exit(**EVERYTHING_AGAINST_AN_ENTRY) == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"settings": make_settings(TRADING_ENABLED="false")}, "trading_disabled"),
        ({"settings": make_settings(TRADING_KILL_SWITCH_ENABLED="true")}, "kill_switch_enabled"),
        ({"control": Control(is_killed=True)}, "kill_switch_enabled"),
        ({"control": Control(is_stopped=True)}, "trading_stopped"),
        ({"is_account_confirmed": False}, "live_trading_disabled"),
        ({"is_leader": False}, "not_leader"),
        ({"session": Session.PRE}, "market_closed"),
        ({"session": Session.POST}, "market_closed"),
        ({"session": Session.CLOSED}, "market_closed"),
        ({"book": None}, "account_unavailable"),
        ({"book": make_book(account=make_account(is_blocked=True))}, "account_blocked"),
        ({"book": make_book(unreadable=frozenset({"AAPL"}))}, "account_unavailable"),
        ({"unknown_symbols": frozenset({"AAPL"})}, "open_order_conflict"),
    ],
)
def test_gates_when_exits_obey_them_then_entries_and_exits_are_refused(changes: dict[str, Any], reason: str) -> None:
    """These refuse whatever the leg."""
    assert (_reasons(**changes), _exit(**changes)) == ((reason,), (reason,))


def test_exit_when_another_symbol_is_unreadable_or_unknown_then_it_goes() -> None:
    """One bad position and one order of unknown fate cost their own symbol alone."""
    book = make_book(make_position(), unreadable=frozenset({"MSFT"}))
    assert _exit(book=book, unknown_symbols=frozenset({"MSFT"})) == ()
    assert _reasons(book=book, side="buy") == ("account_unavailable",)


def test_gates_when_listed_then_exits_obey_eight_and_entries_those_first() -> None:
    """The list of the contract, in its order."""
    assert ENTRY_GATES[: len(EXIT_GATES)] == EXIT_GATES
    assert len(EXIT_GATES) == 8


def test_kill_switch_when_trading_is_disabled_too_then_both_are_named() -> None:
    """Every reason is recorded, not the first alone; the stop that only records them is not one more."""
    settings = make_settings(TRADING_KILL_SWITCH_ENABLED="true", TRADING_ENABLED="false")
    assert _reasons(settings=settings, control=Control(is_stopped=True)) == ("trading_disabled", "kill_switch_enabled")


def test_live_trading_when_live_host_slips_into_paper_then_live_trading_disabled() -> None:
    """The gate judges for itself, though start-up refuses such settings."""
    settings = make_settings().model_copy(update={"broker_url": "https://api.alpaca.markets"})
    assert _reasons(settings=settings) == ("live_trading_disabled",)


@pytest.mark.parametrize(
    "changes", [{"live_enabled": False}, {"broker_url": "https://paper-api.alpaca.markets"}, {"mode": "paper"}]
)
def test_live_trading_when_one_switch_is_missing_then_live_trading_disabled(changes: dict[str, Any]) -> None:
    """Live needs every one of them."""
    live = {"mode": "live", "live_enabled": True, "broker_url": "https://api.alpaca.markets"}
    assert _reasons(settings=make_settings().model_copy(update=live)) == ()
    assert _reasons(settings=make_settings().model_copy(update=live | changes)) == ("live_trading_disabled",)


def test_strategy_disabled_when_strategy_is_disabled_then_strategy_disabled() -> None:
    """A proposal does not outlive its strategy."""
    assert _reasons(strategy=make_strategy(is_enabled=False)) == ("strategy_disabled",)


@pytest.mark.parametrize(
    "changes",
    [
        {"universe": frozenset({"MSFT"})},
        {"universe": frozenset()},
        {"strategy": make_strategy(symbols=("MSFT",))},
    ],
)
def test_symbol_not_allowed_when_outside_universe_or_own_list_then_symbol_not_allowed(changes: dict[str, Any]) -> None:
    """An empty universe allows nothing; the strategy's list narrows it."""
    assert _reasons(**changes) == ("symbol_not_allowed",)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"control": Control(loss_limit="drawdown")}, "loss_limit_latched"),
        ({"control": Control(has_late_order=True)}, "order_arrived_late"),
        ({"emergency_reasons": ("signal_lag_exceeded",)}, "emergency_stop"),
        ({"is_flattening": True}, "flattening_before_close"),
    ],
)
def test_entry_when_something_rests_entries_then_its_reason(changes: dict[str, Any], reason: str) -> None:
    """Latch, late order, emergency and the last minutes keep entries back, and exits not."""
    assert (_reasons(**changes), _exit(**changes)) == ((reason,), ())


@pytest.mark.parametrize(
    ("age_ms", "reasons"), [(120_000, ()), (120_001, ("signal_stale",)), (-120_001, ("signal_stale",))]
)
def test_signal_stale_when_older_than_limit_then_signal_stale(age_ms: int, reasons: tuple[str, ...]) -> None:
    """The limit itself is allowed, one millisecond more is not, nor is a signal from the future."""
    assert _reasons(signal=make_signal(event_ns=NOW_NS - age_ms * 1_000_000)) == reasons


def test_signal_not_warm_when_bars_are_few_then_signal_not_warm() -> None:
    """Cold indicators do not trade."""
    assert _reasons(signal=make_signal(is_warm=False)) == ("signal_not_warm",)


@pytest.mark.parametrize(
    ("bid", "ask", "reasons"),
    [
        (None, "100", ("missing_price",)),
        ("100", None, ("missing_price",)),
        ("100", "100", ()),
        ("100.01", "100", ("crossed_quote",)),
        ("99.5", "100.5", ()),
        ("99.49", "100.5", ("spread_too_wide",)),
    ],
)
def test_quote_when_one_sided_crossed_or_wide_then_its_reason(
    bid: str | None, ask: str | None, reasons: tuple[str, ...]
) -> None:
    """Both sides, uncrossed, at most 100 hundredths of a percent apart; locked is not crossed."""
    quote = Quote(bid=bid and Decimal(bid), ask=ask and Decimal(ask))  # type: ignore[arg-type]
    assert _reasons(quote=quote) == reasons


@pytest.mark.parametrize("reason", ["qty_below_min", "max_positions_exceeded", "sell_inventory_unavailable"])
def test_quantity_when_nothing_is_left_then_the_binding_constraint(reason: str) -> None:
    """The reason says what left nothing."""
    assert _reasons(size=make_size(0, reason)) == (reason,)


def test_quantity_when_one_share_is_left_then_it_goes() -> None:
    """One share is an order."""
    assert _reasons(size=make_size(1)) == ()


@pytest.mark.parametrize(("cap", "reasons"), [("1000", ()), ("999.99", ("max_notional_exceeded",))])
def test_max_notional_when_global_cap_is_smaller_then_it_counts(cap: str, reasons: tuple[str, ...]) -> None:
    """The smaller of both caps holds, though the strategy's own is larger."""
    strategy = make_strategy(max_notional_per_trade=Decimal(5000))
    assert _reasons(settings=make_settings(TRADING_MAX_NOTIONAL_PER_TRADE=cap), strategy=strategy) == reasons


def test_max_notional_when_strategy_cap_is_smaller_then_it_counts() -> None:
    """And so the other way round."""
    strategy = make_strategy(max_notional_per_trade=Decimal(999))
    assert _reasons(settings=make_settings(TRADING_MAX_NOTIONAL_PER_TRADE="5000"), strategy=strategy) == (
        "max_notional_exceeded",
    )


@pytest.mark.parametrize(
    ("account", "orders", "margin", "reasons"),
    [
        ({"cash": Decimal("1002.5")}, (), "false", ()),
        ({"cash": Decimal("1002.49")}, (), "false", ("insufficient_buying_power",)),
        ({"cash": Decimal(0)}, (), "true", ()),
        ({"cash": Decimal(5000), "buying_power": Decimal("1002.49")}, (), "false", ("insufficient_buying_power",)),
        ({"cash": Decimal(2005)}, (_pending("buy", 10, symbol="MSFT"),), "false", ()),
        (
            {"cash": Decimal("2004.99")},
            (_pending("buy", 10, symbol="MSFT"),),
            "false",
            ("insufficient_buying_power",),
        ),
        (
            {"buying_power": Decimal("2004.99")},
            (_pending("buy", 10, symbol="MSFT", is_in_account=False),),
            "true",
            ("insufficient_buying_power",),
        ),
        ({"buying_power": Decimal("2004.99")}, (_pending("buy", 10, symbol="MSFT"),), "true", ()),
    ],
)
def test_buying_power_when_cash_is_promised_or_margin_off_then_insufficient_buying_power(
    account: dict[str, Any], orders: tuple[PendingOrder, ...], margin: str, reasons: tuple[str, ...]
) -> None:
    """25 basis points are kept; cash alone unless margin is allowed, less what open orders were promised."""
    book = make_book(account=make_account(**account), orders=orders)
    assert _reasons(settings=make_settings(TRADING_ALLOW_MARGIN=margin), book=book) == reasons


@pytest.mark.parametrize(("held", "reasons"), [(10, ()), (11, ("max_position_pct_exceeded",))])
def test_max_position_pct_when_position_grows_over_the_smaller_share_then_max_position_pct_exceeded(
    held: int, reasons: tuple[str, ...]
) -> None:
    """2 % of 100 000 at 100 are 20 shares, what is held counted; the strategy's larger share changes nothing."""
    settings = make_settings(TRADING_MAX_POSITION_PCT_EQUITY="0.02")
    strategy = make_strategy(max_position_pct_equity=Decimal("0.5"))
    assert _reasons(settings=settings, strategy=strategy, book=make_book(make_position(qty=held))) == reasons


SHORTS = {"TRADING_ALLOW_SHORTS": "true"}


def _caps_case(name: str, value: str, book: Any, side: Any, reason: str) -> Any:
    return pytest.param(name, value, book, side, reason, id=f"{reason}-{side}-{value}")


@pytest.mark.parametrize(
    ("name", "value", "book", "side", "reason"),
    [
        _caps_case("MAX_NOTIONAL_PER_SYMBOL", "1999", make_book(make_position()), "buy", "symbol_capacity_exhausted"),
        _caps_case(
            "MAX_GROSS_EXPOSURE",
            "1999",
            make_book(make_position("MSFT", -10)),
            "buy",
            "gross_exposure_capacity_exhausted",
        ),
        _caps_case(
            "MAX_GROSS_EXPOSURE",
            "1999",
            make_book(orders=(_pending("sell", 10, symbol="MSFT"),)),
            "buy",
            "gross_exposure_capacity_exhausted",
        ),
        _caps_case(
            "MAX_NET_EXPOSURE", "1999", make_book(make_position("MSFT")), "buy", "net_exposure_capacity_exhausted"
        ),
        _caps_case(
            "MAX_NET_EXPOSURE",
            "1999",
            make_book(orders=(_pending("sell", 10, symbol="MSFT"),)),
            "sell",
            "net_exposure_capacity_exhausted",
        ),
        _caps_case("MAX_POSITIONS", "1", make_book(make_position("MSFT")), "buy", "max_positions_exceeded"),
        _caps_case(
            "MAX_POSITIONS",
            "1",
            make_book(orders=(_pending("buy", 1, symbol="MSFT"),)),
            "buy",
            "max_positions_exceeded",
        ),
    ],
)
def test_caps_when_the_resulting_book_is_over_then_refused_and_at_the_cap_not(
    name: str, value: str, book: Any, side: Any, reason: str
) -> None:
    """Positions and open orders of anyone count; one dollar more, or one symbol more, lets it pass."""
    variable = f"TRADING_PORTFOLIO_{name}"
    assert _reasons(settings=make_settings(**SHORTS, **{variable: value}), book=book, side=side) == (reason,)
    assert _reasons(settings=make_settings(**SHORTS, **{variable: str(int(value) + 1)}), book=book, side=side) == ()


def test_max_net_when_many_shorts_are_pending_then_none_widens_the_room() -> None:
    """Ten shorts of $500 must not pass a net cap of $1,000: each one pending makes the account shorter, not longer."""
    settings = make_settings(**SHORTS, TRADING_PORTFOLIO_MAX_NET_EXPOSURE="1000")
    book, sent = make_book(), 0
    for index in range(10):
        symbol = f"S{index}"
        given = {"symbol": symbol, "side": "sell", "size": make_size(5), "universe": frozenset({symbol})}
        if _reasons(settings=settings, book=book, **given) == ():
            book, sent = book.with_order(_pending("sell", 5, symbol=symbol, price=100)), sent + 1
    assert (sent, book.net("sell")) == (2, Decimal(-1000))


def test_max_strategy_when_its_shares_and_orders_are_over_then_strategy_capacity_exhausted() -> None:
    """What other strategies hold does not count against it."""
    strategy = make_strategy(max_notional_total=Decimal(2000))
    owned = {(strategy.id, "MSFT"): Decimal(10), ("another", "T"): Decimal(500)}
    positions = (make_position("MSFT"), make_position("T", 500, 1))
    assert _reasons(strategy=strategy, book=make_book(*positions, owned=owned)) == ()
    more = {**owned, (strategy.id, "MSFT"): Decimal(11)}
    assert _reasons(strategy=strategy, book=make_book(*positions, owned=more)) == ("strategy_capacity_exhausted",)


@pytest.mark.parametrize(("held", "side"), [(10, "sell"), (1, "sell"), (-1, "buy"), (-500, "buy")])
def test_entry_when_it_stands_against_a_holding_then_sell_inventory_unavailable(held: int, side: Any) -> None:
    """Holding 1 share, nothing sells 500 by opening the other side: a signal against a holding only exits."""
    settings = make_settings(**SHORTS)
    reasons = _reasons(settings=settings, side=side, size=make_size(500), book=make_book(make_position(qty=held)))
    assert "sell_inventory_unavailable" in reasons


def test_shorts_when_not_allowed_then_shorts_not_allowed() -> None:
    """Nothing is held, so nothing is sold."""
    assert _reasons(side="sell") == ("shorts_not_allowed",)


@pytest.mark.parametrize(("qty", "reasons"), [("10", ()), ("10.5", ("shorts_not_allowed",))])
def test_shorts_when_allowed_then_whole_shares_pass(qty: str, reasons: tuple[str, ...]) -> None:
    """TRADING_ALLOW_SHORTS opens this gate; a fraction is never sold short."""
    assert _reasons(settings=make_settings(**SHORTS), side="sell", size=make_size(qty)) == reasons


@pytest.mark.parametrize(
    ("asset", "mode", "reasons"),
    [
        (Asset(is_shortable=False, is_easy=False), "paper", ("local_symbol_not_shortable",)),
        (Asset(is_shortable=True, is_easy=False), "paper", ("local_symbol_not_easy_to_borrow",)),
        (None, "paper", ()),
        (None, "live", ("shorting_metadata_unavailable",)),
    ],
)
def test_borrowing_when_shares_cannot_be_borrowed_then_the_reason(
    asset: Asset | None, mode: str, reasons: tuple[str, ...]
) -> None:
    """What opens a short position must be borrowed, and in live trading not knowing refuses."""
    live = {"mode": mode, "live_enabled": True, "broker_url": "https://api.alpaca.markets"}
    settings = make_settings(**SHORTS).model_copy(update=live if mode == "live" else {})
    assert _reasons(settings=settings, asset=asset, side="sell") == reasons
    assert _reasons(settings=settings, asset=asset, side="buy") == ()


def test_open_order_conflict_when_anyone_has_an_order_in_the_symbol_then_open_order_conflict() -> None:
    """One entry per symbol at a time; another symbol's order is no conflict."""
    assert _reasons(book=make_book(orders=(_pending("buy", 1),))) == ("open_order_conflict",)
    assert _reasons(book=make_book(orders=(_pending("buy", 1, symbol="MSFT"),))) == ()


@pytest.mark.parametrize(
    ("seconds", "ago", "reasons"),
    [
        ("60", None, ()),
        ("60", 60, ()),
        ("60", 59, ("cooldown_active",)),
        ("1", 0, ("cooldown_active",)),
        ("0", 0, ()),
    ],
)
def test_cooldown_when_last_order_is_recent_then_cooldown_active(
    seconds: str, ago: int | None, reasons: tuple[str, ...]
) -> None:
    """The first order waits for nothing, and the end of the wait is open; a second is a cooldown too."""
    last = None if ago is None else NOW_NS - ago * 1_000_000_000
    assert _reasons(settings=make_settings(TRADING_COOLDOWN_SECONDS=seconds), last_order_ns=last) == reasons


@pytest.mark.parametrize(
    "changes",
    [
        {"book": None},
        {"quote": Quote(bid=None, ask=Decimal(100))},
        {"size": None},
        {"size": make_size(0)},
        {"size": make_size(0), "quote": Quote(bid=None, ask=None)},
        {"book": None, "quote": Quote(bid=None, ask=None)},
    ],
)
def test_context_when_something_of_the_order_is_missing_then_there_is_no_resulting_book(
    changes: dict[str, Any],
) -> None:
    """Without book, price or shares there is nothing to ask caps about, and it exposes nothing."""
    context = make_context(**changes)
    assert (context.result, context.own_side_exposure) == (None, 0)


def test_context_when_there_is_no_size_then_no_shares_and_no_dollars() -> None:
    """What was not sized is nothing, and what has no price has no value."""
    assert (make_context(size=None).qty, make_context(size=None).notional) == (0, 0)
    assert make_context(quote=Quote(bid=None, ask=None)).notional is None
    assert make_context(book=None).caps is None


def test_context_when_terms_are_dearer_than_the_quote_then_judged_at_them() -> None:
    """A limit above the ask is what the order may cost."""
    terms = Terms(type="stop_limit", limit_price=Decimal(103), stop_price=Decimal(102))
    assert make_context(terms=terms).price == 103
    assert make_context(side="sell").price == Decimal("99.99")


def test_context_when_an_order_is_added_then_it_is_its_strategys_at_its_side_and_price() -> None:
    """The resulting book holds this very order."""
    context = make_context(side="sell", size=make_size(4))
    assert context.result is not None
    [order] = context.result.orders
    assert (order.symbol, order.side, order.qty, order.price, order.strategy_id) == (
        "AAPL",
        "sell",
        4,
        Decimal("99.99"),
        context.strategy.id,
    )
    # Four short, at the dearest price that is known.
    assert context.own_side_exposure == 400


def test_caps_when_the_resulting_book_is_well_within_all_then_none_refuses() -> None:
    """A cap is a most, not a must."""
    settings = make_settings(
        TRADING_MAX_NOTIONAL_PER_TRADE="50000",
        TRADING_MAX_POSITION_PCT_EQUITY="0.9",
        TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE="50000",
        TRADING_PORTFOLIO_MAX_NET_EXPOSURE="50000",
        TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL="50000",
        TRADING_PORTFOLIO_MAX_POSITIONS="9",
        TRADING_ALLOW_SHORTS="true",
    )
    strategy = make_strategy(max_notional_total=Decimal(50_000))
    for side in ("buy", "sell"):
        assert refusals(make_context(settings=settings, strategy=strategy, side=side)) == ()


@pytest.mark.parametrize(("held", "side"), [(5, "buy"), (-5, "sell"), (0, "buy"), (0, "sell")])
def test_opposite_holding_when_the_order_adds_to_what_is_held_then_it_is_not_against_it(held: int, side: Any) -> None:
    """More of the same side, or a first order, stands against nothing."""
    book = make_book(*((make_position("AAPL", held),) if held else ()))
    assert opposite_holding.check(make_context(book=book, side=side)) is None


@pytest.mark.parametrize("qty", [0, -1])
def test_quantity_when_nothing_names_a_constraint_then_qty_below_min(qty: int) -> None:
    """Nothing to order is refused, with or without a reason of the sizing's."""
    assert quantity.check(make_context(size=make_size(qty))) == "qty_below_min"


@pytest.mark.parametrize(
    ("held", "side", "reason"),
    [
        (10, "sell", None),
        (20, "sell", None),
        (9, "sell", "shorts_not_allowed"),
        (0, "sell", "shorts_not_allowed"),
        (-20, "buy", None),
        (0, "buy", None),
    ],
)
def test_shorts_when_a_sell_of_ten_leaves_less_than_nothing_then_shorts_not_allowed(
    held: int, side: Any, reason: str | None
) -> None:
    """To nothing is not below it, and a buy never sells short, whatever is held."""
    book = make_book(*((make_position("AAPL", held),) if held else ()))
    assert shorts.check(make_context(book=book, side=side)) == reason


@pytest.mark.parametrize(("ahead_ms", "reason"), [(120_000, None), (120_001, "signal_stale")])
def test_signal_stale_when_it_is_of_the_future_then_as_bounded_as_the_past(ahead_ms: int, reason: str | None) -> None:
    """Two clocks may differ a little; a signal from far ahead is no signal of now."""
    signal = make_signal(event_ns=NOW_NS + ahead_ms * 1_000_000)
    assert signal_stale.check(make_context(signal=signal)) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "trading_stopped"),
        ({"settings": {"TRADING_ENABLED": "false"}}, None),
        ({"settings": {"TRADING_KILL_SWITCH_ENABLED": "true"}}, None),
        ({"is_killed": True}, None),
    ],
)
def test_trading_stopped_when_a_switch_here_says_it_already_then_the_switch_is_the_reason(
    changes: dict[str, Any], reason: str | None
) -> None:
    """Each switch alone stands for the stop that it recorded."""
    context = make_context(
        settings=make_settings(**changes.get("settings", {})),
        control=Control(is_stopped=True, is_killed=changes.get("is_killed", False)),
    )
    assert trading_stopped.check(context) == reason


def test_cooldown_when_there_is_none_then_no_order_of_whatever_time_stands_in_the_way() -> None:
    """Zero seconds are none, though the last order's clock was ahead of this one."""
    assert cooldown.check(make_context(last_order_ns=NOW_NS + 1)) is None
