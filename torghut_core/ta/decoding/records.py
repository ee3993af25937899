"""One record at a time by msgspec: what the scan leaves, what amends trades, and minute bars.

Nothing is raised for bad input: it is counted by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from torghut_core.ta.decoding.columns import Amendment, Ints, Replacement
from torghut_core.ta.decoding.conditions import condition_bits, identity
from torghut_core.ta.decoding.kinds import QUOTE, TRADE
from torghut_core.ta.decoding.verdicts import LARGEST

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
    return Fields(symbol, time, (its.p, its.s), text_of(ingest), bits, identity(its.i, its.x))


def _quote_fields(symbol: str, time: str, its: QuotePayload, ingest: Any) -> Fields:
    return Fields(symbol, time, (its.bp, its.ap, its.bs, its.as_), text_of(ingest))


def text_of(ingest: Any) -> str:
    """Return a decoded ingest time as text, empty where it is none."""
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


def trade_reader() -> EnvelopeReader:
    """Return what reads trades, and what amends them."""
    return EnvelopeReader(_Trade, _CamelTrade, "trades")


def quote_reader() -> EnvelopeReader:
    """Return what reads quotes."""
    return EnvelopeReader(_Quote, _CamelQuote, "quotes")


def bar_reader() -> EnvelopeReader:
    """Return what reads minute bars and their updates."""
    return EnvelopeReader(_Bar, _CamelBar, "bars", "updatedBars")
