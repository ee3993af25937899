"""`torghutctl trading`: what the trading runtime would do with an environment, and the switches in its database."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from torghutctl.commands.new_strategy import new_strategy
from torghutctl.commands.option_group import one_of
from torghutctl.commands.trading_report import ReportFormat, run_report
from torghutctl.commands.trading_switches import (
    ActOption,
    AuditOption,
    ConfigOption,
    ConfirmOption,
    EnvironmentOption,
    LocalOption,
    OutputOption,
    PlanOption,
    ReasonOption,
    TicketOption,
)
from torghutctl.render.output import Format

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The trading runtime's configuration, the switches in its database, and what its trading came to.",
)


@app.callback()
def trading() -> None:
    """The trading runtime's configuration, the switches in its database, and what its trading came to."""


@app.command("kill-switch")
def kill_switch(
    state: Annotated[str, typer.Argument(metavar="on|off", help="what it is to be")],
    *,
    environment: EnvironmentOption = None,
    config: ConfigOption = None,
    local: LocalOption = None,
    reason: ReasonOption = "",
    confirm: ConfirmOption = "",
    plan: PlanOption = None,
    act: ActOption = False,
    ticket: TicketOption = "",
    audit_log: AuditOption = None,
    output: OutputOption = None,
) -> None:
    """Turn the kill switch in the trading database on or off, for every process at once and at the next claim.

    When: orders must stop now, without waiting for git, Argo CD or a rollout.

    Needs: DB_DSN, or --local DIR. `on` needs no evidence. `off` is for a person at a terminal, and refused unless the
    database's account is the environment's (TRADING_ACCOUNT_LABEL, TRADING_MODE).

    Does: on: no order is sent any more, and the open orders that this system placed are cancelled; off: lifts that.

    Verify: /trading/status shows kill_switch_enabled; orders_uncertain.cancels_not_obeyed stays 0.

    Undo: the other way round. Without --act only the plan is shown.
    """
    from torghutctl.commands.trading_switches import SwitchOptions, run_switch
    from torghutctl.errors import ConfigurationError

    if state not in ("on", "off"):
        raise ConfigurationError(f"on|off {state!r}: must be one of the two")
    options = SwitchOptions(
        environment=environment,
        config=config,
        local=local,
        reason=reason,
        confirm=confirm,
        plan=plan,
        act=act,
        ticket=ticket,
        audit_log=audit_log,
        output=output,
    )
    run_switch("kill-switch on" if state == "on" else "kill-switch off", options)


@app.command("resume-losses")
def resume_losses(
    *,
    environment: EnvironmentOption = None,
    config: ConfigOption = None,
    local: LocalOption = None,
    reason: ReasonOption = "",
    confirm: ConfirmOption = "",
    plan: PlanOption = None,
    act: ActOption = False,
    ticket: TicketOption = "",
    audit_log: AuditOption = None,
    output: OutputOption = None,
) -> None:
    """Lift the latch that a daily loss or a drawdown set, and measure losses anew from the next reading.

    When: the cause of the losses is understood and entries shall go on.

    Needs: DB_DSN, or --local DIR, and a person at a terminal; refused unless the database's account is the environment's.

    Does: lifts the latch, on record with who and why. Exits were never held back by it.

    Verify: /trading/status: loss_limit.latched false.

    Undo: `torghutctl trading kill-switch on`. Without --act only the plan is shown.
    """
    from torghutctl.commands.trading_switches import SwitchOptions, run_switch

    options = SwitchOptions(
        environment=environment,
        config=config,
        local=local,
        reason=reason,
        confirm=confirm,
        plan=plan,
        act=act,
        ticket=ticket,
        audit_log=audit_log,
        output=output,
    )
    run_switch("resume-losses", options)


app.command("new-strategy")(new_strategy)


@app.command()
def migrate() -> None:
    """Bring the schema of the trading database at DB_DSN to this program's version.

    An empty or embedded database is migrated at start; a server that is behind is refused there, until this is run (or
    TRADING_MIGRATE_ON_START=true). Safe to repeat; take a backup first: versions are not undone.
    """
    import os

    from torghut_core.engines.postgres import open_postgres
    from torghut_core.settings import load, reveal
    from torghut_core.trading.settings import TradingSettings
    from torghut_core.trading.store import schema
    from torghutctl.errors import ConfigurationError

    address = reveal(load(TradingSettings, os.environ).db_dsn)
    if address is None:
        raise ConfigurationError("DB_DSN: must be set to the trading database")
    server = open_postgres(address)
    try:
        state = schema.migrate(server)
    finally:
        server.close()
    typer.echo(f"schema {', '.join(state.current_heads)}")


@app.command()
def report(
    *,
    day: Annotated[str | None, typer.Option(metavar="DAY", help="one New York day, as 2026-01-02 (today)")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="DAY", help="the first of several days")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DAY", help="the last of them (today)")] = None,
    local: LocalOption = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="also draw the equity curve, to FILE.html or FILE.png")
    ] = None,
    output: Annotated[
        ReportFormat | None,
        typer.Option("-o", "--output", metavar=one_of(ReportFormat), help="How to write the report."),
    ] = None,
) -> None:
    """Show what trading came to: profit, fees and positions by day, strategy and symbol, and the deepest drawdown.

    Everything is folded from the stored order events (DB_DSN, or --local DIR); nothing is written there. Profit is at
    average cost. Fees are those of TRADING_FEE_* and TRADING_COMMISSION_PER_SHARE. With the broker's keys
    (APCA_API_KEY_ID, APCA_API_SECRET_KEY) open positions are priced by it, and its account's activities, fills and fees,
    are compared: what differs is listed. Exits 0 also then; 2 for days that are none; 9 when the database does not answer.

    Example: torghutctl trading report --from 2026-01-05 --to 2026-01-09 -o markdown
    """
    import os
    import time

    run_report(
        day=day,
        first=first,
        last=last,
        local=local,
        output=output,
        plot=plot,
        environment=os.environ,
        now_ns=time.time_ns(),
    )


@app.command("explain-config")
def explain_config(
    output: Annotated[
        Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="How to write the report.")
    ] = None,
    only_set: Annotated[bool, typer.Option("--set", help="Show only what the environment sets.")] = False,
) -> None:
    """Show each effective setting of `run trading` with its source, and what would stop it from starting.

    Reads the environment of this shell, exactly as the runtime would at its start; secrets are only said to be set.
    Exits 2 when a value breaks its rule or two variables contradict each other, as the runtime would.

    Example: TRADING_MODE=live torghutctl trading explain-config --set
    """
    import os
    from collections.abc import Mapping
    from typing import Any

    from torghut_core.trading.explanation import explain
    from torghutctl.render.output import Columns, View, columns, write

    report = explain(os.environ)
    if only_set:
        report["settings"] = [row for row in report["settings"] if row["source"] == "environment"]

    def table(shown: Mapping[str, Any]) -> View:
        rows = [("VARIABLE", "VALUE", "SOURCE")]
        rows += [(row["variable"], _text(row["value"]), row["source"]) for row in shown["settings"]]
        policy = shown["policyResolution"]
        lines: list[str | Columns] = [
            columns(rows),
            "",
            f"AI review fails to: {policy['effective_fail_mode']} ({policy['classification']})",
        ]
        lines += [f"unknown variable: {name}" for name in shown["unknownVariables"]]
        lines += [f"contradiction: {text}" for text in shown["contradictions"]] or ["no contradiction: it would start"]
        return lines

    write(report, output, table=table)
    if report["contradictions"]:
        raise typer.Exit(2)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) or "-" if isinstance(value, list) else str(value)


class Fills(StrEnum):
    """How orders are filled."""

    QUOTE = "quote"
    NEXT_BAR = "next-bar"
    WORST = "worst"


class Calendar(StrEnum):
    """Which sessions there are."""

    XNYS = "XNYS"
    ALWAYS_OPEN = "always-open"


@app.command()
def backtest(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE", help="Alpaca messages or envelopes, or ta_signals and ta_microbars; plain, gzip, zstd."
        ),
    ] = None,
    *,
    clickhouse: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Trade over the rows stored there: http(s)://HOST[:PORT] or embedded:DIR."
        ),
    ] = None,
    local: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Trade over the rows of an `up` or `demo` that has ended.")
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The strategy file; the default one when left out.")
    ] = None,
    strategy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A Python file of strategies: traded alone, or named by the catalogue."),
    ] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="RFC3339", help="First row to trade on.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="RFC3339", help="Rows from here on are left out.")] = None,
    symbols: Annotated[str | None, typer.Option(metavar="A,B", help="Trade these alone.")] = None,
    fills: Annotated[
        Fills,
        typer.Option(
            metavar=one_of(Fills),
            help="quote: the exchange's own rules on recorded quotes; next-bar: the next bar's open; worst: its worst"
            " price.",
        ),
    ] = Fills.QUOTE,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Of the exchange's ids; the same seed gives the same bytes.")
    ] = 1,
    cash: Annotated[str, typer.Option(metavar="DOLLARS", help="What the account begins with.")] = "100000",
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write summary, every decision and an HTML report there.")
    ] = None,
    calendar: Annotated[
        Calendar, typer.Option(metavar=one_of(Calendar), help="The sessions of the market.")
    ] = Calendar.XNYS,
    sweep: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A..B:STEP", help="Try a parameter's values, or NAME=A,B,C; may be given again."),
    ] = None,
    walk_forward: Annotated[
        int | None,
        typer.Option(min=1, max=1000, metavar="N", help="Choose on one stretch, judge on the next, N times."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=1024, metavar="N", help="Processes of a sweep; one a core.")
    ] = None,
    output: OutputOption = None,
) -> None:
    """Trade over recorded data: the trading loop's own handler, gates, sizes and order path; nothing live is touched.

    Messages are put through the TA engine first, as by `ta replay-file` (with the same TA_* variables, in the sessions of
    --calendar); rows that it wrote can be given instead. Each row is acted on TRADING_SIMULATED_LATENCY_MS after its bar's end, and orders are filled by the rules of the simulator.
    Instead of FILE, --clickhouse reads the rows where they are stored (as TA_CLICKHOUSE_USERNAME, with
    TA_CLICKHOUSE_PASSWORD), and --local in the folder of an `up` or `demo` that has ended. Rows hold one quote each, that
    at the bar's end: --fills quote fills at these, next-bar and worst at the stored bars.
    Caps, gates and sizes are those of the environment (TRADING_*); mode, account and keys of it are left out. The state is
    kept in a PostgreSQL of its own, which ends with the command. The same input and seed give the same report.

    With --sweep every combination of the values is tried, on all cores, and shown from the best to the worst; with
    --walk-forward beside it, the best on one stretch is judged on the next, which it has not seen.

    Example: torghutctl trading backtest day.ndjson.gz --report out/

    Example: torghutctl trading backtest day.ndjson.gz --sweep oversold=20..40:5 --walk-forward 3

    Example: torghutctl trading backtest out/ta_signals.ndjson out/ta_microbars.ndjson --fills worst -o json

    Example: torghutctl trading backtest --clickhouse embedded:store --from 2013-10-07T14:00:00Z --fills next-bar
    """
    from torghutctl.commands.trading_backtest import BacktestOptions, run_backtest_command

    run_backtest_command(
        BacktestOptions(
            files=files or [],
            clickhouse=clickhouse,
            local=local,
            catalogue=catalogue,
            strategy=strategy,
            start=start,
            end=end,
            symbols=symbols,
            fills=fills.value,
            seed=seed,
            cash=cash,
            report=report,
            calendar=calendar.value,
            sweep=sweep or [],
            walk_forward=walk_forward,
            jobs=jobs,
            output=output,
        )
    )
