"""The report's folder: the summary, every decision with its reasons, and one HTML file that needs nothing beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torghut_core.errors import InputError
from torghut_core.rfc3339 import format_ns
from torghut_core.trading.backtest.figures import Figures
from torghut_core.trading.backtest.recording import Floats, Ints, Recording
from torghut_core.trading.backtest.run import Result

_MINUTE_NS = 60_000_000_000
_MOST_SYMBOLS = 40
_MOST_ROWS = 2000
_STYLE = """
:root { --back:#fff; --panel:#f6f8fa; --text:#1f2328; --dim:#57606a; --line:#d8dee4; --warn:#8a4b00;
  font:14px/1.45 system-ui,"DejaVu Sans",sans-serif; color-scheme:light dark; }
@media (prefers-color-scheme: dark) { :root { --back:#0d1117; --panel:#151b23; --text:#e6edf3; --dim:#9da7b3; --line:#2b333d;
  --warn:#e3a34a; } }
body { margin:0 auto; max-width:1200px; padding:1rem; background:var(--back); color:var(--text); }
h1 { font-size:1.3rem; } h2 { font-size:1.05rem; margin:1.4rem 0 .4rem; }
table { border-collapse:collapse; width:100%; } td,th { text-align:left; padding:.15rem .6rem .15rem 0; vertical-align:top;
  border-bottom:1px solid var(--line); font-variant-numeric:tabular-nums; } th { color:var(--dim); font-weight:600; }
#equity { height:420px; } #market { height:380px; } .scroll { max-height:420px; overflow:auto; }
.warning { color:var(--warn); } footer { margin-top:2rem; color:var(--dim); }
"""


def write_report(
    folder: Path, told: Mapping[str, Any], result: Result, figures: Figures, recording: Recording, *, script: str
) -> None:
    """Write summary.json, decisions.ndjson and report.html into `folder`; `script` is the page's built report.js.

    Raises InputError when it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(told, indent=2) + "\n")
        lines = [json.dumps(outcome.fields(), sort_keys=True, default=str) for outcome in result.outcomes]
        (folder / "decisions.ndjson").write_text("".join(f"{line}\n" for line in lines))
        (folder / "report.html").write_text(_page(told, result, figures, recording, script), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--report {folder}: cannot be written: {error.strerror}") from error


def _page(told: Mapping[str, Any], result: Result, figures: Figures, recording: Recording, script: str) -> str:
    rows = "".join(f"<tr><th>{_safe(name)}</th><td>{_safe(_shown(value))}</td></tr>" for name, value in _facts(told))
    warnings = "".join(f'<p class="warning">Warning: {_safe(text)}</p>' for text in told["warnings"])
    # A closing tag inside the data or the script would end it.
    data = json.dumps(_charts(result, figures, recording), separators=(",", ":")).replace("</", "<\\/")
    code = script.replace("</script", "<\\/script")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Backtest {_safe(told["from"])}</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<style>{_STYLE}</style></head><body>
<h1>Backtest: {_safe(", ".join(told["strategies"]))}</h1>{warnings}
<table>{rows}</table>
<h2>Equity, drawdown, exposure</h2><div id="equity" role="img" aria-label="equity, drawdown and exposure by minute"></div>
<h2>Fills <select id="symbol" aria-label="symbol"></select></h2>
<div id="market" role="img" aria-label="candles of the chosen symbol with its fills"></div>
<h2>Closed trades</h2><div class="scroll">{_trades(figures)}</div>
<h2>Decisions</h2><div class="scroll">{_decisions(result)}</div>
<footer>Charts: <a href="https://www.tradingview.com/" rel="noreferrer">TradingView Lightweight Charts&trade;</a>,
Apache-2.0. Times are UTC, of charts New York.</footer>
<script type="application/json" id="data">{data}</script><script>{code}</script></body></html>
"""


def _facts(told: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in told.items() if name not in ("schemaVersion", "warnings")]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(its)}" for name, its in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)


def _trades(figures: Figures) -> str:
    rows = "".join(
        f"<tr><td>{_safe(trade.strategy)}</td><td>{_safe(trade.symbol)}</td><td>{format_ns(trade.opened_ns)}</td>"
        f"<td>{format_ns(trade.closed_ns)}</td><td>{trade.profit:,.2f}</td></tr>"
        for trade in figures.trades[:_MOST_ROWS]
    )
    return f"<table><tr><th>strategy<th>symbol<th>opened<th>closed<th>profit</tr>{rows}</table>"


def _decisions(result: Result) -> str:
    rows = "".join(
        f"<tr><td>{format_ns(each.signal_ns)}</td><td>{_safe(each.strategy)}</td><td>{_safe(each.symbol)}</td>"
        f"<td>{each.side} {each.leg}</td><td>{_safe(each.status)}</td>"
        f"<td>{_safe('; '.join(each.reasons) or each.rationale or '')}</td></tr>"
        for each in result.outcomes[:_MOST_ROWS]
    )
    more = len(result.outcomes) - _MOST_ROWS
    rest = f"<p>and {more:,} more in decisions.ndjson</p>" if more > 0 else ""
    return f"<table><tr><th>signal<th>strategy<th>symbol<th>side<th>status<th>why</tr>{rows}</table>{rest}"


def _charts(result: Result, figures: Figures, recording: Recording) -> dict[str, Any]:
    traded = sorted({outcome.symbol for outcome in result.outcomes if outcome.fills})[:_MOST_SYMBOLS]
    return {
        "equity": {
            "at": (figures.minutes // 1_000_000_000).tolist(),
            "value": np.round(figures.equity, 2).tolist(),
            "exposure": np.round(figures.exposure, 4).tolist(),
        },
        "symbols": {symbol: _candles(symbol, result, recording) for symbol in traded},
    }


def _candles(symbol: str, result: Result, recording: Recording) -> dict[str, Any]:
    bars = [each for each in recording.bars if each.symbol == symbol]
    if bars:
        finest = max(bars, key=lambda each: len(each.event_ns))
        found = _by_minute(finest.event_ns, *(finest.columns[name] for name in "ohlc"))
    else:
        series = max((each for each in recording.series if each.symbol == symbol), key=len)
        close = series.columns["close"]
        found = _by_minute(series.event_ns, close, close, close, close)
    fills = [
        {
            "at": fill.at_ns // 1_000_000_000,
            "side": outcome.side,
            "qty": f"{fill.qty.normalize():f}",
            "price": float(fill.price),
            "leg": outcome.leg,
        }
        for outcome in result.outcomes
        for fill in outcome.fills
        if outcome.symbol == symbol
    ]
    return {**found, "fills": sorted(fills, key=lambda fill: fill["at"])}


def _by_minute(event_ns: Ints, opens: Floats, highs: Floats, lows: Floats, closes: Floats) -> dict[str, list[Any]]:
    """Return candles by the minute that each bar ends in, or at whose end it stands."""
    minutes = (event_ns - 1) // _MINUTE_NS * 60
    starts = np.flatnonzero(np.concatenate([[True], minutes[1:] != minutes[:-1]])) if len(minutes) else minutes
    ends = np.append(starts[1:], len(minutes)) - 1
    return {
        "at": minutes[starts].tolist(),
        "o": opens[starts].tolist(),
        "h": np.maximum.reduceat(highs, starts).tolist() if len(starts) else [],
        "l": np.minimum.reduceat(lows, starts).tolist() if len(starts) else [],
        "c": closes[ends].tolist(),
    }


def _safe(text: object) -> str:
    return html.escape(str(text))
