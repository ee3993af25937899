"""Orders: what a request may ask for, and the order it becomes.

Fields, states and error codes: https://docs.alpaca.markets/reference/postorder.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, cast

from torghut_core.exchange.ledger import ZERO, Side, plain
from torghut_core.rfc3339 import format_ns

OrderType = Literal["market", "limit", "stop", "stop_limit"]
TimeInForce = Literal["day", "gtc", "ioc", "fok"]
_TYPES: Final = ("market", "limit", "stop", "stop_limit")
_TIMES_IN_FORCE: Final = ("day", "gtc", "ioc", "fok")
OPEN_STATUSES: Final = frozenset(("accepted", "new", "partially_filled"))
_MAX_ID_LENGTH: Final = 128
_MAX_NUMBER: Final = 10**9
"""Keeps every product of quantity and price within the 28 digits that decimal arithmetic is exact in."""
_NINE_PLACES: Final = Decimal("0.000000001")


class ApiError(Exception):
    """An answer that is no success: HTTP status, Alpaca's code, a message and further fields."""

    def __init__(self, status: int, code: int, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, **fields}


@dataclass(frozen=True, kw_only=True)
class OrderRequest:
    """A request that is well formed; whether the account can afford it is not looked at here."""

    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    qty: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    client_order_id: str | None = None
    extended_hours: bool = False


@dataclass(kw_only=True, eq=False)
class Order:
    """An order and what became of it; times are nanoseconds since the epoch."""

    id: str
    client_order_id: str
    asset_id: str
    request: OrderRequest
    created_ns: int
    updated_ns: int
    status: str = "accepted"
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    is_triggered: bool = False
    """Whether a stop order's price has been touched."""
    filled_ns: int | None = None
    canceled_ns: int | None = None
    expired_ns: int | None = None
    failed_ns: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can still be filled or cancelled."""
        return self.status in OPEN_STATUSES

    @property
    def remaining(self) -> Decimal:
        """Return the quantity not filled yet."""
        return self.request.qty - self.filled_qty

    def fields(self) -> dict[str, Any]:
        """Return the order as REST and trade updates show it."""
        request = self.request
        average = self.filled_value / self.filled_qty if self.filled_qty else None
        return {
            "id": self.id,
            "client_order_id": self.client_order_id,
            "created_at": format_ns(self.created_ns),
            "updated_at": format_ns(self.updated_ns),
            "submitted_at": format_ns(self.created_ns),
            "filled_at": _time(self.filled_ns),
            "expired_at": _time(self.expired_ns),
            "canceled_at": _time(self.canceled_ns),
            "failed_at": _time(self.failed_ns),
            "replaced_at": None,
            "replaced_by": None,
            "replaces": None,
            "asset_id": self.asset_id,
            "symbol": request.symbol,
            "asset_class": "us_equity",
            "notional": None,
            "qty": plain(request.qty),
            "filled_qty": plain(self.filled_qty),
            "filled_avg_price": None if average is None else plain(average),
            "order_class": "",
            "order_type": request.type,
            "type": request.type,
            "side": request.side,
            "time_in_force": request.time_in_force,
            "limit_price": _price(request.limit_price),
            "stop_price": _price(request.stop_price),
            "status": self.status,
            "extended_hours": request.extended_hours,
            "legs": None,
            "trail_percent": None,
            "trail_price": None,
            "hwm": None,
            "subtag": None,
            "source": None,
        }


def _time(ns: int | None) -> str | None:
    return None if ns is None else format_ns(ns)


def _price(price: Decimal | None) -> str | None:
    return None if price is None else plain(price)


def invalid(message: str) -> ApiError:
    """Return the answer to a request that is not well formed."""
    return ApiError(422, 42210000, message)


def parse_order(body: Any) -> OrderRequest:
    """Return the order a request's body asks for. Raises ApiError 422 that names the field."""
    if not isinstance(body, dict):
        raise ApiError(400, 40010000, "request body format is invalid")
    if body.get("order_class") not in (None, "", "simple"):
        raise invalid("order_class: the simulator takes simple orders only")
    if body.get("notional") is not None:
        raise invalid("notional: the simulator takes qty only")
    symbol = body.get("symbol")
    if not isinstance(symbol, str) or not symbol:
        raise invalid("symbol is required")
    kind = _choice(body, "type", _TYPES)
    client_order_id = body.get("client_order_id") or None
    if client_order_id is not None and (not isinstance(client_order_id, str) or len(client_order_id) > _MAX_ID_LENGTH):
        raise invalid(f"client_order_id must be a text of no more than {_MAX_ID_LENGTH} characters")
    qty = _number(body, "qty")
    if qty is None:
        raise invalid("qty or notional is required")
    request = OrderRequest(
        symbol=symbol.upper(),
        side=cast(Side, _choice(body, "side", ("buy", "sell"))),
        type=cast(OrderType, kind),
        time_in_force=cast(TimeInForce, _choice(body, "time_in_force", _TIMES_IN_FORCE)),
        qty=qty,
        limit_price=_priced(body, "limit_price", kind in ("limit", "stop_limit"), kind),
        stop_price=_priced(body, "stop_price", kind in ("stop", "stop_limit"), kind),
        client_order_id=client_order_id,
        extended_hours=body.get("extended_hours") is True,
    )
    _check_combination(request)
    return request


def _check_combination(request: OrderRequest) -> None:
    is_fraction = request.qty != request.qty.to_integral_value()
    if is_fraction and request.time_in_force != "day":
        raise invalid("fractional orders must be DAY orders")
    if request.extended_hours and (request.type != "limit" or request.time_in_force != "day"):
        raise invalid("extended hours order must be DAY limit orders")


def _choice(body: dict[str, Any], field: str, choices: tuple[str, ...]) -> str:
    value = body.get(field)
    if value not in choices:
        raise invalid(f"invalid {field}: must be one of {', '.join(choices)}")
    return cast(str, value)


def _priced(body: dict[str, Any], field: str, is_required: bool, kind: str) -> Decimal | None:
    value = _number(body, field)
    if is_required and value is None:
        raise invalid(f"{kind} orders require a {field.replace('_', ' ')}")
    if not is_required and value is not None:
        raise invalid(f"{kind} orders require no {field.replace('_', ' ')}")
    if value is not None:
        tick = Decimal("0.01") if value >= 1 else Decimal("0.0001")
        if value % tick:
            raise invalid(
                f"invalid {field} {plain(value)}. sub-penny increment does not fulfill minimum pricing criteria"
            )
    return value


def _number(body: dict[str, Any], field: str) -> Decimal | None:
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise invalid(f"{field} must be a number")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise invalid(f"{field} must be a number") from None
    if not number.is_finite() or not 0 < number < _MAX_NUMBER:
        raise invalid(f"{field} must be > 0")
    if number != number.quantize(_NINE_PLACES):
        raise invalid(f"{field} must have no more than 9 decimal places")
    return number
