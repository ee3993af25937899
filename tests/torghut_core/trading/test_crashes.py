"""Processes that die or freeze at each step of the order path, at a broker that loses, delays, doubles and refuses.

Whatever happens: never two orders for an intent, never an order without a row, every unknown ended as the contract says,
positions by events equal the broker's. `CRASH_RUNS` runs are drawn by `CRASH_SEED` in the soak.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import order_victim
from tests.fakes.order_victim import STEPS, Broken, How, is_frozen
from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_desk import Desk, open_desk
from tests.fakes.trading_service import cross_up, eventually, running, service_environment
from tests.fakes.trading_values import make_signal
from torghut_core.engines.postgres import Postgres
from torghut_core.simulator import process
from torghut_core.simulator.process import KEY_ID, SECRET_KEY, SimulatorProcess
from torghut_core.trading.orders.broker import Broker
from torghut_core.trading.orders.ledger import positions
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.money import MoneyStore

pytestmark = [pytest.mark.engine, pytest.mark.slow]
ENDS = {"filled", "submitted", "rejected", "canceled", "expired", "never_arrived"}
_LATE_MS = round(order_victim.BROKER_SECONDS * 2000)
FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "lost": {"name": "order_answer_lost"},
    "late": {"name": "http_late", "path": "/v2/orders", "ms": _LATE_MS},
    "doubled": {"name": "order_doubled"},
    "refused": {"name": "http_500", "path": "/v2/orders", "status": 403},
    "failed": {"name": "http_500", "path": "/v2/orders", "status": 504},
    "rejected": {"name": "reject_orders"},
    "question_lost": {"name": "http_cut", "path": "/v2/orders:by_client_order_id"},
    "question_failed": {"name": "http_500", "path": "/v2/orders:by_client_order_id", "status": 500},
    "question_late": {"name": "http_late", "path": "/v2/orders:by_client_order_id", "ms": _LATE_MS},
}
BOOK_FAULTS: list[dict[str, Any]] = [
    {**fault, "path": path}
    for path in ("/v2/account", "/v2/positions")
    for fault in (
        {"name": "http_500", "status": 500},
        {"name": "http_500", "status": 403},
        {"name": "http_cut"},
        {"name": "http_late", "ms": _LATE_MS},
        {"name": "http_timeout"},
    )
]
"""What can befall the questions that the caps stand on. A 429 rests all questions for a while: it hides what comes next."""
_BOOK_SYMBOLS = ("MSFT", "NVDA", "TSLA", "AMZN", "GOOGL")


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    arguments = ["--history-minutes", "2", "--calendar", "always-open", "--cash", "10000000"]
    arguments += ["--symbols", ",".join(("AAPL", *_BOOK_SYMBOLS))]
    with process.running(tmp_path_factory.mktemp("simulator"), arguments) as running:
        yield running


@pytest.fixture(scope="module")
def books(shared_postgres: Postgres) -> Iterator[Database]:
    """The database that belongs to the simulator's account, for all runs."""
    pool = Database(shared_postgres)
    pool.open()
    yield pool
    pool.close()


async def _run(
    postgres: Postgres, database: Database, simulator: SimulatorProcess, step: str, how: How, fault: str, number: int
) -> str:
    """Break one process; let another take over; check all that must hold. Return how the decision ended."""
    broken = Broken(
        step=step,
        how=how,
        number=number,
        dsn=postgres.dsn,
        url=simulator.http,
        key=KEY_ID,
        secret=SECRET_KEY,
    )
    if FAULTS[fault]:
        simulator.call("/simulator/faults", {"on": True, **FAULTS[fault]})
    victim = order_victim.start(broken)
    assert victim.pid is not None
    while victim.is_alive() and not is_frozen(victim.pid):
        await asyncio.sleep(0.005)
    if FAULTS[fault]:
        simulator.switch_fault(FAULTS[fault]["name"], on=False)
    broker = Broker(base_url=simulator.http, key=KEY_ID, secret=SECRET_KEY, timeout_seconds=5, per_minute=1_000_000)
    survivor = open_desk(postgres, database, broker)
    try:
        await survivor.lead()
        intent, decision_id = survivor.plan(signal=make_signal(symbol=broken.symbol, event_ns=broken.signal_ns))
        await survivor.execution.submit(survivor.request(intent, decision_id, qty=1))
        await _settle(survivor)
        if victim.is_alive():
            os.kill(victim.pid, signal.SIGCONT)
            await asyncio.to_thread(victim.join)
            await _settle(survivor)
        return await _checked(survivor, broker, database, intent.key)
    finally:
        victim.kill()  # nothing else ends a frozen one
        survivor.leadership.release()
        await broker.close()


async def _settle(survivor: Desk) -> None:
    """Reconcile until nothing is open: three readings over a minute, and what a market order needs to fill."""
    for _ in range(4):
        await survivor.reconciler.reconcile()
        survivor.wall.advance(30)
    ends = time.monotonic() + 10
    while survivor.orders.open_executions() and time.monotonic() < ends:
        await survivor.reconciler.reconcile()
        await asyncio.sleep(0.01)


async def _checked(survivor: Desk, broker: Broker, database: Database, key: str) -> str:
    assert survivor.orders.open_claims() == ()
    at_broker = [
        order async for page in broker._pages("all", since=None) for order in page if order["client_order_id"] == key
    ]
    assert len(at_broker) <= 1
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT d.status, c.state, e.alpaca_order_id FROM trade_decisions d"
            " LEFT JOIN order_claims c ON c.trade_decision_id = d.id"
            " LEFT JOIN executions e ON e.trade_decision_id = d.id WHERE d.decision_hash = %s",
            (key,),
        ).fetchall()
    [row] = rows
    assert row["status"] in ENDS
    assert [order["id"] for order in at_broker] == ([row["alpaca_order_id"]] if row["alpaca_order_id"] else [])
    by_events = {symbol: lot.qty for symbol, lot in positions(survivor.orders.fills()).items() if lot.qty}
    by_broker = {symbol: position.qty for symbol, position in (await broker.positions()).items() if position.qty}
    assert by_events == by_broker
    by_strategies: Counter[str] = Counter()
    for (_, symbol), qty in MoneyStore(database, account_label="paper").owned().items():
        by_strategies[symbol] += qty  # type: ignore[assignment]
    assert dict(by_strategies) == by_broker
    return f"{row['status']}/{row['state']}"


@pytest.mark.parametrize("how", ["kill", pytest.param("freeze", marks=pytest.mark.e2e)])
@pytest.mark.parametrize(
    ("step", "fault", "ends"),
    [
        ("planned", "none", "filled/accepted"),
        ("claimed", "none", "never_arrived/never_arrived"),
        ("sending", "none", "never_arrived/never_arrived"),
        ("answered", "none", "filled/accepted"),
        ("settled", "none", "filled/accepted"),
        ("refused", "refused", "never_arrived/never_arrived"),
        ("unknown", "lost", "filled/accepted"),
        ("found", "doubled", "filled/accepted"),
        ("adopted", "late", "filled/accepted"),
    ],
)
async def test_order_when_its_process_breaks_at_a_step_then_one_order_at_most_and_the_books_agree(
    shared_postgres: Postgres,
    books: Database,
    simulator: SimulatorProcess,
    step: str,
    fault: str,
    ends: str,
    how: How,
) -> None:
    """Each labelled step, killed and frozen, the frozen one woken after it was given up.

    A frozen process that had passed every check sends its order when it wakes: that one is found and adopted late.
    """
    if (step, how) == ("sending", "freeze"):
        ends = "filled/arrived_late"
    number = 2 * STEPS.index(step) + (how == "kill")
    assert await _run(shared_postgres, books, simulator, step, how, fault, number) == ends


async def _judged(client: Any, symbol: str) -> dict[str, Any]:
    """Return the newest decision on a symbol once nothing is left to be done about it."""
    path = f"/trading/decisions?symbol={symbol}"
    rows = await eventually(
        client, path, lambda rows: bool(rows) and rows[0]["status"] not in ("planned", "submitting")
    )
    newest: dict[str, Any] = rows[0]
    return newest


@pytest.mark.parametrize(
    "seed", [int(os.environ.get("CRASH_SEED", "1")), *(pytest.param(n, marks=pytest.mark.soak) for n in range(2, 12))]
)
async def test_entries_when_account_or_positions_cannot_be_read_then_none_is_sent_and_the_next_is(
    postgres: Postgres, simulator: SimulatorProcess, seed: int
) -> None:
    """Caps over a book that is not known hold nothing: each fault refuses its signal, and the loop goes on after it."""
    faults = random.Random(seed).sample(BOOK_FAULTS, len(_BOOK_SYMBOLS) - 1)
    environment = service_environment(
        simulator.http,
        APCA_API_KEY_ID=KEY_ID,
        APCA_API_SECRET_KEY=SECRET_KEY,
        TRADING_STATIC_SYMBOLS=",".join(_BOOK_SYMBOLS),
        TRADING_BROKER_TIMEOUT_SECONDS=str(order_victim.BROKER_SECONDS),
    )
    tables = SignalTables()
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: body["leader"] and body["account_confirmed"])
        for fault, symbol in zip(faults, _BOOK_SYMBOLS[:-1], strict=True):
            simulator.call("/simulator/faults", {"on": True, **fault})
            try:
                cross_up(tables, symbol)
                decision = await _judged(client, symbol)
            finally:
                simulator.switch_fault(fault["name"], on=False)
            assert (symbol, fault, "account_unavailable" in str(decision["risk_reasons"])) == (symbol, fault, True)
        cross_up(tables, _BOOK_SYMBOLS[-1])
        assert (await _judged(client, _BOOK_SYMBOLS[-1]))["risk_reasons"] is None
        sent = (await client.get("/trading/orders")).json()
        assert [order["symbol"] for order in sent] == [_BOOK_SYMBOLS[-1]]
        await eventually(client, "/trading/status", lambda body: body["last_error"] is None)


@pytest.mark.soak
async def test_orders_when_hundreds_of_processes_break_anywhere_then_the_books_agree(
    shared_postgres: Postgres, books: Database, simulator: SimulatorProcess
) -> None:
    """Step, way and fault are drawn; every run is checked whole, and the ends are told."""
    runs, seed = int(os.environ.get("CRASH_RUNS", "300")), int(os.environ.get("CRASH_SEED", "1"))
    drawn, ends, began = random.Random(seed), Counter[str](), time.monotonic()
    for number in range(1000, 1000 + runs):
        step, fault = drawn.choice(STEPS), drawn.choice(sorted(FAULTS))
        how: How = drawn.choice(("kill", "freeze"))
        ends[await _run(shared_postgres, books, simulator, step, how, fault, number)] += 1
    print(f"crashes: {runs} runs, seed {seed}, {time.monotonic() - began:.0f} s: {dict(sorted(ends.items()))}")
    assert sum(ends.values()) == runs
