"""Each indicator against an independent computation, from its first value."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import talib

from tests.fakes.recordings import recorded_day
from tests.fakes.ta_inputs import START, Run, bar, run_of, trade
from torghut_core.ta.engine.engine import EngineSettings
from torghut_core.ta.files import replay_file
from torghut_core.ta.outputs.file_outputs import FolderOutput

Closes = list[float]


def _wave(count: int) -> Closes:
    return [95 + (7 * i % 11) + 0.25 * (i % 3) for i in range(count)]


def _walk(count: int, seed: int = 5) -> Closes:
    generator = np.random.default_rng(seed)
    return [round(float(value), 2) for value in 100 * np.exp(np.cumsum(generator.normal(0, 0.002, count)))]


SERIES = {"ramp": [100.0 + i for i in range(120)], "wave": _wave(200), "walk": _walk(900)}


def _signals(closes: Closes) -> list[dict[str, Any]]:
    """One trade a second, at ends START + 1, 2, …"""
    run = run_of(trade("AAPL", i + 0.5, close, 10 + i % 7) for i, close in enumerate(closes))
    return [run.signal("AAPL", i + 1) for i in range(len(closes))]


def _assert_close(expected: float | None, actual: float | None, close: float, what: str) -> None:
    if expected is None or math.isnan(expected):
        assert actual is None, what
    else:
        assert actual is not None, what
        assert abs(actual - expected) <= 1e-9 * abs(close), (what, expected, actual)


@pytest.mark.parametrize("name", SERIES)
def test_ema_and_macd_when_computed_in_decimal_then_equal(name: str) -> None:
    """EMA12, EMA26, MACD and its signal are those of a 40-digit computation seeded as the contract says."""
    getcontext().prec = 40
    closes = SERIES[name]
    ema12 = ema26 = Decimal(closes[0])
    signal = Decimal(0)
    for number, (close, row) in enumerate(zip(closes, _signals(closes), strict=True)):
        if number:
            ema12 += (Decimal(close) - ema12) * 2 / 13
            ema26 += (Decimal(close) - ema26) * 2 / 27
            signal += (ema12 - ema26 - signal) * 2 / 10
        macd = ema12 - ema26
        for what, expected in (
            ("ema12", ema12),
            ("ema26", ema26),
            ("macd", macd),
            ("macd_signal", signal),
            ("macd_hist", macd - signal),
        ):
            _assert_close(float(expected), row[what], close, f"{what} of bar {number}")


@pytest.mark.parametrize("name", SERIES)
def test_rsi_and_bollinger_when_computed_by_talib_then_equal(name: str) -> None:
    """RSI14 and Bollinger bands are TA-Lib's, null before their first value."""
    closes = SERIES[name]
    prices = np.array(closes)
    rsi = talib.RSI(prices, 14)
    upper, middle, lower = talib.BBANDS(prices, 20, 2, 2)
    for number, row in enumerate(_signals(closes)):
        _assert_close(rsi[number], row["rsi14"], 100, f"rsi14 of bar {number}")
        for what, expected in (("boll_mid", middle), ("boll_upper", upper), ("boll_lower", lower)):
            _assert_close(expected[number], row[what], closes[number], f"{what} of bar {number}")


def test_rsi_when_flat_then_50_and_without_losses_100() -> None:
    """A flat price is neutral, a price that never fell is 100; both are null before 14 changes."""
    flat = [row["rsi14"] for row in _signals([100.0] * 20)]
    assert flat == [None] * 14 + [50.0] * 6
    rising = [row["rsi14"] for row in _signals([100.0 + i for i in range(20)])]
    assert rising == [None] * 14 + [100.0] * 6


def test_rsi_when_the_price_stands_still_for_hours_then_it_keeps_its_value() -> None:
    """Both averages shrink alike, so their ratio stays, however many bars go by."""
    found = [row["rsi14"] for row in _signals([*_wave(40), *[95.0] * 12_000])]
    assert found[-1] == pytest.approx(found[41], rel=1e-9)


def test_warm_when_35_bars_are_in_then_1() -> None:
    """The 35th bar is the first warm one."""
    assert [row["warm"] for row in _signals(_wave(40))] == [0] * 34 + [1] * 6


def test_saw_when_compared_with_published_figures_then_equal() -> None:
    """The 100th bar of the saw has the EMA and band figures computed once by another library."""
    row = _signals(_wave(100))[-1]
    assert row["ema12"] == pytest.approx(99.51561368435848, abs=1e-9)
    assert row["ema26"] == pytest.approx(99.91840597107127, abs=1e-9)
    assert row["boll_upper"] == pytest.approx(106.98609679265374, abs=1e-9)


WINDOWS = """
WITH bars AS (
    SELECT
        *,
        CASE WHEN event_s < $open_s THEN 0 ELSE 1 END AS session,
        CASE WHEN lag(c) OVER w IS NOT NULL THEN ln(c / lag(c) OVER w) END AS log_return
    FROM rows WINDOW w AS (PARTITION BY symbol ORDER BY event_s)
)
SELECT
    symbol,
    event_s,
    sum(ps) OVER (PARTITION BY symbol, session ORDER BY event_s)
        / nullif(sum(v) OVER (PARTITION BY symbol, session ORDER BY event_s), 0),
    sum(ps) OVER w5m / nullif(sum(v) OVER w5m, 0),
    CASE WHEN count(log_return) OVER w60s >= 2 AND sum(v) OVER w60s > 0 THEN stddev_pop(log_return) OVER w60s END
FROM bars
WINDOW
    w5m AS (PARTITION BY symbol ORDER BY event_s RANGE BETWEEN 299 PRECEDING AND CURRENT ROW),
    w60s AS (PARTITION BY symbol ORDER BY event_s RANGE BETWEEN 59 PRECEDING AND CURRENT ROW)
ORDER BY symbol, event_s
"""


def _assert_windows(bars: list[tuple[str, int, float, float, float]], open_s: int, signals: dict[Any, Any]) -> None:
    """Compare VWAPs and volatility with DuckDB's over (symbol, end, close, Σps, Σs)."""
    database = duckdb.connect()
    database.execute("CREATE TABLE rows (symbol VARCHAR, event_s BIGINT, c DOUBLE, ps DOUBLE, v DOUBLE)")
    database.execute(
        "INSERT INTO rows SELECT unnest($1), unnest($2), unnest($3), unnest($4), unnest($5)",
        [list(column) for column in zip(*bars, strict=True)],
    )
    found = database.execute(WINDOWS, {"open_s": open_s}).fetchall()
    assert len(found) == len(bars)
    for symbol, end, session, w5m, volatility in found:
        row = signals[symbol, end]
        for what, expected, tolerance in (
            ("vwap_session", session, 0.0),
            ("vwap_w5m", w5m, 0.0),
            ("vol_realized_w60s", volatility, 1e-12),
        ):
            actual = row[what]
            assert (expected is None) == (actual is None), (what, symbol, end, expected, actual)
            if expected is not None:
                assert math.isclose(expected, actual, rel_tol=1e-9, abs_tol=tolerance), (what, symbol, end)


def test_vwap_and_volatility_when_computed_by_duckdb_then_equal() -> None:
    """VWAPs and realised volatility are DuckDB's on seconds with gaps, bursts and trades of size 0."""
    generator = np.random.default_rng(11)
    at = np.sort(generator.uniform(0, 4000, 3000))
    prices = _walk(3000, 3)
    sizes = generator.integers(0, 300, 3000) * (generator.random(3000) > 0.3)
    run = run_of(trade("AAPL", float(a), p, int(s)) for a, p, s in zip(at, prices, sizes, strict=True))
    bars = []
    for key, row in run.rows.items():
        if key[0] == "bar":
            bars.append(("AAPL", key[3], row["c"], (row["vwap"] or 0.0) * row["v"], row["v"]))
    signals = {(key[2], key[3]): row for key, row in run.rows.items() if key[0] == "signal"}
    _assert_windows(bars, -1, signals)


def test_vol_when_the_minute_has_no_volume_then_null() -> None:
    """Volatility and VWAP are null while the sizes in their own window sum to 0."""
    run = run_of([trade("A", 0.1, 10, 5), *(trade("A", 100 + i, 10 + i, 0) for i in range(5))])
    last = run.signal("A", 105)
    assert (last["vol_realized_w60s"], last["vwap_w5m"], last["vwap_session"]) == (None, 10.0, 10.0)
    assert run.bar("A", 105)["vwap"] is None


def test_vwap_session_when_0930_new_york_comes_then_it_starts_anew() -> None:
    """The session VWAP forgets the pre-market at 09:30, half an hour before START, and at 04:00."""
    half_past = -1800
    run = run_of([trade("A", half_past - 2, 10, 100), trade("A", half_past - 1, 20, 100), trade("A", half_past, 30, 1)])
    found = [run.signal("A", half_past + end)["vwap_session"] for end in (-1, 0, 1)]
    assert found == [10.0, 15.0, 30.0]


def test_minute_bar_when_it_comes_then_vwap_uses_vw_and_volatility_is_null() -> None:
    """PT1M: event_ts is the minute's end, Σps is vw·v, realised volatility is null."""
    run = run_of([bar("A", 0, 10, volume=2, vwap=9), bar("A", 1, 11, volume=1, vwap=12)])
    signal = run.signal("A", 120, "PT1M")
    assert (signal["vwap_w5m"], signal["vwap_session"], signal["vol_realized_w60s"]) == (10.0, 10.0, None)
    assert signal["seq"] == START + 120


@pytest.mark.slow
def test_recorded_day_when_replayed_then_every_indicator_is_independently_the_same(tmp_path: Path) -> None:
    """On a recorded day (RECORDED_DAY=FILE, regular Alpaca messages) all columns equal independent computations."""
    recorded = recorded_day()
    if not recorded:
        pytest.skip("no recorded day: set RECORDED_DAY, or put one into ../shared/data")
    with ExitStack() as stack:
        output = FolderOutput(tmp_path, "ndjson", stack)
        replay_file(Path(recorded), output, settings=EngineSettings(), now_ns=2 * 10**18)
    bars = [json.loads(line) for line in (tmp_path / "ta_microbars.ndjson").read_text().splitlines()]
    rows = [json.loads(line) for line in (tmp_path / "ta_signals.ndjson").read_text().splitlines()]
    signals = {(row["symbol"], row["seq"]): row for row in rows}
    first = min(row["seq"] for row in bars)
    # The recording starts after 04:00 New York; half past nine is five and a half hours later.
    open_s = first - first % 3600 + 5 * 3600 + 1801
    _assert_windows(
        [(row["symbol"], row["seq"], row["c"], (row["vwap"] or 0.0) * row["v"], row["v"]) for row in bars],
        open_s,
        signals,
    )
    for symbol in {row["symbol"] for row in bars}:
        mine = [row for row in rows if row["symbol"] == symbol]
        closes = np.array([row["close"] for row in mine])
        rsi = talib.RSI(closes, 14)
        upper, middle, _ = talib.BBANDS(closes, 20, 2, 2)
        for number, row in enumerate(mine):
            _assert_close(rsi[number], row["rsi14"], 100, f"rsi14 of {symbol} bar {number}")
            _assert_close(upper[number], row["boll_upper"], closes[number], f"boll_upper of {symbol} bar {number}")
            _assert_close(middle[number], row["boll_mid"], closes[number], f"boll_mid of {symbol} bar {number}")


def test_run_when_symbols_interleave_then_each_has_its_own_state() -> None:
    """Two symbols in one second give the rows each would give alone."""
    both = Run()
    closes = _walk(60)
    mixed = [trade(s, i + 0.2, c + k) for i, c in enumerate(closes) for k, s in enumerate(("A", "B"))]
    both.feed(mixed)
    both.finish()
    alone = run_of(record for record in mixed if b'"symbol":"B"' in record.value)
    assert {key: row for key, row in both.rows.items() if key[2] == "B"} == alone.rows
