"""Recent signals per symbol and timeframe, in time order whatever order they came in."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from torghut_core.trading.model import Signal


class SignalHistory:
    """Keeps the newest `bars` signals of each symbol and timeframe."""

    def __init__(self, bars: int = 600) -> None:
        self.bars = bars
        self._series: dict[tuple[str, str], list[Signal]] = {}

    def add(self, signals: Iterable[Signal]) -> list[Sequence[Signal]]:
        """Put new, late or revised signals where they belong; return the window ending with each, in time order.

        All are in place before a window is cut, so that a batch may come in any order. A signal older than everything
        a full series keeps has no window.
        """
        added = sorted(signals, key=lambda signal: (signal.event_ns, signal.symbol, signal.timeframe))
        for signal in added:
            self._insert(signal)
        windows = [self._window(signal) for signal in added]
        for series in self._series.values():
            if len(series) > self.bars:
                del series[: len(series) - self.bars]
        return [window for window in windows if window]

    def is_older(self, signal: Signal) -> bool:
        """Tell whether a signal lies before everything that a full series keeps: adding it gives no window."""
        series = self._series.get((signal.symbol, signal.timeframe), [])
        return len(series) >= self.bars and signal.event_ns < series[0].event_ns

    def _insert(self, signal: Signal) -> None:
        series = self._series.setdefault((signal.symbol, signal.timeframe), [])
        at = bisect_left(series, signal.event_ns, key=lambda kept: kept.event_ns)
        if at < len(series) and series[at].event_ns == signal.event_ns:
            if series[at].ingest_ms <= signal.ingest_ms:
                series[at] = signal
        elif at > 0 or len(series) < self.bars:
            series.insert(at, signal)

    def _window(self, signal: Signal) -> Sequence[Signal]:
        series = self._series[signal.symbol, signal.timeframe]
        at = bisect_left(series, signal.event_ns, key=lambda kept: kept.event_ns)
        if at == len(series) or series[at].event_ns != signal.event_ns:
            return ()
        return series[max(0, at + 1 - self.bars) : at + 1]
