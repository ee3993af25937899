"""`/api/torghut/ta/…`: the newest rows from the cache, ranges from ClickHouse, always of one window."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator

from torghut_core.errors import InputError
from torghut_core.visuals import shapes
from torghut_core.visuals.newest import NewestRows
from torghut_core.visuals.rows import FastJSON, Series, Window, csv_answer, wants_csv
from torghut_core.visuals.ta_reader import TaReader

_SPAN = timedelta(days=7)
_DEFAULT_SPAN = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(2262, 1, 1, tzinfo=UTC)
"""DateTime64(3) is compared as 64-bit nanoseconds in places: later instants wrap around."""
_SYMBOL_RULE = "must be 1 to 32 of A-Z, 0-9 and ._:-"
_LIMIT_RULE = "must be a whole number from 1 to 5000"
_SYMBOL = re.compile(r"[A-Z0-9._:-]{1,32}", re.ASCII)


def _checked_symbol(value: str) -> str:
    symbol = value.strip().upper()
    if not _SYMBOL.fullmatch(symbol):
        raise ValueError(_SYMBOL_RULE)
    return symbol


def _checked_limit(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 5000:
        raise ValueError(_LIMIT_RULE)
    return value


_DOCUMENTED_SYMBOL: dict[str, Any] = {"pattern": "^[A-Z0-9._:-]{1,32}$"}
Symbol = Annotated[
    str, Query(json_schema_extra=_DOCUMENTED_SYMBOL, description="upper-cased"), AfterValidator(_checked_symbol)
]
Window_ = Annotated[Window, Query(description="seconds or minutes, never mixed")]
Limit = Annotated[
    str,
    Query(json_schema_extra={"pattern": "^([1-9][0-9]{0,2}|[1-4][0-9]{3}|5000)$"}, description="1 to 5000"),
    AfterValidator(_checked_limit),
]
Instant = Annotated[
    str | None,
    Query(description="ISO 8601, epoch seconds or milliseconds", json_schema_extra={"format": "date-time"}),
]


def add_ta(app: FastAPI, reader: TaReader | None, newest: NewestRows | None, now: Callable[[], datetime]) -> None:
    """Give `app` the routes of the TA store; a missing store answers 503."""
    missing = JSONResponse(
        {"ok": False, "message": "TA_CLICKHOUSE_URL is not configured", "error": "clickhouse_unconfigured"},
        status_code=503,
    )

    @app.get("/api/torghut/ta/latest", response_model=shapes.Latest, responses=shapes.READ)
    async def latest(symbol: Symbol, window: Window_ = "PT1S") -> Response:
        """Return a symbol's newest bar and signal of one window, null where it has none yet."""
        if reader is None:
            return missing

        wanted = (Series("bars", symbol, window), Series("signals", symbol, window))

        def both() -> list[Any]:
            source = newest or reader
            return [source.latest(series) for series in wanted]

        is_kept = newest is not None and all(newest.is_kept(series) for series in wanted)
        bar, signal = both() if is_kept else await asyncio.to_thread(both)
        return FastJSON({"ok": True, "symbol": symbol, "window": window, "bars": bar, "signals": signal})

    @app.get("/api/torghut/ta/newest", response_model=shapes.AllNewest, responses=shapes.READ)
    async def all_newest(window: Window_ = "PT1S") -> Response:
        """Return the newest bar and signal of every symbol: what a list of symbols shows, in one request."""
        if newest is None:
            return missing
        rows = {kind: newest.all_of(kind, window) for kind in ("bars", "signals")}
        return FastJSON({"ok": True, "window": window, "serverTime": now().isoformat(), **rows})

    @app.get(
        "/api/torghut/ta/{kind}",
        response_model=shapes.Rows,
        responses={**shapes.READ, 200: {"content": {"text/csv": {}}, "model": shapes.Rows}},
    )
    async def items(  # noqa: PLR0917  one argument per query parameter; FastAPI calls by name
        kind: Literal["bars", "signals"],
        request: Request,
        symbol: Symbol,
        window: Window_ = "PT1S",
        earliest: Annotated[Instant, Query(alias="from")] = None,
        last: Annotated[Instant, Query(alias="to")] = None,
        limit: Limit = "1000",
    ) -> Response:
        """Return the newest `limit` rows of a range, ascending, as JSON or, where `Accept` prefers it, CSV.

        Without `from` and `to` it is the last 15 minutes. An empty range that misses the newest row is replaced by an
        equally long one that ends there, and `fallback` says so.
        """
        start, end = _range(earliest, last, now())
        if reader is None:
            return missing
        rows, effective, fallback = await asyncio.to_thread(
            reader.within, Series(kind, symbol, window), start, end, int(limit)
        )
        if wants_csv(request.headers.get("accept", "")):
            return csv_answer(
                rows,
                {
                    "X-Torghut-Range": f"{effective[0].isoformat()}/{effective[1].isoformat()}",
                    "X-Torghut-Fallback": str(fallback).lower(),
                    "Content-Disposition": f'inline; filename="{symbol.replace(":", "_")}-{window}-{kind}.csv"',
                },
            )
        return FastJSON(
            {
                "ok": True,
                "symbol": symbol,
                "window": window,
                "items": rows,
                "range": {"requested": _span(start, end), "effective": _span(*effective), "fallback": fallback},
            }
        )


def _range(earliest: str | None, last: str | None, now: datetime) -> tuple[datetime, datetime]:
    """Return the range asked for. Raises InputError that names the field at fault, and only one that was given."""
    start, end = _instant(earliest, "from"), _instant(last, "to")
    if end is None and start is not None and start > now:
        raise InputError(f"from={earliest!r}: lies in the future, and no to is given")
    until = end if end is not None else now
    since = start if start is not None else max(_EPOCH, until - _DEFAULT_SPAN)
    if until < since:
        raise InputError(f"to={last!r}: must not be before from={earliest!r}")
    if until - since > _SPAN:
        if end is None:
            raise InputError(f"from={earliest!r}: must be within 7 days of now, since no to is given")
        raise InputError(f"from={earliest!r}, to={last!r}: must span at most 7 days")
    return since, until


def _instant(value: str | None, name: str) -> datetime | None:
    if value is None or not value.strip():
        return None
    shown = value[:40]
    try:
        if re.fullmatch(r"[0-9]{1,10}", value):
            return datetime.fromtimestamp(int(value), UTC)
        if re.fullmatch(r"[0-9]{11,14}", value):
            found = datetime.fromtimestamp(int(value) / 1000, UTC)
        else:
            found = datetime.fromisoformat(value.replace("Z", "+00:00").replace(" ", "+"))
            found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
            found = found.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f"{name}={shown!r}: must be ISO 8601, epoch seconds or milliseconds") from error
    if not _EPOCH <= found < _LAST:
        raise InputError(f"{name}={shown!r}: must be from 1970 to 2261")
    return found


def _span(start: datetime, end: datetime) -> dict[str, str]:
    return {"from": start.isoformat(), "to": end.isoformat()}
