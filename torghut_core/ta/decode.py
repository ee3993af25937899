"""Records to columns: envelopes from Kafka, or Alpaca messages and envelopes from a file.

A batch is decoded by one call over its joined records; only when that fails is it taken record by record, so that one
bad record costs itself alone. Nothing is raised for bad input: it is counted by reason.

Reasons: `undecodable`, `bad_symbol`, `bad_time`, `bad_price`, `bad_size`, `time_in_future`, `unknown_channel`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from torghut_core.rfc3339 import parse_ns
from torghut_core.ta.columns import NANOS, Bars, Decoded, Floats, Ints, Quotes, Trades, floats, kept
from torghut_core.ta.timestamps import INVALID, parse_column

MAX_SYMBOL_LENGTH = 32
FUTURE_TOLERANCE_NS = 60 * NANOS
"""How far an event may lie after its own `ingest_ts`: clocks differ, but not by more."""
_SUSPICIOUS_JUMP_NS = 3600 * NANOS
_MINUTE_NS = 60 * NANOS


class _TradePayload(msgspec.Struct, gc=False):
    p: float
    s: float


class _QuotePayload(msgspec.Struct, gc=False):
    bp: float = 0.0
    ap: float = 0.0
    bs: float = 0.0
    as_: float = msgspec.field(default=0.0, name="as")


class _BarPayload(msgspec.Struct, gc=False):
    c: float
    o: float
    h: float
    l: float  # noqa: E741  Alpaca's key
    v: float
    vw: float | None = None
    n: int = 0


class _Trade(msgspec.Struct, gc=False):
    event_ts: str
    symbol: str
    payload: _TradePayload


class _Quote(msgspec.Struct, gc=False):
    event_ts: str
    symbol: str
    payload: _QuotePayload


class _Bar(msgspec.Struct, gc=False):
    event_ts: str
    symbol: str
    payload: _BarPayload


class _CamelTrade(msgspec.Struct, gc=False, rename="camel"):
    event_ts: str
    symbol: str
    payload: _TradePayload


class _CamelQuote(msgspec.Struct, gc=False, rename="camel"):
    event_ts: str
    symbol: str
    payload: _QuotePayload


class _CamelBar(msgspec.Struct, gc=False, rename="camel"):
    event_ts: str
    symbol: str
    payload: _BarPayload


class _Ingested(msgspec.Struct, gc=False):
    ingest_ts: str | None = None
    ingestTs: str | None = None


_INGESTED = msgspec.json.Decoder(_Ingested)
Row = TypeVar("Row")


class _Reader(Generic[Row]):
    """Decodes one kind of envelope, in either spelling, JSON or msgpack."""

    def __init__(self, snake: type[Row], camel: type[Any]) -> None:
        self._json = (msgspec.json.Decoder(snake), msgspec.json.Decoder(camel))
        self._msgpack = (msgspec.msgpack.Decoder(snake), msgspec.msgpack.Decoder(camel))
        self._usual = 0

    def read(self, records: Sequence[bytes], rejected: Counter[str]) -> tuple[list[Row], Sequence[bytes]]:
        """Return decoded rows and the records they came from, equally long."""
        joined = b"\n".join(records)
        for spelling in (self._usual, 1 - self._usual):
            try:
                rows = self._json[spelling].decode_lines(joined)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if len(rows) == len(records):
                self._usual = spelling
                return rows, records
        return self._one_by_one(records, rejected)

    def _one_by_one(self, records: Sequence[bytes], rejected: Counter[str]) -> tuple[list[Row], list[bytes]]:
        rows, sources = [], []
        for record in records:
            decoders = self._json if record[:1] in (b"{", b" ") else self._msgpack
            for decoder in decoders:
                try:
                    rows.append(decoder.decode(record))
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue
                sources.append(record)
                break
            else:
                rejected["undecodable"] += 1
        return rows, sources


class Decoder:
    """Decodes the records of one partition number; remembers the highest event time seen to notice absurd jumps."""

    def __init__(self) -> None:
        self._trades = _Reader(_Trade, _CamelTrade)
        self._quotes = _Reader(_Quote, _CamelQuote)
        self._bars = _Reader(_Bar, _CamelBar)
        self._highest: dict[str, int] = {}

    def trades(self, records: Sequence[bytes]) -> Decoded:
        """Return the trades of envelope records."""
        rejected: Counter[str] = Counter()
        rows, sources = self._trades.read(records, rejected)
        symbols = [row.symbol for row in rows]
        at_ns = self._event_times("trades", [row.event_ts for row in rows], sources, rejected)
        payloads = [row.payload for row in rows]
        return Decoded(
            trades=_valid_trades(
                symbols, at_ns, floats([p.p for p in payloads]), floats([p.s for p in payloads]), rejected
            ),
            rejected=rejected,
        )

    def quotes(self, records: Sequence[bytes]) -> Decoded:
        """Return the quotes of envelope records."""
        rejected: Counter[str] = Counter()
        rows, sources = self._quotes.read(records, rejected)
        symbols = [row.symbol for row in rows]
        at_ns = self._event_times("quotes", [row.event_ts for row in rows], sources, rejected)
        return Decoded(quotes=_valid_quotes(symbols, at_ns, [row.payload for row in rows], rejected), rejected=rejected)

    def bars(self, records: Sequence[bytes]) -> Decoded:
        """Return the minute bars of envelope records; `event_ts` is the minute's start, as Alpaca's `t`."""
        rejected: Counter[str] = Counter()
        rows, sources = self._bars.read(records, rejected)
        symbols = [row.symbol for row in rows]
        at_ns = self._event_times("bars", [row.event_ts for row in rows], sources, rejected)
        return Decoded(bars=_valid_bars(symbols, at_ns, [row.payload for row in rows], rejected), rejected=rejected)

    def _event_times(self, source: str, texts: Sequence[str], records: Sequence[bytes], rejected: Counter[str]) -> Ints:
        at_ns = parse_column(texts)
        if not len(at_ns):
            return at_ns
        highest = self._highest.get(source)
        if highest is None:
            highest = int(at_ns.min()) - _SUSPICIOUS_JUMP_NS - 1
        running = np.maximum.accumulate(np.concatenate([[highest], at_ns]))
        jumps = np.flatnonzero(at_ns > running[:-1] + _SUSPICIOUS_JUMP_NS)
        if len(jumps):
            # Rare (a night, a bad clock): one absurd time would make everything after it late, so each is held against
            # its own ingest time, in order, until the column is free of jumps that fail.
            for index in range(int(jumps[0]), len(at_ns)):
                at = int(at_ns[index])
                if at > highest + _SUSPICIOUS_JUMP_NS and _is_after_ingest(at, records[index]):
                    at_ns[index] = INVALID
                    rejected["time_in_future"] += 1
                    rejected["bad_time"] -= 1
                else:
                    highest = max(highest, at)
            running = np.maximum.accumulate(at_ns)
        self._highest[source] = max(highest, int(running[-1]))
        return at_ns


def _is_after_ingest(at_ns: int, record: bytes) -> bool:
    try:
        said = _INGESTED.decode(record)
        ingested = parse_ns(said.ingest_ts or said.ingestTs or "")
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return False
    return at_ns > ingested + FUTURE_TOLERANCE_NS


def _usable(symbols: Sequence[str], at_ns: Ints, rejected: Counter[str]) -> NDArray[np.bool_]:
    ok: NDArray[np.bool_] = np.not_equal(at_ns, INVALID)
    bad_times = len(at_ns) - int(ok.sum())
    if bad_times:
        rejected["bad_time"] += bad_times
    for symbol in set(symbols):
        if not 0 < len(symbol) <= MAX_SYMBOL_LENGTH or not symbol.isprintable():
            bad = np.fromiter((each == symbol for each in symbols), np.bool_, len(symbols))
            rejected["bad_symbol"] += int((ok & bad).sum())
            ok &= ~bad
    return ok


def _require(ok: NDArray[np.bool_], condition: NDArray[np.bool_], reason: str, rejected: Counter[str]) -> None:
    failing = int((ok & ~condition).sum())
    if failing:
        rejected[reason] += failing
        ok &= condition


def _valid_trades(
    symbols: list[str], at_ns: Ints, price: Floats, size: Floats, rejected: Counter[str]
) -> Trades | None:
    ok = _usable(symbols, at_ns, rejected)
    _require(ok, np.isfinite(price) & (price > 0), "bad_price", rejected)
    _require(ok, np.isfinite(size) & (size >= 0), "bad_size", rejected)
    if ok.all():
        return Trades(symbols, at_ns, price, size) if len(symbols) else None
    return Trades(kept(symbols, ok), at_ns[ok], price[ok], size[ok]) if ok.any() else None


def _valid_quotes(symbols: list[str], at_ns: Ints, rows: Sequence[Any], rejected: Counter[str]) -> Quotes | None:
    columns = [
        floats([row.bp for row in rows]),
        floats([row.ap for row in rows]),
        floats([row.bs for row in rows]),
        floats([row.as_ for row in rows]),
    ]
    ok = _usable(symbols, at_ns, rejected)
    for column, reason in zip(columns, ("bad_price", "bad_price", "bad_size", "bad_size"), strict=True):
        _require(ok, np.isfinite(column) & (column >= 0), reason, rejected)
    if ok.all():
        return Quotes(symbols, at_ns, *columns) if len(symbols) else None
    return Quotes(kept(symbols, ok), at_ns[ok], *(column[ok] for column in columns)) if ok.any() else None


def _valid_bars(symbols: list[str], start_ns: Ints, rows: Sequence[Any], rejected: Counter[str]) -> Bars | None:
    ok = _usable(symbols, start_ns, rejected)
    opened, high, low, close = (floats([getattr(row, name) for row in rows]) for name in "ohlc")
    volume = floats([row.v for row in rows])
    vwap = floats([np.nan if row.vw is None else row.vw for row in rows])
    count = np.array([max(row.n, 0) for row in rows], np.int64)
    for price in (opened, high, low, close):
        _require(ok, np.isfinite(price) & (price > 0), "bad_price", rejected)
    _require(ok, np.isfinite(volume) & (volume >= 0), "bad_size", rejected)
    vwap = np.where(np.isfinite(vwap) & (vwap > 0) & (volume > 0), vwap, np.nan)
    if not ok.any():
        return None
    end_ns = np.where(ok, start_ns // _MINUTE_NS * _MINUTE_NS + _MINUTE_NS, 0)
    return Bars(
        kept(symbols, ok), end_ns[ok], opened[ok], high[ok], low[ok], close[ok], volume[ok], vwap[ok], count[ok]
    )


class _Message(msgspec.Struct, gc=False):
    """An Alpaca message or an envelope, whichever a line is."""

    T: str | None = None
    S: str = ""
    t: str = ""
    channel: str | None = None
    symbol: str = ""
    event_ts: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"")
    p: float = 0.0
    s: float = 0.0
    bp: float = 0.0
    ap: float = 0.0
    bs: float = 0.0
    as_: float = msgspec.field(default=0.0, name="as")
    o: float = 0.0
    h: float = 0.0
    l: float = 0.0  # noqa: E741  Alpaca's key
    c: Any = None
    v: float = 0.0
    vw: float | None = None
    n: int = 0


_KINDS = {"t": "trades", "q": "quotes", "b": "bars", "u": "updatedBars"}
_OTHER_KINDS = frozenset(["s", "d", "x", "c", "l", "success", "error", "subscription", "n", "i"])


class LineDecoder:
    """Decodes lines of a file: Alpaca messages and envelopes, mixed as they come."""

    def __init__(self) -> None:
        self._message = msgspec.json.Decoder(_Message)
        self._envelopes = Decoder()

    def decode(self, chunk: bytes) -> list[Decoded]:
        """Return the columns of a chunk of whole lines; minute bars split where kinds alternate matters not."""
        rejected: Counter[str] = Counter()
        try:
            rows = self._message.decode_lines(chunk)
            if rows and any(row.channel is not None or row.T is None for row in rows):
                return self._mixed(chunk, rejected)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._mixed(chunk, rejected)
        return self._messages(rows, rejected)

    def _messages(self, rows: Sequence[_Message], rejected: Counter[str]) -> list[Decoded]:
        by_kind: dict[str, list[_Message]] = {}
        for row in rows:
            kind = _KINDS.get(row.T or "")
            if kind is None:
                rejected["other_message" if row.T in _OTHER_KINDS else "unknown_channel"] += 1
            else:
                by_kind.setdefault("bars" if kind == "updatedBars" else kind, []).append(row)
        found = Decoded(
            trades=_each(by_kind.get("trades"), _message_trades, rejected),
            quotes=_each(by_kind.get("quotes"), _message_quotes, rejected),
            bars=_each(by_kind.get("bars"), _message_bars, rejected),
            rejected=rejected,
        )
        return [found]

    def _mixed(self, chunk: bytes, rejected: Counter[str]) -> list[Decoded]:
        messages: list[_Message] = []
        envelopes: dict[str, list[bytes]] = {}
        for line in chunk.splitlines():
            if not line.strip():
                continue
            try:
                row = self._message.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                rejected["undecodable"] += 1
                continue
            if row.channel is None and row.T is not None:
                messages.append(row)
            elif row.channel in ("trades", "quotes", "bars", "updatedBars"):
                kind = "bars" if row.channel == "updatedBars" else row.channel
                envelopes.setdefault(kind, []).append(line)
            else:
                rejected["unknown_channel"] += 1
        readers: dict[str, Callable[[Sequence[bytes]], Decoded]] = {
            "trades": self._envelopes.trades,
            "quotes": self._envelopes.quotes,
            "bars": self._envelopes.bars,
        }
        return [*self._messages(messages, rejected), *(readers[kind](lines) for kind, lines in envelopes.items())]


Column = TypeVar("Column", Trades, Quotes, Bars)


def _each(
    rows: list[_Message] | None, make: Callable[[list[_Message], Counter[str]], Column | None], rejected: Counter[str]
) -> Column | None:
    return make(rows, rejected) if rows else None


def _message_trades(rows: list[_Message], rejected: Counter[str]) -> Trades | None:
    at_ns = parse_column([row.t for row in rows])
    return _valid_trades(
        [row.S for row in rows], at_ns, floats([row.p for row in rows]), floats([row.s for row in rows]), rejected
    )


def _message_quotes(rows: list[_Message], rejected: Counter[str]) -> Quotes | None:
    return _valid_quotes([row.S for row in rows], parse_column([row.t for row in rows]), rows, rejected)


def _message_bars(rows: list[_Message], rejected: Counter[str]) -> Bars | None:
    usable = [row for row in rows if isinstance(row.c, int | float)]
    rejected["bad_price"] += len(rows) - len(usable)
    return _valid_bars([row.S for row in usable], parse_column([row.t for row in usable]), usable, rejected)
