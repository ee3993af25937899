"""Alpaca's JSON as values, and nothing that another room could choke on: finite numbers, bounded text, no NUL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.model import Account, Asset, Order, OrderType, Position, Side, is_symbol

_TEXT = re.compile(r"[\x20-\x7e]{1,128}")
_WORD = re.compile(r"[a-z_]{1,32}")
_MOST = Decimal(10) ** 12
_RAW_KEYS = (
    "asset_id", "canceled_at", "client_order_id", "created_at", "expired_at", "extended_hours", "failed_at",
    "filled_at", "filled_avg_price", "filled_qty", "id", "limit_price", "order_class", "order_type", "qty", "replaced_at",
    "replaced_by", "replaces", "side", "status", "stop_price", "submitted_at", "symbol", "time_in_force", "type",
    "updated_at",
)  # fmt: skip
_TYPES: Mapping[str, OrderType] = {
    "market": "market",
    "limit": "limit",
    "stop": "stop",
    "stop_limit": "stop_limit",
}


class AnswerError(ValueError):
    """An answer, or one element of it, is not what it should be. `symbol` is known when the element named it."""

    def __init__(self, what: str, symbol: str | None = None) -> None:
        super().__init__(what)
        self.symbol = symbol


def decode(body: bytes) -> Any:
    """Return an answer's JSON, numbers as Decimal. Raises AnswerError, also for nesting that is too deep."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise AnswerError("not JSON") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def parse_account(body: Any) -> Account:
    """Return Alpaca's account. Raises AnswerError."""
    item = _mapping(body, "an account")
    is_blocked = item.get("status", "ACTIVE") != "ACTIVE" or any(
        item.get(flag) is True for flag in ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    )
    return Account(
        number=_text(item, "account_number"),
        equity=_number(item, "equity"),
        cash=_number(item, "cash"),
        buying_power=_number(item, "buying_power"),
        is_blocked=is_blocked,
        last_equity=_number(item, "last_equity") if item.get("last_equity") is not None else None,
    )


def parse_position(body: Any) -> Position:
    """Return Alpaca's position, a short one with a negative quantity. Raises AnswerError."""
    item = _mapping(body, "a position")
    symbol = _symbol(item)
    try:
        qty = _number(item, "qty")
        signed = -abs(qty) if item.get("side") == "short" else qty
        entry = _number(item, "avg_entry_price") if item.get("avg_entry_price") is not None else None
        if item.get("market_value") is not None:
            value = _number(item, "market_value")
        elif entry is not None:
            value = signed * entry
        else:
            raise AnswerError("market_value: must be a number")
        # Without the figure nothing is known to be promised; open orders are counted beside it anyway.
        available = _number(item, "qty_available") if item.get("qty_available") is not None else qty
    except AnswerError as error:
        raise AnswerError(str(error), symbol) from error
    value = -abs(value) if signed < 0 else abs(value)
    return Position(
        symbol=symbol,
        qty=signed,
        market_value=value,
        available=abs(available),
        entry_price=entry if entry is not None and entry > 0 else (abs(value / signed) if signed else Decimal(0)),
    )


def parse_order(body: Any) -> Order:
    """Return Alpaca's order. Raises AnswerError."""
    item = _mapping(body, "an order")
    symbol = _symbol(item)
    try:
        sides: Mapping[str, Side] = {"buy": "buy", "sell": "sell", "sell_short": "sell"}
        side = sides.get(str(item.get("side")))
        if side is None:
            raise AnswerError("side: must be buy or sell")
        status = str(item.get("status"))
        if _WORD.fullmatch(status) is None:
            raise AnswerError("status: must be a word")
        updated = item.get("updated_at")
        return Order(
            id=_text(item, "id"),
            client_order_id=_text(item, "client_order_id"),
            symbol=symbol,
            side=side,
            type=_TYPES.get(str(item.get("type") or item.get("order_type")), "market"),
            time_in_force=_text(item, "time_in_force") if item.get("time_in_force") is not None else "day",
            qty=_number(item, "qty", least=0) if item.get("qty") is not None else _filled(item),
            filled_qty=_filled(item),
            filled_avg_price=_optional(item, "filled_avg_price"),
            status=status,
            limit_price=_optional(item, "limit_price"),
            stop_price=_optional(item, "stop_price"),
            updated_at=updated if isinstance(updated, str) and is_instant(updated) else None,
            raw={key: _scalar(item[key]) for key in _RAW_KEYS if key in item},
        )
    except AnswerError as error:
        raise AnswerError(str(error), symbol) from error


def parse_asset(body: Any) -> Asset:
    """Return what the broker says of a symbol. Raises AnswerError when it does not say."""
    item = _mapping(body, "an asset")
    if not isinstance(item.get("shortable"), bool) or not isinstance(item.get("easy_to_borrow"), bool):
        raise AnswerError("shortable, easy_to_borrow: must be true or false")
    return Asset(
        is_shortable=item["shortable"],
        is_easy=item["easy_to_borrow"],
        is_fractionable=item.get("fractionable") is True,
        is_tradable=item.get("tradable", True) is True,
    )


def each(body: Any, what: str) -> Iterable[Any]:
    """Return the elements of a list. Raises AnswerError when it is none."""
    if not isinstance(body, list):
        raise AnswerError(f"not {what}")
    return body


def is_instant(text: str) -> bool:
    """Tell whether `text` is a time that can be read and stored."""
    try:
        ns = parse_ns(text)
        datetime.fromtimestamp(ns / 1e9)  # noqa: DTZ006  only whether it can be one
    except (ValueError, OverflowError, OSError):
        return False
    return 0 < ns < 4_102_444_800_000_000_000


def _mapping(body: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise AnswerError(f"not {what}")
    return body


def _symbol(item: Mapping[str, Any]) -> str:
    symbol = item.get("symbol")
    if not isinstance(symbol, str) or not is_symbol(symbol):
        raise AnswerError("symbol: must be one")
    return symbol


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or _TEXT.fullmatch(value) is None:
        raise AnswerError(f"{key}: must be text of 1 to 128 printable characters")
    return value


def _number(item: Mapping[str, Any], key: str, *, least: int | None = None) -> Decimal:
    value = item.get(key)
    try:
        if value is None or isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise AnswerError(f"{key}: must be a number")
        number = Decimal(value if not isinstance(value, str) or len(value) <= 40 else "NaN")
    except InvalidOperation as error:
        raise AnswerError(f"{key}: must be a number") from error
    if not number.is_finite() or abs(number) >= _MOST or (least is not None and number < least):
        raise AnswerError(f"{key}: must be a finite number below 10^12")
    exponent = number.as_tuple().exponent
    return round(number, 12) if isinstance(exponent, int) and exponent < -12 else number


def _optional(item: Mapping[str, Any], key: str) -> Decimal | None:
    return None if item.get(key) is None else _number(item, key, least=0)


def _filled(item: Mapping[str, Any]) -> Decimal:
    return _number(item, "filled_qty", least=0) if item.get("filled_qty") is not None else Decimal(0)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    return "".join(character for character in str(value)[:200] if character.isprintable())
