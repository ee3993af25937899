"""One embedded PostgreSQL for all backtests of a process, a database of its own for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from tests.torghut_core.trading.conftest import fresh_database
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.backtest.recording import Recording
from torghut_core.trading.backtest.run import Plan, Result, run_backtest
from torghut_core.trading.settings import load_settings
from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue

Runner = Callable[..., Result]
_NUMBERS = count()


def plan(**changes: Any) -> Plan:
    """Return a plan of the default catalogue in a market that is always open; names in capitals are the environment's."""
    environment = {name: value for name, value in changes.items() if name.isupper()}
    fixed = {
        "TRADING_ENABLED": "true",
        "TRADING_KILL_SWITCH_ENABLED": "false",
        "TORGHUT_MARKET_CALENDAR": "always-open",
        "TRADING_SIMULATED_LATENCY_MS": "500",
    }
    rest = {name: value for name, value in changes.items() if not name.isupper()}
    return Plan(
        **{"entries": read_catalogue(DEFAULT_PATH), "settings": load_settings({**fixed, **environment}), **rest}
    )


@contextmanager
def _database(server: Postgres) -> Iterator[Postgres]:
    with fresh_database(server, f"bt{next(_NUMBERS)}") as found:
        yield found


@pytest.fixture
def run(postgres_server: Postgres) -> Runner:
    def go(recording: Recording, **changes: Any) -> Result:
        with _database(postgres_server) as database:
            return run_backtest(recording, plan(**changes), database)

    return go
