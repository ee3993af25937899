"""Where an evaluation's reviews and prices come from: PostgreSQL and ClickHouse, or files of rows."""

from __future__ import annotations

import gzip
import json
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from torghut_core.engines.clickhouse import Queries
from torghut_core.errors import InputError
from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.encoding import datetime_ns
from torghut_core.trading.inputs.signals import query_or_nothing, table_parameters
from torghut_core.trading.model import WINDOW_SIZES, Side, is_symbol
from torghut_core.trading.review.evaluation import Recorded
from torghut_core.trading.store.database import Database

MOST_REVIEWS = 5000
_MS = 1_000_000
_CLOSE = """
SELECT close FROM {database:Identifier}.{table:Identifier}
WHERE symbol = {symbol:String} AND window_size = {size:String} AND is_final = 1
  AND event_ts >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND event_ts <= fromUnixTimestamp64Milli({until:Int64}, 'UTC')
ORDER BY event_ts, ingest_ts DESC LIMIT 1
"""
_VERDICTS = ("approve", "veto", "adjust", "error")


def stored_reviews(database: Database, *, account_label: str, since: datetime, until: datetime) -> list[Recorded]:
    """Return the newest reviews recorded in [since, until), oldest first. Raises EngineUnavailableError."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT d.symbol, d.side, d.timeframe, d.signal_ts, r.verdict, r.is_shadow, r.model, r.prompt_version,"
            " r.input_json, r.tokens_prompt, r.tokens_completion FROM llm_decision_reviews r"
            " JOIN trade_decisions d ON d.id = r.trade_decision_id WHERE d.alpaca_account_label = %s"
            " AND r.created_at >= %s AND r.created_at < %s ORDER BY r.created_at DESC, r.id LIMIT %s",
            (account_label, since, until, MOST_REVIEWS),
        ).fetchall()
    return [
        Recorded(
            symbol=row["symbol"],
            side=row["side"],
            size=WINDOW_SIZES.get(row["timeframe"], row["timeframe"]),
            at_ns=datetime_ns(row["signal_ts"]),
            verdict=row["verdict"],
            is_shadow=row["is_shadow"],
            model=row["model"],
            prompt_version=row["prompt_version"],
            price=_middle(row["input_json"]),
            tokens_prompt=row["tokens_prompt"],
            tokens_completion=row["tokens_completion"],
        )
        for row in reversed(rows)
    ]


class StoredPrices:
    """Closes from ClickHouse's signals."""

    def __init__(self, clickhouse: Queries, table: str) -> None:
        self._clickhouse = clickhouse
        self._table = table_parameters(table)

    def after(self, symbol: str, size: str, since_ns: int, until_ns: int) -> float | None:
        """Return the first close in [since, until]. Raises ClickHouseError."""
        window = {"symbol": symbol, "size": size, "since": since_ns // _MS, "until": until_ns // _MS}
        rows = query_or_nothing(self._clickhouse, _CLOSE, self._table | window)
        return float(rows[0]["close"]) if rows else None


class FilePrices:
    """Closes from a file of signals, keys as ClickHouse's columns, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        found: dict[tuple[str, str], dict[int, float]] = {}
        self.skipped = 0
        for row in _rows(path):
            try:
                key = (str(row["symbol"]), str(row["window_size"]))
                close = float(row["close"])
                if not math.isfinite(close):
                    raise ValueError("close")
                found.setdefault(key, {})[parse_ns(row["event_ts"])] = close
            except (KeyError, TypeError, ValueError, AttributeError):
                self.skipped += 1
        self._closes = {key: sorted(closes.items()) for key, closes in found.items()}

    def after(self, symbol: str, size: str, since_ns: int, until_ns: int) -> float | None:
        """Return the first close in [since, until]."""
        closes = self._closes.get((symbol, size), [])
        place = bisect_left(closes, (since_ns, -math.inf))
        return closes[place][1] if place < len(closes) and closes[place][0] <= until_ns else None


def file_reviews(path: Path) -> tuple[list[Recorded], int]:
    """Return the reviews of a file, one JSON object a line, and how many rows are none.

    Keys: symbol, side, timeframe, event_ts, verdict, price, and where known is_shadow, model, prompt_version,
    tokens_prompt, tokens_completion. Raises InputError when the file cannot be read.
    """
    found: list[Recorded] = []
    skipped = 0
    for row in _rows(path):
        try:
            found.append(_review(row))
        except (KeyError, TypeError, ValueError, AttributeError):
            skipped += 1
    return found, skipped


def _review(row: Mapping[str, Any]) -> Recorded:
    sides: dict[str, Side] = {"buy": "buy", "sell": "sell"}
    price, verdict, symbol = row["price"], row["verdict"], row["symbol"]
    if verdict not in _VERDICTS or not is_symbol(symbol):
        raise ValueError("no review")
    return Recorded(
        symbol=symbol,
        side=sides[row["side"]],
        size=WINDOW_SIZES[row["timeframe"]],
        at_ns=parse_ns(row["event_ts"]),
        verdict=verdict,
        is_shadow=bool(row.get("is_shadow", False)),
        model=str(row.get("model", "unknown"))[:128],
        prompt_version=str(row.get("prompt_version", "unknown"))[:32],
        price=None if price is None else float(price),
        tokens_prompt=_count(row.get("tokens_prompt")),
        tokens_completion=_count(row.get("tokens_completion")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _middle(request: Any) -> float | None:
    """Return the middle of the quote that a provider was shown."""
    try:
        bid, ask = float(request["market"]["bid"]), float(request["market"]["ask"])
    except (KeyError, TypeError, ValueError):
        return None
    middle = (bid + ask) / 2
    return middle if math.isfinite(middle) and middle > 0 else None


def _rows(path: Path) -> Iterator[Any]:
    """Yield the objects of a file, plain or gzip; a line that is not JSON is yielded as None."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    yield None
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__})") from error
