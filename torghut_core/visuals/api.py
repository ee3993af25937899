"""The HTTP API of visuals put together: universe, TA, system and stream, the page at `/`, OpenAPI at `/docs`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from torghut_core.errors import InputError, TorghutError, rule_of
from torghut_core.http_server import add_metrics, each_once
from torghut_core.visuals.assets import add_assets
from torghut_core.visuals.newest import NewestRows
from torghut_core.visuals.symbols_api import add_symbols
from torghut_core.visuals.system_api import Live, add_system
from torghut_core.visuals.ta_api import add_ta
from torghut_core.visuals.ta_reader import TaReader
from torghut_core.visuals.universe import Universe


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What the API reads; None is not configured, and answers 503."""

    universe: Universe | None = None
    reader: TaReader | None = None
    newest: NewestRows | None = None
    """The cache of the newest rows; without it each question is a query."""
    live: Live | None = None
    """The system's state and its events."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


def create_app(stores: Stores, *, token: str | None, now: Callable[[], datetime]) -> FastAPI:
    """Return the app. `now` yields the clock's datetime; `token` is what writers, and readers from afar, must bear."""
    app = FastAPI(
        dependencies=[Depends(each_once)],
        title="torghut-visuals",
        version="1",
        description="The symbol universe, technical analysis, and the system's state. Errors name field, value and rule.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    _add_error_handlers(app)
    add_metrics(app, stores.registry)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "service": "torghut-visuals"}

    @app.get("/readyz", responses={503: {"description": "a store is not configured"}})
    async def readyz() -> JSONResponse:
        named = (("DB_DSN", stores.universe), ("TA_CLICKHOUSE_URL", stores.reader))
        lacking = [name for name, store in named if store is None]
        body = {"ready": not lacking, "status": "not_ready" if lacking else "ready", "lacking": lacking}
        return JSONResponse(body, status_code=503 if lacking else 200)

    add_assets(app)
    add_symbols(app, stores.universe, token)
    add_ta(app, stores.reader, stores.newest, now)
    add_system(app, stores.live, token)
    _describe_token(app)
    return app


def _failure(status: int, message: str, error: str) -> JSONResponse:
    return JSONResponse({"ok": False, "message": message, "error": error}, status_code=status)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(InputError)
    async def invalid(_: Request, error: InputError) -> JSONResponse:
        return _failure(400, str(error), "invalid_request")

    @app.exception_handler(RequestValidationError)
    async def unfit(_: Request, error: RequestValidationError) -> JSONResponse:
        return _failure(400, "; ".join(_sentence(item) for item in error.errors()), "invalid_request")

    @app.exception_handler(TorghutError)
    async def failed(_: Request, error: TorghutError) -> JSONResponse:
        return _failure(500, str(error), "query_failed")

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        answer = _failure(error.status_code, str(error.detail), "not_found" if error.status_code == 404 else "refused")
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> JSONResponse:
        return _failure(500, "internal error", "internal")


def _sentence(item: Any) -> str:
    name = str(item["loc"][-1])
    if item["type"] == "missing":
        return f"{name}='': must be given"
    return f"{name}={str(item['input'])[:40]!r}: {rule_of(str(item['msg']))}"


def _describe_token(app: FastAPI) -> None:
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            schema.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
