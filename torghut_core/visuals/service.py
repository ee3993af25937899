"""`run visuals` and `run guardrails`: settings, stores and servers put together."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Mapping

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from torghut_core.clock import open_clock, utc_datetime
from torghut_core.engines.clickhouse import Address, ClickHouse, ClickHouseError, check_address
from torghut_core.engines.clickhouse_on_demand import ClickHouseOnDemand
from torghut_core.engines.postgres import Postgres, open_postgres
from torghut_core.errors import ConfigurationError
from torghut_core.http_server import Binding, add_metrics, serving
from torghut_core.market_calendar import MarketCalendar
from torghut_core.settings import load, reveal
from torghut_core.visuals.api import Stores, create_app
from torghut_core.visuals.following import VisualsMetrics, follow
from torghut_core.visuals.guardrails import Guardrails, registry_of, scrape_all, scrape_forever
from torghut_core.visuals.newest import NewestRows
from torghut_core.visuals.settings import ClickHouseSettings, GuardrailsSettings, VisualsSettings
from torghut_core.visuals.stream import EventLog
from torghut_core.visuals.system import SystemState, Verdict
from torghut_core.visuals.system_api import Live
from torghut_core.visuals.ta_reader import TaReader
from torghut_core.visuals.universe import SYMBOL, Universe

NOT_CONFIGURED = "clickhouse_unconfigured"


async def _clickhouse_of(
    settings: ClickHouseSettings, stack: contextlib.AsyncExitStack, url: str | None = None
) -> ClickHouseOnDemand | None:
    """Return the ClickHouse at `url`, or the settings' own; None where there is none."""
    url = url or settings.clickhouse_url
    if url is None:
        return None
    clickhouse = ClickHouseOnDemand(
        Address(
            url=url,
            username=settings.clickhouse_username,
            password=reveal(settings.clickhouse_password),
            connect_timeout=settings.clickhouse_timeout_seconds,
        )
    )
    stack.push_async_callback(asyncio.to_thread, clickhouse.close)
    with contextlib.suppress(ClickHouseError):  # away is waited out; a wrong address is not
        await asyncio.to_thread(clickhouse.open)
    return clickhouse


async def _postgres_of(settings: VisualsSettings, stack: contextlib.AsyncExitStack) -> Postgres | None:
    dsn = reveal(settings.db_dsn)
    if dsn is None:
        return None
    postgres = await asyncio.to_thread(open_postgres, dsn)
    stack.push_async_callback(asyncio.to_thread, postgres.close)
    return postgres


def _first_symbols(settings: VisualsSettings) -> list[str]:
    symbols = sorted({part.strip().upper() for part in settings.symbols.split(",") if part.strip()})
    for symbol in symbols:
        if not SYMBOL.fullmatch(symbol):
            raise ConfigurationError(f"SYMBOLS={symbol[:40]!r}: must be 1 to 32 of A-Z, 0-9 and ._:/-")
    return symbols


async def run(
    environment: Mapping[str, str],
    *,
    clickhouse: ClickHouse | None = None,
    postgres: Postgres | None = None,
    verdict: Verdict | None = None,
    trading_url: Callable[[], str | None] | None = None,
    on_ready: Callable[[int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve universe, TA API, system state and page until `stop` is set; engines that are away are waited out.

    `verdict` yields the health report, where its rules run; `trading_url` where trading listens, when that is known only
    later than the settings.
    """
    settings = load(VisualsSettings, environment)
    clock = open_clock(settings.clock)
    first = _first_symbols(settings)
    until = stop or asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        store = clickhouse or await _clickhouse_of(settings, stack)
        database = postgres or await _postgres_of(settings, stack)
        reader = TaReader(store) if store is not None else None
        newest = NewestRows(reader, time.monotonic) if reader is not None else None
        log = EventLog(uuid.uuid4().hex[:12])
        state = SystemState(
            clock=clock,
            monotonic=time.monotonic,
            calendar=MarketCalendar(settings.market_calendar),
            http=await stack.enter_async_context(httpx.AsyncClient(follow_redirects=False)),
            trading_url=trading_url or (lambda: settings.trading_url),
            verdict=verdict,
            store_trouble=lambda: NOT_CONFIGURED if newest is None else newest.trouble,
            log=log,
        )
        registry = CollectorRegistry()
        registry.register(VisualsMetrics(log=log, newest=newest))
        app = create_app(
            Stores(
                universe=Universe(database, first) if database is not None else None,
                reader=reader,
                newest=newest,
                live=Live(state=state, log=log, stop=until),
                registry=registry,
            ),
            token=reveal(settings.write_token),
            now=lambda: utc_datetime(clock.now_ns()),
        )
        binding = Binding(port=settings.port, variable="VISUALS_PORT", host=settings.http_host)
        port = await stack.enter_async_context(serving(app, binding))
        keeping = [state.run(until)] if newest is None else [state.run(until), follow(newest, log, until)]
        if on_ready is not None:
            on_ready(port)
        await asyncio.gather(until.wait(), *keeping)


async def run_guardrails(
    environment: Mapping[str, str],
    *,
    clickhouse: ClickHouse | None = None,
    on_ready: Callable[[int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve the guardrail gauges until `stop` is set; a ClickHouse that is away is a gauge, not an end."""
    settings = load(GuardrailsSettings, environment)
    addresses = settings.addresses()
    if not addresses:
        if settings.clickhouse_url is None:
            raise ConfigurationError("TA_CLICKHOUSE_URL: must be set, or GUARDRAILS_REPLICAS")
        is_embedded = check_address(settings.clickhouse_url)
        addresses = {"embedded" if is_embedded else settings.clickhouse_url.split("//")[-1]: settings.clickhouse_url}
    clock = open_clock(settings.clock)
    async with contextlib.AsyncExitStack() as stack:
        replicas: list[Guardrails] = []
        for name, url in addresses.items():
            store = clickhouse or await _clickhouse_of(settings, stack, url)
            assert store is not None
            replicas.append(Guardrails(clickhouse=store, clock=clock, replica=name, data_path=settings.data_path))
        app = FastAPI(title="torghut-guardrails", openapi_url=None)
        add_metrics(app, registry_of(*replicas))
        until = stop or asyncio.Event()
        binding = Binding(port=settings.port, variable="GUARDRAILS_PORT", host=settings.http_host)
        port = await stack.enter_async_context(serving(app, binding))
        await scrape_all(replicas)
        if on_ready is not None:
            on_ready(port)
        await scrape_forever(replicas, settings.scrape_seconds, until)
