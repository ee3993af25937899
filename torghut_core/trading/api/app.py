"""The trading runtime's HTTP: state, health, decisions, executions, metrics. Reads only.

Errors are JSON, name the field that is wrong, and never repeat what was sent or what an upstream said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator
from starlette.exceptions import HTTPException

from torghut_core.clock import utc_datetime
from torghut_core.errors import TorghutError, rule_of
from torghut_core.http_server import add_metrics, each_once
from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.api import shapes
from torghut_core.trading.encoding import dumps
from torghut_core.trading.errors import NotTradingError
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.orders.broker import BrokerUnavailableError
from torghut_core.trading.store.database import DatabaseError
from torghut_core.trading.store.listing import MAX_ROWS, Listing
from torghut_core.trading.store.schema import SchemaState

SERVICE = "torghut"
_LAST_NS = 253_402_300_800_000_000_000
"""The year 10000, beyond which no timestamp goes."""
_INVALID: dict[int | str, dict[str, Any]] = {422: {"model": shapes.Invalid}}
_UNAVAILABLE: dict[int | str, dict[str, Any]] = {503: {"model": shapes.Failure}}


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
    account: Callable[[], Awaitable[dict[str, Any]]]
    positions: Callable[[], Awaitable[list[dict[str, Any]]]]
    profit: Callable[[], Awaitable[dict[str, Any]]]
    schema: Callable[[], SchemaState]
    """Blocks."""


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        return dumps(content).encode()


def _instant(text: str) -> datetime:
    return utc_datetime(parse_ns(text))


def _checked_instant(text: str) -> str:
    try:
        if not 0 <= parse_ns(text) < _LAST_NS:
            raise ValueError(text)
    except (ValueError, OverflowError) as error:
        raise ValueError("must be an RFC 3339 timestamp with a zone, as 2026-01-02T03:04:05Z") from error
    return text


Symbol = Annotated[str | None, Query(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._:/-]+$")]
Since = Annotated[
    Annotated[str, AfterValidator(_checked_instant)] | None, Query(description="RFC 3339: created at or after")
]
Limit = Annotated[int, Query(ge=1, le=MAX_ROWS)]


def create_app(view: View) -> FastAPI:
    """Return the application over `view`."""
    app = FastAPI(
        dependencies=[Depends(each_once)],
        title="torghut-trading",
        version=view.version,
        description="State of the trading runtime. Reads only; errors name the field.",
        docs_url=None,
        redoc_url=None,
        default_response_class=_Json,
    )
    _add_error_handlers(app)

    @app.get("/", response_model=shapes.Root)
    async def root() -> Response:
        return _Json({"service": SERVICE, "status": "ok", "version": view.version, "commit": view.commit})

    @app.get("/healthz", response_model=shapes.Alive)
    async def healthz() -> Response:
        return _Json({"status": "ok", "service": SERVICE})

    @app.get("/readyz", response_model=shapes.Ready, responses={503: {"model": shapes.Ready}})
    async def readyz() -> Response:
        ready, body = view.readiness()
        return _Json(body, status_code=200 if ready else 503)

    @app.get("/db-check", response_model=shapes.Database, responses=_UNAVAILABLE)
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

    @app.get("/trading/status", response_model=shapes.Status, responses=_UNAVAILABLE)
    async def status() -> Response:
        return _Json(view.status())

    @app.get("/trading/metrics", response_model=shapes.Metrics)
    async def metrics() -> Response:
        return _Json({"metrics": view.metrics.as_json()})

    @app.get("/trading/health", response_model=shapes.Health, responses={503: {"model": shapes.Health}})
    async def health() -> Response:
        body = await view.health()
        return _Json(body, status_code=200 if body["status"] == "ok" else 503)

    @app.get("/trading/decisions", response_model=list[shapes.Decision], responses=_INVALID | _UNAVAILABLE)
    async def decisions(symbol: Symbol = None, since: Since = None, limit: Limit = 200) -> Response:
        earliest = None if since is None else _instant(since)
        return _Json(await asyncio.to_thread(view.listing.decisions, symbol=symbol, since=earliest, limit=limit))

    @app.get("/trading/executions", response_model=list[shapes.Execution], responses=_INVALID | _UNAVAILABLE)
    async def executions(symbol: Symbol = None, since: Since = None, limit: Limit = 200) -> Response:
        earliest = None if since is None else _instant(since)
        return _Json(await asyncio.to_thread(view.listing.executions, symbol=symbol, since=earliest, limit=limit))

    @app.get("/trading/orders", response_model=list[shapes.Order], responses=_INVALID | _UNAVAILABLE)
    async def orders(symbol: Symbol = None, since: Since = None, limit: Limit = 200) -> Response:
        earliest = None if since is None else _instant(since)
        return _Json(await asyncio.to_thread(view.listing.orders, symbol=symbol, since=earliest, limit=limit))

    @app.get("/trading/account", response_model=shapes.Account, responses=_UNAVAILABLE)
    async def account() -> Response:
        return _Json(await view.account())

    @app.get("/trading/positions", response_model=list[shapes.Holding], responses=_UNAVAILABLE)
    async def positions() -> Response:
        return _Json(await view.positions())

    @app.get("/trading/pnl", response_model=shapes.Profit, responses=_UNAVAILABLE)
    async def profit() -> Response:
        return _Json(await view.profit())

    add_metrics(app, view.metrics.registry)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        found = [{"field": str(item["loc"][-1]), "message": rule_of(str(item["msg"]))} for item in error.errors()]
        return _Json({"detail": found}, status_code=422)

    @app.exception_handler(NotTradingError)
    async def elsewhere(_: Request, error: NotTradingError) -> Response:
        return _Json({"detail": str(error), "owner": "torghut-scheduler"}, status_code=503)

    @app.exception_handler(BrokerUnavailableError)
    async def unreachable(_: Request, __: BrokerUnavailableError) -> Response:
        return _Json({"detail": "broker unavailable"}, status_code=503)

    @app.exception_handler(DatabaseError)
    async def refused_by_database(_: Request, __: DatabaseError) -> Response:
        # A statement that PostgreSQL refuses is our fault: the database is there.
        return _Json({"detail": "internal error"}, status_code=500)

    @app.exception_handler(TorghutError)
    async def unavailable(_: Request, __: TorghutError) -> Response:
        return _Json({"detail": "database unavailable"}, status_code=503)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _Json({"detail": str(error.detail)}, status_code=error.status_code)

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return _Json({"detail": "internal error"}, status_code=500)
