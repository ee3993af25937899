"""The TA engine of one partition number: trades, quotes and minute bars in, rows out. Pure: no I/O, no clock.

What it emits is a function of the input in offset order alone, however it is split into batches. `emit` is told which
sources are idle (read to their end, and silent): those are not waited for. While trades are idle, windows they have not
passed are emitted provisionally, from a copy of the state, so a trade that comes later still revises them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from torghut_core.market_calendar import CalendarName
from torghut_core.ta.decoding.columns import NANOS, Amendment, Bars, Decoded, Floats, Ints, Quotes, Symbols, Trades
from torghut_core.ta.engine import indicators
from torghut_core.ta.engine.completeness import Compared, Completeness
from torghut_core.ta.engine.indicators import BarInputs, Cadence, State
from torghut_core.ta.engine.minutes import KEPT_SECONDS, MinuteBars
from torghut_core.ta.engine.outliers import Admitted, ClockGuard, Columns
from torghut_core.ta.engine.prices import OddLots, Pricing, TradeConditions
from torghut_core.ta.engine.quotes import QuoteBuffer
from torghut_core.ta.engine.reduction import NO_TICKS, BarColumns, Change, Ticks
from torghut_core.ta.engine.sessions import session_starts
from torghut_core.ta.engine.windows import TradeWindows

SourceName = Literal["trades", "quotes", "bars"]
SOURCES: tuple[SourceName, ...] = ("trades", "quotes", "bars")
_FOREVER_NS = 1 << 62


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What an operator can choose of the arithmetic."""

    max_out_of_order_ms: int = 2000
    quote_stale_after_ms: int = 15_000
    vwap_window_seconds: int = 300
    vol_window_seconds: int = 60
    revises_late_trades: bool = False
    trade_conditions: TradeConditions = "sip"
    odd_lots: OddLots = "count"
    calendar: CalendarName = "XNYS"
    is_replay: bool = False
    """Whether rows that a replay could make worse than those already written are held back."""


@dataclass(frozen=True)
class RowBlock:
    """Rows of one cadence, one per bar, in columns. NaN is null. `has_signal` is false where only the bar is written."""

    window_size: str
    window_seconds: int
    names: Sequence[str]
    """Symbols by the numbers in `bars.symbol`; the list grows, and never changes otherwise."""
    bars: BarColumns
    indicators: Floats
    """Shape (n, 13): `indicators.OUTPUTS` and `warm`."""
    quotes: Floats
    """Shape (n, 6): `quotes.FIELDS`."""
    has_bar: NDArray[np.bool_]
    has_signal: NDArray[np.bool_]


@dataclass
class EngineCounts:
    """What passed through, for status and metrics."""

    input_events: int = 0
    late_trades: int = 0
    unpriced_trades: int = 0
    """Of seconds that no trade priced: without a bar."""
    repeated_trades: int = 0
    conditions: Counter[str] = field(default_factory=Counter)
    """Trades by a condition they carry; `unknown` for those with one that their tape's plan does not have."""
    changes: Counter[str] = field(default_factory=Counter)
    """Cancels and corrections, as `TradeWindows.changes` counts."""
    rejected: Counter[str] = field(default_factory=Counter)


class _Cadence:
    """State of one cadence over all symbols."""

    def __init__(self, cadence: Cadence) -> None:
        self.cadence = cadence
        self.state: State = indicators.new_state(0, cadence)
        self.newest_end = np.zeros(0, np.int64)
        self.newest_quotes = np.zeros((0, 6))
        self.first_anchor = np.zeros(0)
        self.provisional: dict[tuple[int, int], bytes] = {}
        """Rows that were emitted early, by symbol and end; each goes when its window closes."""

    def grow(self, symbols: int) -> None:
        missing = symbols - len(self.newest_end)
        self.state = indicators.grown(self.state, symbols)
        self.newest_end = np.concatenate([self.newest_end, np.zeros(missing, np.int64)])
        self.newest_quotes = np.concatenate([self.newest_quotes, np.full((missing, 6), np.nan)])
        self.first_anchor = np.concatenate([self.first_anchor, np.zeros(missing)])


class Engine:
    """Windows, quotes and indicators of one partition number."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        tolerance_ns = settings.max_out_of_order_ms * 1_000_000
        self.numbers: dict[str, int] = {}
        self.names: list[str] = []
        self.pricing = Pricing(settings.trade_conditions, settings.odd_lots, settings.calendar)
        self.guards: dict[SourceName, ClockGuard] = {source: ClockGuard() for source in SOURCES}
        self.held_changes: list[Change] = []
        """Changes that came after a trade that is held."""
        self.trades = TradeWindows(tolerance_ns, self.pricing.effect, revises=settings.revises_late_trades)
        self.quotes = QuoteBuffer(settings.quote_stale_after_ms * 1_000_000, tolerance_ns)
        self.minutes = MinuteBars(tolerance_ns)
        self.completeness = Completeness()
        self.seconds_cadence = _Cadence(
            Cadence(
                size="PT1S",
                seconds=1,
                vwap_window_seconds=settings.vwap_window_seconds,
                vol_window_seconds=settings.vol_window_seconds,
            )
        )
        self.minutes_cadence = _Cadence(
            Cadence(size="PT1M", seconds=60, vwap_window_seconds=settings.vwap_window_seconds, vol_window_seconds=0)
        )
        self.counts = EngineCounts()
        self.first_end = 0
        """End of the second of the first trade ever seen; 0 before it."""
        self._provisional_of: tuple[int, ...] = ()
        self._names: Sequence[str] = ()
        self._translation = np.empty(0, np.int64)

    # Input

    def add(self, decoded: Decoded) -> None:
        """Take one decoded batch; call once per batch of one source, in offset order."""
        self.counts.rejected.update(decoded.rejected)
        if decoded.trades is not None or decoded.amendments:
            self._add_trades(decoded.trades, decoded.amendments)
        if decoded.quotes is not None:
            self._add_quotes(decoded.quotes)
        if decoded.bars is not None:
            self._add_bars(decoded.bars)

    def _numbers(self, symbols: Symbols) -> Ints:
        names = symbols.names
        done = len(self._translation) if names is self._names else 0
        if done < len(names):
            for name in names[done:]:
                if name not in self.numbers:
                    self.numbers[name] = len(self.names)
                    self.names.append(name)
            self._grow()
            new = np.fromiter(map(self.numbers.__getitem__, names[done:]), np.int64, len(names) - done)
            self._translation = np.concatenate([self._translation[:done], new])
            self._names = names
        found: Ints = self._translation[symbols.index]
        return found

    def _grow(self) -> None:
        have, need = len(self.seconds_cadence.newest_end), len(self.names)
        if need > have:
            capacity = max(need, have + have // 4, 16)
            self.quotes.grow(capacity)
            self.minutes.grow(capacity)
            self.completeness.grow(capacity)
            self.seconds_cadence.grow(capacity)
            self.minutes_cadence.grow(capacity)

    def _add_trades(self, trades: Trades | None, amendments: Sequence[Amendment]) -> None:
        start, ticks, ingest_ns = 0, NO_TICKS, None
        if trades is not None:
            self.counts.input_events += len(trades.at_ns)
            effects = self.pricing.effects(trades.conditions, trades.at_ns)
            number = self._numbers(trades.symbol)
            ticks = Ticks(number, trades.at_ns, trades.price, trades.size, effects, trades.identity)
            ingest_ns = trades.ingest_ns
        for each in amendments:
            self._admit_trades(ticks.between(start, each.after), None if ingest_ns is None else ingest_ns[start:])
            start = each.after
            self._amend(each)
        self._admit_trades(ticks.between(start, len(ticks.symbol)), None if ingest_ns is None else ingest_ns[start:])
        self.count()

    def _admit_trades(self, ticks: Ticks, ingest_ns: Ints | None) -> None:
        if ingest_ns is not None:
            ingest_ns = ingest_ns[: len(ticks.symbol)]
        admitted = self._admit("trades", ticks, ticks.at_ns, ingest_ns, self.trades.highest_ns)
        self._take_trades(admitted.released)
        if admitted.was_decided:
            self._make_held_changes()
        self._take_trades(admitted.accepted)

    def _admit(
        self, source: SourceName, columns: Columns, at_ns: Ints, ingest_ns: Ints | None, highest_ns: int
    ) -> Admitted:
        admitted = self.guards[source].admit(columns, at_ns, ingest_ns, highest_ns)
        if admitted.outliers:
            self.counts.rejected[f"outlier_{source}"] += admitted.outliers
        return admitted

    def _take_trades(self, ticks: Columns | None) -> None:
        if ticks is not None and len(ticks[0]):
            found = Ticks._make(ticks)
            if not self.first_end:
                self.first_end = int(found.at_ns[0] // NANOS) + 1
            self.trades.add(found)

    def _amend(self, amendment: Amendment) -> None:
        number = self.numbers.get(amendment.symbol)
        change = Change(-1 if number is None else number, amendment.identity, amendment.replacement)
        self.counts.input_events += 1
        if self.guards["trades"].held is not None:
            self.held_changes.append(change)
        else:
            self.trades.change(change)

    def _make_held_changes(self) -> None:
        changes, self.held_changes = self.held_changes, []
        for change in changes:
            self.trades.change(change)

    def count(self) -> None:
        """Bring up to date what the parts count."""
        counts, trades = self.counts, self.trades
        counts.late_trades, counts.repeated_trades = trades.lost, trades.repeated
        counts.unpriced_trades, counts.changes = trades.unpriced, Counter(trades.changes)
        unknown = {"unknown": self.pricing.unknown} if self.pricing.unknown else {}
        counts.conditions = Counter({**self.pricing.counts, **unknown})

    def _add_quotes(self, quotes: Quotes) -> None:
        self.counts.input_events += len(quotes.at_ns)
        columns = (self._numbers(quotes.symbol), quotes.at_ns, quotes.values)
        admitted = self._admit("quotes", columns, quotes.at_ns, quotes.ingest_ns, self.quotes.highest_ns)
        for taken in (admitted.released, admitted.accepted):
            if taken is not None and len(taken[0]):
                self.quotes.add(*taken)
        self.count()

    def _add_bars(self, bars: Bars) -> None:
        self.counts.input_events += len(bars.end_ns)
        columns = (self._numbers(bars.symbol), bars.end_ns, bars.open, bars.high, bars.low, bars.close)
        rest = (bars.volume, bars.vwap, bars.count)
        start_ns, highest_ns = bars.end_ns - 60 * NANOS, self.minutes.highest_ns - 60 * NANOS
        admitted = self._admit("bars", (*columns, *rest), start_ns, bars.ingest_ns, highest_ns)
        self._take_bars(admitted.released)
        self._take_bars(admitted.accepted)
        self.count()

    def _take_bars(self, columns: Columns | None) -> None:
        if columns is not None and len(columns[0]):
            self.minutes.add(*columns)
            symbol, end_ns, volume = columns[0], columns[1], columns[6]
            self.completeness.add_theirs(symbol, end_ns // NANOS, volume)

    # Output

    def watermark_ns(self, source: SourceName) -> int:
        """Return a source's watermark, hugely negative before its first event."""
        if source == "trades":
            return self.trades.watermark_ns
        return self.quotes.watermark_ns if source == "quotes" else self.minutes.watermark_ns

    def emit(self, idle: frozenset[SourceName] = frozenset()) -> list[RowBlock]:
        """Return what can be emitted now; `idle` sources are read to their end and silent, and not waited for."""
        passed = {source: _FOREVER_NS if source in idle else self.watermark_ns(source) for source in SOURCES}
        others = min(passed["quotes"], passed["bars"])
        final = min(self.trades.watermark_ns, others)
        blocks = [self._fold_minutes(passed["quotes"]), *self._close(final // NANOS)]
        if "trades" in idle and len(self.trades.pending.symbol):
            blocks.append(self._provisional(others // NANOS))
        needed = min(self.watermark_ns(source) for source in SOURCES if source not in idle or source == "quotes")
        kept = self.trades.revise_seconds if self.settings.revises_late_trades else KEPT_SECONDS
        self.quotes.forget(needed // NANOS - kept)
        return [block for block in blocks if block is not None]

    def compared(self) -> Compared:
        """Return own volume beside the provider's, of the last ten minutes that closed."""
        return self.completeness.compared(min(self.trades.closed_until * NANOS, self.trades.highest_ns))

    def closes_within(self, ahead_ns: int) -> int | None:
        """Return the second that trades wait for and that would close were their watermark `ahead_ns` further, or None."""
        watermark_ns = self.trades.watermark_ns
        end = watermark_ns // NANOS + 1
        return end if self.trades.is_waiting and (watermark_ns + ahead_ns) // NANOS >= end else None

    def finish(self) -> list[RowBlock]:
        """Close every window: the input has ended, as a file does. What was held is accepted."""
        self._take_trades(self.guards["trades"].end())
        self._make_held_changes()
        quotes = self.guards["quotes"].end()
        if quotes is not None:
            self.quotes.add(*quotes)
        self._take_bars(self.guards["bars"].end())
        blocks = [self._fold_minutes(_FOREVER_NS), *self._close(_FOREVER_NS // NANOS)]
        return [block for block in blocks if block is not None]

    def _close(self, until: int) -> Iterator[RowBlock | None]:
        for bars, is_correction in self.trades.close(until):
            yield self._correct(bars) if is_correction else self._fold_seconds(bars)
        volumes, self.trades.volumes = self.trades.volumes, []
        for each in volumes:
            self.completeness.add_own(each.symbol, each.end, each.volume)
        self._forget_provisional(until)
        self.count()

    def _forget_provisional(self, until: int) -> None:
        """Drop what was emitted early of seconds that closed without a bar: all their trades were cancelled."""
        told = self.seconds_cadence.provisional
        for key in [key for key in told if key[1] <= until]:
            del told[key]

    def _fold_seconds(self, bars: BarColumns) -> RowBlock | None:
        quotes = self.quotes.as_of(bars.symbol, bars.end)
        return self._fold(self.seconds_cadence, bars, quotes, np.zeros(len(bars.end), np.bool_))

    def _fold_minutes(self, quotes_passed_ns: int) -> RowBlock | None:
        due = self.minutes.take(quotes_passed_ns)
        if due is None:
            return None
        bars, kind = due
        quotes = self.quotes.as_of(bars.symbol, bars.end)
        quotes[kind == MinuteBars.STRANDED] = np.nan
        is_revision = kind == MinuteBars.REVISION
        if is_revision.any():  # it stands beside the quotes of what it revises
            row_of: dict[tuple[int, int], int] = {}
            for index, key in enumerate(zip(bars.symbol.tolist(), bars.end.tolist(), strict=True)):
                if is_revision[index]:
                    revised = row_of.get(key)
                    quotes[index] = self.minutes_cadence.newest_quotes[key[0]] if revised is None else quotes[revised]
                row_of[key] = index
        return self._fold(self.minutes_cadence, bars, quotes, is_revision, kind == MinuteBars.REWRITE)

    def _correct(self, bars: BarColumns) -> RowBlock | None:
        """Write corrected bars again, and the signal of each that is its symbol's newest."""
        newest = self.seconds_cadence.newest_end[bars.symbol]
        quotes = self.quotes.as_of(bars.symbol, bars.end)
        is_newest = newest == bars.end
        quotes[is_newest] = self.seconds_cadence.newest_quotes[bars.symbol[is_newest]]
        return self._fold(self.seconds_cadence, bars, quotes, is_newest, bars.end < newest)

    def _provisional(self, until: int) -> RowBlock | None:
        cadence = self.seconds_cadence
        state_of = (self.trades.seen, self.quotes.seen, min(until, self.trades.highest_ns // NANOS + 1))
        if state_of == self._provisional_of:
            return None
        self._provisional_of = state_of
        bars = self.trades.peek(until)
        if bars is None:
            return None
        touched = np.unique(bars.symbol)
        state = indicators.taken(cadence.state, touched)
        newest, newest_quotes = cadence.newest_end[touched], cadence.newest_quotes[touched]
        first_anchor = cadence.first_anchor[touched]
        quotes = self.quotes.as_of(bars.symbol, bars.end)
        block = self._fold(cadence, bars, quotes, np.zeros(len(bars.end), np.bool_), remembers=True)
        indicators.put_back(cadence.state, touched, state)
        cadence.newest_end[touched], cadence.newest_quotes[touched] = newest, newest_quotes
        cadence.first_anchor[touched] = first_anchor
        return block

    def _fold(
        self,
        cadence: _Cadence,
        bars: BarColumns,
        quotes: Floats,
        is_revision: NDArray[np.bool_],
        is_rewrite: NDArray[np.bool_] | None = None,
        *,
        remembers: bool = False,
    ) -> RowBlock | None:
        has_signal = np.ones(len(bars.end), np.bool_) if is_rewrite is None else ~is_rewrite
        values = np.full((len(bars.end), len(indicators.OUTPUTS) + 1), np.nan)
        folded = np.flatnonzero(has_signal)
        if len(folded):
            values[folded] = self._run_kernel(cadence, bars.where(folded), is_revision[folded])
            cadence.newest_end[bars.symbol[folded]] = bars.end[folded]
            cadence.newest_quotes[bars.symbol[folded]] = quotes[folded]
        has_bar = np.ones(len(bars.end), np.bool_)
        if self.settings.is_replay:
            has_bar, has_signal = self._held_back(cadence, bars, values, has_signal)
        if cadence is self.minutes_cadence:  # seconds were reduced to one a key
            has_bar, has_signal = _last_per_key(bars, has_bar, has_signal)
        block = RowBlock(
            cadence.cadence.size,
            cadence.cadence.seconds,
            self.names,
            bars,
            values,
            quotes,
            has_bar,
            has_signal,
        )
        return self._without_repeats(cadence, block, remembers=remembers)

    def _run_kernel(self, cadence: _Cadence, bars: BarColumns, is_revision: NDArray[np.bool_]) -> Floats:
        anchor = session_starts(bars.end - cadence.cadence.seconds)
        fresh = cadence.state.bars[bars.symbol] == 0
        first = bars.symbol[fresh][::-1]
        cadence.first_anchor[first] = anchor[fresh][::-1]
        found: Floats = indicators.fold(
            cadence.state,
            BarInputs(bars.symbol, bars.end, bars.close, bars.price_size, bars.priced_size, anchor, is_revision),
            cadence.cadence.vwap_window_seconds,
            cadence.cadence.vol_window_seconds,
        )
        return found

    def _held_back(
        self, cadence: _Cadence, bars: BarColumns, values: Floats, has_signal: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Drop what a replay may not write: its first second, and signals before warm-up and a session reset."""
        anchor = session_starts(bars.end - cadence.cadence.seconds)
        has_bar = bars.end > self.first_end if cadence is self.seconds_cadence else np.ones(len(bars.end), np.bool_)
        is_past_reset = anchor > cadence.first_anchor[bars.symbol]
        return has_bar, has_signal & (values[:, -1] == 1.0) & is_past_reset & has_bar

    def _without_repeats(self, cadence: _Cadence, block: RowBlock, *, remembers: bool) -> RowBlock | None:
        """Drop rows that say what a provisional row of the same key said already."""
        has_bar, has_signal = block.has_bar, block.has_signal
        if remembers or cadence.provisional:
            for index in np.flatnonzero(has_bar | has_signal).tolist():
                key = (int(block.bars.symbol[index]), int(block.bars.end[index]))
                told = cadence.provisional.get(key)
                if told is None and not remembers:
                    continue
                row = b"".join(part[index].tobytes() for part in (*block.bars[2:], block.indicators, block.quotes))
                if told == row:
                    has_bar[index] = has_signal[index] = False
                if remembers:
                    cadence.provisional[key] = row
                else:
                    del cadence.provisional[key]
        if not (has_bar | has_signal).any():
            return None
        return block


def _last_per_key(
    bars: BarColumns, has_bar: NDArray[np.bool_], has_signal: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Keep one bar and one signal per key, the last: no key leaves twice with one ingest time."""
    if len(bars.end) > 1:
        order = np.lexsort((np.arange(len(bars.end)), bars.end, bars.symbol))
        same = (bars.symbol[order][1:] == bars.symbol[order][:-1]) & (bars.end[order][1:] == bars.end[order][:-1])
        if same.any():
            for mask in (has_bar, has_signal):
                seen: set[tuple[int, int]] = set()
                for index in np.flatnonzero(mask)[::-1].tolist():
                    key = (int(bars.symbol[index]), int(bars.end[index]))
                    mask[index] = key not in seen
                    seen.add(key)
    return has_bar, has_signal
