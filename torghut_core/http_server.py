"""HTTP servers of the runtimes: a health server for those without an API, and one way to run any FastAPI app."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from torghut_core.errors import ConfigurationError

Readiness = Callable[[], tuple[bool, dict[str, Any]]]
"""Returns whether the service is ready, and the body of `/readyz`."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Where a server listens; `variable` is named when it cannot."""

    port: int
    variable: str
    host: str = "0.0.0.0"  # noqa: S104  the pods' own network; `up` and `demo` bind to 127.0.0.1


def health_app(
    *, service: str, readiness: Readiness, registry: CollectorRegistry, is_alive: Callable[[], bool] = lambda: True
) -> FastAPI:
    """Return an app with `/healthz` (alive), `/readyz` (200 or 503) and `/metrics` (Prometheus text)."""
    app = FastAPI(title=service, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        alive = is_alive()
        return JSONResponse(
            {"status": "ok" if alive else "not_alive", "service": service}, status_code=200 if alive else 503
        )

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        ready, body = readiness()
        return JSONResponse(body, status_code=200 if ready else 503)

    add_metrics(app, registry)
    return app


def each_once(request: Request) -> None:
    """Refuse a query that gives a parameter more than once: which one was meant nobody knows. A dependency of an app."""
    given = [name for name, _ in request.query_params.multi_items()]
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        found = [
            {"type": "value_error", "loc": ("query", name), "msg": "must be given once", "input": "twice"}
            for name in twice
        ]
        raise RequestValidationError(found)


def add_metrics(app: FastAPI, registry: CollectorRegistry) -> None:
    """Give `app` a `/metrics` route in the Prometheus text format."""

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def bind(binding: Binding) -> socket.socket:
    """Return a listening socket. Raises ConfigurationError, naming variable and port, when the port is taken."""
    # The protocol is named, since asyncio sends without delay only where it is: else each answer waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((binding.host, binding.port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(
            f"{binding.variable}={binding.port}: cannot listen on {binding.host}:{binding.port}: {error}",
            hint="stop what holds the port, or choose another",
        ) from error
    listener.listen(128)
    return listener


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the process owns its signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def serving(app: FastAPI, binding: Binding) -> AsyncIterator[int]:
    """Serve `app` while the block runs; yields the port (chosen by the machine when the binding says 0)."""
    listener = bind(binding)
    server = _Server(
        uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2)
    )
    task = asyncio.create_task(server.serve(sockets=[listener]), name=f"http:{app.title}")
    try:
        while not server.started and not task.done():  # noqa: ASYNC110  uvicorn offers a flag, not an event
            await asyncio.sleep(0.005)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()
