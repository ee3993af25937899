"""`torghutctl trading report`: what some days' trading came to, as a table, a document or a picture."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torghutctl.commands.trading_database import open_trading
from torghutctl.errors import ConfigurationError, InputError
from torghutctl.render.output import Columns, Format, View, columns, write
from torghutctl.render.streams import emit, tell

if TYPE_CHECKING:
    from torghut_core.trading.orders.broker import Broker
    from torghut_core.trading.reporting import Report
    from torghut_core.trading.settings import TradingSettings

_ROW = ("day", "strategy", "symbol", "fills", "closes", "wins")
_AMOUNTS = ("bought_qty", "bought", "sold_qty", "sold", "realised", "net", "foreign_proceeds")
_FEES = ("sec", "taf", "commission")


class ReportFormat(StrEnum):
    """How the report is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"


def run_report(
    *,
    day: str | None,
    first: str | None,
    last: str | None,
    local: Path | None,
    output: ReportFormat | None,
    plot: Path | None,
    environment: Mapping[str, str],
    now_ns: int,
) -> None:
    """Write the report of the days asked for. Raises InputError (2) for days, ConfigurationError, UpstreamError (9)."""
    span = days_of(day, first, last, now_ns)
    if plot is not None and plot.suffix not in (".png", ".html"):
        raise InputError(f"--plot {plot}: must end in .png or .html")
    report = asyncio.run(_read(span, local, environment, now_ns))
    if plot is not None:
        _draw(plot, report)
    if output is ReportFormat.CSV:
        emit(as_csv(report.document))
        return
    form = Format(output.value) if output is not None else None
    write(report.document, form, table=as_table, markdown=as_markdown)


def days_of(day: str | None, first: str | None, last: str | None, now_ns: int) -> tuple[date, date]:
    """Return the first and the last New York day that the options name; without one of them, today.

    Raises InputError that names option, value and rule.
    """
    from torghut_core.market_calendar import new_york_date

    today = new_york_date(now_ns)
    if day is not None:
        if first is not None or last is not None:
            raise InputError("--day: is one day; give it alone, or --from and --to")
        only = _day("--day", day)
        return only, only
    end = today if last is None else _day("--to", last)
    begin = _day("--from", first) if first is not None else end if last is None else date.min
    if first is None and last is not None:
        raise InputError("--to: needs --from", hint="--day names one day")
    if begin > end:
        raise InputError(f"--from {begin}: must not be after --to {end}")
    return begin, end


def _day(option: str, text: str) -> date:
    try:
        if len(text) != len("2026-01-02"):
            raise ValueError(text)
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  a day of New York, no instant
    except ValueError as error:
        shown = "".join(character for character in text[:40] if character.isprintable())
        raise InputError(f"{option} {shown!r}: must be a day, as 2026-01-02") from error


async def _read(span: tuple[date, date], local: Path | None, environment: Mapping[str, str], now_ns: int) -> Report:
    from torghut_core.trading.reporting import make_report
    from torghut_core.trading.store.money import MoneyStore
    from torghut_core.trading.store.schema import read_schema

    with open_trading(local, environment) as found:
        state = read_schema(found.server)
        if not state.is_current:
            raise ConfigurationError(
                "the trading database's schema is not this program's", hint="run `torghutctl trading migrate`"
            )
        store = MoneyStore(found.database, account_label=found.settings.account_label)
        broker = _broker(found.settings)
        try:
            return await make_report(store, found.settings, broker=broker, first=span[0], last=span[1], now_ns=now_ns)
        finally:
            if broker is not None:
                await broker.close()


def _broker(settings: TradingSettings) -> Broker | None:
    from torghut_core.settings import reveal
    from torghut_core.trading.orders.broker import Broker

    key, secret = reveal(settings.broker_key), reveal(settings.broker_secret)
    if key is None or secret is None:
        return None
    return Broker(base_url=settings.broker_url, key=key, secret=secret, timeout_seconds=settings.broker_timeout_seconds)


def _draw(path: Path, report: Report) -> None:
    document = report.document
    title = f"equity of {document['account']}, {document['from']} to {document['to']}, dollars above the start"
    if path.suffix == ".html":
        from torghut_core.trading.money.plot import curve_html

        with _writing(path):
            path.write_text(curve_html(report.curve, title=title), encoding="utf-8")
    else:
        _draw_png(path, report, title)
    tell(f"wrote {path}\n")


def _draw_png(path: Path, report: Report, title: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError(
            f"--plot {path}: a PNG needs matplotlib", hint="pip install 'torghut[plot]', or --plot FILE.html"
        ) from error
    from torghut_core.clock import utc_datetime

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.step(
        [utc_datetime(point.at_ns) for point in report.curve],  # type: ignore[arg-type]
        [float(point.equity) for point in report.curve],
        where="post",
    )
    axes.set_title(title)
    axes.set_ylabel("dollars")
    axes.grid(visible=True)
    with _writing(path):
        figure.savefig(path, format="png")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"--plot {path}: cannot be written: {error.strerror}") from error


def as_csv(document: Mapping[str, Any]) -> str:
    """Return the rows by day, strategy and symbol as CSV, exact amounts."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_ROW, *_AMOUNTS, *(f"fee_{name}" for name in _FEES)])
    for row in document["rows"]:
        amounts = [row[f"{name}_text"] for name in _AMOUNTS]
        writer.writerow([*(row[name] for name in _ROW), *amounts, *(row["fees"][f"{name}_text"] for name in _FEES)])
    return buffer.getvalue()


def _sections(document: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    head = ("FILLS", "BOUGHT", "SOLD", "REALISED", "FEES", "NET")

    def sums(row: Mapping[str, Any]) -> tuple[str, ...]:
        texts = (row["bought_text"], row["sold_text"], row["realised_text"], row["fees"]["total_text"], row["net_text"])
        return (str(row["fills"]), *map(_cents, texts))

    for title, name, key in (
        ("strategy", "STRATEGY", "strategies"),
        ("symbol", "SYMBOL", "symbols"),
        ("day", "DAY", "days"),
    ):
        rows = [(str(row[title]), *sums(row)) for row in document[key]]
        yield f"By {title}", [(name, *head), *rows]
    if document["positions"]:
        names = ("STRATEGY", "SYMBOL", "SHARES", "AVERAGE", "PRICE", "UNREALISED")
        keys = ("qty_text", "average_price_text", "price_text", "unrealised_text")
        rows = [(row["strategy"], row["symbol"], *(_cents(row[key]) for key in keys)) for row in document["positions"]]
        yield "Open positions", [names, *rows]
    if document["broker"]["differences"]:
        rows = [
            (item["what"], item["about"], item["symbol"] or "-", item["ours_text"] or "-", item["broker_text"] or "-")
            for item in document["broker"]["differences"]
        ]
        yield "Differences from the broker's account", [("WHAT", "ORDER OR DAY", "SYMBOL", "OURS", "BROKER"), *rows]


def _summary(document: Mapping[str, Any]) -> list[str]:
    drawdown, broker = document["drawdown"], document["broker"]
    share = "" if drawdown["share"] is None else f" ({100 * drawdown['share']:.2f} %)"
    lines = [
        f"account {document['account']}, {document['from']} to {document['to']} (New York)",
        f"realised {_cents(document['realised_text'])}, unrealised {_cents(document['unrealised_text'])} (priced by "
        f"{document['pricedBy']}), fees {_cents(document['fees']['total_text'])} (charged as "
        f"{_cents(document['charged']['total_text'])}), profit {_cents(document['profit_text'])} dollars",
        f"fills {document['fills']}, of them {document['closes']} closing, {document['wins']} with a gain; "
        f"deepest drawdown {_cents(drawdown['dollars_text'])}{share}",
    ]
    if document["foreign_proceeds"]:
        lines.append(
            f"closing shares of unknown cost brought {_cents(document['foreign_proceeds_text'])}, in no profit"
        )
    if not broker["read"]:
        lines.append(f"not compared with the broker's account: {broker['detail']}")
    else:
        said = f"{len(broker['differences'])} differences" if broker["differences"] else "no difference"
        lines.append(
            f"the broker's account: {broker['comparedOrders']} orders compared, {said}, "
            f"{broker['foreignFills']} fills of others' orders"
        )
    return lines


def as_table(document: Mapping[str, Any]) -> View:
    """Return the report for a terminal or a log."""
    parts: list[str | Columns] = [*_summary(document)]
    for title, rows in _sections(document):
        if len(rows) > 1:
            parts += ["", title, columns(rows)]
    return parts


def as_markdown(document: Mapping[str, Any]) -> str:
    """Return the report as markdown."""
    parts = ["# Trading report\n", "\n".join(f"- {line}" for line in _summary(document))]
    parts += [f"\n## {title}\n\n{_pipes(rows)}" for title, rows in _sections(document) if len(rows) > 1]
    return "\n".join(parts)


def _pipes(rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines)


def _cents(text: str | None) -> str:
    """Return an exact amount to the fourth place, without needless zeros."""
    if text is None:
        return "-"
    part = text.partition(".")[2]
    if len(part) <= 4:
        return text
    rounded = f"{float(text):.4f}".rstrip("0").rstrip(".")
    return rounded if rounded not in ("-0", "") else "0"
