"""The HTTP API of visuals: `/api/torghut/symbols`, `/api/torghut/ta/latest|bars|signals`, and the page at `/`."""

from __future__ import annotations

import asyncio
import hmac
import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from torghut_core.errors import InputError, TorghutError
from torghut_core.visuals.ta_reader import Kind, TaReader
from torghut_core.visuals.universe import SYMBOL, AssetClass, Universe

_MAX_SPAN = timedelta(days=7)
_MAX_BODY_BYTES = 64 * 1024
_TA_SYMBOL = re.compile(r"[A-Z0-9._:-]{1,32}")
_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self'",
    "X-Content-Type-Options": "nosniff",
}


def create_app(*, universe: Universe | None, reader: TaReader | None, write_token: str | None, now: Any) -> FastAPI:
    """Return the app. `now` yields the clock's datetime; a missing store answers 503."""
    app = FastAPI(title="torghut-visuals", openapi_url=None)

    @app.exception_handler(InputError)
    async def invalid(_: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"ok": False, "message": str(error), "error": "invalid_request"}, status_code=400)

    @app.exception_handler(TorghutError)
    async def failed(_: Request, error: TorghutError) -> JSONResponse:
        return JSONResponse({"ok": False, "message": str(error), "error": "query_failed"}, status_code=500)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "service": "torghut-visuals"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        lacking = [name for name, store in (("DB_DSN", universe), ("TA_CLICKHOUSE_URL", reader)) if store is None]
        body = {"ready": not lacking, "status": "not_ready" if lacking else "ready", "lacking": lacking}
        return JSONResponse(body, status_code=503 if lacking else 200)

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(_asset("page.html"), headers=_SECURITY_HEADERS)

    @app.get("/page.js")
    async def script() -> Response:
        return Response(_asset("page.js"), media_type="text/javascript", headers=_SECURITY_HEADERS)

    _add_symbols(app, universe, write_token)
    _add_ta(app, reader, now)
    return app


def _asset(name: str) -> str:
    return files("torghut_core.visuals").joinpath(name).read_text()


def _asset_class(value: Any) -> AssetClass:
    if value in (None, "equity"):
        return "equity"
    if value == "crypto":
        return "crypto"
    raise InputError(f"assetClass={str(value)[:40]!r}: must be equity or crypto")


def _refusal(request: Request, write_token: str | None) -> JSONResponse | None:
    """Return why a request may not change anything, None where it may.

    Without a token the API is read-only. A page of another site can send no JSON without asking first, and a browser says
    whose page it is: both are looked at besides the token.
    """

    def no(status: int, message: str) -> JSONResponse:
        return JSONResponse({"ok": False, "message": message, "error": "refused"}, status_code=status)

    if write_token is None:
        return no(403, "the API is read-only: TORGHUT_API_TOKEN is not set where it runs")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), write_token.encode()):
        return no(401, "authorization: needs the bearer token of TORGHUT_API_TOKEN")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        return no(403, "origin: another site's page may not change symbols")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return no(415, "content-type: must be application/json")
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        return no(411, "content-length: must be given")
    if int(length) > _MAX_BODY_BYTES:
        return no(413, f"body: at most {_MAX_BODY_BYTES} bytes")
    return None


def _add_symbols(app: FastAPI, universe: Universe | None, write_token: str | None) -> None:
    missing = JSONResponse({"error": "DB_DSN is not configured"}, status_code=503)

    @app.get("/api/torghut/symbols")
    async def symbols(request: Request) -> JSONResponse:
        if universe is None:
            return missing
        query = request.query_params
        include_disabled = query.get("includeDisabled", "false").lower() in ("1", "true", "yes")
        items = await asyncio.to_thread(
            universe.items, _asset_class(query.get("assetClass")), include_disabled=include_disabled
        )
        if query.get("format") == "full":
            return JSONResponse({"items": items})
        return JSONResponse({"symbols": [item["symbol"] for item in items if item["enabled"]]})

    @app.post("/api/torghut/symbols")
    async def post_symbols(request: Request) -> JSONResponse:
        if universe is None:
            return missing
        refused = _refusal(request, write_token)
        if refused is not None:
            return refused
        body = await _json_object(request)
        enabled = body.get("enabled", True)
        if not isinstance(enabled, bool):
            raise InputError(f"enabled={enabled!r}: must be true or false")
        wanted = _symbols(body)
        count = await asyncio.to_thread(universe.put, _asset_class(body.get("assetClass")), wanted, enabled=enabled)
        return JSONResponse({"insertedOrUpdated": count, "symbols": wanted})

    @app.patch("/api/torghut/symbols/{symbol:path}")
    async def patch_symbol(symbol: str, request: Request) -> JSONResponse:
        if universe is None:
            return missing
        refused = _refusal(request, write_token)
        if refused is not None:
            return refused
        body = await _json_object(request)
        enabled = body.get("enabled")
        if not isinstance(enabled, bool):
            raise InputError(f"enabled={enabled!r}: must be true or false")
        wanted = _symbols({"symbols": [symbol]})
        await asyncio.to_thread(universe.put, _asset_class(body.get("assetClass")), wanted, enabled=enabled)
        return JSONResponse({"ok": True})


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise InputError("body: must be JSON") from error
    if not isinstance(body, dict):
        raise InputError("body: must be a JSON object")
    return body


def _symbols(body: dict[str, Any]) -> list[str]:
    given = body.get("symbols", body.get("symbolsText", ""))
    parts = re.split(r"[,\s]+", given) if isinstance(given, str) else given
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise InputError("symbols: must be an array of texts, or a text")
    wanted = sorted({part.strip().upper() for part in parts if part.strip()})
    for symbol in wanted:
        if not SYMBOL.fullmatch(symbol):
            raise InputError(f"symbols={symbol[:40]!r}: must be 1 to 32 of A-Z, 0-9 and ._:/-")
    if not wanted:
        raise InputError("symbols: must name at least one")
    return wanted


def _add_ta(app: FastAPI, reader: TaReader | None, now: Any) -> None:
    missing = JSONResponse(
        {"ok": False, "message": "TA_CLICKHOUSE_URL is not configured", "error": "clickhouse_unconfigured"},
        status_code=503,
    )

    @app.get("/api/torghut/ta/latest")
    async def latest(request: Request) -> JSONResponse:
        symbol = _ta_symbol(request)
        if reader is None:
            return missing
        bars = await asyncio.to_thread(reader.latest, symbol, "bars")
        signals = await asyncio.to_thread(reader.latest, symbol, "signals")
        return JSONResponse({"ok": True, "symbol": symbol, "bars": bars, "signals": signals})

    @app.get("/api/torghut/ta/{kind}")
    async def items(kind: Literal["bars", "signals"], request: Request) -> JSONResponse:
        symbol = _ta_symbol(request)
        query = request.query_params
        end = _time(query.get("to"), "to") or now()
        start = _time(query.get("from"), "from") or end - timedelta(minutes=15)
        if end < start:
            raise InputError(f"to={query.get('to')!r}: must not be before from")
        if end - start > _MAX_SPAN:
            raise InputError("from, to: must span at most 7 days")
        limit = _limit(query.get("limit"))
        if reader is None:
            return missing
        wanted: Kind = kind
        rows, effective, fallback = await asyncio.to_thread(reader.window, symbol, wanted, start, end, limit)
        return JSONResponse(
            {
                "ok": True,
                "symbol": symbol,
                "items": rows,
                "range": {
                    "requested": _range(start, end),
                    "effective": _range(*effective),
                    "fallback": fallback,
                },
            }
        )


def _range(start: datetime, end: datetime) -> dict[str, str]:
    return {"from": start.isoformat(), "to": end.isoformat()}


def _ta_symbol(request: Request) -> str:
    symbol = (request.query_params.get("symbol") or "").strip().upper()
    if not _TA_SYMBOL.fullmatch(symbol):
        raise InputError(f"symbol={symbol[:40]!r}: must be 1 to 32 of A-Z, 0-9 and ._:-")
    return symbol


def _time(value: str | None, name: str) -> datetime | None:
    if value is None or not value.strip():
        return None
    try:
        if re.fullmatch(r"\d{1,10}", value):
            return datetime.fromtimestamp(int(value), UTC)
        if re.fullmatch(r"\d{11,14}", value):
            return datetime.fromtimestamp(int(value) / 1000, UTC)
        found = datetime.fromisoformat(value.replace("Z", "+00:00").replace(" ", "+"))
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f"{name}={value[:40]!r}: must be ISO 8601, epoch seconds or milliseconds") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _limit(value: str | None) -> int:
    if value is None:
        return 1000
    if not re.fullmatch(r"\d{1,5}", value) or not 1 <= int(value) <= 5000:
        raise InputError(f"limit={value[:20]!r}: must be a whole number from 1 to 5000")
    return int(value)
