"""`torghutctl llm evaluate`: recorded reviews beside what the market did."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torghutctl.commands.trading_database import open_trading
from torghutctl.errors import ConfigurationError, InputError
from torghutctl.render.output import Columns, Format, View, columns, write

if TYPE_CHECKING:
    from torghut_core.trading.review.evaluation import PriceAfter, Recorded

SCHEMA_VERSION = "torghut.llm-evaluation/v1"
_NS_PER_MINUTE = 60_000_000_000


def run_evaluation(
    *,
    hours: float,
    at: str | None,
    horizon: float,
    reviews: Path | None,
    signals: Path | None,
    output: Format | None,
    environment: Mapping[str, str],
    now_ns: int,
) -> None:
    """Write the evaluation. Raises InputError and ConfigurationError (2), UpstreamError (9)."""
    from torghut_core.clock import utc_datetime
    from torghut_core.rfc3339 import parse_ns
    from torghut_core.trading.encoding import format_datetime
    from torghut_core.trading.review.evaluation import evaluate

    try:
        until = utc_datetime(now_ns if at is None else parse_ns(at))
    except ValueError as error:
        raise InputError(f"--at: {error}") from error
    since = until - timedelta(hours=hours)
    with ExitStack() as stack:
        found, bad_reviews = _reviews(stack, reviews, environment, since, until)
        price_after, bad_signals = _prices(stack, signals, environment)
        document = {
            "schemaVersion": SCHEMA_VERSION,
            "window": {"since": format_datetime(since), "until": format_datetime(until)},
            "horizonMinutes": horizon,
            "skippedRows": bad_reviews + bad_signals,
            **evaluate(found, price_after, horizon_ns=int(horizon * _NS_PER_MINUTE)),
        }
    write(document, output, table=as_table)


def _reviews(
    stack: ExitStack, path: Path | None, environment: Mapping[str, str], since: Any, until: Any
) -> tuple[list[Recorded], int]:
    from torghut_core.clock import utc_datetime
    from torghut_core.trading.review.evidence import file_reviews, stored_reviews

    if path is None:
        trading = stack.enter_context(open_trading(None, environment))
        label = trading.settings.account_label
        return stored_reviews(trading.database, account_label=label, since=since, until=until), 0
    found, skipped = file_reviews(path)
    return [review for review in found if since <= utc_datetime(review.at_ns) < until], skipped


def _prices(stack: ExitStack, path: Path | None, environment: Mapping[str, str]) -> tuple[PriceAfter, int]:
    from torghut_core.settings import load
    from torghut_core.trading.inputs.on_demand import clickhouse_of
    from torghut_core.trading.review.evidence import FilePrices, StoredPrices
    from torghut_core.trading.settings import TradingSettings

    if path is not None:
        prices = FilePrices(path)
        return prices.after, prices.skipped
    settings = load(TradingSettings, environment)
    clickhouse = clickhouse_of(settings)
    if clickhouse is None:
        raise ConfigurationError("TA_CLICKHOUSE_URL: must be set to the signals' ClickHouse, or give --signals FILE")
    stack.callback(clickhouse.close)
    return StoredPrices(clickhouse, settings.signal_table).after, 0


def as_table(document: Mapping[str, Any]) -> View:
    """Return the evaluation for a terminal or a log."""
    rows = [("VERDICT", "REVIEWS", "JUDGED", "MEAN BPS", "STD ERROR", "FAVOURABLE")]
    for row in document["verdicts"]:
        share = row["favourableShare"]
        rows.append(
            (
                row["verdict"],
                str(row["count"]),
                str(row["judged"]),
                _figure(row["meanBps"]),
                _figure(row["standardErrorBps"]),
                "-" if share is None else f"{100 * share:.1f} %",
            )
        )
    costs = [("MODEL", "PROMPT", "REVIEWS", "ERRORS", "TOKENS SENT", "TOKENS ANSWERED")]
    for row in document["models"]:
        costs.append(
            (
                row["model"],
                row["promptVersion"],
                str(row["count"]),
                str(row["errors"]),
                str(row["tokensPrompt"]),
                str(row["tokensCompletion"]),
            )
        )
    window = document["window"]
    said = [
        f"{window['since']} to {window['until']}, judged {document['horizonMinutes']:g} minutes later",
        f"{document['reviews']} reviews, {document['shadow']} of them in shadow, {document['judged']} judged, "
        f"{document['skippedRows']} rows left out",
        f"let pass {_figure(document['passedMeanBps'])}, vetoed {_figure(document['vetoedMeanBps'])}, "
        f"advantage {_figure(document['advantageBps'])} hundredths of a percent",
    ]
    parts: list[str | Columns] = [*said]
    for table in (rows, costs):
        if len(table) > 1:
            parts += ["", columns(table)]
    return parts


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
