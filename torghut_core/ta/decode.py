"""Records to columns: envelopes from Kafka, or Alpaca messages and envelopes from a file.

A batch is decoded by one call over its joined records; only when that fails is it taken record by record, so that one
bad record costs itself alone. Nothing is raised for bad input: it is counted by reason.

Reasons: `undecodable`, `bad_symbol`, `bad_time`, `bad_price`, `bad_size`, `time_in_future`, `unknown_channel`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
_NEVER = -(1 << 62)


class _TradePayload(msgspec.Struct, gc=False, kw_only=True):
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
        highest = self._highest.get(source, _NEVER)
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


class _TradeMessage(_TradePayload, gc=False, tag_field="T", tag="t", kw_only=True):
    S: str
    t: str


class _QuoteMessage(_QuotePayload, gc=False, tag_field="T", tag="q", kw_only=True):
    S: str
    t: str


class _BarMessage(_BarPayload, gc=False, tag_field="T", tag="b", kw_only=True):
    S: str
    t: str


class _UpdatedBarMessage(_BarMessage, gc=False, tag_field="T", tag="u", kw_only=True):
    """The same fields; a bar's second word."""


class _Kind(msgspec.Struct, gc=False):
    """What tells an Alpaca message from an envelope, and the kinds apart."""

    T: str | None = None
    channel: str | None = None


_AnyMessage = _TradeMessage | _QuoteMessage | _BarMessage | _UpdatedBarMessage
_MESSAGES = msgspec.json.Decoder(_AnyMessage)
_KIND = msgspec.json.Decoder(_Kind)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_USED = frozenset("tqbu")
_OTHER_KINDS = frozenset(["s", "d", "x", "c", "l", "success", "error", "subscription", "n", "i"])
_CHANNELS = {"trades": "trades", "quotes": "quotes", "bars": "bars", "updatedBars": "bars"}


class LineDecoder:
    """Decodes lines of a file: Alpaca messages (alone or in arrays, as frames hold them) and envelopes, mixed.

    `latest_ns` is the instant after which no event of a recording can lie; Alpaca messages carry no ingest time.
    """

    def __init__(self, *, latest_ns: int) -> None:
        self._latest_ns = latest_ns + FUTURE_TOLERANCE_NS
        self._envelopes = Decoder()

    def decode(self, chunk: bytes) -> list[Decoded]:
        """Return the columns of a chunk of whole lines, each kind in the order of the lines."""
        rejected: Counter[str] = Counter()
        try:
            rows = _MESSAGES.decode_lines(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._line_by_line(chunk, rejected)
        return [self._messages(rows, rejected)]

    def _messages(self, rows: Sequence[_AnyMessage], rejected: Counter[str]) -> Decoded:
        return Decoded(
            trades=self._trades([row for row in rows if type(row) is _TradeMessage], rejected),
            quotes=self._quotes([row for row in rows if type(row) is _QuoteMessage], rejected),
            bars=self._bars([row for row in rows if isinstance(row, _BarMessage)], rejected),
            rejected=rejected,
        )

    def _times(self, texts: Sequence[str], rejected: Counter[str]) -> Ints:
        at_ns = parse_column(texts)
        future = at_ns > self._latest_ns
        if future.any():
            rejected["time_in_future"] += int(future.sum())
            rejected["bad_time"] -= int(future.sum())  # `_usable` counts every unusable time as bad
            at_ns = np.where(future, INVALID, at_ns)
        return at_ns

    def _trades(self, rows: Sequence[_TradeMessage], rejected: Counter[str]) -> Trades | None:
        at_ns = self._times([row.t for row in rows], rejected)
        return _valid_trades(
            [row.S for row in rows], at_ns, floats([row.p for row in rows]), floats([row.s for row in rows]), rejected
        )

    def _quotes(self, rows: Sequence[_QuoteMessage], rejected: Counter[str]) -> Quotes | None:
        return _valid_quotes([row.S for row in rows], self._times([row.t for row in rows], rejected), rows, rejected)

    def _bars(self, rows: Sequence[_BarMessage], rejected: Counter[str]) -> Bars | None:
        return _valid_bars([row.S for row in rows], self._times([row.t for row in rows], rejected), rows, rejected)

    def _line_by_line(self, chunk: bytes, rejected: Counter[str]) -> list[Decoded]:
        messages: list[_AnyMessage] = []
        envelopes: dict[str, list[bytes]] = {"trades": [], "quotes": [], "bars": []}
        for line in chunk.splitlines():
            text = line.strip()
            if text[:1] == b"[":
                try:
                    records = [bytes(each) for each in _ARRAY.decode(text)]
                except (msgspec.DecodeError, UnicodeDecodeError):
                    rejected["undecodable"] += 1
                    continue
            else:
                records = [text] if text else []
            for record in records:
                self._sort(record, messages, envelopes, rejected)
        found = [self._messages(messages, rejected)]
        readers = {"trades": self._envelopes.trades, "quotes": self._envelopes.quotes, "bars": self._envelopes.bars}
        return found + [readers[kind](records) for kind, records in envelopes.items() if records]

    @staticmethod
    def _sort(
        record: bytes, messages: list[_AnyMessage], envelopes: dict[str, list[bytes]], rejected: Counter[str]
    ) -> None:
        try:
            kind = _KIND.decode(record)
            if kind.channel is None and kind.T in _USED:
                messages.append(_MESSAGES.decode(record))
                return
        except (msgspec.DecodeError, UnicodeDecodeError):
            rejected["undecodable"] += 1
            return
        if kind.channel in _CHANNELS:
            envelopes[_CHANNELS[kind.channel]].append(record)
        else:
            rejected["other_message" if kind.T in _OTHER_KINDS else "unknown_channel"] += 1
