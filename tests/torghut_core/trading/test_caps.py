"""The limits in force: of two that say the same the smaller, shares of equity in dollars."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.trading_values import make_settings, make_strategy
from torghut_core.trading.decision.caps import Caps, caps_of, smallest

NONE: dict[str, Any] = dict.fromkeys(("trade", "symbol", "position", "strategy", "gross", "net", "positions"))


@pytest.mark.parametrize(
    ("strategy", "environment", "caps"),
    [
        ({}, {}, {}),
        ({"max_notional_per_trade": Decimal(10)}, {"TRADING_MAX_NOTIONAL_PER_TRADE": "20"}, {"trade": 10}),
        ({"max_notional_per_trade": Decimal(30)}, {"TRADING_MAX_NOTIONAL_PER_TRADE": "20"}, {"trade": 20}),
        ({"max_notional_total": Decimal(30)}, {}, {"strategy": 30}),
        ({}, {"TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL": "5"}, {"symbol": 5}),
        ({"max_position_pct_equity": Decimal("0.1")}, {"TRADING_MAX_POSITION_PCT_EQUITY": "0.2"}, {"position": 100}),
        ({"max_position_pct_equity": Decimal("0.3")}, {"TRADING_MAX_POSITION_PCT_EQUITY": "0.2"}, {"position": 200}),
        ({}, {"TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE": "7"}, {"gross": 7}),
        ({}, {"TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE_PCT_EQUITY": "0.5"}, {"gross": 500}),
        (
            {},
            {
                "TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE": "700",
                "TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE_PCT_EQUITY": "0.5",
            },
            {"gross": 500},
        ),
        (
            {},
            {"TRADING_PORTFOLIO_MAX_NET_EXPOSURE": "300", "TRADING_PORTFOLIO_MAX_NET_EXPOSURE_PCT_EQUITY": "0.5"},
            {"net": 300},
        ),
        ({}, {"TRADING_PORTFOLIO_MAX_POSITIONS": "3"}, {"positions": 3}),
    ],
)
def test_caps_when_limits_are_set_then_the_smaller_of_each_kind(
    strategy: dict[str, Any], environment: dict[str, str], caps: dict[str, int]
) -> None:
    """With $1,000 of equity; what is not set is no limit."""
    found = caps_of(make_settings(**environment), make_strategy(**strategy), Decimal(1000))
    assert found == Caps(**{**NONE, **caps})


def test_caps_when_equity_is_gone_then_shares_of_it_are_nothing() -> None:
    """A share of less than nothing allows nothing, never a limit turned round."""
    settings = make_settings(
        TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE_PCT_EQUITY="2", TRADING_PORTFOLIO_MAX_NET_EXPOSURE_PCT_EQUITY="1"
    )
    found = caps_of(settings, make_strategy(max_position_pct_equity=Decimal("0.5")), Decimal(-5000))
    assert (found.position, found.gross, found.net) == (0, 0, 0)


def test_smallest_when_none_is_set_then_no_limit() -> None:
    """None is no limit, and never counts as zero."""
    assert (smallest(None, None), smallest(None, Decimal(3), Decimal(2)), smallest(Decimal(0), None)) == (None, 2, 0)
