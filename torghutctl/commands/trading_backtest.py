"""`torghutctl trading backtest`: options in, a recording, a run on a database of its own, a report out."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torghutctl.commands.backtest_sweep import run_sweep
from torghutctl.errors import ConfigurationError, InputError
from torghutctl.render.output import Format, View, columns, write
from torghutctl.render.streams import tell

if TYPE_CHECKING:
    from torghut_core.engines.postgres import Postgres
    from torghut_core.trading.backtest.recording import Recording
    from torghut_core.trading.backtest.run import Plan
    from torghut_core.trading.isolation import OpenLibrary
    from torghut_core.trading.settings import TradingSettings
    from torghut_core.trading.strategies.catalogue import Entry

_FOREVER_NS = 1 << 62


@dataclass(frozen=True, kw_only=True)
class BacktestOptions:
    """What was typed."""

    files: list[Path]
    clickhouse: str | None = None
    local: Path | None = None
    catalogue: Path | None
    strategy: Path | None
    start: str | None
    end: str | None
    symbols: str | None
    fills: str
    seed: int
    cash: str
    report: Path | None
    calendar: str
    sweep: list[str] = field(default_factory=list)
    walk_forward: int | None = None
    jobs: int | None = None
    output: Format | None = None


def run_backtest_command(options: BacktestOptions) -> None:
    """Carry the command out. Raises InputError and ConfigurationError, which exit 2."""
    try:
        from torghut_core.trading.backtest.figures import figures_of, summary
        from torghut_core.trading.backtest.report import write_report
        from torghut_core.trading.backtest.run import run_backtest
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error.name} is not installed", hint="pip install 'torghut[runtime]'") from error
    plan = _plan(options)
    recording = _recording(options, plan)
    recording = _of_symbols(recording, options.symbols)
    _check_span(recording, plan)
    logging.getLogger("torghut_core").addHandler(logging.NullHandler())  # every refusal is in the report
    with own_postgres() as postgres:
        if options.sweep or options.walk_forward is not None:
            run_sweep(
                recording,
                plan,
                postgres,
                sweep=options.sweep,
                walk_forward=options.walk_forward,
                jobs=options.jobs,
                output=options.output,
            )
            return
        result = run_backtest(recording, plan, postgres)
    figures = figures_of(result, recording)
    told = summary(result, figures)
    if options.report is not None:
        write_report(options.report, told, result, figures, recording, script=_script())
    write(told, options.output, table=_table, markdown=_markdown)


def _recording(options: BacktestOptions, plan: Plan) -> Recording:
    """Return what the files hold, or the store that was named instead."""
    from torghut_core.ta.wiring import file_engine_settings
    from torghutctl.onemachine.recorded import read_recording

    if sum((bool(options.files), options.clickhouse is not None, options.local is not None)) != 1:
        raise ConfigurationError("FILE, --clickhouse, --local: give one of the three")
    if options.files:
        sessions = {"TORGHUT_MARKET_CALENDAR": options.calendar}
        return read_recording(options.files, file_engine_settings(os.environ, sessions))
    if plan.from_ns >= plan.to_ns:
        raise ConfigurationError("--from, --to: the first must be before the second")
    return _stored(options, plan)


def _stored(options: BacktestOptions, plan: Plan) -> Recording:
    from torghut_core.engines.clickhouse import Address, open_clickhouse
    from torghut_core.settings import load, reveal
    from torghut_core.trading.backtest.stored import Wanted, read_stored
    from torghut_core.trading.settings import TradingSettings

    given = load(TradingSettings, os.environ)
    option, url = "--clickhouse", options.clickhouse or ""
    if options.local is not None:
        option, folder = f"--local {options.local}", options.local / "engines" / "clickhouse"
        if not folder.is_dir():
            raise ConfigurationError(f"{option}: holds no stored rows")
        url = f"embedded:{folder}"
    elif url.startswith("embedded:") and not Path(url.removeprefix("embedded:")).is_dir():
        raise ConfigurationError(f"--clickhouse={url}: is no folder")
    address = Address(
        url=url,
        username=given.clickhouse_username,
        password=reveal(given.clickhouse_password),
        connect_timeout=given.clickhouse_timeout_seconds,
    )
    wanted = Wanted(
        signal_table=plan.settings.signal_table,
        bar_table=plan.settings.price_table,
        symbols=None if options.symbols is None else frozenset(_names(options.symbols)),
        from_ns=plan.from_ns,
        to_ns=plan.to_ns,
    )
    store = open_clickhouse(address, variable=option)
    try:
        recording = read_stored(store, wanted, source=option)
    finally:
        store.close()
    bad = {name: count for name, count in recording.counts.items() if name != "rows"}
    if bad:
        tell(f"left out: {_counts(bad)}")
    return recording


def _names(symbols: str) -> set[str]:
    return {symbol.strip().upper() for symbol in symbols.split(",") if symbol.strip()}


def _script() -> str:
    """Return the built script of the report's charts."""
    from importlib.resources import files

    return files("torghut_core.visuals").joinpath("static", "report.js").read_text(encoding="utf-8")


def _plan(options: BacktestOptions) -> Plan:
    from torghut_core.trading.backtest.run import Plan
    from torghut_core.trading.strategies.catalogue import DEFAULT_PATH

    settings = backtest_settings(os.environ, options.calendar)
    library = _library(options.strategy, settings)
    entries = _entries(options, library)
    if not any(entry.enabled for entry in entries):
        raise InputError(f"{options.catalogue or DEFAULT_PATH}: no strategy is enabled")
    cash = Decimal(options.cash) if options.cash.replace(".", "", 1).isdigit() else Decimal(0)
    if not 0 < cash < 10**9:
        raise ConfigurationError(f"--cash={options.cash!r}: must be dollars above 0 and below 10^9")
    return Plan(
        entries=entries,
        settings=settings,
        library=library,
        fills=options.fills,  # type: ignore[arg-type]
        seed=options.seed,
        cash=cash,
        from_ns=_instant(options.start, "--from", 0),
        to_ns=_instant(options.end, "--to", _FOREVER_NS),
    )


def _library(file: Path | None, settings: TradingSettings) -> OpenLibrary:
    from torghut_core.clock import SystemClock
    from torghut_core.trading.isolation import OpenLibrary
    from torghut_core.trading.strategies.rule import RuleFault
    from torghut_core.trading.strategies.shipped import SHIPPED

    if file is not None and not file.is_file():
        raise InputError(f"--strategy {file}: is no file")
    try:
        return OpenLibrary(
            SHIPPED,
            clock=SystemClock(),
            seconds=settings.strategy_deadline_seconds,
            memory_mb=settings.strategy_memory_mb,
            environment=dict(os.environ),
            files=[] if file is None else [file],
        )
    except RuleFault as fault:
        raise InputError(f"--strategy {file}: {fault}") from fault


def _entries(options: BacktestOptions, library: OpenLibrary) -> Sequence[Entry]:
    """Return the catalogue; without one, what the file of --strategy declares, with its parameters' own values."""
    from torghut_core.trading.strategies.catalogue import Entry, catalogue_path, read_catalogue

    if options.catalogue is not None or options.strategy is None:
        return read_catalogue(catalogue_path(None if options.catalogue is None else str(options.catalogue)), library)
    found = []
    for name in library.file_names:
        definition = library.get(name)
        timeframes = () if definition is None else definition.timeframes
        found.append(
            Entry(
                name=name,
                description=None,
                rule=name,
                enabled=True,
                base_timeframe=timeframes[0] if timeframes else "1Sec",
                universe_type="static",
                symbols=(),
                max_position_pct_equity=Decimal("0.1"),
                max_notional_per_trade=Decimal(2000),
            )
        )
    return found


def backtest_settings(environment: Mapping[str, str], calendar: str) -> TradingSettings:
    """Return the settings of a backtest: caps, gates and sizes as the environment has them, and nothing that is live."""
    from torghut_core.trading.settings import load_settings

    kept = {name: value for name, value in environment.items() if name.startswith(_KEPT) and name not in _NOT_KEPT}
    fixed = {
        "TRADING_ENABLED": "true",
        "TRADING_KILL_SWITCH_ENABLED": "false",
        "TORGHUT_MARKET_CALENDAR": calendar,
        "TRADING_STATIC_SYMBOLS": "",
    }
    return load_settings({**kept, **fixed})


_KEPT = ("TRADING_", "ALPACA_FEED")
_NOT_KEPT = frozenset(
    [
        "TRADING_MODE",
        "TRADING_LIVE_ENABLED",
        "TRADING_LIVE_ACCOUNT",
        "TRADING_UNIVERSE_SOURCE",
        "TRADING_WEBHOOK_URL",
        "TRADING_WEBHOOK_SECRET",
        "TRADING_SCHEDULER_LEADERSHIP_LOCK_NAME",
        "TRADING_STRATEGY_CONFIG_PATH",
    ]
)


def _instant(text: str | None, option: str, default: int) -> int:
    from torghut_core.rfc3339 import parse_ns

    if text is None:
        return default
    try:
        return parse_ns(text)
    except ValueError as error:
        raise ConfigurationError(f"{option}={text!r}: must be RFC 3339, as 2013-10-07T14:00:00Z") from error


def _of_symbols(recording: Recording, symbols: str | None) -> Recording:
    from dataclasses import replace

    if symbols is None:
        return recording
    wanted = _names(symbols)
    unknown = wanted - set(recording.symbols)
    if unknown or not wanted:
        raise ConfigurationError(
            f"--symbols={symbols}: {', '.join(sorted(unknown)) or 'nothing'} is not in the recording",
            hint=f"it has {', '.join(recording.symbols)}",
        )
    return replace(recording, series=[series for series in recording.series if series.symbol in wanted])


def _check_span(recording: Recording, plan: Plan) -> None:
    from torghut_core.rfc3339 import format_ns

    first, last = recording.span
    if plan.from_ns >= plan.to_ns:
        raise ConfigurationError("--from, --to: the first must be before the second")
    if plan.from_ns > last or plan.to_ns <= first:
        raise InputError(
            f"--from, --to: no row is between them; the rows are of {format_ns(first)} to {format_ns(last)}"
        )


@contextmanager
def own_postgres() -> Iterator[Postgres]:
    """Lend an empty migrated database on an embedded server of its own, which ends with the block."""
    from torghut_core.engines.postgres import open_postgres
    from torghut_core.trading.store.schema import migrate

    with tempfile.TemporaryDirectory(prefix="torghut-backtest-", ignore_cleanup_errors=True) as folder:
        server = open_postgres(f"embedded:{folder}/pg")
        try:
            with server.connect(autocommit=True) as admin:
                # Nothing of it outlives the run: no write has to reach the disk.
                lost = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
                # Plans are made while the tables are empty, and kept while they grow.
                planned = ("enable_seqscan = off", "enable_bitmapscan = off", "enable_hashjoin = off", "jit = off")
                # And nobody looks at its statistics.
                uncounted = ("track_counts = off", "track_activities = off", "update_process_title = off")
                for setting in (*lost, *planned, *uncounted):
                    admin.execute(f"ALTER SYSTEM SET {setting}")
                admin.execute("SELECT pg_reload_conf()")
            migrate(server)
            yield server
        finally:
            server.close()


def _rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    sharpe, drawdown, exposure = report["sharpe"], report["maxDrawdown"], report["exposure"]
    return [
        ("period", f"{report['from']} to {report['to']}"),
        ("symbols", ", ".join(report["symbols"][:12]) + (" ..." if len(report["symbols"]) > 12 else "")),
        ("strategies", ", ".join(report["strategies"])),
        ("fills", f"{report['fills']}, {report['latencyMs']} ms after the bar's end, seed {report['seed']}"),
        ("equity", f"{report['startEquity']:,.2f} to {report['endEquity']:,.2f}"),
        ("return", f"{_percent(report['return'])} ({report['profit']:+,.2f})"),
        ("Sharpe", f"{'-' if sharpe['value'] is None else sharpe['value']} (of {sharpe['of']})"),
        ("max drawdown", f"{_percent(drawdown['share'])}" + (f" at {drawdown['at']}" if drawdown["at"] else "")),
        ("closed trades", f"{report['trades']}, with a profit {_percent(report['hitRate'])}"),
        (
            "exposure",
            f"held {_percent(exposure['timeHeld'])} of the time, {_percent(exposure['mean'])} of equity on average,"
            f" {_percent(exposure['max'])} at most",
        ),
        ("turnover", f"{report['turnover']:,.2f}"),
        ("fees", f"{report['fees']:,.2f}"),
        ("orders", _counts(report["orders"])),
        ("decisions", _counts(report["decisions"])),
        ("refused for", _counts(report["reasons"])),
        ("gone through", f"{report['rows']:,} rows, {report['instants']:,} instants one by one"),
        *[("warning", warning) for warning in report["warnings"]],
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.2f} %"


def _counts(of: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in of.items()) or "none"


def _table(report: Mapping[str, Any]) -> View:
    return columns(_rows(report))


def _markdown(report: Mapping[str, Any]) -> str:
    lines = ["| | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in _rows(report))])
