"""`run visuals` and `run guardrails` while their engines are away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from torghut_core.engines.postgres import open_postgres
from torghut_core.errors import ConfigurationError, UpstreamError
from torghut_core.visuals.access import Actor
from torghut_core.visuals.service import run, run_guardrails
from torghut_core.visuals.universe import Universe

_ANN = Actor(who="ann", address="127.0.0.1", token_id="0")
_AWAY = {"TA_CLICKHOUSE_URL": "http://127.0.0.1:9", "TORGHUT_HTTP_HOST": "127.0.0.1"}


@asynccontextmanager
async def _running(service: Callable[..., Awaitable[None]], **environment: str) -> AsyncIterator[httpx.AsyncClient]:
    """The service on a free port, and a client of it."""
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task: asyncio.Future[Any] = asyncio.ensure_future(
        service({**_AWAY, **environment}, on_ready=listening.set_result, stop=stop)
    )
    await asyncio.wait([task, listening], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.result()}") as client:
        yield client
    stop.set()
    await task


async def test_guardrails_when_clickhouse_is_away_from_the_start_then_they_say_that_it_is_down() -> None:
    """An exporter that ends instead leaves no gauge that could tell."""
    async with _running(run_guardrails, GUARDRAILS_PORT="0") as client:
        text = (await client.get("/metrics")).text
    assert 'torghut_clickhouse_guardrails_clickhouse_up{replica="127.0.0.1:9"} 0.0' in text
    assert 'torghut_clickhouse_guardrails_last_scrape_success{replica="127.0.0.1:9"} 0.0' in text


async def test_visuals_when_every_engine_is_away_from_the_start_then_it_serves_and_says_so() -> None:
    """No human restart is needed once they are back, and the answers name no secret."""
    async with _running(run, VISUALS_PORT="0", DB_DSN="postgresql://u:hunter22@127.0.0.1:9/x") as client:
        assert (await client.get("/healthz")).status_code == 200
        answers = [await client.get(f"/api/torghut/{path}") for path in ("symbols", "ta/latest?symbol=AAPL")]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert [answer.json()["message"] for answer in answers] == [
        "DB_DSN: PostgreSQL does not accept a connection",
        "ClickHouse: connecting failed: clickhouse_unreachable",
    ]


@pytest.mark.parametrize("service", [run, run_guardrails])
async def test_service_when_the_address_is_wrong_then_it_does_not_start(
    service: Callable[..., Awaitable[None]],
) -> None:
    """Waiting would not help."""
    with pytest.raises(ConfigurationError, match="TA_CLICKHOUSE_URL"):
        async with _running(service, TA_CLICKHOUSE_URL="nowhere", VISUALS_PORT="0", GUARDRAILS_PORT="0"):
            pass


@pytest.mark.engine
def test_universe_when_postgres_is_read_only_then_it_is_read_and_a_write_is_refused_by_its_code(
    engine_folder: Path,
) -> None:
    """Once the table is there, reading it needs no right to write."""
    postgres = open_postgres(f"embedded:{engine_folder}/pg")
    assert Universe(postgres, ["AAPL"]).put("equity", ["MSFT"], enabled=True, actor=_ANN) == 1
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute("ALTER DATABASE torghut SET default_transaction_read_only = on")
    universe = Universe(postgres, ["NVDA"])
    assert [item["symbol"] for item in universe.items("equity", include_disabled=False)] == ["AAPL", "MSFT"]
    with pytest.raises(UpstreamError, match=r"^symbols: PostgreSQL refused \(25006\)$"):
        universe.put("equity", ["TSLA"], enabled=True, actor=_ANN)
    postgres.close()
