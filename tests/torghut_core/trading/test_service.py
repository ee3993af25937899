"""The whole runtime: signals in, orders at a broker over HTTP, rows in a real PostgreSQL, HTTP out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_service import cross_up, eventually, running, service_environment
from torghut_core.engines.clickhouse import Trouble
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import ConfigurationError
from torghut_core.trading.service import run
from torghutctl.snapshot.signatures import match_signatures

pytestmark = pytest.mark.engine


async def test_run_when_macd_crosses_up_then_one_order_and_every_route_tells(
    postgres: Postgres, broker_server: Any
) -> None:
    """The thin path from a signal to an execution, and what HTTP shows of it."""
    tables = SignalTables()
    cross_up(tables)
    broker_server.state.order_status = "filled"
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        [execution] = await eventually(client, "/trading/executions?symbol=AAPL", bool)
        [decision] = (await client.get("/trading/decisions")).json()
        status = await eventually(client, "/trading/status", lambda body: bool(body["last_run_at"]))
        assert (await client.get("/healthz")).json() == {"status": "ok", "service": "torghut"}
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/db-check")).json()["schema_current"] is True
        health = await client.get("/trading/health")
        metrics = (await client.get("/metrics")).text
    assert broker_server.state.posts == [execution["client_order_id"]]
    assert (execution["submitted_qty"], execution["filled_qty"], execution["avg_fill_price"]) == (20, 20, 100.5)
    assert (decision["status"], decision["rationale"]) == ("filled", "macd_cross_up,rsi_oversold")
    assert set(decision) == {
        "id",
        "strategy_id",
        "symbol",
        "timeframe",
        "status",
        "rationale",
        "risk_reasons",
        "leg",
        "cause",
        "decision",
        "created_at",
        "executed_at",
        "alpaca_account_label",
    }
    assert {
        "enabled",
        "mode",
        "live_enabled",
        "kill_switch_enabled",
        "running",
        "leader",
        "last_run_at",
        "last_reconcile_at",
        "last_error",
        "metrics",
        "llm",
    } <= set(status)
    assert set(status["llm"]) >= {"enabled", "shadow_mode", "fail_mode", "policy_resolution", "circuit"}
    assert (status["running"], status["leader"], status["last_error"]) == (True, True, None)
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert "torghut_trading_orders_submitted_total 1.0" in metrics


async def test_run_when_started_again_then_the_same_signals_make_no_second_order(
    postgres: Postgres, broker_server: Any
) -> None:
    """A restart re-reads its overlap, and the key keeps it from acting twice."""
    tables = SignalTables()
    cross_up(tables)
    broker_server.state.order_status = "filled"
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        await eventually(client, "/trading/executions", bool)
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: body["metrics"]["signals_total"] > 0)
        await eventually(client, "/trading/status", lambda body: bool(body["metrics"]["no_signal_reason_total"]))
    assert len(broker_server.state.posts) == 1


async def test_run_when_two_run_then_one_leads_and_one_order_is_placed(postgres: Postgres, broker_server: Any) -> None:
    """Two processes on one database: the other stands by and takes over when the first stops."""
    tables = SignalTables()
    environment = service_environment(broker_server.url, TRADING_SCHEDULER_LEADERSHIP_CHECK_SECONDS="0.05")
    async with running(environment, tables, postgres) as second_client_holder:
        await eventually(second_client_holder, "/trading/status", lambda body: body["leader"] is True)
        async with running(environment, tables, postgres) as standby:
            await eventually(standby, "/trading/status", lambda body: bool(body["last_run_at"]))
            cross_up(tables)
            await eventually(standby, "/trading/executions", bool)
            body = (await standby.get("/trading/status")).json()
            assert (body["leader"], body["metrics"]["decisions_total"]) == (False, 0)
    assert len(broker_server.state.posts) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"TRADING_KILL_SWITCH_ENABLED": "true"}, "kill_switch_enabled"),
        ({"TRADING_ENABLED": "false"}, "trading_disabled"),
        ({"TRADING_ENABLED": "false", "TRADING_KILL_SWITCH_ENABLED": "true"}, "trading_disabled;kill_switch_enabled"),
    ],
)
async def test_run_when_switched_off_then_decisions_say_why_and_nothing_is_sent(
    postgres: Postgres, broker_server: Any, changes: dict[str, str], reason: str
) -> None:
    """What would have been traded is recorded with its reasons; an open order of ours is cancelled by the switch."""
    tables = SignalTables()
    tables.prices["T"] = 10.0
    cross_up(tables)
    order = broker_server.state.keep(
        {"client_order_id": "a" * 64, "qty": "1", "symbol": "T", "side": "buy", "time_in_force": "day"}
    )
    async with running(service_environment(broker_server.url, **changes), tables, postgres) as client:
        [decision] = await eventually(
            client, "/trading/decisions", lambda body: bool(body) and body[0]["status"] == "rejected"
        )
    assert decision["risk_reasons"] == reason
    assert broker_server.state.posts == []
    assert broker_server.state.cancels == ([order["id"]] if "kill_switch" in reason else [])


async def test_run_when_broker_is_down_then_it_runs_and_trades_nothing(postgres: Postgres, broker_server: Any) -> None:
    """Out of reach is unknown: no order, no exit, and it asks again."""
    tables = SignalTables()
    cross_up(tables)
    broker_server.state.fault = "down"
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        [decision] = await eventually(
            client, "/trading/decisions", lambda body: bool(body) and body[0]["status"] == "rejected"
        )
        status = (await client.get("/trading/status")).json()
        assert (await client.get("/trading/health")).status_code == 503
        broker_server.state.fault = None
        await eventually(client, "/trading/status", lambda body: body["account_confirmed"] is True)
    assert decision["risk_reasons"] == "live_trading_disabled;account_unavailable"
    assert status["last_error"].startswith("broker: broker: HTTP 500")
    assert broker_server.state.posts == []


async def test_run_when_clickhouse_fails_then_error_is_kept_until_it_answers(
    postgres: Postgres, broker_server: Any
) -> None:
    """An outage shows in its own lane, and ends without a restart."""
    tables = SignalTables()
    tables.trouble = Trouble.REFUSED
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        body = await eventually(client, "/trading/status", lambda body: body["last_error"] is not None)
        assert body["last_error"] == "trading: ClickHouse: a query failed: clickhouse_unreachable"
        tables.trouble = None
        await eventually(client, "/trading/status", lambda body: body["last_error"] is None)


async def test_run_when_database_is_away_then_kill_switch_works_and_every_route_says_so(broker_server: Any) -> None:
    """Stopping needs no PostgreSQL: open orders are cancelled, nothing is traded, and the outage is named."""
    order = broker_server.state.keep(
        {"client_order_id": "a" * 64, "qty": "1", "symbol": "T", "side": "buy", "time_in_force": "day"}
    )
    environment = service_environment(broker_server.url, TRADING_KILL_SWITCH_ENABLED="true")
    away = Postgres("postgresql://user:hunter22@127.0.0.1:9/torghut")
    async with running(environment, SignalTables(), away) as client:
        status = await eventually(client, "/trading/status", lambda body: body["last_error"] is not None)
        await eventually(client, "/trading/status", lambda body: body["metrics"]["orders_canceled_total"] == 1)
        answers = [await client.get(path) for path in ("/readyz", "/db-check", "/trading/health", "/healthz")]
    assert (status["last_error"], status["running"]) == (
        "start: DB_DSN: database unavailable (no new connection)",
        False,
    )
    assert [found["signature"] for found in match_signatures(status["last_error"])] == ["database_unavailable"]
    assert [answer.status_code for answer in answers] == [503, 503, 503, 200]
    assert answers[1].json() == {"detail": "database unavailable"}
    assert broker_server.state.cancels == [order["id"]]


async def test_run_when_tables_are_missing_then_no_signals_yet(postgres: Postgres, broker_server: Any) -> None:
    """The schema belongs to the TA runtime, which may start later."""
    tables = SignalTables()
    tables.trouble = Trouble.MISSING
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        body = await eventually(client, "/trading/status", lambda body: bool(body["last_run_at"]))
    assert body["last_error"] is None


async def test_run_when_cursor_is_ahead_of_the_clock_then_it_starts_over(
    postgres: Postgres, broker_server: Any
) -> None:
    """A stream made anew must not wait until it is as old as the one before."""
    tables = SignalTables()
    environment = service_environment(broker_server.url)
    tables.add("AAPL", time.time_ns() // 1_000_000, macd=1.0, rsi14=50.0, ingest_ms=time.time_ns() // 1_000_000 + 10**9)
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: body["metrics"]["signals_total"] > 0)
    tables.signals.clear()
    cross_up(tables)
    async with running(environment, tables, postgres) as client:
        executions = await eventually(client, "/trading/executions", bool)
    assert [(each["symbol"], each["side"]) for each in executions] == [("AAPL", "buy")]


async def test_run_when_address_is_nonsense_then_variable_is_named(broker_server: Any) -> None:
    """A database address libpq cannot read is a configuration error, not an outage to wait for."""
    environment = service_environment(broker_server.url, DB_DSN="not an address hunter22")
    with pytest.raises(ConfigurationError, match=r"^DB_DSN: must be") as caught:
        await run(environment, clickhouse=SignalTables())  # type: ignore[arg-type]
    assert "hunter22" not in str(caught.value)


async def test_run_when_account_contradicts_mode_then_start_is_refused(postgres: Postgres, broker_server: Any) -> None:
    """Paper on the live account stops the process with the configuration's exit code."""
    environment = service_environment(broker_server.url, TRADING_LIVE_ACCOUNT=broker_server.state.number)
    with pytest.raises(ConfigurationError, match="contradicts the broker"):
        await run(environment, clickhouse=SignalTables(), postgres=postgres)  # type: ignore[arg-type]


async def test_run_when_port_is_taken_then_variable_is_named(postgres: Postgres, broker_server: Any) -> None:
    """A port in use is one clear line."""
    port = broker_server.url.rsplit(":", 1)[1]
    with pytest.raises(ConfigurationError, match=f"TRADING_HTTP_PORT={port}"):
        await run(
            service_environment(broker_server.url, TRADING_HTTP_PORT=port),
            clickhouse=SignalTables(),  # type: ignore[arg-type]
            postgres=postgres,
        )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("since=yesterday", "since"),
        ("since=2026-01-05T15:00:00", "since"),
        ("symbol=", "symbol"),
    ],
)
async def test_lists_when_a_parameter_breaks_its_rule_then_422_names_it(
    postgres: Postgres, broker_server: Any, query: str, field: str
) -> None:
    """Errors are JSON, name the field, and do not repeat what was sent."""
    async with running(service_environment(broker_server.url), SignalTables(), postgres) as client:
        for path in ("/trading/decisions", "/trading/executions"):
            answer = await client.get(f"{path}?{query}")
            assert answer.status_code == 422
            assert [item["field"] for item in answer.json()["detail"]] == [field]
            assert "yesterday" not in answer.text


async def test_decisions_when_filtered_then_newest_first_from_since_on(postgres: Postgres, broker_server: Any) -> None:
    """`symbol` is exact, `since` bounds the creation, `limit` keeps the newest."""
    tables = SignalTables()
    environment = service_environment(broker_server.url, TRADING_ENABLED="false")
    async with running(environment, tables, postgres) as client:
        cross_up(tables, "AAPL")
        await eventually(client, "/trading/decisions", lambda body: len(body) == 1)
        cross_up(tables, "MSFT")
        newest, oldest = await eventually(client, "/trading/decisions", lambda body: len(body) == 2)
        one = (await client.get("/trading/decisions?limit=1")).json()
        since = (await client.get("/trading/decisions", params={"since": newest["created_at"]})).json()
        exact = (await client.get("/trading/decisions?symbol=AAP")).json()
    assert (newest["symbol"], oldest["symbol"]) == ("MSFT", "AAPL")
    assert [row["id"] for row in one] == [newest["id"]]
    assert [row["id"] for row in since] == [newest["id"]]
    assert exact == []
