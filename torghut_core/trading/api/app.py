"""The trading runtime's HTTP: state, health, decisions, executions, metrics. Reads only.

Errors are JSON, name the field that is wrong, and never repeat what was sent or what an upstream said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator
from starlette.exceptions import HTTPException

from torghut_core.clock import utc_datetime
from torghut_core.errors import TorghutError, rule_of
from torghut_core.http_server import add_metrics
from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.encoding import dumps
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.store.listing import MAX_ROWS, Listing
from torghut_core.trading.store.schema import SchemaState

SERVICE = "torghut"


@dataclass(frozen=True, kw_only=True)
class View:
    """What the routes show. Functions are asked at each request."""

    version: str
    commit: str
    listing: Listing
    metrics: Metrics
    status: Callable[[], dict[str, Any]]
    health: Callable[[], Awaitable[dict[str, Any]]]
    readiness: Callable[[], tuple[bool, dict[str, Any]]]
    schema: Callable[[], SchemaState]
    """Blocks."""


class _Json(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return dumps(content).encode()


def _instant(text: str) -> datetime:
    return utc_datetime(parse_ns(text))


def _checked_instant(text: str) -> str:
    try:
        _instant(text)
    except (ValueError, OverflowError) as error:
        raise ValueError("must be an RFC 3339 timestamp with a zone, as 2026-01-02T03:04:05Z") from error
    return text


Symbol = Annotated[str | None, Query(min_length=1, max_length=32)]
Since = Annotated[
    Annotated[str, AfterValidator(_checked_instant)] | None, Query(description="RFC 3339: created at or after")
]
Limit = Annotated[int, Query(ge=1, le=MAX_ROWS)]


def create_app(view: View) -> FastAPI:
    """Return the application over `view`."""
    app = FastAPI(title="torghut-trading", openapi_url=None, default_response_class=_Json)
    _add_error_handlers(app)

    @app.get("/")
    async def root() -> Response:
        return _Json({"service": SERVICE, "status": "ok", "version": view.version, "commit": view.commit})

    @app.get("/healthz")
    async def healthz() -> Response:
        return _Json({"status": "ok", "service": SERVICE})

    @app.get("/readyz")
    async def readyz() -> Response:
        ready, body = view.readiness()
        return _Json(body, status_code=200 if ready else 503)

    @app.get("/db-check")
    async def db_check() -> Response:
        try:
            state = await asyncio.to_thread(view.schema)
        except TorghutError:
            return _Json({"detail": "database unavailable"}, status_code=503)
        heads = {"current_heads": state.current_heads, "expected_heads": state.expected_heads}
        if not state.is_current:
            detail = "database schema mismatch; migrations pending"
            return _Json({"ok": False, "detail": detail, "schema_current": False, **heads}, status_code=503)
        return _Json({"ok": True, "schema_current": True, **heads})

    @app.get("/trading/status")
    async def status() -> Response:
        return _Json(view.status())

    @app.get("/trading/metrics")
    async def metrics() -> Response:
        return _Json({"metrics": view.metrics.as_json()})

    @app.get("/trading/health")
    async def health() -> Response:
        body = await view.health()
        return _Json(body, status_code=200 if body["status"] == "ok" else 503)

    @app.get("/trading/decisions")
    async def decisions(symbol: Symbol = None, since: Since = None, limit: Limit = 200) -> Response:
        earliest = None if since is None else _instant(since)
        return _Json(await asyncio.to_thread(view.listing.decisions, symbol=symbol, since=earliest, limit=limit))

    @app.get("/trading/executions")
    async def executions(symbol: Symbol = None, since: Since = None, limit: Limit = 200) -> Response:
        earliest = None if since is None else _instant(since)
        return _Json(await asyncio.to_thread(view.listing.executions, symbol=symbol, since=earliest, limit=limit))

    add_metrics(app, view.metrics.registry)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        found = [{"field": str(item["loc"][-1]), "message": rule_of(str(item["msg"]))} for item in error.errors()]
        return _Json({"detail": found}, status_code=422)

    @app.exception_handler(TorghutError)
    async def unavailable(_: Request, __: TorghutError) -> Response:
        return _Json({"detail": "database unavailable"}, status_code=503)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _Json({"detail": str(error.detail)}, status_code=error.status_code)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return _Json({"detail": "internal error"}, status_code=500)
