"""What `top` shows of trading beside the report: positions and the last decisions, of a system on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torghutctl.adapters import http_client
from torghutctl.adapters.http_client import ExchangeError
from torghutctl.snapshot.http import ReadError, from_exchange, parse_json, refuse_status
from torghutctl.snapshot.local import LocalTarget

_DECISIONS = 12
_SIDES = ("action", "side")


def read(target: LocalTarget, *, deadline_s: float) -> dict[str, Any]:
    """Return `positions` and `decisions`; each is None where it could not be read, and `problems` says why."""
    base = target.address("trading", "api")
    desk: dict[str, Any] = {"positions": None, "decisions": None, "problems": []}
    for name, path, row in (
        ("positions", "/trading/positions", _position),
        ("decisions", f"/trading/decisions?limit={_DECISIONS}", _decision),
    ):
        try:
            desk[name] = [row(item) for item in _rows(base, path, deadline_s)]
        except ReadError as error:
            desk["problems"].append(f"{path.partition('?')[0]}: {error.detail}")
    return desk


def _rows(base: str | None, path: str, deadline_s: float) -> list[Mapping[str, Any]]:
    try:
        if base is None:
            raise ExchangeError(http_client.Trouble.UNREACHABLE, "endpoints.json names no address")
        answer = http_client.get(f"{base}{path}", deadline_s=deadline_s)
    except ExchangeError as error:
        raise from_exchange(error) from error
    refuse_status(answer)
    found = parse_json(answer)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _position(item: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(item.get(f"{name}_text")) for name in ("qty", "own_qty", "market_value")} | {
        "symbol": _text(item.get("symbol"))
    }


def _decision(item: Mapping[str, Any]) -> dict[str, str]:
    decided = item.get("decision")
    said = decided if isinstance(decided, dict) else {}
    return {
        "at": _text(item.get("created_at")),
        "symbol": _text(item.get("symbol")),
        "side": next((_text(said[name]) for name in _SIDES if said.get(name)), "-"),
        "status": _text(item.get("status")),
        "why": _text(item.get("risk_reasons") or item.get("rationale")),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else "-"
