"""The dry run: orders on record, filled at the next row's quote, nothing sent, and an account that a restart finds again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_service import cross_up, eventually, running, service_environment
from torghut_core.engines.postgres import Postgres
from torghut_core.errors import ConfigurationError
from torghut_core.trading.settings import load_settings


@pytest.mark.engine
async def test_dry_run_when_a_signal_comes_then_it_is_filled_at_the_next_row_and_nothing_is_sent(
    postgres: Postgres, broker_server: Any
) -> None:
    """The broker's address is that of a server that counts what it is asked: it is never asked anything."""
    tables = SignalTables()
    cross_up(tables)
    environment = service_environment(broker_server.url, TRADING_MODE="dry-run", TRADING_DRY_RUN_CASH="5000")
    async with running(environment, tables, postgres) as client:
        [decision] = await eventually(
            client, "/trading/decisions", lambda body: body and body[0]["status"] != "planned"
        )
        assert decision["status"] in ("submitted", "submitting")
        last_ms = tables.signals[-1]["event_ms"]
        tables.add("AAPL", last_ms + 500, macd=1.0, rsi14=50.0)
        tables.signals[-1] |= {"imbalance_bid_sz": 500.0, "imbalance_ask_sz": 500.0}
        [filled] = await eventually(client, "/trading/executions", lambda body: body and body[0]["status"] == "filled")
        status = (await client.get("/trading/status")).json()
    assert (status["mode"], broker_server.state.posts) == ("dry-run", [])
    assert filled["filled_qty"] == filled["submitted_qty"] > 0

    async with running(environment, tables, postgres) as client:
        held = await eventually(client, "/trading/positions", lambda body: isinstance(body, list) and body)
        account = (await client.get("/trading/account")).json()
    spent = Decimal(str(filled["filled_qty"])) * Decimal(str(filled["avg_fill_price"]))
    assert Decimal(str(account["cash"])) == 5000 - spent
    assert [(row["symbol"], row["qty"]) for row in held] == [("AAPL", filled["filled_qty"])]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TRADING_LIVE_ENABLED", "true", "TRADING_MODE=dry-run contradicts TRADING_LIVE_ENABLED=true"),
        ("APCA_API_BASE_URL", "https://api.alpaca.markets", "TRADING_MODE=dry-run contradicts APCA_API_BASE_URL"),
        ("TRADING_DRY_RUN_CASH", "0", "TRADING_DRY_RUN_CASH"),
    ],
)
def test_settings_when_a_dry_run_is_also_live_then_the_start_is_refused(name: str, value: str, words: str) -> None:
    """Each contradiction stops the start with a sentence that names both variables."""
    with pytest.raises(ConfigurationError, match=words):
        load_settings({"TRADING_MODE": "dry-run", name: value})
