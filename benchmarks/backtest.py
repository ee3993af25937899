"""Backtests of one rule over many symbols' one-second bars and signals, beside backtrader and nautilus_trader.

`python -m benchmarks.backtest [--symbols N] [--seconds N] [--extremes 8,12,16]`: bars and indicators are given to all, in
memory; the rule buys 10 shares when MACD crosses above its signal line after RSI14 was below an extreme within 30 bars,
while flat, and sells them when it crosses below after RSI14 was as near to 100; orders fill at the open of a bar after the
signal. The further from 0 the extreme, the more trades. Each tool runs in a process of its own and counts its own CPU
seconds; ours also those of its PostgreSQL. Events are bars.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
START_NS = 1_767_623_400_000_000_000  # 2026-01-05T14:30:00Z, a Monday's open
_SECOND_NS = 1_000_000_000
_PEERS = ROOT / ".venv-bench" / "bin" / "python"
_INSTALL = "python3 -m venv .venv-bench && .venv-bench/bin/pip install backtrader nautilus_trader"


def market(symbols: int, seconds: int) -> dict[str, np.ndarray[Any, Any]]:
    """Return opens, highs, lows, closes, MACD, its signal line and RSI14: shape (symbols, seconds)."""
    random = np.random.default_rng(7)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 1e-4, (symbols, seconds)), axis=1)), 2)
    opened = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    high, low = np.maximum(opened, close) + 0.01, np.minimum(opened, close) - 0.01
    macd = _ema(close, 12) - _ema(close, 26)
    gain = np.maximum(np.diff(close, axis=1, prepend=close[:, :1]), 0)
    loss = np.maximum(-np.diff(close, axis=1, prepend=close[:, :1]), 0)
    up, down = _ema(gain, 27), _ema(loss, 27)
    rsi = 100 * up / np.maximum(up + down, 1e-12)
    rsi[:, :60] = 50  # no rule trades on a window that is not whole
    return {"o": opened, "h": high, "l": low, "c": close, "macd": macd, "macd_signal": _ema(macd, 9), "rsi14": rsi}


def _ema(values: np.ndarray[Any, Any], bars: int) -> np.ndarray[Any, Any]:
    found, share = np.empty_like(values), 2 / (bars + 1)
    now = values[:, 0]
    for at in range(values.shape[1]):
        now = found[:, at] = now + share * (values[:, at] - now)
    return found


def ours(columns: dict[str, np.ndarray[Any, Any]], extreme: int) -> dict[str, Any]:
    """Run the backtest and return its CPU seconds, those of PostgreSQL included, and its fills."""
    from torghut_core.trading.backtest.recording import Bars, Recording, Series
    from torghut_core.trading.backtest.run import Plan, run_backtest
    from torghut_core.trading.strategies.catalogue import DEFAULT_PATH, read_catalogue
    from torghut_core.trading.strategies.columns import ATTRIBUTES
    from torghutctl.commands.trading_backtest import backtest_settings, own_postgres

    symbols, seconds = columns["c"].shape
    ends = START_NS + np.arange(1, seconds + 1, dtype=np.int64) * _SECOND_NS
    nothing, ones = np.full(seconds, np.nan), np.ones(seconds)
    series, bars = [], []
    for at in range(symbols):
        row = {name: columns[name][at] for name in ("macd", "macd_signal", "rsi14")}
        quotes = {"imbalance_bid_px": columns["c"][at] - 0.01, "imbalance_ask_px": columns["c"][at] + 0.01}
        sizes = {"imbalance_bid_sz": ones * 1000, "imbalance_ask_sz": ones * 1000}
        own = {**dict.fromkeys(ATTRIBUTES, nothing), **row, **quotes, **sizes}
        series.append(Series(f"S{at}", "1Sec", ends, {**own, "close": columns["c"][at], "warm": ones}))
        prices = {name: columns[name][at] for name in "ohlc"}
        bars.append(Bars(f"S{at}", "1Sec", ends, {**prices, "v": ones * 1000}))
    [entry] = read_catalogue(DEFAULT_PATH)
    entry = replace(
        entry,
        max_notional_per_trade=None,
        max_position_pct_equity=None,
        parameters={"oversold": extreme, "overbought": 100 - extreme, "within_bars": 30},
    )
    environment = {"TRADING_DEFAULT_QTY": "10", "TRADING_PORTFOLIO_MAX_NOTIONAL_PER_SYMBOL": "1500"}
    settings = backtest_settings({**environment, "TRADING_SIMULATED_LATENCY_MS": "500"}, "XNYS")
    from decimal import Decimal

    plan = Plan(entries=[entry], settings=settings, fills="next-bar", cash=Decimal(100_000_000))
    with own_postgres() as postgres:
        before, wall = time.process_time() + _cpu_of_postgres(postgres.dsn), time.perf_counter()
        result = run_backtest(Recording(series, bars), plan, postgres)
        cpu, wall = (
            time.process_time() + _cpu_of_postgres(postgres.dsn) - before,
            time.perf_counter() - wall,
        )
    fills = sum(len(outcome.fills) for outcome in result.outcomes)
    return {"cpu": cpu, "wall": wall, "fills": fills, "note": f"{result.steps} instants one by one"}


def _cpu_of_postgres(dsn: str) -> float:
    """Return the CPU seconds of the server and all the processes it has had."""
    from psycopg.conninfo import conninfo_to_dict

    folder = str(conninfo_to_dict(dsn)["host"])
    main = int((Path(folder) / "postmaster.pid").read_text().split()[0])
    ticks = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            parts = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(process.name) == main:
            ticks += sum(map(int, parts[11:15]))  # its own, and that of children that have ended
        elif int(parts[1]) == main:
            ticks += sum(map(int, parts[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def run(symbols: int, seconds: int, peer_seconds: int, extremes: Sequence[int]) -> Iterator[str]:
    """Measure every tool at every extreme, and yield the lines of the table."""
    yield "| RSI below | tool | bars | fills | CPU s | thousand bars per CPU second | leaves out |"
    yield "|--:|---|--:|--:|--:|--:|---|"
    for extreme in extremes:
        yield from _run(symbols, seconds, peer_seconds, extreme)


def _run(symbols: int, seconds: int, peer_seconds: int, extreme: int) -> Iterator[str]:
    left_out = {
        "torghut": "nothing of the live path: gates, sizing, store, order states, ledger; PostgreSQL's CPU counted",
        "nautilus": "database, reservations over strategies, AI gate, reasons for what was not ordered",
        "backtrader": "the same, and order states of a broker, risk gates",
    }
    for tool in ("torghut", "nautilus", "backtrader"):
        length = seconds if tool == "torghut" else peer_seconds
        if tool != "torghut" and not _PEERS.exists():
            yield f"| {extreme} | {tool} | | | | | not installed: {_INSTALL} |"
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "market.npz"
            np.savez(path, **market(symbols, length))
            python = sys.executable if tool == "torghut" else str(_PEERS)
            module = "backtest" if tool == "torghut" else f"backtest_{tool}"
            done = subprocess.run(
                [python, str(ROOT / "benchmarks" / f"{module}.py"), "--case", str(path), str(extreme)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            yield f"| {extreme} | {tool} | | | | | failed: {(done.stderr.strip().splitlines() or ['no words'])[-1][:200]} |"
            continue
        told = json.loads(done.stdout.strip().splitlines()[-1])
        count = symbols * length
        note = f"; {told['note']}" if told.get("note") else ""
        yield (
            f"| {extreme} | {tool} | {count:,} | {told['fills']} | {told['cpu']:.1f} | {count / told['cpu'] / 1000:,.0f} |"
            f" {left_out[tool]}{note} |"
        )


def main() -> None:
    """Measure and print; with --case, be one of the measured processes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backtest", description=__doc__)
    parser.add_argument("--symbols", type=int, default=200, help="(200)")
    parser.add_argument("--seconds", type=int, default=23_400, help="bars of each symbol (23,400: a session)")
    parser.add_argument(
        "--peer-seconds", type=int, default=2_000, help="the same for the peers, which are slower (2,000)"
    )
    parser.add_argument("--extremes", default="8,12,16", help="where RSI is low: 100 less that is high (8,12,16)")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case:
        path, extreme = chosen.case
        print(json.dumps(ours(dict(np.load(path)), int(extreme))))
        return
    for line in run(
        chosen.symbols, chosen.seconds, chosen.peer_seconds, [int(each) for each in chosen.extremes.split(",")]
    ):
        print(line, flush=True)


if __name__ == "__main__":
    main()
