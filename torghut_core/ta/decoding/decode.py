"""Records to columns: envelopes from Kafka; `lines` adds what a file may hold.

Trades and quotes are scanned by a compiled pass; what it calls unusual is decoded by msgspec, record by record if need
be, so that one bad record costs itself alone. Nothing is raised for bad input: it is counted by reason.

Reasons: `undecodable`, `bad_symbol`, `bad_time`, `bad_price`, `bad_size`, `time_in_future`, `unknown_channel`, and for
files `other_message` (statuses, corrections, control).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from torghut_core.engines.byte_column import ByteColumn
from torghut_core.rfc3339 import parse_ns
from torghut_core.ta.decoding.columns import NANOS, Bars, Decoded, Floats, Ints, Quotes, Symbols, Trades, floats
from torghut_core.ta.decoding.scanner import QUOTE, TRADE, UNUSUAL, Scanned, SymbolTable, scan_records, unpacked
from torghut_core.ta.decoding.timestamps import INVALID, parse_column
from torghut_core.ta.decoding.verdicts import BAD_SYMBOL, LARGEST, judge

MAX_SYMBOL_LENGTH = 32
LARGEST_COUNT = 10**15 - 1
"""Of trades in a minute: up to here the rows hold it exactly."""
FUTURE_TOLERANCE_NS = 60 * NANOS
"""How far an event may lie after its own `ingest_ts`: clocks differ, but not by more."""
_SUSPICIOUS_JUMP_NS = FUTURE_TOLERANCE_NS
_JUMP_BLOCK = 1024
"""Times looked through at once, so that a batch of bad ones costs little more than a good one."""
_MINUTE_NS = 60 * NANOS
_NEVER, _FOREVER = -(1 << 62), 1 << 62
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bad input; the last for nesting too deep."""
_KIND_NAMES = {TRADE: "trades", QUOTE: "quotes"}


class TradePayload(msgspec.Struct, gc=False, kw_only=True):
    p: float
    s: float


class QuotePayload(msgspec.Struct, gc=False):
    bp: float = 0.0
    ap: float = 0.0
    bs: float = 0.0
    as_: float = msgspec.field(default=0.0, name="as")


class BarPayload(msgspec.Struct, gc=False):
    c: float
    o: float
    h: float
    l: float  # noqa: E741  Alpaca's key
    v: float
    vw: float | None = None
    n: int = 0


class _Envelope(msgspec.Struct, gc=False, kw_only=True):
    event_ts: str
    symbol: str
    channel: str | None = None


class _CamelEnvelope(msgspec.Struct, gc=False, kw_only=True, rename="camel"):
    """The spelling of older producers."""

    event_ts: str
    symbol: str
    channel: str | None = None


class _Trade(_Envelope, gc=False, kw_only=True):
    payload: TradePayload


class _Quote(_Envelope, gc=False, kw_only=True):
    payload: QuotePayload


class _Bar(_Envelope, gc=False, kw_only=True):
    payload: BarPayload


class _CamelTrade(_CamelEnvelope, gc=False, kw_only=True):
    payload: TradePayload


class _CamelQuote(_CamelEnvelope, gc=False, kw_only=True):
    payload: QuotePayload


class _CamelBar(_CamelEnvelope, gc=False, kw_only=True):
    payload: BarPayload


class _Typed(msgspec.Struct, gc=False):
    """What a record's payload says it is; a trade need not say it."""

    T: str | None = None


class _TypedRecord(msgspec.Struct, gc=False):
    payload: _Typed


_TYPED = msgspec.json.Decoder(_TypedRecord), msgspec.msgpack.Decoder(_TypedRecord)
_NO_TRADES = {"c": "correction", "x": "cancel"}
"""Payloads that travel with the trades and are none, by what they are counted as."""


def no_trade(record: bytes) -> str | None:
    """Return what a record on the trades topic is counted as when it is a correction or a cancel; None for any other."""
    try:
        said = _TYPED[record[:1] not in _JSON_STARTS].decode(record).payload.T
    except UNREADABLE:
        return None
    return _NO_TRADES.get(said or "")


class _Ingested(msgspec.Struct, gc=False):
    ingest_ts: str | None = None
    ingestTs: str | None = None


_INGESTED = msgspec.json.Decoder(_Ingested)
_JSON_STARTS = (b"{", b" ", b"\t", b"\n", b"\r")
"""First bytes of a JSON object; msgpack's maps have others."""
RecordOf = Callable[[int], bytes]
Fields = tuple[str, str, tuple[float, ...]]
"""Symbol, time and values of a trade or quote."""


class EnvelopeReader:
    """Decodes one kind of envelope, in either spelling, JSON or msgpack, of the channels given or of none.

    What travels with the trades and is none, a correction or a cancel, is counted by that name and no row.
    """

    def __init__(self, snake: type[Any], camel: type[Any], *channels: str) -> None:
        self._channels = (None, *channels)
        self._is_of_trades = "trades" in channels
        self._json = (msgspec.json.Decoder(snake), msgspec.json.Decoder(camel))
        self._msgpack = (msgspec.msgpack.Decoder(snake), msgspec.msgpack.Decoder(camel))

    def read(self, records: Sequence[bytes], rejected: Counter[str]) -> tuple[list[Any], list[int]]:
        """Return decoded rows, and the places of the records they came from."""
        rows, places = [], []
        for place, record in enumerate(records):
            reason = no_trade(record) if self._is_of_trades else None
            if reason is not None:
                rejected[reason] += 1
                continue
            decoders: Sequence[Any] = self._json if record[:1] in _JSON_STARTS else self._msgpack
            for decoder in decoders:
                try:
                    row = decoder.decode(record)
                except UNREADABLE:
                    continue
                if row.channel in self._channels:
                    rows.append(row)
                    places.append(place)
                else:
                    rejected["unknown_channel"] += 1
                break
            else:
                rejected["undecodable"] += 1
        return rows, places


def _trade_fields(symbol: str, time: str, its: TradePayload) -> Fields:
    return symbol, time, (its.p, its.s)


def _quote_fields(symbol: str, time: str, its: QuotePayload) -> Fields:
    return symbol, time, (its.bp, its.ap, its.bs, its.as_)


FIELDS: dict[int, Callable[[str, str, Any], Fields]] = {TRADE: _trade_fields, QUOTE: _quote_fields}


class Decoder:
    """Decodes the records of one partition number; remembers the highest event time seen to notice absurd jumps.

    `highest_ns` are those times by source where what was read before ends, so that a restart judges as no restart would.
    """

    def __init__(self, *, latest_ns: int | None = None, highest_ns: Mapping[str, int] | None = None) -> None:
        self.table = SymbolTable()
        self.readers = {
            TRADE: EnvelopeReader(_Trade, _CamelTrade, "trades"),
            QUOTE: EnvelopeReader(_Quote, _CamelQuote, "quotes"),
        }
        self.bar_reader = EnvelopeReader(_Bar, _CamelBar, "bars", "updatedBars")
        self._highest: dict[str, int] = {**(highest_ns or {})}
        self._unplaced: list[str] = []
        self._latest_ns = latest_ns

    def trades(self, records: Sequence[bytes]) -> Decoded:
        """Return the trades of envelope records."""
        rejected: Counter[str] = Counter()
        found, records = self._envelopes(TRADE, records, rejected)
        return Decoded(trades=self.valid_trades(found, records.__getitem__, rejected), rejected=rejected)

    def quotes(self, records: Sequence[bytes]) -> Decoded:
        """Return the quotes of envelope records."""
        rejected: Counter[str] = Counter()
        found, records = self._envelopes(QUOTE, records, rejected)
        return Decoded(quotes=self.valid_quotes(found, records.__getitem__, rejected), rejected=rejected)

    def bars(self, records: Sequence[bytes]) -> Decoded:
        """Return the minute bars of envelope records; `event_ts` is the minute's start, as Alpaca's `t`."""
        rejected: Counter[str] = Counter()
        self._unplaced.clear()
        rows, places = self.bar_reader.read(records, rejected)
        bars = self.valid_bars(
            [(row.symbol, row.event_ts, row.payload) for row in rows], lambda row: records[places[row]], rejected
        )
        return Decoded(bars=bars, rejected=rejected)

    def _envelopes(
        self, kind: int, records: Sequence[bytes], rejected: Counter[str]
    ) -> tuple[Scanned, Sequence[bytes]]:
        records = ByteColumn.terminated(records)
        found = scan_records(records, kind, self.table)
        self.settle_symbols(found)
        if found.counts[0]:
            unusual = np.flatnonzero(found.kind == UNUSUAL)
            rows, places = self.readers[kind].read([records[i] for i in unusual.tolist()], rejected)
            fields = [FIELDS[kind](row.symbol, row.event_ts, row.payload) for row in rows]
            self.fill(found, kind, unusual[places], fields)
        return found, records

    # Shared with files

    def settle_symbols(self, found: Scanned) -> None:
        """Begin a batch: give a code to the scanned symbols that the table lacks."""
        self._unplaced.clear()
        if found.counts[1]:
            new = (found.symbol == -1) & (found.kind != UNUSUAL)
            packed, which = np.unique(found.packed[new], return_inverse=True)
            found.symbol[new] = np.array([self._code(unpacked(each)) for each in packed.tolist()], np.int64)[which]

    def _code(self, symbol: str) -> int:
        """Return a symbol's place, −1 for what is none, and below that one for a symbol that has no place yet.

        It gets one with its first usable record, so that unusable ones take no memory.
        """
        known = self.table.places.get(symbol)
        if known is not None:
            return known
        if not (0 < len(symbol) <= MAX_SYMBOL_LENGTH and symbol.isprintable()):
            return BAD_SYMBOL
        self._unplaced.append(symbol)
        return BAD_SYMBOL - len(self._unplaced)

    def _placed(self, codes: Ints) -> Ints:
        """Return usable records' symbols by their places."""
        new = codes < BAD_SYMBOL
        different, which = np.unique(codes[new], return_inverse=True)
        names = [self._unplaced[BAD_SYMBOL - 1 - code] for code in different.tolist()]
        codes = codes.copy()
        codes[new] = np.array([self.table.place(name) for name in names], np.int64)[which]
        return codes

    def fill(self, found: Scanned, kind: int, rows: Ints, fields: Sequence[Fields]) -> None:
        """Put what msgspec decoded where the scan had left a gap."""
        if not len(rows):
            return
        found.kind[rows] = kind
        found.symbol[rows] = [self._code(symbol) for symbol, _, _ in fields]
        found.at_ns[rows] = parse_column([time for _, time, _ in fields])
        values = np.array([values for _, _, values in fields], np.float64)
        found.values[rows, : values.shape[1]] = values

    def valid_trades(self, found: Scanned, record_of: RecordOf, rejected: Counter[str]) -> Trades | None:
        """Return the usable trades of a scan."""
        usable = self._usable(TRADE, found, record_of, rejected)
        if usable is None:
            return None
        symbol, at_ns, values = usable
        # Copied, for trades wait: a view would keep all of the scan, and be of another type to compiled code.
        return Trades(symbol, at_ns, values[:, 0].copy(), values[:, 1].copy())

    def valid_quotes(self, found: Scanned, record_of: RecordOf, rejected: Counter[str]) -> Quotes | None:
        """Return the usable quotes of a scan; a one-sided quote has 0 on the side that is missing."""
        usable = self._usable(QUOTE, found, record_of, rejected)
        return None if usable is None else Quotes(*usable)

    def valid_bars(
        self, rows: Sequence[tuple[str, str, Any]], record_of: RecordOf, rejected: Counter[str]
    ) -> Bars | None:
        """Return the usable minute bars of (symbol, minute's start, payload)."""
        if not rows:
            return None
        place = np.array([self._code(symbol) for symbol, _, _ in rows], np.int64)
        start_ns = self._event_times("bars", parse_column([time for _, time, _ in rows]), record_of, rejected)
        ok = _counted(place, start_ns, rejected)
        payloads = [payload for _, _, payload in rows]
        prices = [floats([getattr(each, name) for each in payloads]) for name in "ohlc"]
        volume = floats([each.v for each in payloads])
        vwap = floats([np.nan if each.vw is None else each.vw for each in payloads])
        is_count = np.array([each.n <= LARGEST_COUNT for each in payloads], np.bool_)
        count = np.array([min(max(each.n, 0), LARGEST_COUNT) for each in payloads], np.int64)
        for price in prices:
            _require(ok, (price > 0) & (price <= LARGEST), "bad_price", rejected)
        _require(ok, (volume >= 0) & (volume <= LARGEST) & is_count, "bad_size", rejected)
        vwap = np.where((vwap > 0) & (vwap <= LARGEST) & (volume > 0), vwap, np.nan)
        if not ok.any():
            return None
        end_ns = np.where(ok, start_ns // _MINUTE_NS * _MINUTE_NS + _MINUTE_NS, 0)
        opened, high, low, close = (price[ok] for price in prices)
        symbol = Symbols(self.table.names, self._placed(place[ok]))
        return Bars(symbol, end_ns[ok], opened, high, low, close, volume[ok], vwap[ok], count[ok])

    def _usable(
        self, kind: int, found: Scanned, record_of: RecordOf, rejected: Counter[str]
    ) -> tuple[Symbols, Ints, Floats] | None:
        """Return symbols, event times and values of the usable rows of a kind, None when there are none."""
        source = _KIND_NAMES[kind]
        highest = self._highest.get(source, _NEVER)
        judged = judge(found, kind)
        if judged.newest_ns > min(highest + _SUSPICIOUS_JUMP_NS, self._latest_ns or _FOREVER):
            rows = np.flatnonzero(found.kind == kind)
            found.at_ns[rows] = self._event_times(
                source, found.at_ns[rows], lambda row: record_of(int(rows[row])), rejected
            )
            judged = judge(found, kind)
        else:
            self._highest[source] = max(highest, judged.newest_ns)
        rejected.update(judged.rejected)
        if judged.rows is None:
            return None
        codes = found.symbol[judged.rows]
        symbol = Symbols(self.table.names, self._placed(codes) if judged.has_unplaced else codes)
        return symbol, found.at_ns[judged.rows], found.values[judged.rows]

    def _event_times(self, source: str, at_ns: Ints, record_of: RecordOf, rejected: Counter[str]) -> Ints:
        """Return times, INVALID where they cannot be: after `latest_ns`, or a jump that their ingest time has not seen."""
        if not len(at_ns):
            return at_ns
        if self._latest_ns is not None:
            future = at_ns > self._latest_ns
            if future.any():
                at_ns = np.where(future, INVALID, at_ns)
                _reject_future(int(future.sum()), rejected)
        highest = self._highest.get(source, _NEVER)
        if int(at_ns.max()) > highest + _SUSPICIOUS_JUMP_NS:
            is_bounded = self._latest_ns is not None
            at_ns = _without_absurd_jumps(at_ns, highest, record_of, rejected, is_bounded=is_bounded)
        self._highest[source] = max(highest, int(at_ns.max()))
        return at_ns


def _without_absurd_jumps(
    at_ns: Ints, highest: int, record_of: RecordOf, rejected: Counter[str], *, is_bounded: bool
) -> Ints:
    """Return times with INVALID for each that jumps ahead of all before it and lies after its own ingest time.

    One absurd time would make everything after it late. A jump whose record says no ingest time is one too, unless
    `is_bounded`: then an upper bound has been applied to all.
    """
    at_ns = at_ns.copy()
    start = 0
    while start < len(at_ns):
        block = at_ns[start : start + _JUMP_BLOCK]
        before = np.maximum.accumulate(np.concatenate([[highest], block]))
        jumps = np.flatnonzero(block > before[:-1] + _SUSPICIOUS_JUMP_NS)
        if not len(jumps):
            start, highest = start + len(block), int(before[-1])
            continue
        first = int(jumps[0])
        index, highest = start + first, int(before[first])
        if _is_after_ingest(int(at_ns[index]), record_of(index), unless_said=not is_bounded):
            at_ns[index] = INVALID
            _reject_future(1, rejected)
        else:
            highest = int(at_ns[index])
        start = index + 1
    return at_ns


def _reject_future(count: int, rejected: Counter[str]) -> None:
    rejected["time_in_future"] += count
    rejected["bad_time"] -= count  # every unusable time is counted as bad elsewhere


def _is_after_ingest(at_ns: int, record: bytes, *, unless_said: bool) -> bool:
    try:
        said = _INGESTED.decode(record)
        ingested = parse_ns(said.ingest_ts or said.ingestTs or "")
    except (*UNREADABLE, ValueError):
        return unless_said
    return at_ns > ingested + FUTURE_TOLERANCE_NS


def _counted(place: Ints, at_ns: Ints, rejected: Counter[str]) -> NDArray[np.bool_]:
    ok: NDArray[np.bool_] = np.ones(len(at_ns), np.bool_)
    _require(ok, at_ns != INVALID, "bad_time", rejected)
    _require(ok, place != BAD_SYMBOL, "bad_symbol", rejected)
    return ok


def _require(ok: NDArray[np.bool_], condition: NDArray[np.bool_], reason: str, rejected: Counter[str]) -> None:
    if condition.all():
        return
    failing = int((ok & ~condition).sum())
    if failing:
        rejected[reason] += failing
        ok &= condition
