"""The trading runtime as one coroutine: settings in, HTTP up, schema brought up, loops until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from torghut_core.backoff import Backoff
from torghut_core.clock import SystemClock, open_clock
from torghut_core.engines.clickhouse import ClickHouse, ClickHouseError, Queries
from torghut_core.engines.postgres import Postgres, open_postgres
from torghut_core.errors import ConfigurationError, TorghutError
from torghut_core.http_server import Binding, serving
from torghut_core.logs import event
from torghut_core.market_calendar import MarketCalendar
from torghut_core.settings import reveal
from torghut_core.trading.api.app import View, create_app
from torghut_core.trading.api.view import RuntimeView
from torghut_core.trading.handling import Handler, Parts
from torghut_core.trading.inputs.on_demand import clickhouse_of
from torghut_core.trading.inputs.signals import PriceReader, SignalReader
from torghut_core.trading.inputs.universe import Universe
from torghut_core.trading.leadership import Leadership
from torghut_core.trading.loop import TradingLoop
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.orders.broker import Broker
from torghut_core.trading.orders.execution import Execution
from torghut_core.trading.orders.reconcile import Reconciler
from torghut_core.trading.review.policy import resolve_policy
from torghut_core.trading.review.reviewer import Reviewer
from torghut_core.trading.settings import TradingSettings, load_settings
from torghut_core.trading.status import RunState
from torghut_core.trading.store.database import Database, with_deadlines
from torghut_core.trading.store.decisions import DecisionStore
from torghut_core.trading.store.listing import Listing
from torghut_core.trading.store.orders import OrderStore
from torghut_core.trading.store.reviews import ReviewStore
from torghut_core.trading.store.schema import migrate, read_schema

_LOG = logging.getLogger(__name__)
_OVERLAP_MS = 30_000
"""How far back of the ingest watermark signals are read again: longer than a sink's flush and its quick retries."""


async def run(
    environment: Mapping[str, str],
    *,
    clickhouse: ClickHouse | None = None,
    postgres: Postgres | None = None,
    on_ready: Callable[[int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Trade by the settings in `environment` until `stop` is set (for ever without one).

    Engines that are not given are opened by address (`TA_CLICKHOUSE_URL`, `DB_DSN`) and closed again. `on_ready` gets
    the HTTP port once it listens. Raises ConfigurationError for settings that are wrong, contradict each other or the
    broker's account; outages are waited out.
    """
    settings = load_settings(environment)
    stopping = stop if stop is not None else asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        database_server = with_deadlines(postgres if postgres is not None else await _open_postgres(settings, stack))
        queries = clickhouse if clickhouse is not None else await _open_clickhouse(settings, stack)
        runtime = await stack.enter_async_context(_runtime(settings, database_server, queries))
        binding = Binding(port=settings.http_port, variable="TRADING_HTTP_PORT", host=settings.http_host)
        port = await stack.enter_async_context(serving(create_app(runtime.view), binding))
        event(_LOG, "trading_started", port=port, mode=settings.mode, enabled=settings.enabled)
        if on_ready is not None:
            on_ready(port)
        await _supervise(runtime, settings, stopping)


@dataclass(frozen=True, kw_only=True)
class _Runtime:
    postgres: Postgres
    parts: Parts
    loop: TradingLoop
    handler: Handler
    view: View


@contextlib.asynccontextmanager
async def _runtime(settings: TradingSettings, postgres: Postgres, clickhouse: Queries) -> AsyncIterator[_Runtime]:
    clock, wall = open_clock(settings.clock), SystemClock()
    label = settings.account_label
    metrics, state = Metrics(), RunState()
    database = Database(postgres)
    orders = OrderStore(database, account_label=label)
    leadership = Leadership(postgres, lock_name=settings.leader_lock_name)
    policy = resolve_policy(settings.review_switches)
    metrics.add_labelled("llm_policy_resolution_total", policy.classification)
    broker = _open_broker(settings)
    execution = reconciler = None
    if broker is not None:
        execution = Execution(
            broker=broker, leadership=leadership, orders=orders, clock=clock, wall=wall, metrics=metrics
        )
        reconciler = Reconciler(
            broker=broker, orders=orders, execution=execution, clock=clock, wall=wall, metrics=metrics
        )
    reviewer = None
    if settings.llm_enabled:
        reviewer = Reviewer(settings, fail_mode=policy.effective_fail_mode, clock=wall, metrics=metrics)
    parts = Parts(
        settings=settings,
        clock=clock,
        calendar=MarketCalendar(settings.market_calendar),
        broker=broker,
        prices=PriceReader(clickhouse, table=settings.price_table),
        decisions=DecisionStore(database, account_label=label),
        orders=orders,
        reviews=ReviewStore(database),
        leadership=leadership,
        execution=execution,
        reconciler=reconciler,
        reviewer=reviewer,
        metrics=metrics,
        state=state,
    )
    reader = SignalReader(
        clickhouse,
        table=settings.signal_table,
        # On an accelerated clock the same flush takes longer in ingest time.
        overlap_ms=round(_OVERLAP_MS * max(1.0, getattr(clock, "speed", 1.0))),
        batch_size=settings.signal_batch_size,
    )
    handler = Handler(parts)
    loop = TradingLoop(parts, reader=reader, universe=Universe(settings, wall), handler=handler)
    shown = RuntimeView(parts, policy=policy, clickhouse=clickhouse, schema=lambda: read_schema(postgres))
    view = View(
        version=settings.version,
        commit=settings.commit,
        listing=Listing(database),
        metrics=metrics,
        status=shown.status,
        health=shown.health,
        readiness=shown.readiness,
        schema=shown.schema,
    )
    await asyncio.to_thread(database.open)
    try:
        yield _Runtime(postgres=postgres, parts=parts, loop=loop, handler=handler, view=view)
    finally:
        await asyncio.to_thread(leadership.release)
        if broker is not None:
            await broker.close()
        await asyncio.to_thread(database.close)


async def _supervise(runtime: _Runtime, settings: TradingSettings, stop: asyncio.Event) -> None:
    """Run the loops until `stop`, and let a broker call that is in flight end before anything is closed."""
    work = asyncio.create_task(_work(runtime, stop), name="trading")
    stopped = asyncio.create_task(stop.wait(), name="trading-stop")
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        stopped.cancel()
        try:
            await asyncio.wait({work}, timeout=settings.drain_seconds)
        finally:  # also when the waiting itself is cancelled: nothing may go on below closed connections
            if not work.done():
                event(_LOG, "drain_cut_short", logging.ERROR, seconds=settings.drain_seconds)
                work.cancel()
                await asyncio.wait({work})
        await runtime.handler.drain()
    if not work.cancelled():
        work.result()


async def _work(runtime: _Runtime, stop: asyncio.Event) -> None:
    if await _bring_up_schema(runtime, stop):
        await runtime.loop.run(stop)


async def _bring_up_schema(runtime: _Runtime, stop: asyncio.Event) -> bool:
    """Migrate, waiting for PostgreSQL as long as it takes; the kill switch is obeyed meanwhile. False when stopped."""
    state, backoff, attempt = runtime.parts.state, Backoff(base=0.5, cap=10), 0
    while not stop.is_set():
        try:
            schema = await asyncio.to_thread(migrate, runtime.postgres)
        except ConfigurationError:
            raise
        except TorghutError as error:
            state.failed("start", error)
            event(_LOG, "schema_not_ready", logging.ERROR, error=str(error))
        else:
            state.current_heads, state.expected_heads = schema.current_heads, schema.expected_heads
            state.is_schema_current = schema.is_current
            state.succeeded("start")
            return True
        await runtime.loop.obey_kill_switch()
        attempt += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.delay(attempt)):
                await stop.wait()
    return False


def _open_broker(settings: TradingSettings) -> Broker | None:
    key, secret = reveal(settings.broker_key), reveal(settings.broker_secret)
    if key is None or secret is None:
        return None
    return Broker(base_url=settings.broker_url, key=key, secret=secret, timeout_seconds=settings.broker_timeout_seconds)


async def _open_postgres(settings: TradingSettings, stack: contextlib.AsyncExitStack) -> Postgres:
    address = reveal(settings.db_dsn)
    if address is None:
        raise ConfigurationError("DB_DSN: must be set, to a server's address or embedded:DIR")
    postgres = await asyncio.to_thread(open_postgres, address)
    stack.push_async_callback(asyncio.to_thread, postgres.close)
    return postgres


async def _open_clickhouse(settings: TradingSettings, stack: contextlib.AsyncExitStack) -> Queries:
    clickhouse = clickhouse_of(settings)
    if clickhouse is None:
        raise ConfigurationError("TA_CLICKHOUSE_URL: must be set, to http(s)://HOST[:PORT] or embedded:DIR")
    stack.push_async_callback(asyncio.to_thread, clickhouse.close)
    with contextlib.suppress(ClickHouseError):  # away is waited out; a wrong address is not
        await asyncio.to_thread(clickhouse.open)
    return clickhouse
