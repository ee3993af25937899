"""`torghutctl llm`: evidence for the AI review's next rollout stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from torghutctl.commands.option_group import one_of
from torghutctl.render.output import Format, View, columns

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Judge whether the AI review may go to its next rollout stage. Reads only.",
)


OutputOption = Annotated[
    Format | None, typer.Option("-o", "--output", metavar=one_of(Format), help="How to write the report.")
]
HoursOption = Annotated[
    float, typer.Option("--hours", min=0.01, metavar="HOURS", help="Length of the window that ends at --at.")
]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="RFC3339", help="End of the window, RFC 3339 (default: now).")
]


@app.callback()
def llm() -> None:
    """Judge whether the AI review may go to its next rollout stage. Reads only."""


@app.command("promote-check")
def promote_check(
    output: OutputOption = None,
    hours: HoursOption = 24.0,
    at: AtOption = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="what `llm evaluate -o json` wrote; stages from stage1 on need it"),
    ] = None,
) -> None:
    """Count signals, decisions and trades in a window and say whether LLM_ROLLOUT_STAGE may be raised.

    Decisions and trades come from PostgreSQL (DB_DSN), signals from ClickHouse (TA_CLICKHOUSE_URL). An empty window is
    no evidence (`no_signal_window_detected`), and a source that cannot be read refuses. From stage1 on reviews are recorded,
    and going further needs an evaluation of them (`llm evaluate`) whose window ends in this one: 30 judged reviews, at most
    5 % of errors, and entries let pass that did better than those vetoed. Exits 0 when the evidence is enough, 6 when not. The stage itself is changed in git, never by this command.

    Example: torghutctl llm promote-check --hours 72 -o json
    """
    import os
    import time
    from datetime import timedelta

    from torghut_core.clock import utc_datetime
    from torghut_core.engines.postgres import open_postgres
    from torghut_core.rfc3339 import parse_ns
    from torghut_core.settings import reveal
    from torghut_core.trading.inputs.on_demand import clickhouse_of
    from torghut_core.trading.review.evaluation import refusals as evaluation_refusals
    from torghut_core.trading.review.promotion import gather, refusals
    from torghut_core.trading.settings import load_settings
    from torghut_core.trading.store.database import Database
    from torghut_core.trading.store.deadlines import with_deadlines
    from torghut_core.trading.store.listing import Listing
    from torghutctl.errors import ConfigurationError, InputError
    from torghutctl.render.output import write

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
    if settings.llm_rollout_stage != "stage0" or evaluation is not None:
        window = evidence.as_json()["window"]
        reasons += evaluation_refusals(_document(evaluation), since=window["since"], until=window["until"])
    report = {
        "schemaVersion": "torghut.llm-promotion/v1",
        "stage": settings.llm_rollout_stage,
        "promotable": not reasons,
        "reasons": list(reasons),
        **evidence.as_json(),
    }

    write(report, output, table=_promotion_table)
    if reasons:
        raise typer.Exit(6)


def _promotion_table(shown: Mapping[str, Any]) -> View:
    rows = [("COUNT", "FOUND", "NEEDED")]
    for name, count in shown["counts"].items():
        rows.append((name, "unreadable" if count is None else str(count), str(shown["minima"][name])))
    verdict = "may be raised" if shown["promotable"] else "stays: " + ", ".join(shown["reasons"])
    window = shown["window"]
    return [f"{window['since']} to {window['until']}", columns(rows), f"LLM_ROLLOUT_STAGE={shown['stage']} {verdict}"]


def _document(path: Path | None) -> Any:
    """Return an evaluation's document, None without one. Raises InputError when the file cannot be read."""
    import json

    from torghutctl.errors import InputError

    if path is None:
        return None
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"--evaluation {path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        return {}


@app.command()
def evaluate(
    *,
    output: OutputOption = None,
    hours: HoursOption = 24.0,
    at: AtOption = None,
    horizon: Annotated[
        float,
        typer.Option(
            "--horizon", min=0.01, max=1440, metavar="MINUTES", help="Minutes after which an entry is judged."
        ),
    ] = 15.0,
    reviews: Annotated[
        Path | None, typer.Option(metavar="FILE", help="reviews from a file instead of DB_DSN, one JSON object a line")
    ] = None,
    signals: Annotated[
        Path | None, typer.Option(metavar="FILE", help="signals from a file (ta replay-file's) instead of ClickHouse")
    ] = None,
) -> None:
    """Judge recorded AI reviews by what the market did afterwards: evidence for promote-check.

    A review's outcome is the move from its quote's middle to the first close one --horizon later, in the order's
    direction, in hundredths of a percent. Reviews come from PostgreSQL (DB_DSN), prices from ClickHouse
    (TA_CLICKHOUSE_URL), or from files: of a review symbol, side, timeframe, event_ts, verdict and price. A row that is none
    is counted and left out. Nothing is written, and no model is asked. Exits 0; 9 when a source does not answer.

    Example: torghutctl llm evaluate --hours 72 -o json > evaluation.json
    """
    import os
    import time

    from torghutctl.commands.llm_evaluation import run_evaluation

    run_evaluation(
        hours=hours,
        at=at,
        horizon=horizon,
        reviews=reviews,
        signals=signals,
        output=output,
        environment=os.environ,
        now_ns=time.time_ns(),
    )
