"""`/api/torghut/system` and `/api/torghut/stream`: the system's state, and what happens as it happens."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import AfterValidator

from torghut_core.visuals import shapes
from torghut_core.visuals.access import read_refusal, refusal
from torghut_core.visuals.rows import FastJSON
from torghut_core.visuals.stream import EventLog, Interest
from torghut_core.visuals.system import SystemState

_MOST_LISTENERS = 200


@dataclass(frozen=True, kw_only=True)
class Live:
    """The state, its events, and when to end."""

    state: SystemState
    log: EventLog
    stop: asyncio.Event


def _checked_symbol(value: str) -> str:
    if not re.fullmatch(r"[A-Z0-9._:-]{1,32}", value.strip().upper(), re.ASCII):
        raise ValueError("must be 1 to 32 of A-Z, 0-9 and ._:-")
    return value.strip().upper()


Symbol = Annotated[str, Query(json_schema_extra={"pattern": "^[A-Z0-9._:-]{1,32}$"}), AfterValidator(_checked_symbol)]


def add_system(app: FastAPI, live: Live | None, token: str | None) -> None:
    """Give `app` the system's state and its stream."""
    missing = JSONResponse({"ok": False, "error": "not running", "message": "no state is kept here"}, status_code=503)

    @app.get("/api/torghut/system", response_model=shapes.System, responses=shapes.READ | shapes.REFUSED)
    async def system(request: Request) -> Response:
        """Return verdict, account, positions, orders and decisions; what is not known is null, or says so."""
        refused = read_refusal(request, token)
        if refused is not None:
            return refused
        return missing if live is None else FastJSON(await live.state.current())

    @app.get(
        "/api/torghut/stream",
        response_class=StreamingResponse,
        responses={**shapes.READ, **shapes.REFUSED, 200: {"content": {"text/event-stream": {}}}},
    )
    async def stream(
        request: Request,
        symbol: Symbol | None = None,
        window: Literal["PT1S", "PT1M"] | None = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Stream `bar`, `signal`, `decision` and `system` events, and a `beat` every two seconds.

        `symbol` narrows signals, `window` rows. `Last-Event-ID` resumes; `reset` means: too much was missed, read again.
        """
        refused = read_refusal(request, token)
        if refused is not None:
            return refused
        if live is None:
            return missing
        if live.log.listeners >= _MOST_LISTENERS:
            return refusal(503, f"stream: {_MOST_LISTENERS} listeners at most")
        events = live.log.listen(
            Interest(symbol=symbol, window=window), last_event_id, beat=live.state.moment, stop=live.stop
        )
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
