"""Holdings are closed before the close, half days' own, over a whole run: bought, held, flattened, nothing opened after."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_service import eventually, running, service_environment
from torghut_core.clock import FileClock
from torghut_core.engines.postgres import Postgres
from torghut_core.market_calendar import MarketCalendar
from torghut_core.trading.closing import close_ns

_NEW_YORK = ZoneInfo("America/New_York")
WHOLE_DAY, HALF_DAY, HOLIDAY = "2026-11-25", "2026-11-27", "2026-11-26"


def _ns(day: str, hour: str) -> int:
    return int(datetime.fromisoformat(f"{day}T{hour}").replace(tzinfo=_NEW_YORK).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("calendar", "day", "hour", "close"),
    [
        ("XNYS", WHOLE_DAY, "09:30:00", "16:00:00"),
        ("XNYS", WHOLE_DAY, "15:59:59", "16:00:00"),
        ("XNYS", WHOLE_DAY, "16:00:00", None),
        ("XNYS", WHOLE_DAY, "09:29:59", None),
        ("XNYS", HALF_DAY, "12:59:59", "13:00:00"),
        ("XNYS", HALF_DAY, "13:00:00", None),
        ("XNYS", HOLIDAY, "12:00:00", None),
        ("always-open", WHOLE_DAY, "12:00:00", None),
    ],
)
def test_close_when_a_session_runs_then_its_own_end(calendar: Any, day: str, hour: str, close: str | None) -> None:
    """Half days end at one; outside a session, and where none ever ends, there is no close to come."""
    parts: Any = SimpleNamespace(calendar=MarketCalendar(calendar))
    assert close_ns(parts, _ns(day, hour)) == (None if close is None else _ns(day, close))


def _cross_up(tables: SignalTables, now_ns: int, symbol: str) -> None:
    now_ms = now_ns // 1_000_000
    tables.prices[symbol] = 100.0
    tables.add(symbol, now_ms - 2000, macd=-1.0, rsi14=20.0)
    tables.add(symbol, now_ms - 1000, macd=1.0, rsi14=40.0)


@pytest.mark.engine
@pytest.mark.parametrize(("day", "before", "near"), [(HALF_DAY, "12:40:00", "12:55:30")])
async def test_run_when_the_close_comes_near_then_own_holdings_are_sold_and_nothing_is_opened(
    postgres: Postgres, broker_server: Any, tmp_path: Path, day: str, before: str, near: str
) -> None:
    """Bought at 12:40, sold at 12:55 of a half day; a person's shares stay, and a signal of these minutes buys nothing."""
    clock, tables = tmp_path / "clock.json", SignalTables()
    broker_server.state.order_status = "filled"
    broker_server.state.positions = {"T": 7}
    FileClock.write(clock, origin_ns=_ns(day, before), speed=1)
    environment = service_environment(
        broker_server.url,
        TORGHUT_CLOCK=f"file:{clock}",
        TORGHUT_MARKET_CALENDAR="XNYS",
        TRADING_STATIC_SYMBOLS="AAPL,MSFT,T",
        TRADING_FLATTEN_MINUTES_BEFORE_CLOSE="5",
        # A clock that jumps is gone through mark by mark: fifteen minutes are two hundred of these.
        TRADING_RECONCILE_MS="5000",
    )
    _cross_up(tables, _ns(day, before), "AAPL")
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/executions", bool)
        await eventually(client, "/trading/positions", lambda rows: any(row["symbol"] == "AAPL" for row in rows))
        FileClock.write(clock, origin_ns=_ns(day, near), speed=1)
        _cross_up(tables, _ns(day, near), "MSFT")
        rows = await eventually(
            client,
            "/trading/decisions",
            lambda found: (
                any(row["cause"] == "flatten" and row["status"] == "filled" for row in found)
                and any(row["symbol"] == "MSFT" and row["status"] == "rejected" for row in found)
            ),
        )
    flattened = [row for row in rows if row["cause"] == "flatten"]
    assert [(row["symbol"], row["leg"]) for row in flattened] == [("AAPL", "exit")]
    assert broker_server.state.positions == {"T": 7, "AAPL": 0}
    assert "flattening_before_close" in next(row["risk_reasons"] for row in rows if row["symbol"] == "MSFT")
    assert [(body["symbol"], body["side"]) for body in broker_server.state.bodies] == [
        ("AAPL", "buy"),
        ("AAPL", "sell"),
    ]
