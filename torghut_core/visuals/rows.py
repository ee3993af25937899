"""TA rows as they leave: JSON by orjson, CSV for who asks for it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
from fastapi import Response

Kind = Literal["bars", "signals"]
Window = Literal["PT1S", "PT1M"]
KINDS: tuple[Kind, ...] = ("bars", "signals")
WINDOWS: tuple[Window, ...] = ("PT1S", "PT1M")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Series:
    """Rows of one kind, symbol and window: what is asked for at a time, since windows are never mixed."""

    kind: Kind
    symbol: str
    window: Window


class FastJSON(Response):
    """A JSON answer: 5,000 rows are rendered in a few milliseconds; a number that is not finite is null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def json_row(row: Mapping[str, Any]) -> Row:
    """Return a row as JSON can have it: times RFC 3339 in UTC with milliseconds, non-finite numbers null."""
    return {key: _json_value(value) for key, value in row.items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return f"{value.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    return value


def event_millis(row: Mapping[str, Any]) -> int:
    """Return a row's event time in epoch milliseconds; the row is as `json_row` returned it."""
    return round(datetime.fromisoformat(row["event_ts"].replace("Z", "+00:00")).timestamp() * 1000)


def wants_csv(accept: str) -> bool:
    """Return whether an `Accept` header prefers CSV: it names `text/csv`, and JSON not with a higher weight."""
    weights = {"text/csv": 0.0, "application/json": 0.0}
    for part in accept.lower().split(","):
        kind, _, options = part.partition(";")
        if kind.strip() in weights:
            weights[kind.strip()] = _weight(options)
    return weights["text/csv"] > 0 and weights["text/csv"] >= weights["application/json"]


def _weight(options: str) -> float:
    name, _, value = options.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def csv_answer(items: Sequence[Row], headers: Mapping[str, str]) -> Response:
    """Return rows as CSV with a header line; a value that is not known is an empty field."""
    text = io.StringIO()
    if items:
        writer = csv.DictWriter(text, fieldnames=list(items[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(json_row(item) for item in items)
    return Response(text.getvalue(), media_type="text/csv", headers=dict(headers))
