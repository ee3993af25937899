"""Account activities: every fill as it happens, and at the end of a day its fees where the account is charged any.

Fields, ids and page tokens: https://docs.alpaca.markets/reference/getaccountactivities. Fees of a day are one entry for
each kind, rounded up to the cent: https://docs.alpaca.markets/docs/regulatory-fees. A paper account is charged none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from torghut_core.clock import utc_datetime
from torghut_core.exchange.ledger import ZERO, plain
from torghut_core.exchange.orders import Order, invalid
from torghut_core.exchange.query import time_of
from torghut_core.market_calendar import NEW_YORK, new_york_date
from torghut_core.rfc3339 import format_ns

KINDS: Final = ("FILL", "FEE")
_TRADE, _NON_TRADE = "trade_activity", "non_trade_activity"
_MOST_ON_A_PAGE = 100
_CENT = Decimal("0.01")
SEC_RATE: Final = Decimal("0.0000206")
TAF_PER_SHARE: Final = Decimal("0.000195")
TAF_CAP: Final = Decimal("9.79")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An activity: its instant in nanoseconds, its kind, and the fields it shows."""

    at_ns: int
    kind: str
    fields: dict[str, Any]


@dataclass
class _Sold:
    dollars: Decimal = ZERO
    shares_by_order: dict[str, Decimal] = field(default_factory=dict)


class Activities:
    """What happened to the account, in order."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._sold: dict[date, _Sold] = {}

    def fill(self, order: Order, qty: Decimal, price: Decimal, now_ns: int) -> None:
        """Note a fill of an order, whose own figures know of it already."""
        request, is_whole = order.request, order.remaining == 0
        self._add(
            "FILL",
            now_ns,
            {
                "transaction_time": format_ns(now_ns),
                "type": "fill" if is_whole else "partial_fill",
                "price": plain(price),
                "qty": plain(qty),
                "side": request.side,
                "symbol": request.symbol,
                "leaves_qty": plain(order.remaining),
                "order_id": order.id,
                "cum_qty": plain(order.filled_qty),
                "order_status": "filled" if is_whole else "partially_filled",
            },
        )
        if request.side == "sell":
            sold = self._sold.setdefault(new_york_date(now_ns), _Sold())
            sold.dollars += qty * price
            sold.shares_by_order[order.id] = sold.shares_by_order.get(order.id, ZERO) + qty

    def charge(self, now_ns: int) -> Decimal:
        """Book the fees of the days that are over, and return the dollars they come to."""
        total = ZERO
        for day in sorted(day for day in self._sold if day < new_york_date(now_ns)):
            sold = self._sold.pop(day)
            taf = sum((min(qty * TAF_PER_SHARE, TAF_CAP) for qty in sold.shares_by_order.values()), ZERO)
            shares = plain(sum(sold.shares_by_order.values(), ZERO))
            for what, exact in (
                (f"REG fee for proceed of ${plain(sold.dollars)} on {day}", sold.dollars * SEC_RATE),
                (f"TAF fee for proceed of {shares} shares on {day}", taf),
            ):
                fee = exact.quantize(_CENT, rounding=ROUND_CEILING)
                total += fee
                fields = {"date": day.isoformat(), "net_amount": plain(-fee), "description": what, "status": "executed"}
                self._add("FEE", now_ns, fields)
        return total

    def _add(self, kind: str, now_ns: int, fields: dict[str, Any]) -> None:
        stamp = datetime.strftime(utc_datetime(now_ns).astimezone(NEW_YORK), "%Y%m%d%H%M%S%f")[:17]
        unique = uuid5(NAMESPACE_URL, f"activity:{len(self._entries)}:{now_ns}")
        shown = {"id": f"{stamp}::{unique}", "activity_type": kind, **fields}
        self._entries.append(Entry(at_ns=now_ns, kind=kind, fields=shown))

    def listed(self, query: dict[str, str], kind: str | None = None) -> list[dict[str, Any]]:
        """Return a page of activities. Raises ApiError 422 that names the parameter."""
        kinds = _kinds(query) if kind is None else {_known(kind)}
        after, until, day = time_of(query, "after"), time_of(query, "until"), query.get("date")
        if day is not None and (after is not None or until is not None):
            raise invalid("date cannot be used with after or until")
        on_day = None if day is None else _day(day)
        direction = query.get("direction", "desc")
        if direction not in ("asc", "desc"):
            raise invalid(f"invalid direction {direction[:20]!r}: must be asc or desc")
        found = [
            entry.fields
            for entry in self._entries
            if entry.kind in kinds
            and (after is None or entry.at_ns > after)
            and (until is None or entry.at_ns < until)
            and (on_day is None or new_york_date(entry.at_ns) == on_day)
        ]
        if direction == "desc":
            found.reverse()
        token = query.get("page_token")
        if token:
            ids = [fields["id"] for fields in found]
            if token not in ids:
                raise invalid(f"invalid page_token {token[:64]!r}")
            found = found[ids.index(token) + 1 :]
        return found[: _page_size(query)]


def _kinds(query: dict[str, str]) -> set[str]:
    named, category = query.get("activity_types"), query.get("category")
    if named and category:
        raise invalid("category cannot be used with activity_types")
    if category not in (None, "", _TRADE, _NON_TRADE):
        raise invalid(f"invalid category {str(category)[:32]!r}: must be {_TRADE} or {_NON_TRADE}")
    if category:
        return {"FILL"} if category == _TRADE else {"FEE"}
    return {_known(name.strip()) for name in named.split(",") if name.strip()} if named else set(KINDS)


def _known(name: str) -> str:
    if name not in KINDS:
        raise invalid(f"invalid activity type: {name[:20]}; the simulator has {', '.join(KINDS)}")
    return name


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text[:10])
    except ValueError as error:
        raise invalid(f"invalid date {text[:32]!r}: must be a date, as 2026-01-02") from error


def _page_size(query: dict[str, str]) -> int:
    text = query.get("page_size", str(_MOST_ON_A_PAGE))
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= _MOST_ON_A_PAGE:
        raise invalid(f"invalid page_size {text[:20]!r}: must be between 1 and {_MOST_ON_A_PAGE}")
    return int(text)
