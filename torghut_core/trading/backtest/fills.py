"""What the exchange quotes in a backtest, by `--fills`.

`quote`: the recorded quotes and trades; where only rows were recorded, the quote that stood at each bar's end.
`next-bar`: an order fills at the open of the first bar that begins after it, up to the bar's volume.
`worst`: the same bar, a buy at its high and a sell at its low.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from torghut_core.errors import InputError
from torghut_core.trading.backtest.recording import Bars, Floats, Ints, Market, Recording, Ticks

Fills = Literal["quote", "next-bar", "worst"]
SECONDS: Mapping[str, int] = {"1Sec": 1, "1Min": 60, "1Hour": 3600}
_NS = 1_000_000_000


def market_of(recording: Recording, fills: Fills) -> Market:
    """Return what the exchange sees. Raises InputError when the recording does not hold it."""
    if fills == "quote":
        return recording.market if recording.market is not None else _of_rows(recording)
    if not recording.bars:
        raise InputError(
            f"--fills {fills}: there are no bars", hint="give ta_microbars beside ta_signals, or --fills quote"
        )
    return _of_bars(recording.bars, is_worst=fills == "worst")


def _of_rows(recording: Recording) -> Market:
    parts: dict[str, list[tuple[Ints, Floats, Ints, Floats]]] = {}
    for series in recording.series:
        names = ("imbalance_bid_px", "imbalance_ask_px", "imbalance_bid_sz", "imbalance_ask_sz")
        quotes = np.nan_to_num(np.stack([series.columns[name] for name in names], axis=1), nan=0.0)
        parts.setdefault(series.symbol, []).append(
            (series.event_ns, quotes, series.event_ns, np.asarray(series.columns["close"]))
        )
    return _merged(parts)


def _of_bars(bars: Sequence[Bars], *, is_worst: bool) -> Market:
    """Return a market in which a quote stands for the instant a bar begins, and no other time."""
    parts: dict[str, list[tuple[Ints, Floats, Ints, Floats]]] = {}
    finest: dict[str, Bars] = {}
    for each in bars:
        known = finest.get(each.symbol)
        if known is None or SECONDS[each.timeframe] < SECONDS[known.timeframe]:
            finest[each.symbol] = each
    for symbol, each in finest.items():
        starts = each.event_ns - SECONDS[each.timeframe] * _NS
        bid, ask = (each.columns["l"], each.columns["h"]) if is_worst else (each.columns["o"], each.columns["o"])
        size = np.maximum(each.columns["v"], 0.0)
        standing = np.stack([bid, ask, size, size], axis=1)
        gone = np.stack([bid, ask, np.zeros(len(size)), np.zeros(len(size))], axis=1)
        quote_ns = np.stack([starts, starts + 1], axis=1).reshape(-1)
        quotes = np.stack([standing, gone], axis=1).reshape(-1, 4)
        parts[symbol] = [(quote_ns, quotes, each.event_ns, np.asarray(each.columns["c"]))]
    return _merged(parts)


def _merged(parts: Mapping[str, Sequence[tuple[Ints, Floats, Ints, Floats]]]) -> Market:
    """Number the quotes and trades of all symbols by their time, a quote before a trade of the same instant."""
    times: list[Ints] = []
    kinds: list[Ints] = []
    for part in parts.values():
        for quote_ns, _, trade_ns, _ in part:
            times += [quote_ns, trade_ns]
            kinds += [np.zeros(len(quote_ns), np.int64), np.ones(len(trade_ns), np.int64)]
    if not times:
        return Market(np.zeros(0, np.int64), {})
    joined = np.concatenate(times)
    ranked = np.lexsort((np.concatenate(kinds), joined))
    order = np.empty(len(joined), np.int64)
    order[ranked] = np.arange(len(joined))
    ticks, start = {}, 0
    for symbol, part in parts.items():
        quote_orders, trade_orders = [], []
        for quote_ns, _, trade_ns, _ in part:
            quote_orders.append(order[start : start + len(quote_ns)])
            start += len(quote_ns)
            trade_orders.append(order[start : start + len(trade_ns)])
            start += len(trade_ns)
        quote_order, trade_order = np.concatenate(quote_orders), np.concatenate(trade_orders)
        by_quote, by_trade = np.argsort(quote_order), np.argsort(trade_order)
        ticks[symbol] = Ticks(
            quote_order[by_quote],
            np.concatenate([each[0] for each in part])[by_quote],
            np.concatenate([each[1] for each in part])[by_quote],
            trade_order[by_trade],
            np.concatenate([each[2] for each in part])[by_trade],
            np.concatenate([each[3] for each in part])[by_trade],
        )
    return Market(joined[ranked], ticks)
