"""Reviews beside the loop: some at a time, none on the way of exits or other symbols, judged again once answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_service import cross_down, cross_up, eventually, running, service_environment
from tests.fakes.trading_values import NOW_NS
from torghut_core.engines.postgres import Postgres
from torghut_core.http_server import Binding, serving
from torghut_core.trading.store.control import ControlStore
from torghut_core.trading.store.database import Database

pytestmark = pytest.mark.engine


@dataclass
class _Provider:
    """A model that thinks about the symbols in `slow` until it is let go, and approves of everything."""

    url: str = ""
    slow: set[str] = field(default_factory=set)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    thinking: set[str] = field(default_factory=set)
    most_at_once: int = 0
    asked: list[str] = field(default_factory=list)


@asynccontextmanager
async def _provider(*slow: str) -> AsyncIterator[_Provider]:
    state = _Provider(slow=set(slow))
    app = FastAPI(openapi_url=None)

    @app.post("/v1/chat/completions")
    async def complete(body: dict[str, Any]) -> Any:
        symbol = json.loads(body["messages"][1]["content"])["decision"]["symbol"]
        state.asked.append(symbol)
        state.thinking.add(symbol)
        state.most_at_once = max(state.most_at_once, len(state.thinking))
        if symbol in state.slow:
            await state.go.wait()
        state.thinking.discard(symbol)
        return {"choices": [{"message": {"content": '{"verdict": "approve", "confidence": 0.9}'}}]}

    async with serving(app, Binding(port=0, variable="TEST", host="127.0.0.1")) as port:
        state.url = f"http://127.0.0.1:{port}"
        yield state
        state.go.set()


def _environment(broker_url: str, provider: _Provider, **changes: str) -> dict[str, str]:
    return service_environment(
        broker_url, LLM_ENABLED="true", LLM_SHADOW_MODE="false", OPENAI_BASE_URL=provider.url, **changes
    )


def _decided(rows: Any, symbol: str) -> dict[str, Any] | None:
    return next(
        (row for row in rows if row["symbol"] == symbol and row["status"] not in ("planned", "submitting")), None
    )


async def test_review_when_one_symbol_waits_then_another_is_bought_and_a_third_is_sold(
    postgres: Postgres, broker_server: Any
) -> None:
    """A model that does not answer holds up its own entry alone; the answer, when it comes, is acted on once."""
    tables = SignalTables()
    broker_server.state.positions = {"T": 5}
    broker_server.state.order_status = "filled"
    async with _provider("AAPL") as provider:
        environment = _environment(broker_server.url, provider, TRADING_STATIC_SYMBOLS="AAPL,MSFT,T")
        async with running(environment, tables, postgres) as client:
            await eventually(client, "/trading/status", lambda body: bool(body["last_reconcile_at"]))
            cross_up(tables, "AAPL")
            await eventually(client, "/trading/decisions", bool)
            while "AAPL" not in provider.thinking:
                await asyncio.sleep(0.01)
            cross_up(tables, "MSFT")
            cross_down(tables, "T")
            await eventually(client, "/trading/decisions", lambda rows: _decided(rows, "MSFT") and _decided(rows, "T"))
            before = [(body["symbol"], body["side"]) for body in broker_server.state.bodies]
            rows = (await client.get("/trading/decisions?symbol=AAPL")).json()
            provider.go.set()
            await eventually(client, "/trading/decisions", lambda rows: _decided(rows, "AAPL"))
    assert sorted(before) == [("MSFT", "buy"), ("T", "sell")]
    assert [row["status"] for row in rows] == ["planned"]
    assert [body["symbol"] for body in broker_server.state.bodies].count("AAPL") == 1
    assert sorted(provider.asked) == ["AAPL", "MSFT"]


async def test_reviews_when_many_are_wanted_then_no_more_than_allowed_at_once(
    postgres: Postgres, broker_server: Any
) -> None:
    """Six entries, two places: each is reviewed, never three at a time."""
    tables, symbols = SignalTables(), ["A", "B", "C", "D", "E", "F"]
    for symbol in symbols:
        cross_up(tables, symbol)
    async with _provider(*symbols) as provider:
        environment = _environment(
            broker_server.url,
            provider,
            TRADING_STATIC_SYMBOLS=",".join(symbols),
            LLM_MAX_CONCURRENT_REVIEWS="2",
        )
        async with running(environment, tables, postgres) as client:
            while len(provider.thinking) < 2:
                await asyncio.sleep(0.01)
            provider.go.set()
            await eventually(client, "/trading/decisions", lambda rows: all(_decided(rows, name) for name in symbols))
    assert (sorted(provider.asked), provider.most_at_once) == (symbols, 2)


async def test_review_when_all_approve_more_than_the_cash_is_for_then_caps_are_asked_again(
    postgres: Postgres, broker_server: Any
) -> None:
    """Both, of $2,000 each, passed when they were handed over; the second finds the $3,000 spent by the first."""
    tables = SignalTables()
    broker_server.state.cash = "3000"
    cross_up(tables, "AAPL")
    cross_up(tables, "MSFT")
    async with (
        _provider("AAPL", "MSFT") as provider,
        running(_environment(broker_server.url, provider), tables, postgres) as client,
    ):
        while len(provider.thinking) < 2:
            await asyncio.sleep(0.01)
        provider.go.set()
        rows = await eventually(
            client, "/trading/decisions", lambda rows: _decided(rows, "AAPL") and _decided(rows, "MSFT")
        )
    assert sorted(row["status"] for row in rows) == ["rejected", "submitted"]
    assert [row["risk_reasons"] for row in rows if row["status"] == "rejected"] == ["insufficient_buying_power"]
    assert len(broker_server.state.posts) == 1


async def test_review_when_the_process_stops_before_the_answer_then_nothing_is_sent(
    postgres: Postgres, broker_server: Any
) -> None:
    """The stop does not wait for the model; the entry stays planned, and ends by age."""
    tables = SignalTables()
    cross_up(tables, "AAPL")
    async with _provider("AAPL") as provider:
        async with running(_environment(broker_server.url, provider), tables, postgres) as client:
            await eventually(client, "/trading/decisions", bool)
            while not provider.thinking:
                await asyncio.sleep(0.01)
        assert provider.go.is_set() is False
    assert broker_server.state.posts == []


async def test_reviews_when_many_are_answered_and_the_process_is_told_to_end_then_the_order_in_flight_is_the_last(
    postgres: Postgres, broker_server: Any
) -> None:
    """What the model approved is begun no more than anything else; the entries stay planned, and end by age."""
    symbols = [f"S{number}" for number in range(8)]
    tables = SignalTables()
    for symbol in symbols:
        cross_up(tables, symbol)
    environment = {"TRADING_STATIC_SYMBOLS": ",".join(symbols), "LLM_MAX_CONCURRENT_REVIEWS": "8"}
    async with (
        _provider(*symbols) as provider,
        running(_environment(broker_server.url, provider, **environment), tables, postgres),
    ):
        while len(provider.thinking) < len(symbols):
            await asyncio.sleep(0.01)
        provider.go.set()
        await broker_server.state.submitted.wait()
    assert 1 <= len(broker_server.state.posts) < 4


async def test_review_when_answered_after_the_kill_switch_was_turned_then_refused(
    postgres: Postgres, database: Database, broker_server: Any
) -> None:
    """What may not be done is read anew when the answer comes, not when it was asked for."""
    tables = SignalTables()
    cross_up(tables, "AAPL")
    async with (
        _provider("AAPL") as provider,
        running(_environment(broker_server.url, provider), tables, postgres) as client,
    ):
        while not provider.thinking:
            await asyncio.sleep(0.01)
        ControlStore(database, account_label="paper").switch_kill(
            is_on=True, now_ns=NOW_NS, actor="test", reason="test"
        )
        provider.go.set()
        rows = await eventually(client, "/trading/decisions", lambda rows: _decided(rows, "AAPL"))
    assert (rows[0]["risk_reasons"], broker_server.state.posts) == ("kill_switch_enabled", [])
