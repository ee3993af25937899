"""`/api/torghut/symbols`: the universe listed, added to, switched, deleted from, and its history of changes."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from torghut_core.errors import InputError
from torghut_core.visuals import shapes
from torghut_core.visuals.access import actor_of, json_object, read_refusal, write_refusal
from torghut_core.visuals.universe import SYMBOL, AssetClass, Universe

_PATH = "/api/torghut/symbols"
_MOST = 2_000
Named = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:/-]{1,32}$", description="the symbol, a pair's slash included")]
Class = Annotated[Literal["equity", "crypto"], Query(alias="assetClass")]
Switch = Annotated[Literal["true", "false", "1", "0"], Query(alias="includeDisabled")]
Form = Annotated[Literal["compact", "full"], Query(alias="format")]
Most = Annotated[int, Query(ge=1, le=1000)]


def add_symbols(app: FastAPI, universe: Universe | None, token: str | None) -> None:
    """Give `app` the routes of the universe; a missing store answers 503."""
    missing = JSONResponse({"ok": False, "error": "DB_DSN is not configured"}, status_code=503)

    @app.get(_PATH, response_model=shapes.Symbols | shapes.FullSymbols, responses=shapes.READ)
    async def symbols(
        asset_class: Class = "equity", include_disabled: Switch = "false", form: Form = "compact"
    ) -> Response:
        """List the symbols: the enabled names, or with `format=full` each with its switch and last change."""
        if universe is None:
            return missing
        items = await asyncio.to_thread(universe.items, asset_class, include_disabled=include_disabled in ("true", "1"))
        if form == "full":
            return JSONResponse({"items": items})
        return JSONResponse({"symbols": [item["symbol"] for item in items if item["enabled"]]})

    @app.get(f"{_PATH}/changes", response_model=shapes.Changes, responses=shapes.READ | shapes.REFUSED)
    async def changes(request: Request, limit: Most = 100) -> Response:
        """List who changed what and when, newest first."""
        refused = read_refusal(request, token)
        if refused is not None:
            return refused
        if universe is None:
            return missing
        return JSONResponse({"items": await asyncio.to_thread(universe.changes, limit=limit)})

    @app.post(_PATH, response_model=shapes.Put, responses=shapes.WRITE, openapi_extra=shapes.body_of(shapes.PUT_BODY))
    async def post_symbols(request: Request) -> Response:
        """Add symbols, or switch those that are there."""
        refused = write_refusal(request, token)
        if refused is not None:
            return refused
        if universe is None:
            return missing
        body = await json_object(request)
        enabled = _boolean(body.get("enabled", True))
        wanted = _symbols(body)
        count = await asyncio.to_thread(
            universe.put, _asset_class(body), wanted, enabled=enabled, actor=actor_of(request, token)
        )
        return JSONResponse({"insertedOrUpdated": count, "symbols": wanted})

    @app.patch(
        f"{_PATH}/{{symbol:path}}",
        response_model=shapes.Done,
        responses=shapes.WRITE,
        openapi_extra=shapes.body_of(shapes.SWITCH_BODY),
    )
    async def patch_symbol(symbol: Named, request: Request) -> Response:
        """Enable or disable one symbol; one that is not there is added."""
        refused = write_refusal(request, token)
        if refused is not None:
            return refused
        if universe is None:
            return missing
        body = await json_object(request)
        enabled = _boolean(body.get("enabled"))
        wanted = _symbols({"symbols": [symbol]})
        await asyncio.to_thread(
            universe.put, _asset_class(body), wanted, enabled=enabled, actor=actor_of(request, token)
        )
        return JSONResponse({"ok": True})

    @app.delete(f"{_PATH}/{{symbol:path}}", response_model=shapes.Done, responses=shapes.WRITE | shapes.ABSENT)
    async def delete_symbol(symbol: Named, request: Request, asset_class: Class = "equity") -> Response:
        """Delete one symbol; its history of changes stays."""
        refused = write_refusal(request, token)
        if refused is not None:
            return refused
        if universe is None:
            return missing
        (wanted,) = _symbols({"symbols": [symbol]})
        if not await asyncio.to_thread(universe.delete, asset_class, wanted, actor=actor_of(request, token)):
            return JSONResponse(
                {"ok": False, "message": f"symbol={wanted!r}: is not in the universe", "error": "not_found"},
                status_code=404,
            )
        return JSONResponse({"ok": True})


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"enabled={str(value)[:20]!r}: must be true or false")
    return value


def _asset_class(body: dict[str, Any]) -> AssetClass:
    value = body.get("assetClass")
    if value in (None, "equity"):
        return "equity"
    if value == "crypto":
        return "crypto"
    raise InputError(f"assetClass={str(value)[:40]!r}: must be equity or crypto")


def _symbols(body: dict[str, Any]) -> list[str]:
    if "symbols" in body and "symbolsText" in body:
        raise InputError("symbols, symbolsText: only one of them may be given")
    given = body.get("symbols", body.get("symbolsText", ""))
    parts = [part for part in re.split(r"[,\s]+", given) if part] if isinstance(given, str) else given
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise InputError("symbols: must be an array of texts, or a text")
    wanted = sorted({part.strip().upper() for part in parts})
    for symbol in wanted:
        if not SYMBOL.fullmatch(symbol):
            raise InputError(f"symbols={symbol[:40]!r}: must be 1 to 32 of A-Z, 0-9 and ._:/-")
    if not wanted:
        raise InputError("symbols: must name at least one")
    if len(wanted) > _MOST:
        raise InputError(f"symbols: at most {_MOST} at once, {len(wanted)} given")
    return wanted
