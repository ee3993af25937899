"""The generated market: the same every time, lively enough to trade on, shaped like a session."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest

from torghut_core.exchange.messages import Message
from torghut_core.market_calendar import CalendarName
from torghut_core.rfc3339 import parse_ns
from torghut_core.simulator.dump import market_messages
from torghut_core.simulator.generator import GeneratedSource

SYMBOLS = ("AAPL", "MSFT", "NVDA", "AMZN", "TSLA")
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


def generate(
    start: str, minutes: float, *, seed: int = 1, calendar: CalendarName = "XNYS", late_trades: float = 0.0
) -> list[Message]:
    """Return a stretch of a market with its bars."""
    start_ns = parse_ns(start)
    source = GeneratedSource(seed=seed, symbols=SYMBOLS, start_ns=start_ns, calendar=calendar, late_trades=late_trades)
    return list(market_messages(source, start_ns + int(minutes * MINUTE_NS)))


def test_market_when_generated_twice_then_it_is_the_same_and_another_seed_is_not() -> None:
    """Seed and start decide every byte."""
    first = [message.raw for message in generate("2026-01-05T15:00:00Z", 2)]
    assert [message.raw for message in generate("2026-01-05T15:00:00Z", 2)] == first
    assert [message.raw for message in generate("2026-01-05T15:00:00Z", 2, seed=2)] != first


def test_market_when_taken_in_small_steps_then_it_is_the_same() -> None:
    """How often the market is looked at changes nothing."""
    start_ns = parse_ns("2026-01-05T15:00:00Z")
    whole = GeneratedSource(seed=1, symbols=SYMBOLS, start_ns=start_ns).take(start_ns + 20 * SECOND_NS, 10**6)
    source = GeneratedSource(seed=1, symbols=SYMBOLS, start_ns=start_ns)
    steps = [m for step in range(1, 201) for m in source.take(start_ns + step * SECOND_NS // 10, 10**6)]
    assert steps == whole


def test_market_when_generated_then_it_has_what_a_feed_must_survive() -> None:
    """Uncrossed quotes, several trades in one millisecond, fractional sizes, quiet seconds, times that never go back."""
    messages = generate("2026-01-05T15:00:00Z", 10)
    assert all(a.at_ns <= b.at_ns for a, b in pairwise(messages))
    assert all(m.bid < m.ask for m in messages if m.kind == "q")
    trades = [m for m in messages if m.kind == "t"]
    assert max(Counter((m.symbol, m.event_ns) for m in trades).values()) >= 3
    assert any(not m.size.is_integer() for m in trades)
    assert {"t", "q", "b", "d"} == {m.kind for m in messages}
    quiet_seconds = {m.event_ns // SECOND_NS for m in trades if m.symbol == "TSLA"}
    assert len(quiet_seconds) < 60


@pytest.mark.parametrize(
    ("start", "least", "most"),
    [
        ("2026-01-05T09:30:00Z", 0.0, 0.4),  # before hours
        ("2026-01-05T14:30:00Z", 3.0, 8.0),  # the open
        ("2026-01-05T17:30:00Z", 0.5, 1.0),  # midday
        ("2026-01-05T20:58:00Z", 2.0, 6.0),  # the close
        ("2026-01-04T15:00:00Z", 0.0, 0.0),  # Sunday
    ],
)
def test_market_when_the_day_goes_on_then_activity_follows_the_session(start: str, least: float, most: float) -> None:
    """Trades of a drifting symbol per second, as a multiple of its usual two."""
    trades = [m for m in generate(start, 2) if m.kind == "t" and m.symbol == "NVDA"]
    assert least <= len(trades) / 120 / 2.0 <= most


def test_market_when_trades_come_late_then_a_correction_follows_half_a_minute_after_the_bar() -> None:
    """A trade of the minute before changes that minute's bar, and `u` says so at second 30."""
    messages = generate("2026-01-05T15:00:00Z", 10, late_trades=300)
    late = [m for m in messages if m.kind == "t" and m.event_ns // MINUTE_NS < m.at_ns // MINUTE_NS]
    updates = [m for m in messages if m.kind == "u"]
    first_of = {(m.symbol, m.event_ns): json.loads(m.raw) for m in messages if m.kind == "b"}
    assert late
    # The first minute's late trades belong to a minute before the market's begin, which has no bar.
    assert {(m.symbol, m.event_ns) for m in updates} == {
        (m.symbol, m.event_ns // MINUTE_NS * MINUTE_NS) for m in late
    } - {(symbol, parse_ns("2026-01-05T14:59:00Z")) for symbol in SYMBOLS}
    for update in updates:
        assert update.at_ns == update.event_ns + MINUTE_NS + 30 * SECOND_NS
        assert json.loads(update.raw)["n"] > first_of[update.symbol, update.event_ns]["n"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("second", [0, 17, 34])
def test_market_when_a_momentum_rule_looks_on_then_it_may_buy_within_a_minute(seed: int, second: int) -> None:
    """From its 35th second bar on, within a minute some symbol shows MACD above its signal with RSI below 35."""
    start = f"2026-01-05T17:00:{second:02d}Z"
    messages = generate(start, 1, seed=seed, calendar="always-open")
    closes: dict[str, dict[int, float]] = {}
    for message in messages:
        if message.kind == "t":
            closes.setdefault(message.symbol, {})[message.event_ns // SECOND_NS] = message.price
    assert any(may_buy(list(seconds.values())) for seconds in closes.values())


def may_buy(closes: list[float]) -> bool:
    """Tell whether a warm bar has MACD(12,26) above its EMA9 and Wilder's RSI14 below 35."""
    fast = slow = closes[0]
    signal = 0.0
    gains = losses = 0.0
    for index, (before, close) in enumerate(pairwise(closes), start=1):
        fast += 2 / 13 * (close - fast)
        slow += 2 / 27 * (close - slow)
        signal += 2 / 10 * (fast - slow - signal)
        weight = 1 / min(index, 14)
        gains += weight * (max(close - before, 0.0) - gains)
        losses += weight * (max(before - close, 0.0) - losses)
        rsi = 50.0 if gains + losses == 0 else 100 * gains / (gains + losses)
        if index >= 34 and fast - slow > signal and rsi < 35:
            return True
    return False
