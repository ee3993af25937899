"""Two strategies on one symbol: whose the shares are, through other people's sales, splits, restarts and late fills."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_desk import Desk, open_desk
from tests.fakes.trading_service import eventually, running, service_environment
from tests.fakes.trading_values import NOW_NS, make_account, make_book, make_order, make_position, make_signal
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.decision.desk import open_book
from torghut_core.trading.leadership import ClaimRequest
from torghut_core.trading.model import OrderRequest, Side, Snapshot, Strategy
from torghut_core.trading.money.attribution import Settled, corrections
from torghut_core.trading.store.database import Database, DatabaseError
from torghut_core.trading.store.money import MoneyStore
from torghut_core.trading.store.orders import OpenExecution
from torghut_core.trading.strategies.catalogue import read_catalogue

A, B = "a", "b"


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Two strategies on the same symbol; only the first has a stop."""
    path = tmp_path / "strategies.yaml"
    path.write_text(
        "strategies:\n"
        "  - {name: first, base_timeframe: 1Sec, symbols: [AAPL], stop_loss_pct: 0.05}\n"
        "  - {name: second, base_timeframe: 1Sec, symbols: [AAPL]}\n"
    )
    return path


@pytest.fixture
async def desk(postgres: Postgres, database: Database, broker_server: Any) -> Any:
    broker = broker_server.client(timeout_seconds=2)
    made = open_desk(postgres, database, broker)
    assert made.leadership.check(now_ns=NOW_NS) is True
    yield made
    made.leadership.release()
    await broker.close()


def _strategies(desk: Desk, catalogue: Path) -> dict[str, Strategy]:
    found = desk.decisions.apply_catalogue(read_catalogue(catalogue), mode="sync", now_ns=NOW_NS)
    return {strategy.name: strategy for strategy in found}


async def _buy(desk: Desk, strategy: Strategy, broker_server: Any, qty: int = 10) -> None:
    broker_server.state.order_status = "filled"
    desk.strategy = strategy
    intent, decision_id = desk.plan(signal=make_signal())
    order = OrderRequest(client_order_id=intent.key, symbol="AAPL", side="buy", qty=Decimal(qty))
    request = ClaimRequest(
        decision_id=decision_id,
        order=order,
        account_label="paper",
        leg="entry",
        strategy_id=strategy.id,
        price=Decimal(100),
        reserved_notional=Decimal(1000),
    )
    assert await desk.execution.submit(request) == "accepted"


@pytest.mark.engine
async def test_two_strategies_when_one_stops_out_after_a_sale_elsewhere_and_a_split_then_only_its_own_shares(
    desk: Desk, postgres: Postgres, database: Database, broker_server: Any, catalogue: Path
) -> None:
    """Ten each; a person sells ten of them, then four for one: the stop sells twenty, and the other keeps its twenty."""
    strategies = _strategies(desk, catalogue)
    for name in ("first", "second"):
        await _buy(desk, strategies[name], broker_server)
    desk.leadership.release()
    state, tables = broker_server.state, SignalTables()
    environment = service_environment(broker_server.url, TRADING_STRATEGY_CONFIG_PATH=str(catalogue))

    async def owners(client: Any, qty: int) -> Any:
        return await eventually(
            client, "/trading/positions", lambda rows: [item["qty"] for item in rows[0]["owners"]] == [qty, qty]
        )

    async with running(environment, tables, postgres) as client:
        await eventually(
            client, "/trading/status", lambda _: "AAPL" in MoneyStore(database, account_label="paper").settled()
        )
        state.positions["AAPL"] = 10
        [row] = await owners(client, 5)
        assert (row["own_qty"], row["nobodys_qty"]) == (10, 0)
        state.positions["AAPL"], state.entry_prices["AAPL"], state.prices["AAPL"] = 40, 25, 25
        [row] = await owners(client, 20)
        assert [(item["strategy"], item["average_price"]) for item in row["owners"]] == [
            ("first", 25.125),
            ("second", 25.125),
        ]
        tables.add("AAPL", time.time_ns() // 1_000_000, macd=1.0, rsi14=50.0, bid=23.0, ask=23.1)
        rows = await eventually(
            client,
            "/trading/decisions",
            lambda body: any(row["status"] == "filled" and row["leg"] == "exit" for row in body),
        )
        status = (await client.get("/trading/status")).json()
    sold = [(body["side"], body["qty"]) for body in state.bodies[2:]]
    assert (sold, state.positions["AAPL"]) == ([("sell", "20")], 20)
    assert {row["cause"] for row in rows if row["leg"] == "exit"} == {"stop_loss"}
    assert MoneyStore(database, account_label="paper").owned() == {(strategies["second"].id, "AAPL"): 20}
    assert status["metrics"]["share_corrections_total"] == {"handed_over": 2, "split": 2}
    assert set(status["metrics"]["strategy_profit_dollars"]) == {"first", "second"}
    assert len([text for text in status["alerts"] if text.startswith("AAPL: the account holds")]) == 2


@pytest.mark.engine
async def test_shares_when_read_on_and_when_read_anew_then_the_same(
    desk: Desk, database: Database, broker_server: Any, catalogue: Path
) -> None:
    """Nothing is kept in the process that the stored events do not say again."""
    strategies, store = _strategies(desk, catalogue), MoneyStore(database, account_label="paper")
    first, second = strategies["first"].id, strategies["second"].id
    await _buy(desk, strategies["first"], broker_server)
    assert store.owned() == {(first, "AAPL"): 10}
    newest = store.shares().newest["AAPL"]
    reading = Settled(qty=Decimal(4), entry_price=Decimal(100), after=newest)
    found = corrections("AAPL", {first: Decimal(10)}, reading, None, at_ns=NOW_NS)
    assert store.settle("AAPL", reading, found, now_ns=NOW_NS) is True
    await _buy(desk, strategies["second"], broker_server, qty=3)
    expected = {(first, "AAPL"): 4, (second, "AAPL"): 3}
    assert (store.owned(), MoneyStore(database, account_label="paper").owned()) == (expected, expected)
    assert store.settled() == {"AAPL": reading}
    for statement in ("UPDATE ownership_corrections SET qty = 1", "DELETE FROM ownership_corrections"):
        with pytest.raises(DatabaseError), database.transaction() as connection:
            connection.execute(statement)


@pytest.mark.engine
async def test_settle_when_a_fill_was_heard_since_then_nothing_is_recorded(
    desk: Desk, database: Database, broker_server: Any, catalogue: Path
) -> None:
    """A reading that is older than an event says nothing of it."""
    strategies, store = _strategies(desk, catalogue), MoneyStore(database, account_label="paper")
    await _buy(desk, strategies["first"], broker_server)
    reading = Settled(qty=Decimal(0), entry_price=Decimal(0), after=0)
    found = corrections("AAPL", {strategies["first"].id: Decimal(10)}, reading, None, at_ns=NOW_NS)
    assert store.settle("AAPL", reading, found, now_ns=NOW_NS) is False
    assert (store.owned(), store.settled()) == ({(strategies["first"].id, "AAPL"): 10}, {})


def _known(side: Side, qty: int, filled: int = 0) -> Iterator[OpenExecution]:
    yield OpenExecution(
        decision_id=None,
        order_id="o",
        client_order_id="a" * 64,
        symbol="AAPL",
        side=side,
        qty=Decimal(qty),
        filled_qty=Decimal(filled),
        strategy_id=None,
        created_at=None,  # type: ignore[arg-type]
    )


def _book(held: int, known: Any, owned: dict[str, int], orders: tuple[Any, ...] = ()) -> Any:
    return open_book(
        Snapshot(account=make_account(), positions={"AAPL": make_position(qty=held)}, orders=orders),
        claims=(),
        strategies={"a" * 64: A},
        owned={(name, "AAPL"): Decimal(qty) for name, qty in owned.items()},
        prices={},
        known=known,
    )


def test_exitable_when_anothers_purchase_is_not_heard_of_yet_then_it_is_not_nobodys() -> None:
    """Ten that the first may just have bought are not the second's to sell; the first may."""
    book = _book(20, _known("buy", 10), {B: 10})
    assert (book.exitable(B, "AAPL"), book.exitable(A, "AAPL")) == (10, 10)


def test_exitable_when_the_broker_lists_the_order_then_only_what_it_says_is_filled() -> None:
    """Of ten ordered three are filled and unheard of: three are kept for the first, the rest is nobody's."""
    order = make_order(qty=Decimal(10), filled_qty=Decimal(3), status="partially_filled")
    assert _book(20, _known("buy", 10), {B: 10}, (order,)).exitable(B, "AAPL") == 17


def test_exitable_when_anothers_sale_is_not_heard_of_yet_then_ones_own_are_whole() -> None:
    """The first sold its ten: what is held is the second's, all of it."""
    book = _book(10, _known("sell", 10), {A: 10, B: 10})
    assert (book.exitable(B, "AAPL"), book.exitable(A, "AAPL")) == (10, 0)


def test_exitable_when_ones_own_sale_is_not_heard_of_yet_then_not_sold_again() -> None:
    """Ten of twenty are sold, and ten just bought by another: what is held is the other's."""
    known = [*_known("sell", 10), *_known("buy", 10)]
    object.__setattr__(known[1], "client_order_id", "b" * 64)
    book = open_book(
        Snapshot(account=make_account(), positions={"AAPL": make_position(qty=10)}),
        claims=(),
        strategies={"a" * 64: A, "b" * 64: B},
        owned={(A, "AAPL"): Decimal(10)},
        prices={},
        known=known,
    )
    assert (book.exitable(A, "AAPL"), book.exitable(B, "AAPL")) == (0, 0)


def test_exitable_when_something_arrives_then_ones_own_are_never_fewer() -> None:
    """Nothing holds up an exit of what is one's own."""
    book = make_book(make_position(qty=10), owned={(B, "AAPL"): Decimal(10)}, arriving={(A, "AAPL"): Decimal(50)})
    assert book.exitable(B, "AAPL") == 10


def test_closable_when_all_that_is_nobodys_may_be_anothers_then_the_wish_to_exit_stays() -> None:
    """What cannot be sold yet is no reason to give an exit up."""
    book = make_book(make_position(qty=10), arriving={(A, "AAPL"): Decimal(10)})
    assert (book.exitable(B, "AAPL"), book.closable(B, "AAPL")) == (0, 10)


def test_average_when_the_account_holds_exactly_what_strategies_own_then_it_is_trusted() -> None:
    """A split that is not recorded yet must not look like a loss."""

    def averages(held: int) -> Any:
        return open_book(
            Snapshot(account=make_account(), positions={"AAPL": make_position(qty=held)}),
            claims=(),
            strategies={},
            owned={(A, "AAPL"): Decimal(10)},
            prices={},
            averages={(A, "AAPL"): Decimal(90)},
        ).averages

    assert (averages(10), averages(40)) == ({(A, "AAPL"): 90}, {})
