"""The account's activities as the broker keeps them: fills of anyone's orders, and fees.

https://docs.alpaca.markets/reference/getaccountactivities: pages of at most 100, each begun after the `id` of the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.model import Side, is_symbol
from torghut_core.trading.orders.answers import AnswerError, is_instant

_MOST = Decimal(10) ** 12
_MOST_TEXT = 128


@dataclass(frozen=True, kw_only=True)
class Activity:
    """A fill (order, side, shares, dollars a share), or a fee (dollars, negative where they were taken)."""

    id: str
    kind: Literal["FILL", "FEE"]
    at_ns: int | None = None
    day: date | None = None
    """Of a fee: the day it is booked on."""
    order_id: str = ""
    symbol: str = ""
    side: Side = "buy"
    qty: Decimal = Decimal(0)
    price: Decimal = Decimal(0)
    net_amount: Decimal = Decimal(0)
    description: str = ""


def parse_activity(body: Any) -> Activity | None:
    """Return one activity, None for one of another kind. Raises AnswerError."""
    if not isinstance(body, dict):
        raise AnswerError("not an activity")
    kind = body.get("activity_type")
    if kind == "FILL":
        side, symbol, at = body.get("side"), body.get("symbol"), body.get("transaction_time")
        if side not in ("buy", "sell", "sell_short"):
            raise AnswerError("side: must be buy or sell")
        if not isinstance(symbol, str) or not is_symbol(symbol):
            raise AnswerError("symbol: must be one")
        if not isinstance(at, str) or not is_instant(at):
            raise AnswerError("transaction_time: must be RFC 3339")
        return Activity(
            id=_text(body, "id"),
            kind="FILL",
            at_ns=parse_ns(at),
            order_id=_text(body, "order_id"),
            symbol=symbol,
            side="buy" if side == "buy" else "sell",
            qty=_number(body, "qty"),
            price=_number(body, "price"),
        )
    if kind == "FEE":
        day = body.get("date")
        try:
            booked = date.fromisoformat(day[:10]) if isinstance(day, str) else None
        except ValueError as error:
            raise AnswerError("date: must be a date") from error
        if booked is None:
            raise AnswerError("date: must be a date")
        said = body.get("description")
        return Activity(
            id=_text(body, "id"),
            kind="FEE",
            day=booked,
            net_amount=_number(body, "net_amount"),
            description="".join(c for c in said[:_MOST_TEXT] if c.isprintable()) if isinstance(said, str) else "",
        )
    return None


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_TEXT or not value.isprintable():
        raise AnswerError(f"{key}: must be text of 1 to {_MOST_TEXT} printable characters")
    return value


def _number(body: dict[str, Any], key: str) -> Decimal:
    value = body.get(key)
    try:
        number = Decimal(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or abs(number) >= _MOST:
        raise AnswerError(f"{key}: must be a finite number below 10^12")
    return number
