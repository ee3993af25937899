"""Records to columns: envelopes from Kafka; `lines` adds what a file may hold.

Trades and quotes are scanned by a compiled pass; what it calls unusual is decoded by msgspec, record by record if need
be, so that one bad record costs itself alone. Nothing is raised for bad input: it is counted by reason.

Reasons: `undecodable`, `bad_symbol`, `bad_time`, `bad_price`, `bad_size`, `outlier_…` (an event more than a minute after its own
ingest time), `unknown_channel`, and for files `other_message` (statuses, control). Whether a time without an ingest time
can be believed is for the engine to judge, which knows the times before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import (
    NANOS,
    Amendment,
    Bars,
    Decoded,
    Floats,
    Ints,
    Quotes,
    Replacement,
    Symbols,
    Trades,
    floats,
)
from torghut_core.ta.decoding.conditions import condition_bits, identity
from torghut_core.ta.decoding.scanner import QUOTE, TRADE, UNUSUAL, Scanned, SymbolTable, scan_records, unpacked
from torghut_core.ta.decoding.timestamps import INVALID, parse_column
from torghut_core.ta.decoding.verdicts import AHEAD_NS, BAD_SYMBOL, LARGEST, judge

MAX_SYMBOL_LENGTH = 32
LARGEST_COUNT = 10**15 - 1
"""Of trades in a minute: up to here the rows hold it exactly."""
_MINUTE_NS = 60 * NANOS
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bad input; the last for nesting too deep."""


class TradePayload(msgspec.Struct, gc=False, kw_only=True):
    p: float
    s: float
    c: Any = None
    z: Any = None
    i: Any = None
    x: Any = None


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


class CancelPayload(msgspec.Struct, gc=False, kw_only=True, tag_field="T", tag="x"):
    i: Any
    x: Any = None


class CorrectionPayload(msgspec.Struct, gc=False, kw_only=True, tag_field="T", tag="c"):
    oi: Any
    x: Any = None
    cp: float
    cs: float
    cc: Any = None
    ci: Any = None
    z: Any = None


class _Envelope(msgspec.Struct, gc=False, kw_only=True):
    event_ts: str
    symbol: str
    channel: str | None = None
    ingest_ts: Any = None


class _CamelEnvelope(msgspec.Struct, gc=False, kw_only=True, rename="camel"):
    """The spelling of older producers."""

    event_ts: str
    symbol: str
    channel: str | None = None
    ingest_ts: Any = None


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


class _AmendingRecord(msgspec.Struct, gc=False):
    symbol: str
    payload: CancelPayload | CorrectionPayload


_TYPED = msgspec.json.Decoder(_TypedRecord), msgspec.msgpack.Decoder(_TypedRecord)
_AMENDING = msgspec.json.Decoder(_AmendingRecord), msgspec.msgpack.Decoder(_AmendingRecord)


def _amends(record: bytes) -> bool:
    """Tell whether a record on the trades topic is a correction or a cancel."""
    try:
        return _TYPED[record[:1] not in _JSON_STARTS].decode(record).payload.T in ("c", "x")
    except UNREADABLE:
        return False


def amendment(symbol: str, its: CancelPayload | CorrectionPayload, rejected: Counter[str]) -> Amendment | None:
    """Return what a cancel or a correction does; None, counted by reason, where it cannot be done."""
    is_cancel = isinstance(its, CancelPayload)
    named = identity(its.i if isinstance(its, CancelPayload) else its.oi, its.x)
    reason = "" if named else "undecodable"
    replacement: Replacement | None = None
    if isinstance(its, CorrectionPayload):
        if not 0 < its.cp <= LARGEST:
            reason = reason or "bad_price"
        elif not 0 <= its.cs <= LARGEST:
            reason = reason or "bad_size"
        number = its.oi if its.ci is None else its.ci
        replacement = Replacement(its.cp, its.cs, condition_bits(its.cc, its.z), identity(number, its.x))
    if reason:
        rejected[reason] += 1
        return None
    return Amendment(0, symbol, named, None if is_cancel else replacement)


_JSON_STARTS = (b"{", b" ", b"\t", b"\n", b"\r")
"""First bytes of a JSON object; msgpack's maps have others."""
Amendments = list[tuple[int, Amendment]]
"""Each with the row of its record."""


class Fields(NamedTuple):
    """A trade or quote as msgspec decoded it."""

    symbol: str
    time: str
    values: tuple[float, ...]
    ingest: str
    """Empty without one."""
    conditions: int = 0
    identity: int = 0


class EnvelopeReader:
    """Decodes one kind of envelope, in either spelling, JSON or msgpack, of the channels given or of none.

    What travels with the trades and is none, a correction or a cancel, becomes an amendment and no row.
    """

    def __init__(self, snake: type[Any], camel: type[Any], *channels: str) -> None:
        self._channels = (None, *channels)
        self._is_of_trades = "trades" in channels
        self._json = (msgspec.json.Decoder(snake), msgspec.json.Decoder(camel))
        self._msgpack = (msgspec.msgpack.Decoder(snake), msgspec.msgpack.Decoder(camel))

    def read(
        self, records: Sequence[bytes], rejected: Counter[str], amendments: Amendments | None = None
    ) -> tuple[list[Any], list[int]]:
        """Return decoded rows, and the places of the records they came from; append amendments with their places."""
        rows, places = [], []
        for place, record in enumerate(records):
            if self._is_of_trades and _amends(record):
                if amendments is not None:
                    self._amend(record, place, rejected, amendments)
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

    @staticmethod
    def _amend(record: bytes, place: int, rejected: Counter[str], amendments: Amendments) -> None:
        try:
            said = _AMENDING[record[:1] not in _JSON_STARTS].decode(record)
        except UNREADABLE:
            rejected["undecodable"] += 1
            return
        found = amendment(said.symbol, said.payload, rejected)
        if found is not None:
            amendments.append((place, found))


def _trade_fields(symbol: str, time: str, its: TradePayload, ingest: Any) -> Fields:
    bits = condition_bits(its.c, its.z)
    return Fields(symbol, time, (its.p, its.s), _text(ingest), bits, identity(its.i, its.x))


def _quote_fields(symbol: str, time: str, its: QuotePayload, ingest: Any) -> Fields:
    return Fields(symbol, time, (its.bp, its.ap, its.bs, its.as_), _text(ingest))


def _text(ingest: Any) -> str:
    return ingest if isinstance(ingest, str) else ""


FIELDS: dict[int, Callable[[str, str, Any, Any], Fields]] = {TRADE: _trade_fields, QUOTE: _quote_fields}
BarFields = tuple[str, str, Any, Any]
"""Symbol, minute's start, payload and ingest time of a minute bar."""


def in_order(amendments: Amendments, usable: Ints | None) -> list[Amendment]:
    """Return amendments each with how many of the usable rows came before it."""
    if usable is None:
        return [each for _, each in amendments]
    befores = np.searchsorted(usable, [place for place, _ in amendments]).tolist()
    return [each._replace(after=before) for before, (_, each) in zip(befores, amendments, strict=True)]


class Decoder:
    """Decodes the records of one partition number; remembers its symbols and nothing else."""

    def __init__(self) -> None:
        self.table = SymbolTable()
        self.readers = {
            TRADE: EnvelopeReader(_Trade, _CamelTrade, "trades"),
            QUOTE: EnvelopeReader(_Quote, _CamelQuote, "quotes"),
        }
        self.bar_reader = EnvelopeReader(_Bar, _CamelBar, "bars", "updatedBars")
        self._unplaced: list[str] = []

    def trades(self, records: Sequence[bytes]) -> Decoded:
        """Return the trades of envelope records, and what amends trades."""
        rejected: Counter[str] = Counter()
        amendments: Amendments = []
        found = self._envelopes(TRADE, records, rejected, amendments)
        trades, usable = self.valid_trades(found, rejected)
        return Decoded(trades=trades, amendments=in_order(amendments, usable), rejected=rejected)

    def quotes(self, records: Sequence[bytes]) -> Decoded:
        """Return the quotes of envelope records."""
        rejected: Counter[str] = Counter()
        return Decoded(quotes=self.valid_quotes(self._envelopes(QUOTE, records, rejected), rejected), rejected=rejected)

    def bars(self, records: Sequence[bytes]) -> Decoded:
        """Return the minute bars of envelope records; `event_ts` is the minute's start, as Alpaca's `t`."""
        rejected: Counter[str] = Counter()
        self._unplaced.clear()
        rows, _ = self.bar_reader.read(records, rejected)
        bars = self.valid_bars([(row.symbol, row.event_ts, row.payload, row.ingest_ts) for row in rows], rejected)
        return Decoded(bars=bars, rejected=rejected)

    def _envelopes(
        self, kind: int, records: Sequence[bytes], rejected: Counter[str], amendments: Amendments | None = None
    ) -> Scanned:
        found = scan_records(records, kind, self.table)
        self.settle_symbols(found)
        if found.counts[0]:
            unusual = np.flatnonzero(found.kind == UNUSUAL)
            its: Amendments = []
            rows, places = self.readers[kind].read([records[i] for i in unusual.tolist()], rejected, its)
            fields = [FIELDS[kind](row.symbol, row.event_ts, row.payload, row.ingest_ts) for row in rows]
            self.fill(found, kind, unusual[places], fields)
            if amendments is not None:
                amendments += [(int(unusual[place]), each) for place, each in its]
        return found

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
        found.symbol[rows] = [self._code(each.symbol) for each in fields]
        found.at_ns[rows] = parse_column([each.time for each in fields])
        found.ingest_ns[rows] = parse_column([each.ingest for each in fields])
        values = np.array([each.values for each in fields], np.float64)
        found.values[rows, : values.shape[1]] = values
        found.conditions[rows] = np.array([each.conditions for each in fields], np.uint64)
        found.identity[rows] = np.array([each.identity for each in fields], np.uint64)

    def valid_trades(self, found: Scanned, rejected: Counter[str]) -> tuple[Trades | None, Ints | None]:
        """Return the usable trades of a scan, and their rows where these are not all."""
        usable = self._usable(TRADE, found, rejected)
        if usable is None:
            return None, None
        rows, symbol, at_ns, ingest_ns, values = usable
        # Copied, for trades wait: a view would keep all of the scan, and be of another type to compiled code.
        trades = Trades(
            symbol,
            at_ns,
            values[:, 0].copy(),
            values[:, 1].copy(),
            found.conditions[rows],
            found.identity[rows],
            ingest_ns,
        )
        return trades, None if isinstance(rows, slice) else rows

    def valid_quotes(self, found: Scanned, rejected: Counter[str]) -> Quotes | None:
        """Return the usable quotes of a scan; a one-sided quote has 0 on the side that is missing."""
        usable = self._usable(QUOTE, found, rejected)
        if usable is None:
            return None
        _, symbol, at_ns, ingest_ns, values = usable
        return Quotes(symbol, at_ns, values, ingest_ns)

    def valid_bars(self, rows: Sequence[BarFields], rejected: Counter[str]) -> Bars | None:
        """Return the usable minute bars of (symbol, minute's start, payload, ingest time)."""
        if not rows:
            return None
        place = np.array([self._code(symbol) for symbol, *_ in rows], np.int64)
        start_ns = parse_column([time for _, time, *_ in rows])
        ingest_ns = parse_column([_text(ingest) for *_, ingest in rows])
        ok = _counted(place, start_ns, rejected)
        payloads = [payload for _, _, payload, _ in rows]
        prices = [floats([getattr(each, name) for each in payloads]) for name in "ohlc"]
        volume = floats([each.v for each in payloads])
        vwap = floats([np.nan if each.vw is None else each.vw for each in payloads])
        is_count = np.array([each.n <= LARGEST_COUNT for each in payloads], np.bool_)
        count = np.array([min(max(each.n, 0), LARGEST_COUNT) for each in payloads], np.int64)
        for price in prices:
            _require(ok, (price > 0) & (price <= LARGEST), "bad_price", rejected)
        _require(ok, (volume >= 0) & (volume <= LARGEST) & is_count, "bad_size", rejected)
        is_outlier = (ingest_ns != INVALID) & (start_ns > ingest_ns + AHEAD_NS)
        _require(ok, ~is_outlier, "outlier_bars", rejected)
        vwap = np.where((vwap > 0) & (vwap <= LARGEST) & (volume > 0), vwap, np.nan)
        if not ok.any():
            return None
        end_ns = np.where(ok, start_ns // _MINUTE_NS * _MINUTE_NS + _MINUTE_NS, 0)
        opened, high, low, close = (price[ok] for price in prices)
        symbol = Symbols(self.table.names, self._placed(place[ok]))
        return Bars(symbol, end_ns[ok], opened, high, low, close, volume[ok], vwap[ok], count[ok], ingest_ns[ok])

    def _usable(
        self, kind: int, found: Scanned, rejected: Counter[str]
    ) -> tuple[Ints | slice, Symbols, Ints, Ints | None, Floats] | None:
        """Return rows, symbols, event times, ingest times and values of a kind's usable rows, None when there are none."""
        judged = judge(found, kind)
        rejected.update(judged.rejected)
        if judged.rows is None:
            return None
        rows = judged.rows
        codes = found.symbol[rows]
        symbol = Symbols(self.table.names, self._placed(codes) if judged.has_unplaced else codes)
        ingest_ns = None if judged.is_told else found.ingest_ns[rows]
        return rows, symbol, found.at_ns[rows], ingest_ns, found.values[rows]


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
