"""`torghutctl run ws|ta|trading|visuals|guardrails`: one runtime, configured by its environment."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from torghutctl.commands.option_group import one_of

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Run one runtime until it is told to stop (SIGTERM), configured by environment variables.\n\n"
    "A variable that is wrong stops start-up with exit code 2 and one line that names variable, value and rule.",
)


class TaEngine(StrEnum):
    """What runs the TA."""

    PROCESS = "process"
    FLINK = "flink"


def _until_signalled(run: Callable[..., Awaitable[None]]) -> None:
    from torghut_core import logs

    async def supervised() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, stop.set)
        await run(dict(os.environ), stop=stop)

    logs.configure()
    asyncio.run(supervised())


def _needs_runtime(load: Callable[[], Any]) -> Any:
    from torghutctl.errors import ConfigurationError

    try:
        return load()
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{error.name} is not installed", hint="pip install 'torghut[runtime]', or 'torghut[runtime,embedded]'"
        ) from error


@app.command("ws")
def ws() -> None:
    """Forward one Alpaca market-data stream to Kafka (ALPACA_*, SYMBOLS, KAFKA_*).

    One forwarder per account: Alpaca answers a second connection with 406.

    /readyz says whether data flows, why not (error_class, detail) and what was wrong lately (recent); symbols that the
    plan has no subscription for are named and leave it ready. ENABLE_BARS_BACKFILL and ENABLE_TRADES_BACKFILL fill gaps
    from REST, KAFKA_BUFFER_MEMORY_BYTES bounds what waits for Kafka (the oldest is dropped, and counted).
    """

    def load() -> Any:
        from torghut_core.ingest import service

        return service.run

    _until_signalled(_needs_runtime(load))


@app.command("ta")
def ta(
    engine: Annotated[
        TaEngine,
        typer.Option(
            metavar=one_of(TaEngine),
            help="process: all in this one; flink: on a Flink cluster within one JVM, see `make flink`",
        ),
    ] = TaEngine.PROCESS,
) -> None:
    """Compute micro-bars and indicators from Kafka to Kafka and ClickHouse (TA_*).

    Several processes share the partitions of one TA_GROUP_ID. With --engine flink the same engine runs as a Flink job:
    TA_PARALLELISM subtasks, checkpoints and savepoints under TA_CHECKPOINT_DIR, PyFlink from TA_FLINK_DIR.
    JVM_ARGS are the options of its JVM, by default -XX:+UseSerialGC -Xmn512m.
    """

    def load() -> Any:
        if engine is TaEngine.FLINK:
            from torghut_core.ta.flink import service as on_flink

            return on_flink.run
        from torghut_core.ta import service

        return service.run

    _until_signalled(_needs_runtime(load))


@app.command("trading")
def trading() -> None:
    """Trade on signals behind the gates; paper unless every live gate is set (TRADING_*, APCA_*, LLM_*, DB_DSN)."""

    def load() -> Any:
        from torghut_core.trading import service

        return service.run

    _until_signalled(_needs_runtime(load))


@app.command("visuals")
def visuals() -> None:
    """Serve the symbol universe, the TA API and the page (VISUALS_PORT, TA_CLICKHOUSE_*, DB_DSN).

    VISUALS_TRADING_URL names the trading API whose account, orders and decisions the page shows. TORGHUT_API_TOKEN is what
    changes the universe, and what reads the account and the stream from another machine. The verdict is not known here:
    its rules run in health-report, `up` and `demo`.
    """

    def load() -> Any:
        from torghut_core.visuals import service

        return service.run

    _until_signalled(_needs_runtime(load))


@app.command("guardrails")
def guardrails() -> None:
    """Export ClickHouse's guardrail gauges for Prometheus (GUARDRAILS_PORT, TA_CLICKHOUSE_*)."""

    def load() -> Any:
        from torghut_core.visuals import service

        return service.run_guardrails

    _until_signalled(_needs_runtime(load))
