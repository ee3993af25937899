"""The trading runtime as one coroutine: settings in, HTTP up, schema brought up, loops until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from torghut_core.backoff import Backoff
from torghut_core.clock import Clock, StepClock, SystemClock, open_clock
from torghut_core.engines.clickhouse import ClickHouse, ClickHouseError, Queries
from torghut_core.engines.postgres import Postgres, open_postgres
from torghut_core.errors import ConfigurationError, TorghutError
from torghut_core.http_server import Binding, serving
from torghut_core.logs import event
from torghut_core.market_calendar import MarketCalendar
from torghut_core.settings import reveal, unknown_variables
from torghut_core.trading.alerts import Alerts
from torghut_core.trading.api.app import View, create_app
from torghut_core.trading.api.view import RuntimeView
from torghut_core.trading.closing import Closer
from torghut_core.trading.decision.emergency import EmergencyStop
from torghut_core.trading.dry_run import DryRun
from torghut_core.trading.handling import Handler
from torghut_core.trading.inputs.on_demand import clickhouse_of
from torghut_core.trading.inputs.signals import PriceReader, SignalReader
from torghut_core.trading.inputs.universe import Universe
from torghut_core.trading.isolation import OpenLibrary
from torghut_core.trading.leadership import Leadership
from torghut_core.trading.loop import TradingLoop
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.orders.broker import Broker, Brokerage
from torghut_core.trading.orders.execution import Execution
from torghut_core.trading.orders.reconcile import Reconciler
from torghut_core.trading.orders.updates import TradeUpdates
from torghut_core.trading.parts import Parts
from torghut_core.trading.review.policy import resolve_policy
from torghut_core.trading.review.reviewer import Reviewer
from torghut_core.trading.review.spending import Spending
from torghut_core.trading.settings import TradingSettings, load_settings
from torghut_core.trading.status import Lane, RunState
from torghut_core.trading.store.alerts import AlertStore
from torghut_core.trading.store.control import ControlStore
from torghut_core.trading.store.database import Database
from torghut_core.trading.store.deadlines import with_deadlines
from torghut_core.trading.store.decisions import DecisionStore
from torghut_core.trading.store.exits import ExitStore
from torghut_core.trading.store.listing import Listing
from torghut_core.trading.store.money import MoneyStore
from torghut_core.trading.store.orders import OrderStore
from torghut_core.trading.store.reviews import ReviewStore
from torghut_core.trading.store.schema import prepare, read_schema
from torghut_core.trading.store.spending import SpendingStore
from torghut_core.trading.strategies.library import Library
from torghut_core.trading.strategies.shipped import SHIPPED

_LOG = logging.getLogger(__name__)
_ALERT_SECONDS = 1.0
_STATUS_SECONDS = 2.0
_UPDATES_SECONDS = 5.0
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
    unknown = tuple(unknown_variables(TradingSettings, environment))
    stopping = stop if stop is not None else asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        server = postgres if postgres is not None else await _open_postgres(settings, stack)
        may_migrate = server.is_embedded or settings.migrate_server
        database_server = with_deadlines(server)
        queries: Queries | None = clickhouse
        if queries is None and settings.trades:
            queries = await _open_clickhouse(settings, stack)
        runtime = await stack.enter_async_context(
            _runtime(
                settings,
                database_server,
                queries,
                library=_open_library(settings, environment),
                may_migrate=may_migrate,
                unknown=unknown,
            )
        )
        binding = Binding(port=settings.http_port, variable="TRADING_HTTP_PORT", host=settings.http_host)
        port = await stack.enter_async_context(serving(create_app(runtime.view), binding))
        event(_LOG, "trading_started", port=port, mode=settings.mode, enabled=settings.enabled)
        if on_ready is not None:
            on_ready(port)
        await _supervise(runtime, settings, stopping)


@dataclass(frozen=True, kw_only=True)
class _Runtime:
    postgres: Postgres
    may_migrate: bool
    parts: Parts
    loop: TradingLoop
    handler: Handler
    view: View
    shown: RuntimeView
    dry_run: DryRun | None


@contextlib.asynccontextmanager
async def _runtime(
    settings: TradingSettings,
    postgres: Postgres,
    clickhouse: Queries | None,
    *,
    library: Library,
    may_migrate: bool,
    unknown: tuple[str, ...],
) -> AsyncIterator[_Runtime]:
    database = Database(postgres)
    clock = _open_clock(settings)
    dry_run = DryRun(settings, clock) if settings.mode == "dry-run" and settings.trades else None
    parts = make_parts(
        settings,
        postgres,
        database,
        clock=clock,
        broker=_open_broker(settings, SystemClock(), clock) if dry_run is None else dry_run.broker,
        prices=PriceReader(clickhouse or _NoTables(), table=settings.price_table),
    )
    policy = resolve_policy(settings.review_switches)
    parts.metrics.add_labelled("llm_policy_resolution_total", policy.classification)
    reader = SignalReader(
        clickhouse or _NoTables(),
        table=settings.signal_table,
        # On an accelerated clock the same flush takes longer in ingest time.
        overlap_ms=round(_OVERLAP_MS * max(1.0, getattr(parts.clock, "speed", 1.0))),
        lookback_ms=round(settings.signal_lookback_minutes * 60_000),
        batch_size=settings.signal_batch_size,
        on_bad_row=lambda reason: parts.metrics.add_labelled("signal_rows_skipped_total", reason),
    )
    closer = Closer(parts)
    handler = Handler(parts, closer)
    shown = RuntimeView(
        parts, policy=policy, clickhouse=clickhouse, schema=lambda: read_schema(postgres), unknown=unknown
    )
    loop = TradingLoop(
        parts,
        reader=reader,
        universe=Universe(settings, parts.wall),
        handler=handler,
        closer=closer,
        on_rows=None if dry_run is None else dry_run.see,
        library=library,
        lanes=_lanes(parts, shown),
    )
    view = View(
        version=settings.version,
        commit=settings.commit,
        listing=Listing(database),
        metrics=parts.metrics,
        status=shown.status,
        health=shown.health,
        readiness=shown.readiness,
        account=shown.account,
        positions=shown.positions,
        profit=shown.profit,
        schema=shown.schema,
    )
    await asyncio.to_thread(database.open)
    try:
        yield _Runtime(
            postgres=postgres,
            may_migrate=may_migrate,
            parts=parts,
            loop=loop,
            handler=handler,
            view=view,
            shown=shown,
            dry_run=dry_run,
        )
    finally:
        await asyncio.to_thread(parts.leadership.release)
        if parts.broker is not None:
            await parts.broker.close()
        await asyncio.to_thread(database.close)


def make_parts(
    settings: TradingSettings,
    postgres: Postgres,
    database: Database,
    *,
    clock: Clock,
    broker: Brokerage | None,
    prices: PriceReader,
) -> Parts:
    """Return the parts of trading by `clock` at `broker`, over the stores of a database."""
    wall = SystemClock()
    label = settings.account_label
    metrics, state = Metrics(), RunState()
    orders = OrderStore(database, account_label=label)
    revision = _revision(settings)
    leadership = Leadership(postgres, lock_name=settings.leader_lock_name, holder=revision or "unnamed", clock=wall)
    alerts = Alerts(settings, AlertStore(database, account_label=label), clock=clock, wall=wall)
    execution = reconciler = None
    if broker is not None and settings.trades:
        execution = Execution(
            broker=broker, leadership=leadership, orders=orders, clock=clock, wall=wall, metrics=metrics
        )
        reconciler = Reconciler(
            broker=broker,
            orders=orders,
            execution=execution,
            clock=clock,
            wall=wall,
            metrics=metrics,
            alert=alerts.tell,
        )
    reviewer = None
    if settings.llm_enabled and settings.trades:
        fail_mode = resolve_policy(settings.review_switches).effective_fail_mode
        spending = Spending(SpendingStore(database, account_label=label), settings, clock)
        reviewer = Reviewer(settings, fail_mode=fail_mode, clock=wall, metrics=metrics, spending=spending)
    return Parts(
        settings=settings,
        clock=clock,
        wall=wall,
        calendar=MarketCalendar(settings.market_calendar),
        broker=broker,
        prices=prices,
        decisions=DecisionStore(database, account_label=label),
        orders=orders,
        money=MoneyStore(database, account_label=label, rates=settings.fee_rates),
        exits=ExitStore(database, account_label=label),
        control=ControlStore(database, account_label=label),
        reviews=ReviewStore(database),
        leadership=leadership,
        execution=execution,
        reconciler=reconciler,
        reviewer=reviewer,
        alerts=alerts,
        emergency=EmergencyStop(
            lag_limit_seconds=settings.emergency_lag_seconds, recovery_cycles=settings.emergency_recovery_cycles
        ),
        metrics=metrics,
        state=state,
        revision=revision,
    )


def _open_clock(settings: TradingSettings) -> Clock:
    """Return the clock that trading judges by: the machine's, or one that goes from instant to instant of the market."""
    clock = open_clock(settings.clock)
    return StepClock(clock.now_ns(), base=clock) if clock.is_simulated else clock


def _open_library(settings: TradingSettings, environment: Mapping[str, str]) -> Library:
    """Return the shipped rules and those of installed packages; of the environment their processes get what is harmless."""
    return OpenLibrary(
        SHIPPED,
        clock=SystemClock(),
        seconds=settings.strategy_deadline_seconds,
        environment=environment,
        memory_mb=settings.strategy_memory_mb,
    )


def _revision(settings: TradingSettings) -> str | None:
    """Return what this process is a start of: its deployment, on one machine the start itself, else nothing."""
    if settings.revision_set is not None:
        return settings.revision_set
    return None if settings.kubernetes_host is not None else f"start-{uuid4()}"


def _lanes(parts: Parts, shown: RuntimeView) -> list[tuple[Lane, Callable[[], Awaitable[None]], float]]:
    settings = parts.settings
    found: list[tuple[Lane, Callable[[], Awaitable[None]], float]] = [
        ("alerts", parts.alerts.deliver, _ALERT_SECONDS),
        ("status", shown.publish, _STATUS_SECONDS),
    ]
    key, secret = reveal(settings.broker_key), reveal(settings.broker_secret)
    is_streamed = settings.trade_updates_enabled and settings.mode != "dry-run"
    if parts.reconciler is not None and is_streamed and key is not None and secret is not None:
        updates = TradeUpdates(
            base_url=settings.broker_url,
            key=key,
            secret=secret,
            on_order=parts.reconciler.heard,
            is_wanted=lambda: parts.leadership.is_leader,
            metrics=parts.metrics,
        )
        found.append(("trade_updates", updates.listen, _UPDATES_SECONDS))
    return found


class _NoTables:
    """The ClickHouse of a process that reads none."""

    def query(self, _statement: str, _parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return []


async def _supervise(runtime: _Runtime, settings: TradingSettings, stop: asyncio.Event) -> None:
    """Run the loops until `stop`, and let a broker call that is in flight end before anything is closed."""
    work = asyncio.create_task(_work(runtime, stop), name="trading")
    stopped = asyncio.create_task(stop.wait(), name="trading-stop")
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        runtime.parts.state.is_ending = True
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
    if not await _until_done(runtime, stop, _bring_up_schema):
        return
    if not runtime.parts.settings.trades:
        runtime.parts.state.is_stop_recorded = True
        await runtime.shown.follow(stop)
        return
    if await _until_done(runtime, stop, _register):
        await runtime.loop.run(stop)


async def _bring_up_schema(runtime: _Runtime) -> None:
    state = runtime.parts.state
    schema = await asyncio.to_thread(prepare, runtime.postgres, may_migrate=runtime.may_migrate)
    state.current_heads, state.expected_heads = schema.current_heads, schema.expected_heads
    state.is_schema_current = schema.is_current


async def _register(runtime: _Runtime) -> None:
    """Put this start on record, and with trading off or the kill switch on a stop: every later claim obeys it."""
    parts = runtime.parts
    settings = parts.settings
    why = "trading_disabled" if not settings.enabled else "kill_switch" if settings.kill_switch_enabled else None
    await asyncio.to_thread(parts.control.register, parts.revision, now_ns=parts.clock.now_ns(), stop=why)
    if runtime.dry_run is not None:
        runtime.dry_run.restore(await asyncio.to_thread(parts.orders.fills))
    parts.state.is_stop_recorded = True
    if why is not None:
        event(_LOG, "stop_recorded", logging.WARNING, why=why, revision=parts.revision)


async def _until_done(runtime: _Runtime, stop: asyncio.Event, step: Callable[[_Runtime], Awaitable[None]]) -> bool:
    """Do a step of the start, waiting for PostgreSQL as long as it takes; the kill switch is obeyed meanwhile.

    Return False when all is to end first. Raises ConfigurationError.
    """
    state, backoff, attempt = runtime.parts.state, Backoff(base=0.5, cap=10), 0
    while not stop.is_set():
        try:
            await step(runtime)
        except ConfigurationError:
            raise
        except TorghutError as error:
            state.failed("start", error)
        else:
            state.succeeded("start")
            return True
        await runtime.loop.obey_kill_switch()
        attempt += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(backoff.delay(attempt)):
                await stop.wait()
    return False


def _open_broker(settings: TradingSettings, wall: Clock, clock: Clock) -> Brokerage | None:
    key, secret = reveal(settings.broker_key), reveal(settings.broker_secret)
    if key is None or secret is None or settings.mode == "dry-run":
        return None
    return Broker(
        base_url=settings.broker_url,
        key=key,
        secret=secret,
        timeout_seconds=settings.broker_timeout_seconds,
        per_minute=settings.broker_requests_per_minute,
        clock=wall,
        market_time=clock.now_ns if clock.is_simulated else None,
    )


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
