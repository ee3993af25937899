"""All runtimes in this process, over engines embedded in one folder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from torghut_core import logs
from torghut_core.engines.clickhouse import Address, open_clickhouse
from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.engines.postgres import Postgres, open_postgres
from torghut_core.errors import EngineUnavailableError
from torghut_core.ingest import service as ingest
from torghut_core.logs import event
from torghut_core.ta import service as ta
from torghut_core.trading import service as trading
from torghut_core.visuals import service as visuals
from torghutctl.errors import ConfigurationError
from torghutctl.health.report import Operator, judge
from torghutctl.onemachine.folder import LocalFolder
from torghutctl.snapshot import reader
from torghutctl.snapshot.target import Target

_logger = logging.getLogger("torghut.local")
_START_SECONDS = 60.0
_LOOK_SECONDS = 1.0
Say = Callable[[str], None]


class _Stopped(Exception):
    pass


async def _keep_alive(postgres: Postgres) -> None:
    """Start the database's server again whenever it ended: nobody else does on this machine."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            if await asyncio.to_thread(postgres.revive):
                event(_logger, "postgres_started_again", logging.WARNING)
        except EngineUnavailableError as error:
            event(_logger, "postgres_ended", logging.ERROR, error=str(error))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def report_on(target: Target) -> dict[str, Any]:
    """Return the health report on `target`, as `health-report` would. Blocks; raises what the reader raises."""
    snapshot = reader.read(target, at_ns=None)
    return judge(snapshot, Operator(options=target.options))


def local_environment(folder: LocalFolder, given: Mapping[str, str], page_port: int) -> dict[str, str]:
    """Return the environment of every runtime: what was given, over defaults for one machine.

    Paper only. The account's keys may stand under either name. Raises ConfigurationError for a live setting.
    """
    for name, forbidden in (("TRADING_MODE", "live"), ("TRADING_LIVE_ENABLED", "true")):
        if given.get(name, "").strip().lower() == forbidden:
            raise ConfigurationError(
                f"{name}={given[name]!r}: up trades on paper only", hint="live trading runs by `torghutctl run trading`"
            )
    key = given.get("ALPACA_KEY_ID") or given.get("APCA_API_KEY_ID")
    secret = given.get("ALPACA_SECRET_KEY") or given.get("APCA_API_SECRET_KEY")
    if not key or not secret:
        raise ConfigurationError(
            "APCA_API_KEY_ID, APCA_API_SECRET_KEY: must be set to a paper account's keys",
            hint="without an account, `torghutctl demo` runs on a simulated market",
        )
    engines = folder.engines
    defaults = {
        "ALPACA_KEY_ID": key,
        "ALPACA_SECRET_KEY": secret,
        "APCA_API_KEY_ID": key,
        "APCA_API_SECRET_KEY": secret,
        "SYMBOLS": "AAPL,MSFT,NVDA",
        "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
        "TA_KAFKA_SECURITY": "PLAINTEXT",
        "TA_AUTO_OFFSET_RESET": "earliest",
        "TA_CHECKPOINT_DIR": f"file:{engines / 'checkpoints'}",
        "TRADING_ENABLED": "true",
        "TRADING_KILL_SWITCH_ENABLED": "false",
        "TORGHUT_HTTP_HOST": "127.0.0.1",
        "TRADING_HTTP_HOST": "127.0.0.1",
        "GUARDRAILS_DATA_PATH": str(folder.path),
    }
    fixed = {
        "KAFKA_BOOTSTRAP": f"embedded:{engines / 'kafka'}",
        "TA_KAFKA_BOOTSTRAP": f"embedded:{engines / 'kafka'}",
        "TA_CLICKHOUSE_URL": f"embedded:{engines / 'clickhouse'}",
        "DB_DSN": f"embedded:{engines / 'postgres'}",
        "VISUALS_PORT": str(page_port),
        **dict.fromkeys(("HEALTH_PORT", "METRICS_PORT", "TA_HEALTH_PORT", "TA_METRICS_PORT"), "0"),
        **dict.fromkeys(("TRADING_HTTP_PORT", "GUARDRAILS_PORT"), "0"),
    }
    return {**defaults, **given, **fixed}


@dataclass
class LocalSystem:
    """The running services and where they listen."""

    folder: LocalFolder
    environment: dict[str, str]
    say: Say
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    services: dict[str, dict[str, str]] = field(default_factory=dict)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def page(self) -> str:
        return self.services["visuals"]["api"]

    async def run(self, work: Callable[[LocalSystem], Awaitable[None]]) -> None:
        """Start everything, run `work`, and stop everything; a service that ends early ends the whole.

        Told to stop while it starts, it stops what has started, and returns without having run `work`.
        """
        logs.configure(stream=self.folder.log_file.open("a", buffering=1))
        async with AsyncExitStack() as stack:
            stack.enter_context(suppress(_Stopped))
            environment = self.environment
            self.say("opening engines: log (SQLite), ClickHouse (chDB), PostgreSQL")
            kafka = open_kafka(KafkaAddress(bootstrap=environment["KAFKA_BOOTSTRAP"], client_id="torghut-local"))
            stack.push_async_callback(kafka.close)
            clickhouse = await asyncio.to_thread(open_clickhouse, Address(url=environment["TA_CLICKHOUSE_URL"]))
            stack.callback(clickhouse.close)
            postgres = await asyncio.to_thread(open_postgres, environment["DB_DSN"])
            stack.callback(postgres.close)
            stack.push_async_callback(_ended, asyncio.create_task(_keep_alive(postgres)))
            stack.push_async_callback(self._stop_services)
            self._raise_if_stopped()

            def listening(name: str, *roles: str) -> tuple[Callable[..., None], asyncio.Event]:
                up = asyncio.Event()

                def note(*ports: int) -> None:
                    self.services[name] = {
                        role: f"http://127.0.0.1:{port}" for role, port in zip(roles, ports, strict=True)
                    }
                    up.set()

                return note, up

            async def start(name: str, roles: tuple[str, ...], run: Callable[..., Any], **engines: Any) -> None:
                note, up = listening(name, *roles)
                self._tasks[name] = asyncio.create_task(
                    run(self.environment, on_ready=note, stop=self.stop, **engines), name=name
                )
                await self._until(up, name)
                self.say(f"{name} listens on {', '.join(self.services[name].values())}")

            await start(
                "visuals",
                ("api",),
                visuals.run,
                clickhouse=clickhouse,
                postgres=postgres,
                verdict=self._verdict,
                trading_url=lambda: self.services.get("trading", {}).get("api"),
            )
            symbols_url = f"{self.page}/api/torghut/symbols"
            self.environment = {**environment, "JANGAR_SYMBOLS_URL": symbols_url, "TRADING_UNIVERSE_SOURCE": "jangar"}
            await start("guardrails", ("metrics",), visuals.run_guardrails, clickhouse=clickhouse)
            await start("ta", ("health", "metrics"), ta.run, kafka=kafka, clickhouse=clickhouse)
            await start("trading", ("api",), trading.run, clickhouse=clickhouse, postgres=postgres)
            await start("forwarder", ("health", "metrics"), ingest.run, kafka=kafka)
            self.folder.write_endpoints(
                self.services,
                startedAt=datetime.now(UTC).isoformat(timespec="seconds"),
                marketCalendar=environment.get("TORGHUT_MARKET_CALENDAR", "XNYS"),
                clock=environment.get("TORGHUT_CLOCK", "system"),
                feed=environment.get("ALPACA_FEED", "iex"),
            )
            stack.callback(self.folder.remove_endpoints)
            await self._supervised(work)

    async def _verdict(self) -> dict[str, Any]:
        """Return the health report of this very system, for its page. Raises InputError until everything listens."""
        return await asyncio.to_thread(report_on, Target(local=self.folder.path, options=self._options))

    @property
    def _options(self) -> tuple[tuple[str, str], ...]:
        return (("--local", str(self.folder.path)),)

    async def _until(self, up: asyncio.Event, name: str) -> None:
        waiting = asyncio.create_task(up.wait())
        await asyncio.wait(
            [waiting, *self._tasks.values()], timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        self._raise_failure()
        self._raise_if_stopped()
        self._raise_if_ended()
        if not up.is_set():
            raise ConfigurationError(
                f"{name} did not start within {_START_SECONDS:.0f} s", hint=f"read {self.folder.log_file}"
            )

    def _raise_if_stopped(self) -> None:
        if self.stop.is_set():
            raise _Stopped

    def _raise_if_ended(self) -> None:
        for name, task in self._tasks.items():
            if task.done():
                raise ConfigurationError(f"{name} ended unexpectedly", hint=f"read {self.folder.log_file}")

    def _raise_failure(self) -> None:
        """Raise what a service failed with; one that fails also tells the others to stop."""
        for task in self._tasks.values():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _supervised(self, work: Callable[[LocalSystem], Awaitable[None]]) -> None:
        working = asyncio.ensure_future(work(self))
        stopping = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait([working, stopping, *self._tasks.values()], return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            self._raise_failure()
            if not working.done() and not self.stop.is_set():
                self._raise_if_ended()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _stop_services(self) -> None:
        self.stop.set()
        if not self._tasks:
            return
        _, pending = await asyncio.wait(self._tasks.values(), timeout=20)
        for task in pending:
            event(_logger, "service_cancelled", logging.WARNING, service=task.get_name())
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._raise_failure()
