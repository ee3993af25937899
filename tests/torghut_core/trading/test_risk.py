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
    make_intent,
    make_settings,
    make_signal,
    make_strategy,
)
from torghut_core.market_calendar import Session
from torghut_core.trading.decision.sizing import Size
from torghut_core.trading.model import Borrow
from torghut_core.trading.risk import refusals


def test_gates_when_nothing_is_wrong_then_none_refuses() -> None:
    """The default context of these tests passes, so that each test below is about its own change."""
    assert refusals(make_context()) == ()


def _reasons(**changes: Any) -> tuple[str, ...]:
    return refusals(make_context(**changes))


def _sell(qty: int, **book: Any) -> dict[str, Any]:
    return {
        "intent": make_intent(side="sell"),
        "size": Size(qty=qty, reason=None, audit={}),
        "book": make_book(**book),
    }


def test_trading_disabled_when_not_enabled_then_trading_disabled() -> None:
    """TRADING_ENABLED=false refuses."""
    assert _reasons(settings=make_settings(TRADING_ENABLED="false")) == ("trading_disabled",)


def test_kill_switch_when_on_then_kill_switch_enabled() -> None:
    """The kill switch refuses though trading is enabled."""
    assert _reasons(settings=make_settings(TRADING_KILL_SWITCH_ENABLED="true")) == ("kill_switch_enabled",)


def test_kill_switch_when_trading_is_disabled_too_then_both_are_named() -> None:
    """Every reason is recorded, not the first alone."""
    settings = make_settings(TRADING_KILL_SWITCH_ENABLED="true", TRADING_ENABLED="false")
    assert _reasons(settings=settings) == ("trading_disabled", "kill_switch_enabled")


def test_live_trading_when_account_is_not_confirmed_then_live_trading_disabled() -> None:
    """Unknown is not confirmed."""
    assert _reasons(is_account_confirmed=False) == ("live_trading_disabled",)


def test_live_trading_when_live_host_slips_into_paper_then_live_trading_disabled() -> None:
    """The gate judges for itself, though start-up refuses such settings."""
    settings = make_settings().model_copy(update={"broker_url": "https://api.alpaca.markets"})
    assert _reasons(settings=settings) == ("live_trading_disabled",)


def test_leadership_when_lock_is_not_held_then_not_leader() -> None:
    """Only the leader orders."""
    assert _reasons(is_leader=False) == ("not_leader",)


def test_strategy_disabled_when_strategy_is_disabled_then_strategy_disabled() -> None:
    """A proposal does not outlive its strategy."""
    assert _reasons(intent=make_intent(strategy=make_strategy(is_enabled=False))) == ("strategy_disabled",)


@pytest.mark.parametrize(
    "changes",
    [
        {"universe": frozenset({"MSFT"})},
        {"universe": frozenset()},
        {"intent": make_intent(strategy=make_strategy(symbols=("MSFT",)))},
    ],
)
def test_symbol_not_allowed_when_outside_universe_or_own_list_then_symbol_not_allowed(changes: dict[str, Any]) -> None:
    """An empty universe allows nothing; the strategy's list narrows it."""
    assert _reasons(**changes) == ("symbol_not_allowed",)


@pytest.mark.parametrize("session", [Session.PRE, Session.POST, Session.CLOSED])
def test_market_closed_when_not_regular_then_market_closed(session: Session) -> None:
    """Market orders are for the regular session."""
    assert _reasons(session=session) == ("market_closed",)


@pytest.mark.parametrize(
    ("age_ms", "reasons"), [(120_000, ()), (120_001, ("signal_stale",)), (-120_001, ("signal_stale",))]
)
def test_signal_stale_when_older_than_limit_then_signal_stale(age_ms: int, reasons: tuple[str, ...]) -> None:
    """The limit itself is allowed, one millisecond more is not, nor is a signal from the future."""
    signal = make_signal(event_ns=NOW_NS - age_ms * 1_000_000)
    assert _reasons(intent=make_intent(signal=signal)) == reasons


def test_signal_not_warm_when_bars_are_few_then_signal_not_warm() -> None:
    """Cold indicators do not trade."""
    assert _reasons(intent=make_intent(signal=make_signal(is_warm=False))) == ("signal_not_warm",)


def test_missing_price_when_there_is_none_then_missing_price() -> None:
    """No recent micro-bar, no order."""
    assert _reasons(price=None, size=None) == ("missing_price",)


def test_account_unavailable_when_broker_does_not_answer_then_account_unavailable() -> None:
    """What cannot be read refuses."""
    assert _reasons(account=None, book=None, size=None) == ("account_unavailable",)


def test_account_unavailable_when_account_is_blocked_then_account_blocked() -> None:
    """A blocked account is named as such."""
    assert _reasons(account=make_account(is_blocked=True)) == ("account_blocked",)


@pytest.mark.parametrize("reason", ["qty_below_min", "max_positions_exceeded", "sell_inventory_unavailable"])
def test_quantity_when_nothing_is_left_then_the_binding_constraint(reason: str) -> None:
    """The reason says what left nothing."""
    assert _reasons(size=Size(qty=0, reason=reason, audit={})) == (reason,)


@pytest.mark.parametrize(("cap", "reasons"), [("1000", ()), ("999.99", ("max_notional_exceeded",))])
def test_max_notional_when_global_cap_is_smaller_then_it_counts(cap: str, reasons: tuple[str, ...]) -> None:
    """The smaller of both caps holds, though the strategy's own is larger."""
    strategy = make_strategy(max_notional_per_trade=Decimal(5000))
    settings = make_settings(TRADING_MAX_NOTIONAL_PER_TRADE=cap)
    assert _reasons(settings=settings, intent=make_intent(strategy=strategy)) == reasons


def test_max_notional_when_sell_reduces_then_passes() -> None:
    """A cap on what opens exposure does not hold back an exit."""
    settings = make_settings(TRADING_MAX_NOTIONAL_PER_TRADE="10")
    assert _reasons(settings=settings, **_sell(10, position_qty=Decimal(10))) == ()


@pytest.mark.parametrize(
    ("buying_power", "reserved", "reasons"),
    [
        ("1002.5", "0", ()),
        ("1002.49", "0", ("insufficient_buying_power",)),
        ("2000", "997.5", ()),
        ("2000", "997.51", ("insufficient_buying_power",)),
    ],
)
def test_buying_power_when_reserved_or_short_then_insufficient_buying_power(
    buying_power: str, reserved: str, reasons: tuple[str, ...]
) -> None:
    """25 basis points are kept, and what is promised to other orders is not there."""
    account = make_account(buying_power=Decimal(buying_power))
    assert _reasons(account=account, reserved=Decimal(reserved)) == reasons


@pytest.mark.parametrize(("held", "reasons"), [(10, ()), (11, ("max_position_pct_exceeded",))])
def test_max_position_pct_when_position_grows_over_share_then_max_position_pct_exceeded(
    held: int, reasons: tuple[str, ...]
) -> None:
    """2 % of 100 000 at 100 are 20 shares, what is held counted."""
    settings = make_settings(TRADING_MAX_POSITION_PCT_EQUITY="0.02")
    assert _reasons(settings=settings, book=make_book(position_qty=Decimal(held))) == reasons


def test_max_position_pct_when_position_shrinks_then_passes() -> None:
    """A position that is too large already may be reduced."""
    settings = make_settings(TRADING_MAX_POSITION_PCT_EQUITY="0.001")
    assert _reasons(settings=settings, **_sell(10, position_qty=Decimal(500))) == ()


@pytest.mark.parametrize(
    ("held", "pending", "reasons"),
    [(10, 0, ()), (9, 0, ("shorts_not_allowed",)), (15, 6, ("shorts_not_allowed",)), (0, 0, ("shorts_not_allowed",))],
)
def test_shorts_when_more_is_sold_than_free_then_shorts_not_allowed(
    held: int, pending: int, reasons: tuple[str, ...]
) -> None:
    """Shares promised to an open sell cannot be sold twice."""
    sell = _sell(10, position_qty=Decimal(held), pending_sells=Decimal(pending))
    assert _reasons(**sell) == reasons


def test_shorts_when_allowed_then_passes() -> None:
    """TRADING_ALLOW_SHORTS opens this gate; buying power still counts."""
    assert _reasons(settings=make_settings(TRADING_ALLOW_SHORTS="true"), **_sell(10)) == ()


@pytest.mark.parametrize(
    ("borrow", "mode", "held", "reasons"),
    [
        (Borrow(is_shortable=False, is_easy=False), "paper", 0, ("local_symbol_not_shortable",)),
        (Borrow(is_shortable=True, is_easy=False), "paper", 0, ("local_symbol_not_easy_to_borrow",)),
        (Borrow(is_shortable=False, is_easy=False), "paper", 10, ()),
        (None, "paper", 0, ()),
        (None, "live", 0, ("shorting_metadata_unavailable",)),
        (None, "live", 10, ()),
    ],
)
def test_borrowing_when_shares_cannot_be_borrowed_then_the_reason(
    borrow: Borrow | None, mode: str, held: int, reasons: tuple[str, ...]
) -> None:
    """Only what opens a short position must be borrowed, and in live trading not knowing refuses."""
    live = {"mode": mode, "live_enabled": True, "broker_url": "https://api.alpaca.markets"}
    settings = make_settings(TRADING_ALLOW_SHORTS="true").model_copy(update=live if mode == "live" else {})
    assert _reasons(settings=settings, borrow=borrow, **_sell(10, position_qty=Decimal(held))) == reasons


def test_open_order_conflict_when_symbol_is_busy_then_open_order_conflict() -> None:
    """One order per symbol at a time; another symbol's order is no conflict."""
    assert _reasons(busy_symbols=frozenset({"AAPL"})) == ("open_order_conflict",)
    assert _reasons(busy_symbols=frozenset({"MSFT"})) == ()


@pytest.mark.parametrize(("ago", "reasons"), [(None, ()), (60, ()), (59, ("cooldown_active",))])
def test_cooldown_when_last_order_is_recent_then_cooldown_active(ago: int | None, reasons: tuple[str, ...]) -> None:
    """The first order waits for nothing, and the end of the wait is open."""
    last = None if ago is None else NOW_NS - ago * 1_000_000_000
    assert _reasons(settings=make_settings(TRADING_COOLDOWN_SECONDS="60"), last_order_ns=last) == reasons
