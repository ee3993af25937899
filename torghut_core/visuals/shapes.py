"""The shapes of requests and answers, for OpenAPI. Answers may hold more than is named here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="allow")


class Symbols(Shape):
    symbols: list[str]


class Item(Shape):
    assetClass: Literal["equity", "crypto"]
    enabled: bool
    symbol: str
    updatedAt: str


class FullSymbols(Shape):
    items: list[Item]


class Change(Shape):
    at: str
    who: str
    address: str
    tokenId: str
    assetClass: str
    symbol: str
    was: Literal["absent", "disabled", "enabled"]
    became: Literal["absent", "disabled", "enabled"]


class Changes(Shape):
    items: list[Change]


_ONE = "[A-Za-z0-9._:/-]{1,32}"
_SEVERAL: dict[str, Any] = {"type": "string", "pattern": rf"^[\s,]*{_ONE}([\s,]+{_ONE})*[\s,]*$"}
_CLASS: dict[str, Any] = {"enum": ["equity", "crypto", None]}
PUT_BODY: dict[str, Any] = {
    "type": "object",
    "description": "Symbols as an array, or as one text parted by commas or spaces.",
    "properties": {
        "symbols": {
            "anyOf": [
                {
                    "type": "array",
                    "items": {"type": "string", "pattern": rf"^\s*{_ONE}\s*$"},
                    "minItems": 1,
                    "maxItems": 2000,
                },
                _SEVERAL,
            ]
        },
        "symbolsText": _SEVERAL,
        "enabled": {"type": "boolean", "default": True},
        "assetClass": _CLASS,
    },
    "oneOf": [{"required": ["symbols"]}, {"required": ["symbolsText"]}],
}
SWITCH_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {"enabled": {"type": "boolean"}, "assetClass": _CLASS},
    "required": ["enabled"],
}


class Put(Shape):
    insertedOrUpdated: int
    symbols: list[str]


class Done(Shape):
    ok: bool


class Latest(Shape):
    ok: bool
    symbol: str
    window: str
    bars: dict[str, Any] | None
    signals: dict[str, Any] | None


class Span(Shape):
    from_: str = Field(alias="from")
    to: str


class Range(Shape):
    requested: Span
    effective: Span
    fallback: bool


class Rows(Shape):
    ok: bool
    symbol: str
    window: str
    items: list[dict[str, Any]]
    range: Range


class AllNewest(Shape):
    ok: bool
    window: str
    serverTime: str
    bars: list[dict[str, Any]]
    signals: list[dict[str, Any]]


class System(Shape):
    ok: bool
    serverTime: str
    marketSession: str
    verdict: dict[str, Any]
    account: dict[str, Any]
    pipeline: list[dict[str, str]]


class Failure(Shape):
    """What is wrong: `message` names field, value and rule."""

    ok: bool
    error: str
    message: str | None = None


_FAILURE: dict[str, Any] = {"model": Failure}
READ: dict[int | str, dict[str, Any]] = {400: _FAILURE, 500: _FAILURE, 503: _FAILURE}
REFUSED: dict[int | str, dict[str, Any]] = {401: _FAILURE, 403: _FAILURE}
WRITE: dict[int | str, dict[str, Any]] = {**READ, **REFUSED, 411: _FAILURE, 413: _FAILURE, 415: _FAILURE}
ABSENT: dict[int | str, dict[str, Any]] = {404: _FAILURE}


def body_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what OpenAPI says of a JSON body that is read by hand, so that its errors name field, value and rule."""
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "security": [{"token": []}],
    }
