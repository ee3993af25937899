"""REST of the market-data side: bars, trades, newest quotes and trades, snapshots; pages by `next_page_token`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torghut_core.clock import NANOS_PER_SECOND, Clock
from torghut_core.exchange.messages import Message, history_fields
from torghut_core.exchange.orders import ApiError, invalid
from torghut_core.exchange.query import limit_of, offset_of, symbols_of, time_of
from torghut_core.rfc3339 import format_ns
from torghut_core.simulator.bars import Bar
from torghut_core.simulator.book import Book
from torghut_core.simulator.wire import Request, Response, json_response

_MAX_PAGE = 10_000
_DEFAULT_PAGE = 1000
_HISTORY_NS = 24 * 3600 * NANOS_PER_SECOND
_MINUTE_FRAMES = {"1Min": 1, "5Min": 5, "15Min": 15, "30Min": 30, "1Hour": 60}
History = Callable[[str, int, int], list[Message]]


class DataApi:
    """Handlers of the market-data routes; each returns an answer or raises ApiError."""

    def __init__(self, *, book: Book, clock: Clock) -> None:
        self._book = book
        self._clock = clock

    def bars(self, request: Request) -> Response:
        """GET /v2/stocks/bars?symbols=&timeframe=&start=&end=&limit=&sort=&page_token="""
        return self._page(request, _required_symbols(request), "bars", self._bar_fields(request))

    def symbol_bars(self, request: Request, symbol: str) -> Response:
        """GET /v2/stocks/{symbol}/bars."""
        return self._page(request, [symbol.upper()], "bars", self._bar_fields(request), is_single=True)

    def trades(self, request: Request) -> Response:
        """GET /v2/stocks/trades."""
        return self._page(request, _required_symbols(request), "trades", self._trade_fields(request))

    def symbol_trades(self, request: Request, symbol: str) -> Response:
        """GET /v2/stocks/{symbol}/trades."""
        return self._page(request, [symbol.upper()], "trades", self._trade_fields(request), is_single=True)

    def _range(self, request: Request) -> tuple[int, int]:
        now_ns = self._clock.now_ns()
        end_ns = min(time_of(request.query, "end") or now_ns, now_ns)
        start_ns = time_of(request.query, "start")
        return (now_ns - _HISTORY_NS if start_ns is None else start_ns), end_ns

    def _trade_fields(self, request: Request) -> Callable[[str], list[dict[str, Any]]]:
        start_ns, end_ns = self._range(request)
        return lambda symbol: [
            history_fields(message) for message in self._book.trade_history(symbol, start_ns, end_ns)
        ]

    def _bar_fields(self, request: Request) -> Callable[[str], list[dict[str, Any]]]:
        timeframe = request.query.get("timeframe", "")
        minutes = _MINUTE_FRAMES.get(timeframe)
        if minutes is None:
            raise invalid(f"invalid timeframe {timeframe[:20]!r}: must be one of {', '.join(_MINUTE_FRAMES)}")
        start_ns, end_ns = self._range(request)

        def read(symbol: str) -> list[dict[str, Any]]:
            bars = [history_fields(message) for message in self._book.bar_history(symbol, start_ns, end_ns)]
            return bars if minutes == 1 else _merge_bars(bars, minutes)

        return read

    def _page(
        self,
        request: Request,
        symbols: list[str],
        key: str,
        read: Callable[[str], list[dict[str, Any]]],
        *,
        is_single: bool = False,
    ) -> Response:
        """Answer one page: symbols in order, each by time, `limit` rows in all, as the provider counts them."""
        limit = limit_of(request.query, default=_DEFAULT_PAGE, most=_MAX_PAGE)
        offset = offset_of(request.query)
        is_reversed = request.query.get("sort", "asc") == "desc"
        rows: list[tuple[str, dict[str, Any]]] = []
        for symbol in sorted(set(symbols)):
            found = read(symbol)
            rows += [(symbol, fields) for fields in (reversed(found) if is_reversed else found)]
        page = rows[offset : offset + limit]
        token = f"p{offset + limit}" if offset + limit < len(rows) else None
        if is_single:
            return json_response({key: [row for _, row in page], "symbol": symbols[0], "next_page_token": token})
        grouped: dict[str, list[dict[str, Any]]] = {}
        for symbol, row in page:
            grouped.setdefault(symbol, []).append(row)
        return json_response({key: grouped, "next_page_token": token})

    def latest_quotes(self, request: Request) -> Response:
        """GET /v2/stocks/quotes/latest?symbols="""
        return _latest("quotes", self._book.quotes, _required_symbols(request))

    def latest_trades(self, request: Request) -> Response:
        """GET /v2/stocks/trades/latest?symbols="""
        return _latest("trades", self._book.trades, _required_symbols(request))

    def symbol_latest_quote(self, _request: Request, symbol: str) -> Response:
        """GET /v2/stocks/{symbol}/quotes/latest."""
        return _latest_of("quote", self._book.quotes, symbol)

    def symbol_latest_trade(self, _request: Request, symbol: str) -> Response:
        """GET /v2/stocks/{symbol}/trades/latest."""
        return _latest_of("trade", self._book.trades, symbol)

    def snapshots(self, request: Request) -> Response:
        """GET /v2/stocks/snapshots?symbols="""
        known = [symbol for symbol in _required_symbols(request) if symbol in self._book.symbols]
        return json_response({symbol: self._snapshot(symbol) for symbol in known})

    def symbol_snapshot(self, _request: Request, symbol: str) -> Response:
        """GET /v2/stocks/{symbol}/snapshot."""
        return json_response({"symbol": symbol.upper(), **self._snapshot(symbol.upper())})

    def _snapshot(self, symbol: str) -> dict[str, Any]:
        book = self._book
        trade, quote, day = book.trades.get(symbol), book.quotes.get(symbol), book.bars.day(symbol)
        minutes = book.bar_history(symbol, 0, self._clock.now_ns())
        return {
            "latestTrade": None if trade is None else history_fields(trade),
            "latestQuote": None if quote is None else history_fields(quote),
            "minuteBar": history_fields(minutes[-1]) if minutes else None,
            "dailyBar": None if day is None else _bar_fields(day, symbol),
            "prevDailyBar": None,
        }


def _required_symbols(request: Request) -> list[str]:
    symbols = symbols_of(request.query)
    if not symbols:
        raise ApiError(400, 40010000, "symbols: at least one is required")
    return symbols


def _latest(key: str, newest: dict[str, Message], symbols: list[str]) -> Response:
    return json_response({key: {symbol: history_fields(newest[symbol]) for symbol in symbols if symbol in newest}})


def _latest_of(key: str, newest: dict[str, Message], symbol: str) -> Response:
    message = newest.get(symbol.upper())
    if message is None:
        raise ApiError(404, 40410000, f"no {key} found for {symbol[:32]}")
    return json_response({"symbol": symbol.upper(), key: history_fields(message)})


def _bar_fields(bar: Bar, symbol: str) -> dict[str, Any]:
    fields = bar.fields("d", symbol)
    del fields["T"], fields["S"]
    return {**fields, "t": format_ns(bar.start_ns)}


def _merge_bars(bars: list[dict[str, Any]], minutes: int) -> list[dict[str, Any]]:
    """Merge minute bars into longer ones that begin at multiples of their length since UTC midnight."""
    merged: dict[str, dict[str, Any]] = {}
    for bar in bars:
        text = bar["t"]
        minute = int(text[11:13]) * 60 + int(text[14:16])
        begin = minute // minutes * minutes
        key = f"{text[:11]}{begin // 60:02d}:{begin % 60:02d}:00Z"
        into = merged.get(key)
        if into is None:
            merged[key] = {**bar, "t": key}
            continue
        volume = into["v"] + bar["v"]
        weighted = into["vw"] * into["v"] + bar["vw"] * bar["v"]
        into["vw"] = round(weighted / volume, 6) if volume else bar["c"]
        into["h"], into["l"], into["c"] = max(into["h"], bar["h"]), min(into["l"], bar["l"]), bar["c"]
        into["v"], into["n"] = volume, into["n"] + bar["n"]
    return list(merged.values())
