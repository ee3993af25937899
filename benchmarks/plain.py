"""The whole job as one would write it by hand in Python: an event at a time, dictionaries, deques. For comparison only."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

TOLERANCE_NS = 2_000_000_000
SECOND = 1_000_000_000
Indicators = Callable[[], Callable[[int, float, float, float], Any]]
"""Makes what takes a symbol's bars (end, close, Σps, Σs)."""


def read_time(text: str) -> int:
    """Return nanoseconds of the benchmark's own timestamps, all on one day."""
    return ((int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])) * 1_000_000 + int(text[20:26])) * 1000


def all_indicators() -> Callable[[int, float, float, float], tuple[Any, ...]]:
    """Return the indicators of one symbol, all twelve; running sums where they save time."""
    closes: deque[float] = deque(maxlen=20)
    window: deque[tuple[int, float, float]] = deque()
    returns: deque[tuple[int, float]] = deque()
    bars = 0
    ema12 = ema26 = signal = gain = loss = last = session_ps = session_s = 0.0
    window_ps = window_s = total = squares = 0.0

    def take(end: int, close: float, price_size: float, size: float) -> tuple[Any, ...]:
        nonlocal \
            bars, \
            ema12, \
            ema26, \
            signal, \
            gain, \
            loss, \
            last, \
            session_ps, \
            session_s, \
            window_ps, \
            window_s, \
            total, \
            squares
        rsi = upper = middle = lower = volatility = None
        if bars == 0:
            ema12 = ema26 = close
        else:
            ema12 += (close - ema12) * 2 / 13
            ema26 += (close - ema26) * 2 / 27
            signal += (ema12 - ema26 - signal) * 0.2
            change = close - last
            up, down = max(change, 0.0), max(-change, 0.0)
            if bars < 14:
                gain, loss = gain + up, loss + down
            elif bars == 14:
                gain, loss = (gain + up) / 14, (loss + down) / 14
            else:
                gain, loss = (gain * 13 + up) / 14, (loss * 13 + down) / 14
            if bars >= 14:
                rsi = 50.0 if gain + loss == 0 else 100 * gain / (gain + loss)
            while returns and returns[0][0] <= end - 60:
                _, old = returns.popleft()
                total, squares = total - old, squares - old * old
            value = math.log(close / last)
            returns.append((end, value))
            total, squares = total + value, squares + value * value
            if len(returns) >= 2:
                mean = total / len(returns)
                volatility = math.sqrt(max(squares / len(returns) - mean * mean, 0.0))
        closes.append(close)
        if len(closes) == 20:
            middle = sum(closes) / 20
            deviation = math.sqrt(sum((value - middle) ** 2 for value in closes) / 20)
            upper, lower = middle + 2 * deviation, middle - 2 * deviation
        session_ps, session_s = session_ps + price_size, session_s + size
        while window and window[0][0] <= end - 300:
            _, old_ps, old_s = window.popleft()
            window_ps, window_s = window_ps - old_ps, window_s - old_s
        window.append((end, price_size, size))
        window_ps, window_s = window_ps + price_size, window_s + size
        bars, last = bars + 1, close
        macd = ema12 - ema26
        return (
            macd, signal, macd - signal, ema12, ema26, rsi, middle, upper, lower,
            session_ps / session_s, window_ps / window_s, volatility,
        )  # fmt: skip

    return take


class PlainJob:
    """Windows by hand; one event at a time."""

    def __init__(self, indicators: Indicators) -> None:
        self._open: dict[int, dict[str, list[tuple[int, float, float]]]] = {}
        self._indicators: dict[str, Callable[[int, float, float, float], Any]] = {}
        self._make = indicators
        self._watermark = -TOLERANCE_NS
        self.bars = 0
        self.late = 0

    def take(self, symbol: str, at_ns: int, price: float, size: float) -> None:
        """Take one trade."""
        second = at_ns // SECOND
        if at_ns - TOLERANCE_NS > self._watermark:
            before, self._watermark = self._watermark, at_ns - TOLERANCE_NS
            if self._watermark // SECOND > before // SECOND:
                self.close(self._watermark // SECOND)
        if (second + 1) * SECOND <= self._watermark:
            self.late += 1
            return
        self._open.setdefault(second, {}).setdefault(symbol, []).append((at_ns, price, size))

    def close(self, until: int) -> None:
        """Close the seconds that end at or before `until`."""
        for second in sorted(key for key in self._open if key < until):
            for symbol, trades in self._open.pop(second).items():
                trades.sort(key=lambda trade: trade[0])
                take = self._indicators.get(symbol)
                if take is None:
                    take = self._indicators[symbol] = self._make()
                size = sum(trade[2] for trade in trades)
                price_size = sum(trade[1] * trade[2] for trade in trades)
                prices = [trade[1] for trade in trades]
                bar = (prices[0], max(prices), min(prices), prices[-1], size, price_size / size, len(trades))
                take(second + 1, bar[3], price_size, size)
                self.bars += 1
