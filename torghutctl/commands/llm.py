"""`torghutctl llm`: evidence for the AI review's next rollout stage."""

from __future__ import annotations

from typing import Annotated

import typer

from torghutctl.render.output import Format

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Judge whether the AI review may go to its next rollout stage. Reads only.",
)


@app.callback()
def llm() -> None:
    """Judge whether the AI review may go to its next rollout stage. Reads only."""


@app.command("promote-check")
def promote_check(
    output: Annotated[Format | None, typer.Option("-o", "--output", help="How to write the report.")] = None,
    hours: Annotated[float, typer.Option("--hours", min=0.01, help="Length of the window that ends at --at.")] = 24.0,
    at: Annotated[str | None, typer.Option("--at", help="End of the window, RFC 3339 (default: now).")] = None,
) -> None:
    """Count signals, decisions and trades in a window and say whether LLM_ROLLOUT_STAGE may be raised.

    Decisions and trades come from PostgreSQL (DB_DSN), signals from ClickHouse (TA_CLICKHOUSE_URL). An empty window is
    no evidence (`no_signal_window_detected`), and a source that cannot be read refuses. Exits 0 when the evidence is
    enough, 6 when it is not. The stage itself is changed in git, never by this command.

    Example: torghutctl llm promote-check --hours 72 -o json
    """
    import os
    import time
    from collections.abc import Mapping
    from datetime import timedelta
    from typing import Any

    from torghut_core.clock import utc_datetime
    from torghut_core.engines.postgres import open_postgres
    from torghut_core.rfc3339 import parse_ns
    from torghut_core.settings import reveal
    from torghut_core.trading.inputs.on_demand import clickhouse_of
    from torghut_core.trading.review.promotion import gather, refusals
    from torghut_core.trading.settings import load_settings
    from torghut_core.trading.store.database import Database
    from torghut_core.trading.store.deadlines import with_deadlines
    from torghut_core.trading.store.listing import Listing
    from torghutctl.errors import ConfigurationError, InputError
    from torghutctl.render.output import columns, write

    try:
        until = utc_datetime(time.time_ns() if at is None else parse_ns(at))
    except ValueError as error:
        raise InputError(f"--at: {error}") from error
    settings = load_settings(os.environ)
    dsn = reveal(settings.db_dsn)
    if dsn is None:
        raise ConfigurationError("DB_DSN: must be set", hint="the trading runtime's own variable")
    postgres = open_postgres(dsn)
    database = Database(with_deadlines(postgres))
    database.open()
    clickhouse = clickhouse_of(settings)
    try:
        evidence = gather(
            listing=Listing(database),
            clickhouse=clickhouse,
            table=settings.signal_table,
            since=until - timedelta(hours=hours),
            until=until,
        )
    finally:
        database.close()
        postgres.close()
        if clickhouse is not None:
            clickhouse.close()
    reasons = refusals(evidence)
    report = {
        "schemaVersion": "torghut.llm-promotion/v1",
        "stage": settings.llm_rollout_stage,
        "promotable": not reasons,
        "reasons": list(reasons),
        **evidence.as_json(),
    }

    def table(shown: Mapping[str, Any]) -> str:
        rows = [("COUNT", "FOUND", "NEEDED")]
        for name, count in shown["counts"].items():
            rows.append((name, "unreadable" if count is None else str(count), str(shown["minima"][name])))
        verdict = "may be raised" if shown["promotable"] else "stays: " + ", ".join(shown["reasons"])
        window = shown["window"]
        return f"{window['since']} to {window['until']}\n{columns(rows)}\nLLM_ROLLOUT_STAGE={shown['stage']} {verdict}"

    write(report, output, table=table)
    if reasons:
        raise typer.Exit(6)
