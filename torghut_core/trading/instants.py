"""Rows by the instant they speak of, and when an instant is dealt with on a clock that is not the machine's.

On a simulated clock a row is read long after its second, by the market's time: how long hangs on speed and load. So what
is done there is a function of the rows alone. An instant is dealt with once all its rows are surely there, at its own
time and a fixed latency; marks of the clock between rows are instants too. The backtest goes through the same instants.
"""

from __future__ import annotations

from collections.abc import Iterable

from torghut_core.trading.model import Signal

SETTLING_SECONDS = 4.0
"""Real seconds after which a second's rows are usually in the store: silence, flush, poll, and as much again."""
PATIENCE_SECONDS = 30.0
"""Real seconds for which a symbol is waited for that has no row yet as new as the others': its partition may lag."""

START_SECONDS = 120.0
"""Real seconds for which a symbol is waited for of which no row was read yet: the whole pipeline may be starting."""

_FAST = 10.0


def by_instant(signals: Iterable[Signal]) -> list[tuple[int, list[Signal]]]:
    """Return the signals by their event time, the earliest first; in an instant by symbol and timeframe."""
    found: dict[int, list[Signal]] = {}
    for signal in sorted(signals, key=lambda item: (item.event_ns, item.symbol, item.timeframe)):
        found.setdefault(signal.event_ns, []).append(signal)
    return list(found.items())


def in_turn(signals: Iterable[Signal], *, fresh_since_ns: int) -> list[list[Signal]]:
    """Return the signals by instant, all from before `fresh_since_ns` together at the front.

    Rows that old open nothing, so each of their instants needs no reading of the broker: a backlog's thousand instants
    would spend what it allows a minute, and exits would wait for it.
    """
    instants = by_instant(signals)
    old = [signal for instant_ns, rows in instants if instant_ns < fresh_since_ns for signal in rows]
    return [*([old] if old else []), *(rows for instant_ns, rows in instants if instant_ns >= fresh_since_ns)]


class Waiting:
    """Rows that were read, until their instant is ripe."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._rows: dict[tuple[str, str, int], Signal] = {}
        self._waited_for: dict[str, int] = {}
        """The newest row of each symbol that is not silent."""
        self._seen: set[str] = set()
        self._unseen_ns: dict[str, int] = {}
        self._done_ns: int | None = None

    def add(self, signals: Iterable[Signal]) -> None:
        """Take rows; a revision replaces the row it is of."""
        for signal in signals:
            known = self._rows.get(signal.key)
            if known is None or known.ingest_ms <= signal.ingest_ms:
                self._rows[signal.key] = signal
            self._waited_for[signal.symbol] = max(signal.event_ns, self._waited_for.get(signal.symbol, 0))
            self._seen.add(signal.symbol)
            self._unseen_ns.pop(signal.symbol, None)

    def expect(self, symbols: Iterable[str], since_ns: int) -> None:
        """Wait for symbols of which no row was read yet: nothing of them may be missing since an instant."""
        for symbol in symbols:
            if symbol not in self._seen:
                self._seen.add(symbol)
                self._unseen_ns[symbol] = since_ns

    def ripe(self, now_ns: int, speed: float) -> int:
        """Return up to when every row is surely there, on a clock that stands at `now_ns` and runs at `speed`."""
        settled_ns = now_ns - round(SETTLING_SECONDS * speed * 1e9)
        # A slow market's late row is late by little, and is dealt with late: only a fast one is worth the waiting.
        share = min(1.0, speed / _FAST)
        self._waited_for = _within(self._waited_for, now_ns - _waited(PATIENCE_SECONDS, share, speed))
        self._unseen_ns = _within(self._unseen_ns, now_ns - _waited(START_SECONDS, share, speed))
        return min([settled_ns, *self._waited_for.values(), *self._unseen_ns.values()])

    def take(self, until_ns: int) -> list[tuple[int, list[Signal]]]:
        """Return the instants up to `until_ns`, each once: those of rows, and the marks of the clock between them."""
        ripe = [signal for signal in self._rows.values() if signal.event_ns <= until_ns]
        self._rows = {key: signal for key, signal in self._rows.items() if signal.event_ns > until_ns}
        found = dict(by_instant(ripe))
        if self._done_ns is not None:
            first = self._done_ns // self._period_ns + 1
            for mark in range(first, until_ns // self._period_ns + 1):
                found.setdefault(mark * self._period_ns, [])
        self._done_ns = max(until_ns, self._done_ns or 0)
        return sorted(found.items())


def _waited(seconds: float, share: float, speed: float) -> int:
    return round((SETTLING_SECONDS + (seconds - SETTLING_SECONDS) * share) * speed * 1e9)


def _within(newest: dict[str, int], oldest_ns: int) -> dict[str, int]:
    """Return the symbols that are not silent for longer than since an instant; the others hold nothing up any more."""
    return {symbol: ns for symbol, ns in newest.items() if ns >= oldest_ns}
