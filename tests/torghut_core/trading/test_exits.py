"""Closing what is held: how much, what calls for it, and the attempts until it is flat."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_service import cross_down, eventually, running, service_environment
from tests.fakes.trading_values import NOW_NS, make_book, make_position, make_strategy
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.decision.book import PendingOrder
from torghut_core.trading.decision.exits import Holding, exit_qty, is_flattening, triggered

MINE, THEIRS = make_strategy().id, "another"


def _order(side: Any, qty: int | str, symbol: str = "AAPL") -> PendingOrder:
    return PendingOrder(symbol=symbol, side=side, qty=Decimal(qty), price=None)


@pytest.mark.parametrize(
    ("held", "available", "orders", "owned", "qty"),
    [
        (10, 10, (), {}, "10"),
        (-10, 10, (), {}, "10"),
        (10, 4, (), {}, "4"),
        (10, 10, (_order("sell", 3),), {}, "7"),
        (-10, 10, (_order("buy", 3),), {}, "7"),
        (10, 10, (_order("buy", 3),), {}, "10"),
        (10, 10, (_order("sell", 3, "MSFT"),), {}, "10"),
        (10, 10, (_order("sell", 30),), {}, "0"),
        (10, 10, (), {(MINE, "AAPL"): 4}, "10"),
        (10, 10, (), {(THEIRS, "AAPL"): 4}, "6"),
        (10, 10, (), {(THEIRS, "AAPL"): 10}, "0"),
        (-10, 10, (), {(THEIRS, "AAPL"): -4}, "6"),
        ("1.5", "1.5", (), {}, "1.5"),
        (5, 5, (), {(MINE, "AAPL"): "2.5", (THEIRS, "AAPL"): "2.5"}, "3"),
        (0, 0, (), {}, "0"),
    ],
)
def test_exit_qty_when_shares_are_promised_or_anothers_then_the_rest(
    held: Any, available: Any, orders: Any, owned: dict[tuple[str, str], Any], qty: str
) -> None:
    """min(available, held less what open orders of anyone would close), of what is the strategy's or nobody's."""
    book = make_book(
        make_position(qty=held, available=Decimal(available)),
        orders=orders,
        owned={key: Decimal(value) for key, value in owned.items()},
    )
    assert exit_qty(book, MINE, "AAPL") == Decimal(qty)


def _holding(*, is_long: bool = True, best: int | str = 100) -> Holding:
    return Holding(symbol="AAPL", number=1, is_long=is_long, opened_ns=NOW_NS, best_price=Decimal(best))


@pytest.mark.parametrize(
    ("name", "is_long", "best", "price", "cause"),
    [
        ("stop_loss_pct", True, 100, "95.01", None),
        ("stop_loss_pct", True, 100, "95", "stop_loss"),
        ("stop_loss_pct", False, 100, "104.99", None),
        ("stop_loss_pct", False, 100, "105", "stop_loss"),
        ("take_profit_pct", True, 105, "104.99", None),
        ("take_profit_pct", True, 105, "105", "take_profit"),
        ("take_profit_pct", False, 95, "95.01", None),
        ("take_profit_pct", False, 95, "95", "take_profit"),
        ("trailing_stop_pct", True, 200, "190.01", None),
        ("trailing_stop_pct", True, 200, "190", "trailing_stop"),
        ("trailing_stop_pct", False, 80, "83.99", None),
        ("trailing_stop_pct", False, 80, "84", "trailing_stop"),
    ],
)
def test_triggered_when_the_price_touches_a_stop_then_its_cause(
    name: str, is_long: bool, best: int, price: str, cause: str | None
) -> None:
    """5 % against the entry at 100, for it, or off the best price since; for either side, the touch included."""
    strategy = make_strategy(**{name: Decimal("0.05")})
    holding = _holding(is_long=is_long, best=best)
    assert triggered(holding, strategy, entry_price=Decimal(100), price=Decimal(price)) == cause


def test_triggered_when_several_stops_are_touched_then_the_loss_is_named() -> None:
    """The most urgent first."""
    strategy = make_strategy(stop_loss_pct=Decimal("0.05"), trailing_stop_pct=Decimal("0.01"))
    assert triggered(_holding(), strategy, entry_price=Decimal(100), price=Decimal(90)) == "stop_loss"


def test_triggered_when_no_stop_is_set_then_nothing() -> None:
    """A strategy without stops exits by signals alone."""
    assert triggered(_holding(), make_strategy(), entry_price=Decimal(100), price=Decimal(1)) is None


def test_holding_when_the_market_moves_then_the_best_price_only_improves() -> None:
    """Up for a long one, down for a short one."""
    assert _holding().seen_at(Decimal(101)).best_price == 101
    assert _holding().seen_at(Decimal(99)).best_price == 100
    assert _holding(is_long=False).seen_at(Decimal(99)).best_price == 99
    assert _holding(is_long=False).seen_at(Decimal(101)).best_price == 100


@pytest.mark.parametrize(
    ("minutes", "left_s", "expected"),
    [(5, 300, True), (5, 301, False), (5, 1, True), (5, 0, False), (5, -60, False), (0, 60, False)],
)
def test_flattening_when_the_close_is_near_then_true(minutes: float, left_s: int, expected: bool) -> None:
    """The last minutes, the first instant of them included, and never after the close."""
    assert is_flattening(NOW_NS, NOW_NS + left_s * 1_000_000_000, minutes) is expected
    assert is_flattening(NOW_NS, None, minutes) is False


def test_holding_when_named_then_symbol_side_and_number() -> None:
    """The name is part of keys that are stored; the closing side is the one that was not opened."""
    assert (_holding().id, _holding().closing_side) == ("AAPL/long/1", "sell")
    assert (_holding(is_long=False).id, _holding(is_long=False).closing_side) == ("AAPL/short/1", "buy")


async def _sold(client: Any) -> list[dict[str, Any]]:
    """Return the exits once there is one that was filled."""
    rows = await eventually(
        client,
        "/trading/decisions",
        lambda body: any(row["leg"] == "exit" and row["status"] == "filled" for row in body),
    )
    return [row for row in rows if row["leg"] == "exit"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("held", "changes"),
    [
        (10, {}),
        (20, {"TRADING_PORTFOLIO_NOTIONAL_PER_POSITION": "1800"}),
        (20, {"TRADING_PORTFOLIO_NOTIONAL_PER_POSITION": "50", "TRADING_PORTFOLIO_MAX_GROSS_EXPOSURE": "1"}),
        (1, {"TRADING_ALLOW_SHORTS": "true", "TRADING_PORTFOLIO_NOTIONAL_PER_POSITION": "50000"}),
        (1.5, {}),
    ],
)
async def test_exit_when_a_signal_stands_against_the_holding_then_exactly_that_is_sold(
    postgres: Postgres, broker_server: Any, held: float, changes: dict[str, str]
) -> None:
    """Never more than is held, never less for a budget or a cap, and nothing is opened the other way."""
    tables = SignalTables()
    broker_server.state.positions = {"AAPL": held}
    broker_server.state.order_status = "filled"
    async with running(service_environment(broker_server.url, **changes), tables, postgres) as client:
        await eventually(client, "/trading/positions", bool)
        await eventually(client, "/trading/status", lambda body: bool(body["last_reconcile_at"]))
        cross_down(tables)
        await _sold(client)
    assert [(body["side"], float(body["qty"]), body["type"]) for body in broker_server.state.bodies] == [
        ("sell", held, "market")
    ]
    assert broker_server.state.positions["AAPL"] == 0


@pytest.mark.engine
async def test_exit_when_a_person_sells_part_then_only_the_rest(postgres: Postgres, broker_server: Any) -> None:
    """An open order of somebody else is seen."""
    tables = SignalTables()
    broker_server.state.positions = {"AAPL": 10}
    broker_server.state.order_status = "filled"
    broker_server.state.foreign = [
        {
            "id": "p1",
            "client_order_id": "a person's",
            "symbol": "AAPL",
            "side": "sell",
            "type": "limit",
            "limit_price": "120",
            "time_in_force": "day",
            "qty": "6",
            "filled_qty": "0",
            "status": "new",
        }
    ]
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        status = await eventually(client, "/trading/status", lambda body: bool(body["account_confirmed"]))
        await eventually(client, "/trading/status", lambda body: bool(body["last_reconcile_at"]))
        cross_down(tables)
        await _sold(client)
    assert [(body["side"], body["qty"]) for body in broker_server.state.bodies] == [("sell", "4")]
    assert status["foreign"]["orders"] == [{"symbol": "AAPL", "side": "sell", "qty": "6"}]


@pytest.mark.engine
async def test_exit_when_the_broker_refuses_then_it_is_asked_again_with_another_key_until_flat(
    postgres: Postgres, broker_server: Any
) -> None:
    """A refusal settles an attempt, not the exit."""
    tables = SignalTables()
    broker_server.state.positions = {"AAPL": 10}
    broker_server.state.order_status = "filled"
    broker_server.state.fault = "refused"
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: bool(body["last_reconcile_at"]))
        cross_down(tables)
        await broker_server.state.submitted.wait()
        broker_server.state.fault = None
        attempts = await _sold(client)
    assert broker_server.state.positions["AAPL"] == 0
    assert [row["status"] for row in attempts] == ["filled", "rejected"]
    assert [row["decision"]["attempt"] for row in attempts] == [2, 1]
    assert len(set(broker_server.state.posts)) == len(broker_server.state.posts) == 2


@pytest.mark.engine
async def test_exit_when_the_ai_is_down_or_would_veto_then_it_goes(postgres: Postgres, broker_server: Any) -> None:
    """Reviews are for what opens."""
    tables = SignalTables()
    broker_server.state.positions = {"AAPL": 10}
    broker_server.state.order_status = "filled"
    environment = service_environment(
        broker_server.url, LLM_ENABLED="true", LLM_SHADOW_MODE="false", OPENAI_BASE_URL="http://127.0.0.1:9"
    )
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: bool(body["last_reconcile_at"]))
        cross_down(tables)
        await _sold(client)
        metrics = (await client.get("/trading/status")).json()["metrics"]
    assert (broker_server.state.positions["AAPL"], metrics["llm_requests_total"]) == (0, 0)


@pytest.mark.engine
async def test_exit_when_a_stop_loss_is_touched_by_a_row_then_sold(
    postgres: Postgres, broker_server: Any, tmp_path: Any
) -> None:
    """The loop keeps the strategy's stop: a row quoted at 94 closes what cost 100."""
    catalogue = tmp_path / "strategies.yaml"
    catalogue.write_text("strategies: [{name: macd-rsi, base_timeframe: 1Sec, stop_loss_pct: 0.05}]")
    tables = SignalTables()
    broker_server.state.positions = {"AAPL": 10}
    broker_server.state.order_status = "filled"
    environment = service_environment(broker_server.url, TRADING_STRATEGY_CONFIG_PATH=str(catalogue))
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: bool(body["last_reconcile_at"]))
        now_ms = time.time_ns() // 1_000_000
        tables.add("AAPL", now_ms, macd=1.0, rsi14=50.0, bid=94.0, ask=94.1)
        [row] = await _sold(client)
    assert (row["cause"], broker_server.state.positions["AAPL"]) == ("stop_loss", 0)


@pytest.mark.engine
async def test_exit_when_a_gate_that_exits_obey_refuses_then_it_waits_and_says_why_once(
    postgres: Postgres, broker_server: Any
) -> None:
    """The reason is one decision, not one a second; when it is gone the exit goes."""
    tables = SignalTables()
    broker_server.state.positions = {"AAPL": 10}
    broker_server.state.order_status = "filled"
    environment = service_environment(broker_server.url)
    async with running({**environment, "TRADING_ENABLED": "false"}, tables, postgres) as client:
        await eventually(
            client, "/trading/status", lambda body: bool(body["last_reconcile_at"] and body["last_run_at"])
        )
        cross_down(tables)
        await eventually(client, "/trading/decisions", bool)
        before = (await client.get("/trading/status")).json()["last_run_at"]
        await eventually(client, "/trading/status", lambda body: body["last_run_at"] > before)
        [row] = (await client.get("/trading/decisions")).json()
    assert (row["leg"], row["status"], row["risk_reasons"]) == ("exit", "rejected", "trading_disabled")
    async with running(environment, tables, postgres) as client:
        await _sold(client)
    assert broker_server.state.positions["AAPL"] == 0
