"""Windows and positions made by hand, for tests of strategies."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.errors import InputError
from torghut_core.rfc3339 import parse_ns
from torghut_core.trading.model import TIMEFRAME_SECONDS, Signal
from torghut_core.trading.strategies.columns import ATTRIBUTES
from torghut_core.trading.strategies.rule import Held

Column = float | Sequence[float | None] | None


def bars(
    *,
    close: Sequence[float],
    symbol: str = "AAPL",
    timeframe: str = "1Min",
    first_end: str = "2026-01-05T14:31:00Z",
    **columns: Column,
) -> tuple[Signal, ...]:
    """Return one bar for each close, the first ending at `first_end` (09:31 in New York on a Monday).

    Other columns go by their ClickHouse names, one value for all bars or one for each; what is left out is null, quotes
    are a cent around the close. Raises InputError for an unknown column, or one of another length.

    >>> [bar.rsi14 for bar in bars(close=[1, 2], rsi14=[None, 30])]
    [None, 30]
    """
    for name, values in columns.items():
        if name not in ATTRIBUTES:
            raise InputError(f"{name}: unknown column; known are {', '.join(ATTRIBUTES)}")
        if isinstance(values, Sequence) and len(values) != len(close):
            raise InputError(f"{name}: must have as many values as close has, {len(close)}, not {len(values)}")
    first_ns, step_ns = parse_ns(first_end), TIMEFRAME_SECONDS[timeframe] * NANOS_PER_SECOND
    return tuple(
        _bar(symbol, timeframe, first_ns + index * step_ns, value, {k: _at(v, index) for k, v in columns.items()})
        for index, value in enumerate(close)
    )


def held(*, qty: float, price: float, since: Signal, bars: int) -> Held:
    """Return a position of `qty` shares (negative: short) bought at `price` on the bar `since`, `bars` bars ago."""
    return Held(qty=Decimal(str(qty)), average_price=Decimal(str(price)), bars=bars, opened_ns=since.event_ns)


def _at(values: Column, index: int) -> float | None:
    return values[index] if isinstance(values, Sequence) else values


def _bar(symbol: str, timeframe: str, end_ns: int, close: float, columns: dict[str, float | None]) -> Signal:
    known = {"imbalance_bid_px": close - 0.01, "imbalance_ask_px": close + 0.01, "warm": 1.0, **columns}
    values = dict.fromkeys(ATTRIBUTES.values()) | {ATTRIBUTES[name]: value for name, value in known.items()}
    is_warm = bool(values.pop("is_warm"))
    values.pop("close")
    return Signal(
        symbol=symbol,
        timeframe=timeframe,
        event_ns=end_ns,
        ingest_ms=end_ns // 1_000_000,
        seq=end_ns // NANOS_PER_SECOND,
        close=close,
        is_warm=is_warm,
        **values,
    )
