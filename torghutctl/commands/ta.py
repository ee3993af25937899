"""`torghutctl ta replay-file|check-file`: bars and signals of a recording, and its trades beside its minute bars."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torghutctl.commands.option_group import one_of
from torghutctl.render.output import Format, View, columns, write

if TYPE_CHECKING:
    from torghut_core.engines.clickhouse import ClickHouse
    from torghut_core.ta.comparison import Check
    from torghut_core.ta.files import FileReport
    from torghut_core.ta.outputs.file_outputs import ClickHouseOutput, Output
    from torghut_core.ta.settings import TaSettings

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Technical analysis from a file: the engine of `run ta`, without services.",
)


class FileFormat(StrEnum):
    """How the rows are written."""

    NDJSON = "ndjson"
    PARQUET = "parquet"


class TradeConditions(StrEnum):
    """Which prints are prices."""

    SIP = "sip"
    ALL = "all"


class OddLots(StrEnum):
    """What an odd lot moves."""

    COUNT = "count"
    SKIP = "skip"


class LateTrades(StrEnum):
    """What becomes of a trade whose second had closed before it came."""

    DROP = "drop"
    REVISE = "revise"


_MaxOutOfOrderMs = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=600_000,
        metavar="MS",
        help="How far behind the newest trade one may come and still count, in milliseconds.",
        show_default="TA_MAX_OUT_OF_ORDER_MS, else 2000",
    ),
]
_TradeConditions = Annotated[
    TradeConditions | None,
    typer.Option(
        metavar=one_of(TradeConditions),
        help="sip: a trade moves what the tape plans let its conditions move; all: it moves everything.",
        show_default="TA_TRADE_CONDITIONS, else sip",
    ),
]
_OddLots = Annotated[
    OddLots | None,
    typer.Option(
        metavar=one_of(OddLots),
        help="count: an odd lot is a regular sale; skip: it moves volume, count and vwap alone.",
        show_default="TA_ODD_LOTS, else count",
    ),
]


@app.callback()
def ta() -> None:
    """Hold the sub-commands."""


@app.command("replay-file")
def replay_file(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Alpaca messages or envelopes, one JSON a line; plain, gzip or zstd.")
    ],
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where the two files go; made when missing.")
    ] = None,
    *,
    file_format: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            metavar=one_of(FileFormat),
            help="Of the files: ndjson (times RFC 3339, the default) or parquet.",
        ),
    ] = None,
    clickhouse: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Instead of DIR, the tables of embedded:FOLDER or http(s)://HOST[:PORT]."),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; a server's rows are not replaced without it.")] = "",
    confirm: Annotated[str, typer.Option(metavar="PHRASE", help="ACTUATE_TORGHUT, exactly; for a server.")] = "",
    audit_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Audit log for a server (~/.local/state/torghut/audit.jsonl).")
    ] = None,
    max_out_of_order_ms: _MaxOutOfOrderMs = None,
    late_trades: Annotated[
        LateTrades | None,
        typer.Option(
            metavar=one_of(LateTrades),
            help="drop: count a late trade and leave it out; revise: correct its bar.",
            show_default="TA_LATE_TRADES, else drop",
        ),
    ] = None,
    trade_conditions: _TradeConditions = None,
    odd_lots: _OddLots = None,
    quote_stale_after_ms: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="MS",
            help="Age at which a quote no longer stands beside a bar, in milliseconds.",
            show_default="TA_QUOTE_STALE_AFTER_MS, else 15000",
        ),
    ] = None,
) -> None:
    """Compute one-second bars and signals of a recording.

    Writes DIR/ta_microbars.ndjson and DIR/ta_signals.ndjson, one row per bar, keys as in the ClickHouse tables. The file
    is one partition: its end closes every window. Records that cannot be used are counted by reason on standard error,
    and nothing stops for them. The files appear, replacing older ones, when they are complete; a truncated archive
    leaves none.

    With --clickhouse the rows go into torghut.ta_microbars and torghut.ta_signals, made where they are missing. They are
    newer than what stands there under the same keys, so they replace it; on a server that takes --reason and --confirm,
    and without them this only says what it would write. A server's tables keep their TTL (30 and 14 days of event time).
    Credentials and cluster: TA_CLICKHOUSE_USERNAME, TA_CLICKHOUSE_PASSWORD, TA_CLICKHOUSE_CLUSTER.

    What no option says is said by the variables of `run ta`: those beside the options, TA_VWAP_WINDOW_SECONDS,
    TA_REALIZED_VOL_WINDOW and TORGHUT_MARKET_CALENDAR.

    Example: torghutctl ta replay-file day.ndjson.gz out/

    Example: torghutctl ta replay-file day.ndjson.gz --clickhouse embedded:store
    """
    from torghutctl.errors import ConfigurationError

    if (folder is None) == (clickhouse is None):
        raise ConfigurationError("DIR, --clickhouse: give one of the two")
    if clickhouse is not None and file_format is not None:
        raise ConfigurationError(f"--format={file_format}: is of files; --clickhouse has none")
    try:
        import time

        from torghut_core.settings import load
        from torghut_core.ta.files import replay_file as replay
        from torghut_core.ta.outputs.file_outputs import ClickHouseOutput, FolderOutput
        from torghut_core.ta.settings import TaSettings
        from torghut_core.ta.wiring import file_engine_settings
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error.name} is not installed", hint="pip install 'torghut[runtime]'") from error
    settings = file_engine_settings(
        os.environ,
        {
            "TA_MAX_OUT_OF_ORDER_MS": max_out_of_order_ms,
            "TA_QUOTE_STALE_AFTER_MS": quote_stale_after_ms,
            "TA_LATE_TRADES": late_trades,
            "TA_TRADE_CONDITIONS": trade_conditions,
            "TA_ODD_LOTS": odd_lots,
        },
    )
    with ExitStack() as stack:

        def run(output: Output) -> FileReport:
            with ExitStack() as drawing:
                progress = _progress_bar(drawing, source.name)
                return replay(source, output, settings=settings, now_ns=time.time_ns(), progress=progress)

        if folder is not None:
            _tell(run(FolderOutput(folder, (file_format or FileFormat.NDJSON).value, stack)), is_written=True)
            return
        target = _Target(
            address=clickhouse or "",
            reason=reason,
            confirm=confirm,
            audit_log=audit_log,
            settings=load(TaSettings, os.environ),
        )
        store = target.open(stack)
        rows = ClickHouseOutput(stack)
        report = run(rows)
        if store is not None:
            target.take(rows, source, store)
        else:
            typer.echo("plan only; add --reason TEXT --confirm and the phrase that --help gives to write", err=True)
        _tell(report, is_written=store is not None)


@app.command("check-file")
def check_file(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="Alpaca messages or envelopes: trades and minute bars of a time.")
    ],
    *,
    max_out_of_order_ms: _MaxOutOfOrderMs = None,
    trade_conditions: _TradeConditions = None,
    odd_lots: _OddLots = None,
    output: Annotated[
        Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="How the answer is written.")
    ] = None,
) -> None:
    """Compare minutes made of a recording's trades with the provider's minute bars in it.

    Per symbol: minutes compared, equal, differing and in which field, minutes that only one side has, own volume over the
    provider's; then the ten minutes that differ most. With --odd-lots skip the minutes of a consolidated feed should be
    the provider's own; a feed of one exchange holds its own trades alone, so that volume is always less.

    What no option says is said by the variables of `run ta`: those beside the options, and TORGHUT_MARKET_CALENDAR.

    Example: torghutctl ta check-file day.ndjson.gz --odd-lots skip
    """
    from torghutctl.errors import ConfigurationError

    try:
        from torghut_core.ta.comparison import check_file as check
        from torghut_core.ta.wiring import file_engine_settings
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"{error.name} is not installed", hint="pip install 'torghut[runtime]'") from error
    settings = file_engine_settings(
        os.environ,
        {
            "TA_MAX_OUT_OF_ORDER_MS": max_out_of_order_ms,
            "TA_TRADE_CONDITIONS": trade_conditions,
            "TA_ODD_LOTS": odd_lots,
        },
    )
    with ExitStack() as drawing:
        found = check(source, settings, _progress_bar(drawing, source.name))
    write(_report_of(found, source), output, table=_check_table)


def _report_of(check: Check, source: Path) -> dict[str, Any]:
    from torghut_core.rfc3339 import format_ns

    return {
        "schemaVersion": "torghut.ta-check/v1",
        "file": str(source),
        "symbols": [
            {
                "symbol": each.symbol,
                "compared": each.compared,
                "equal": each.equal,
                "differing": {name: count for name, count in each.differing.items() if count},
                "onlyOwn": each.only_own,
                "onlyProvider": each.only_theirs,
                "volumeRatio": each.own_volume / each.their_volume if each.their_volume else None,
            }
            for each in check.symbols
        ],
        "worst": [
            {
                "symbol": each.symbol,
                "minuteEnd": format_ns(each.end * 1_000_000_000),
                "fields": {name: {"own": own, "provider": theirs} for name, (own, theirs) in each.fields.items()},
            }
            for each in check.worst
        ],
    }


def _check_table(report: Mapping[str, Any]) -> View:
    heads = ("symbol", "compared", "equal", "differing", "only own", "only provider", "volume")
    rows = [
        (
            each["symbol"],
            str(each["compared"]),
            str(each["equal"]),
            " ".join(f"{name}:{count}" for name, count in each["differing"].items()) or "-",
            str(each["onlyOwn"]),
            str(each["onlyProvider"]),
            "-" if each["volumeRatio"] is None else f"{each['volumeRatio']:.2%}",
        )
        for each in report["symbols"]
    ]
    worst = [
        (
            each["symbol"],
            each["minuteEnd"],
            ", ".join(f"{name} {value['own']:g} not {value['provider']:g}" for name, value in each["fields"].items()),
        )
        for each in report["worst"]
    ]
    table = columns([heads, *rows])
    return [table, "", columns([("symbol", "minute end", "own value, not the provider's"), *worst])] if worst else table


@dataclass(frozen=True, kw_only=True)
class _Target:
    """A ClickHouse, and whether its rows may be replaced: an embedded one's may, a server's on a confirmed reason."""

    address: str
    reason: str
    confirm: str
    audit_log: Path | None
    settings: TaSettings
    """Of which credentials and cluster are used."""

    def open(self, stack: ExitStack) -> ClickHouse | None:
        """Return it opened, None where only a plan was asked for. Raises RefusedError, ConfigurationError, UpstreamError."""
        from torghut_core.engines.clickhouse import Address, check_address, open_clickhouse
        from torghut_core.settings import reveal
        from torghutctl.errors import RefusedError
        from torghutctl.planning.gates import CONFIRM_PHRASE

        if not check_address(self.address, "--clickhouse"):
            if not self.confirm:
                return None
            if self.confirm != CONFIRM_PHRASE:
                raise RefusedError(f"--confirm={self.confirm!r}: must be {CONFIRM_PHRASE}; nothing was written")
            if not self.reason.strip():
                raise RefusedError("--reason: must say why; nothing was written")
        given = self.settings
        credentials = Address(
            url=self.address, username=given.clickhouse_username, password=reveal(given.clickhouse_password)
        )
        store = open_clickhouse(credentials, variable="--clickhouse")
        stack.callback(store.close)
        return store

    def take(self, output: ClickHouseOutput, source: Path, store: ClickHouse) -> None:
        """Insert the rows; a server's between two lines of the audit log."""
        import time

        from torghut_core.rfc3339 import format_ns
        from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions
        from torghutctl.commands.procedure_request import default_audit_path, user
        from torghutctl.effects.audit_log import AuditLog
        from torghutctl.render.redaction import redact_text

        log = AuditLog(self.audit_log or default_audit_path(os.environ))

        def note(event: str) -> None:
            if not store.is_embedded:
                log.append(
                    {
                        "at": format_ns(time.time_ns()),
                        "who": user(),
                        "procedure": "ta replay-file",
                        "event": event,
                        "reason": redact_text(" ".join(self.reason.split())),
                        "file": str(source),
                        "clickhouse": self.address,
                        "rows": output.rows,
                    }
                )

        note("intent")
        options = SchemaOptions(cluster=self.settings.clickhouse_cluster, is_simulated=store.is_embedded)
        output.insert(store, options)
        note("result")


def _progress_bar(stack: ExitStack, name: str) -> Callable[[int, int], None]:
    """Return what draws progress on standard error, when that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = stack.enter_context(
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
    )
    task = bar.add_task(name, total=None)

    def show(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    return show


def _tell(report: FileReport, *, is_written: bool) -> None:
    bars, signals = report.rows.values()
    counts = report.counts
    end = "written" if is_written else "would be written"
    typer.echo(f"{counts.input_events} events in, {bars} bars and {signals} signals {end}", err=True)
    for count, what in (
        (counts.late_trades, "late trades"),
        (counts.unpriced_trades, "trades of seconds that no trade priced"),
        (counts.repeated_trades, "trades that were others again"),
        *((count, f"trades with condition {code}") for code, count in sorted(counts.conditions.items())),
        *((count, f"{kind.replace('_', ' ')}s of trades") for kind, count in sorted(counts.changes.items())),
        *((count, f"records not used: {reason}") for reason, count in sorted(counts.rejected.items())),
    ):
        if count:
            typer.echo(f"{count} {what}", err=True)
