"""How the running service judges: reservations in a batch, the AI review, a catalogue that breaks, a poisoned decision."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_service import cross_up, eventually, running, service_environment
from torghut_core.clock import FileClock
from torghut_core.engines.postgres import Postgres
from torghut_core.http_server import Binding, serving
from torghut_core.trading import handling
from torghut_core.trading.store.database import Database

pytestmark = pytest.mark.engine


def _all_judged(body: Any, count: int) -> bool:
    return len(body) == count and all(row["status"] not in ("planned", "submitting") for row in body)


async def test_batch_when_buying_power_is_for_one_then_the_others_are_refused(
    postgres: Postgres, broker_server: Any
) -> None:
    """Ten buys of 500 dollars with 1000 in the account: what is promised to the first is not there for the rest."""
    symbols = [f"S{i}" for i in range(10)]
    tables = SignalTables()
    for symbol in symbols:
        cross_up(tables, symbol)
    broker_server.state.cash = "1000"
    environment = service_environment(
        broker_server.url, TRADING_STATIC_SYMBOLS=",".join(symbols), TRADING_PORTFOLIO_NOTIONAL_PER_POSITION="500"
    )
    async with running(environment, tables, postgres) as client:
        rows = await eventually(client, "/trading/decisions", lambda body: _all_judged(body, 10))
    reasons = [row["risk_reasons"] for row in rows]
    assert len(broker_server.state.posts) == 1
    assert sorted(map(str, reasons)) == ["None"] + ["insufficient_buying_power"] * 9


async def test_cooldown_when_a_strategy_ordered_just_now_then_its_next_entry_waits_and_the_exit_does_not(
    postgres: Postgres, broker_server: Any
) -> None:
    """The first order is not held back by its own row; a second entry right after it is, an exit is not."""
    tables = SignalTables()
    cross_up(tables)
    broker_server.state.order_status = "filled"
    environment = service_environment(broker_server.url, TRADING_COOLDOWN_SECONDS="60")
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/executions", bool)
        last_ms = tables.signals[-1]["event_ms"]
        tables.add("AAPL", last_ms + 100, macd=-1.0, rsi14=50.0)
        tables.add("AAPL", last_ms + 200, macd=1.0, rsi14=50.0)
        newest, _ = await eventually(client, "/trading/decisions", lambda body: _all_judged(body, 2))
        assert (newest["decision"]["action"], newest["risk_reasons"]) == ("buy", "cooldown_active")
        tables.add("AAPL", last_ms + 500, macd=-1.0, rsi14=70.0)
        await eventually(client, "/trading/decisions", lambda body: _all_judged(body, 3))
    assert broker_server.state.positions["AAPL"] == 0


@asynccontextmanager
async def _reviewer(answer: dict[str, Any]) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    app, asked = FastAPI(openapi_url=None), []

    @app.post("/openai/v1/chat/completions")
    async def complete(body: dict[str, Any]) -> Any:
        asked.append(body)
        return {"choices": [{"message": {"content": json.dumps(answer)}}]}

    async with serving(app, Binding(port=0, variable="TEST", host="127.0.0.1")) as port:
        yield f"http://127.0.0.1:{port}", asked


@pytest.mark.parametrize(
    ("answer", "changes", "posted", "reason", "effective"),
    [
        ({"verdict": "veto", "confidence": 0.9}, {"LLM_SHADOW_MODE": "false"}, 0, "llm_veto", "veto"),
        ({"verdict": "veto", "confidence": 0.9}, {}, 20, None, "approve"),
        (
            {"verdict": "adjust", "adjusted_qty": 12, "confidence": 0.9},
            {"LLM_SHADOW_MODE": "false", "LLM_ADJUSTMENT_ALLOWED": "true"},
            12,
            None,
            "adjust",
        ),
        (
            {"verdict": "adjust", "adjusted_qty": 500, "confidence": 0.9},
            {"LLM_SHADOW_MODE": "false", "LLM_ADJUSTMENT_ALLOWED": "true"},
            20,
            None,
            "adjust",
        ),
    ],
)
async def test_review_when_enabled_then_it_vetoes_shrinks_or_only_watches(
    postgres: Postgres,
    database: Database,
    broker_server: Any,
    answer: dict[str, Any],
    changes: dict[str, str],
    posted: int,
    reason: str | None,
    effective: str,
) -> None:
    """A veto stops, an adjustment shrinks and never enlarges, a shadow changes nothing; each review is on record."""
    tables = SignalTables()
    cross_up(tables)
    async with _reviewer(answer) as (url, asked):
        environment = service_environment(broker_server.url, LLM_ENABLED="true", JANGAR_BASE_URL=url, **changes)
        async with running(environment, tables, postgres) as client:
            [decision] = await eventually(client, "/trading/decisions", lambda body: _all_judged(body, 1))
            await eventually(client, "/trading/status", lambda body: body["metrics"]["llm_requests_total"] == 1)
    with database.transaction() as connection:
        [review] = connection.execute("SELECT effective_verdict, is_shadow FROM llm_decision_reviews").fetchall()
    quantities = [int(order["qty"]) for order in broker_server.state.orders.values()]
    assert (sum(quantities), decision["risk_reasons"]) == (posted, reason)
    assert review == {"effective_verdict": effective, "is_shadow": "LLM_SHADOW_MODE" not in changes}
    assert broker_server.state.number not in json.dumps(asked)


async def test_catalogue_when_file_breaks_then_the_last_good_one_stays_and_the_error_shows(
    postgres: Postgres, broker_server: Any, tmp_path: Path
) -> None:
    """A bad file is refused whole; a good one afterwards clears the error."""
    path = tmp_path / "strategies.yaml"
    good = "strategies: [{name: mine, base_timeframe: 1Sec, max_notional_per_trade: 300}]"
    path.write_text(good)
    environment = service_environment(
        broker_server.url, TRADING_STRATEGY_CONFIG_PATH=str(path), TRADING_STRATEGY_RELOAD_SECONDS="0.01"
    )
    tables = SignalTables()
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: bool(body["last_run_at"]))
        path.write_text("strategies: [{name: mine, colour: red}]")
        broken = await eventually(client, "/trading/status", lambda body: "catalogue" in body["errors"])
        cross_up(tables)
        [execution] = await eventually(client, "/trading/executions", bool)
        path.write_text(f"{good}\n")
        await eventually(client, "/trading/status", lambda body: body["errors"] == {})
    assert "colour: unknown key" in broken["errors"]["catalogue"]
    assert execution["submitted_qty"] == 3


async def test_decision_when_its_handling_breaks_then_it_is_rejected_and_the_others_go_on(
    postgres: Postgres, broker_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug met on one signal does not stop trading on the next, and does not come back for ever."""
    size = handling.size_entry

    def broken(**given: Any) -> Any:
        if given["symbol"] == "AAPL":
            raise ZeroDivisionError("secret detail")
        return size(**given)

    monkeypatch.setattr(handling, "size_entry", broken)
    tables = SignalTables()
    cross_up(tables, "AAPL")
    cross_up(tables, "MSFT")
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        rows = await eventually(client, "/trading/decisions", lambda body: _all_judged(body, 2))
    assert {row["symbol"]: (row["status"], row["risk_reasons"]) for row in rows} == {
        "AAPL": ("rejected", "decision_handler_error ZeroDivisionError"),
        "MSFT": ("submitted", None),
    }


async def test_database_when_it_fails_after_the_broker_took_the_order_then_it_is_found_and_not_resent(
    postgres: Postgres, database: Database, broker_server: Any
) -> None:
    """The answer could not be stored: the claim is, so the order is looked up, not sent again."""
    with database.transaction() as connection:
        connection.execute("ALTER TABLE executions ADD CONSTRAINT out_of_order CHECK (symbol <> 'AAPL')")
    tables = SignalTables()
    cross_up(tables)
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: "reconcile" in body["errors"])
        with database.transaction() as connection:
            connection.execute("ALTER TABLE executions DROP CONSTRAINT out_of_order")
        [execution] = await eventually(client, "/trading/executions", bool)
        await eventually(client, "/trading/status", lambda body: body["last_error"] is None)
    assert broker_server.state.posts == [execution["client_order_id"]]


async def test_stop_when_broker_hangs_then_drain_ends_and_the_next_start_finds_the_order(
    postgres: Postgres, database: Database, broker_server: Any
) -> None:
    """Shutdown waits for a call in flight only so long; its claim stays, and the successor asks by client id."""
    tables = SignalTables()
    cross_up(tables)
    broker_server.state.fault = "lost_answer"
    drain = {"TRADING_SCHEDULER_SHUTDOWN_DRAIN_SECONDS": "0.1"}
    async with running(service_environment(broker_server.url, **drain), tables, postgres):
        await broker_server.state.submitted.wait()
    with database.transaction() as connection:
        [claim] = connection.execute("SELECT state FROM order_claims").fetchall()
    assert claim["state"] == "claimed"
    broker_server.state.fault = None
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        [execution] = await eventually(client, "/trading/executions", bool)
    assert broker_server.state.posts == [execution["client_order_id"]]


@pytest.mark.parametrize("apart_ms", [0, 10], ids=["of one instant", "of an instant each"])
async def test_stop_when_many_entries_are_to_be_sent_then_the_one_in_flight_ends_and_the_next_start_sends_the_rest(
    postgres: Postgres, broker_server: Any, apart_ms: int
) -> None:
    """Told to end, nothing more is ordered, however long the backlog; each entry is sent once, by whoever trades next."""
    symbols = [f"S{i}" for i in range(10)]
    tables = SignalTables()
    now_ms = time.time_ns() // 1_000_000
    for at, symbol in enumerate(symbols):
        tables.prices[symbol] = 100.0
        tables.add(symbol, now_ms - 3000 + at * apart_ms, macd=-1.0, rsi14=20.0)
        tables.add(symbol, now_ms - 2000 + at * apart_ms, macd=1.0, rsi14=40.0)
    broker_server.state.order_status = "filled"
    environment = service_environment(broker_server.url, TRADING_STATIC_SYMBOLS=",".join(symbols))
    async with running(environment, tables, postgres):
        await broker_server.state.submitted.wait()
    assert len(broker_server.state.posts) < 5
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/decisions", lambda body: _all_judged(body, 10))
    assert len(broker_server.state.posts) == len(set(broker_server.state.posts)) == 10


async def test_stop_when_rows_wait_for_their_instant_then_the_next_start_deals_with_them(
    postgres: Postgres, broker_server: Any, tmp_path: Path
) -> None:
    """On a simulated clock rows are read before their instant is ripe, and the cursor has gone past them by then."""
    tables, clock = SignalTables(), tmp_path / "clock.json"
    now_ms = time.time_ns() // 1_000_000_000 * 1000
    FileClock.write(clock, origin_ns=now_ms * 1_000_000, speed=1)
    tables.prices["AAPL"] = 100.0
    tables.add("AAPL", now_ms - 2000, macd=-1.0, rsi14=20.0)
    tables.add("AAPL", now_ms - 1000, macd=1.0, rsi14=40.0)
    tables.add("MSFT", now_ms - 1000, macd=-1.0, rsi14=20.0, ingest_ms=now_ms + 30_000)
    environment = service_environment(
        broker_server.url, TORGHUT_CLOCK=f"file:{clock}", TRADING_SIGNAL_MAX_STALENESS_MS="60000"
    )
    async with running(environment, tables, postgres) as client:
        while "torghut_trading_signals_total 3.0" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.02)
        assert (await client.get("/trading/decisions")).json() == []
    FileClock.write(clock, origin_ns=(now_ms + 20_000) * 1_000_000, speed=1)
    async with running(environment, tables, postgres) as client:
        [row] = await eventually(client, "/trading/decisions", lambda body: _all_judged(body, 1))
    assert (row["symbol"], len(broker_server.state.posts)) == ("AAPL", 1)
