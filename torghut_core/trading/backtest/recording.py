"""What a backtest is run over: signals and bars in columns, by symbol and timeframe, and the prices of the exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from torghut_core.trading.model import Signal
from torghut_core.trading.strategies.columns import ATTRIBUTES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BAR_COLUMNS = ("o", "h", "l", "c", "v")


@dataclass(frozen=True, eq=False)
class Series:
    """The signals of one symbol and timeframe in time order; null is NaN."""

    symbol: str
    timeframe: str
    event_ns: Ints
    """Ends of the bars' windows, each once."""
    columns: Mapping[str, Floats]
    """By ClickHouse column, `warm` among them."""

    def __len__(self) -> int:
        return len(self.event_ns)

    def signals(self, start: int, stop: int) -> list[Signal]:
        """Return the rows of [start, stop) as the loop reads them: a column at a time, since a rule asks for many."""
        fields: dict[str, list[Any]] = {}
        for column, name in ATTRIBUTES.items():
            values: list[Any] = self.columns[column][start:stop].tolist()
            fields[name] = [None if value != value else value for value in values]  # noqa: PLR0124  NaN alone is not itself
        fields["is_warm"] = [value == 1 for value in fields["is_warm"]]
        ends = self.event_ns[start:stop].tolist()
        return [
            Signal(
                symbol=self.symbol,
                timeframe=self.timeframe,
                event_ns=event_ns,
                ingest_ms=event_ns // 1_000_000,
                seq=event_ns // 1_000_000_000,
                **dict(zip(fields, row, strict=True)),
            )
            for event_ns, *row in zip(ends, *fields.values(), strict=True)
        ]

    def signal(self, at: int) -> Signal:
        """Return one row as the loop reads it."""
        return self.signals(at, at + 1)[0]

    def at_or_before(self, instant_ns: int) -> int:
        """Return the place of the newest row at or before an instant, -1 when there is none."""
        return int(np.searchsorted(self.event_ns, instant_ns, side="right")) - 1


class Window(Sequence[Signal]):
    """The rows up to one of a series, made into signals when they are looked at."""

    def __init__(self, series: Series, end: int, bars: int) -> None:
        self._series = series
        self._start = max(0, end + 1 - bars)
        self._stop = end + 1
        self._made: dict[int, Signal] = {}

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, index: int) -> Signal: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Signal]: ...
    def __getitem__(self, index: int | slice) -> Signal | Sequence[Signal]:
        if isinstance(index, slice):
            first, last, step = index.indices(len(self))
            return self._series.signals(self._start + first, max(self._start + first, self._start + last))[::step]
        if not -len(self) <= index < len(self):
            raise IndexError("a window has no such row")
        at = (self._stop if index < 0 else self._start) + index
        made = self._made.get(at)
        if made is None:
            made = self._made[at] = self._series.signal(at)
        return made

    def __iter__(self) -> Iterator[Signal]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, eq=False)
class Bars:
    """The bars of one symbol and timeframe in time order: ends of their windows, and o, h, l, c, v."""

    symbol: str
    timeframe: str
    event_ns: Ints
    columns: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Ticks:
    """Quotes and trades of one symbol, each kind in the order they were published; `order` numbers both kinds of all."""

    quote_order: Ints
    quote_ns: Ints
    quotes: Floats
    """Bid, ask, bid size, ask size: shape (n, 4)."""
    trade_order: Ints
    trade_ns: Ints
    """What its own `t` says: the newest of these is the last price."""
    trade_price: Floats


@dataclass(frozen=True, eq=False)
class Market:
    """Everything the exchange sees, by symbol, and when each message of all was published (never earlier than one before)."""

    at_ns: Ints
    ticks: Mapping[str, Ticks]
    statuses: Sequence[tuple[int, str, str]] = ()
    """Halts and resumptions: order, symbol, code."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded stretch of the market."""

    series: Sequence[Series]
    bars: Sequence[Bars] = ()
    market: Market | None = None
    """None where only rows were recorded: the exchange then has their quotes."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What was read, and what of it could not be used, by reason."""

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted({series.symbol for series in self.series}))

    @property
    def span(self) -> tuple[int, int]:
        """Return the first and the last instant of a row; (0, 0) without rows."""
        ends = [(int(each.event_ns[0]), int(each.event_ns[-1])) for each in self.series if len(each)]
        return (min(first for first, _ in ends), max(last for _, last in ends)) if ends else (0, 0)
