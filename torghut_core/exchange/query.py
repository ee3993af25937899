"""Query parameters of REST requests, checked: symbols, times, limits, page tokens."""

from __future__ import annotations

import re
from datetime import datetime, time
from typing import Final

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.exchange.orders import invalid
from torghut_core.market_calendar import NEW_YORK
from torghut_core.rfc3339 import parse_ns

_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,9}")


def symbols_of(query: dict[str, str]) -> list[str]:
    """Return the symbols of `symbols`, parted by commas, in upper case; empty when there are none."""
    return [symbol.strip().upper() for symbol in query.get("symbols", "").split(",") if symbol.strip()]


def time_of(query: dict[str, str], field: str) -> int | None:
    """Return a time parameter in nanoseconds: RFC 3339, or a date, which is New York's midnight. ApiError 422 else."""
    text = query.get(field)
    if not text:
        return None
    try:
        if len(text) == 10:
            midnight = datetime.combine(datetime.fromisoformat(text).date(), time(0), NEW_YORK)
            return int(midnight.timestamp()) * NANOS_PER_SECOND
        # A plus sign that was not escaped arrives as a space.
        head, sign, zone = text.rpartition(" ")
        return parse_ns(f"{head}+{zone}" if sign and ":" in head else text)
    except ValueError as error:
        raise invalid(f"invalid {field}: {error}") from error


def limit_of(query: dict[str, str], *, default: int, most: int) -> int:
    """Return the `limit` parameter. Raises ApiError 422 unless it is 1 to `most`."""
    text = query.get("limit", str(default))
    if _WHOLE_NUMBER.fullmatch(text) is None or not 1 <= int(text) <= most:
        raise invalid(f"invalid limit {text[:20]!r}: must be between 1 and {most}")
    return int(text)


def offset_of(query: dict[str, str]) -> int:
    """Return where a page begins, from `page_token`. Raises ApiError 422 for a token this server did not give."""
    token = query.get("page_token") or "p0"
    if not token.startswith("p") or _WHOLE_NUMBER.fullmatch(token[1:]) is None:
        raise invalid(f"invalid page_token {token[:32]!r}")
    return int(token[1:])
