"""The one JSON encoder of trading, for PostgreSQL and HTTP: strict, so that an unexpected type fails in a test."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from torghut_core.rfc3339 import format_ns


def dumps(value: Any) -> str:
    """Return `value` as compact JSON.

    Decimals become numbers, whole ones integers; UUIDs text; datetimes RFC 3339 in UTC; enums their values. Raises
    TypeError for any other type, ValueError for a number that is not finite.
    """
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """Return `value` made of JSON's own types alone."""
    if value is None or (isinstance(value, str | bool | int | float) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return format_datetime(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def format_datetime(value: datetime) -> str:
    """Return an aware datetime as RFC 3339 in UTC, exact to the microsecond."""
    return format_ns(datetime_ns(value))


def datetime_ns(value: datetime) -> int:
    """Return an aware datetime as nanoseconds since the epoch, exact to the microsecond."""
    return int(value.replace(microsecond=0).timestamp()) * 1_000_000_000 + value.microsecond * 1000
