"""Lines of a file to columns: Alpaca messages and envelopes, alone or in arrays, mixed as they come."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import msgspec
import numpy as np

from torghut_core.ta.decoding.columns import Decoded
from torghut_core.ta.decoding.decode import Decoder
from torghut_core.ta.decoding.kinds import ANY, QUOTE, TRADE, UNUSUAL
from torghut_core.ta.decoding.records import (
    FIELDS,
    UNREADABLE,
    Amendments,
    BarFields,
    BarPayload,
    CancelPayload,
    CorrectionPayload,
    QuotePayload,
    TradePayload,
    amendment,
    in_order,
)
from torghut_core.ta.decoding.scanner import PADDING, Scanned, scan_lines


class _TradeMessage(TradePayload, gc=False, tag_field="T", tag="t", kw_only=True):
    S: str
    t: str


class _QuoteMessage(QuotePayload, gc=False, tag_field="T", tag="q", kw_only=True):
    S: str
    t: str


class _BarMessage(BarPayload, gc=False, tag_field="T", tag="b", kw_only=True):
    S: str
    t: str


class _UpdatedBarMessage(_BarMessage, gc=False, tag_field="T", tag="u", kw_only=True):
    """The same fields; a bar's second word."""


class _CancelMessage(CancelPayload, gc=False, tag_field="T", tag="x", kw_only=True):
    S: str


class _CorrectionMessage(CorrectionPayload, gc=False, tag_field="T", tag="c", kw_only=True):
    S: str


class _Kind(msgspec.Struct, gc=False):
    """What tells an Alpaca message from an envelope, and the kinds apart."""

    T: str | None = None
    channel: str | None = None


_AnyMessage = _TradeMessage | _QuoteMessage | _BarMessage | _UpdatedBarMessage | _CancelMessage | _CorrectionMessage
_MESSAGE_KINDS = frozenset("tqbuxc")
_MESSAGES = msgspec.json.Decoder(_AnyMessage)
_KIND = msgspec.json.Decoder(_Kind)
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_OTHER_KINDS = frozenset(["s", "d", "l", "success", "error", "subscription", "n", "i"])
_CHANNELS = {"trades": TRADE, "quotes": QUOTE}
_BAR_CHANNELS = frozenset(["bars", "updatedBars"])


class _Others(NamedTuple):
    """What a chunk holds beside trades and quotes."""

    bars: list[BarFields]
    amendments: Amendments


class LineDecoder:
    """Decodes lines of a file: Alpaca messages (alone or in arrays, as frames hold them) and envelopes, mixed.

    Alpaca messages carry no ingest time.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()

    def decode(self, chunk: bytes) -> Decoded:
        """Return the columns of a chunk of whole lines, each kind in the order of the lines."""
        rejected: Counter[str] = Counter()
        found = self._scan(chunk)
        unusual = np.flatnonzero(found.kind == UNUSUAL)
        if any(_is_array(chunk[start:end]) for start, end in found.bounds[unusual].tolist()):
            chunk = _flattened(chunk, rejected)
            found = self._scan(chunk)
            unusual = np.flatnonzero(found.kind == UNUSUAL)
        self._decoder.settle_symbols(found)
        others = _Others([], [])
        for row in unusual.tolist():
            line = chunk[found.bounds[row, 0] : found.bounds[row, 1]].strip()
            if line:
                self._read(line, row, found, others, rejected)
        trades, usable = self._decoder.valid_trades(found, rejected)
        return Decoded(
            trades=trades,
            quotes=self._decoder.valid_quotes(found, rejected),
            bars=self._decoder.valid_bars(others.bars, rejected),
            amendments=in_order(others.amendments, usable),
            rejected=rejected,
        )

    def _scan(self, chunk: bytes) -> Scanned:
        return scan_lines(chunk + PADDING, chunk.count(b"\n") + 1, ANY, self._decoder.table)

    def _read(self, line: bytes, row: int, found: Scanned, others: _Others, rejected: Counter[str]) -> None:
        try:
            kind = _KIND.decode(line)
            if kind.channel is None and kind.T in _MESSAGE_KINDS:
                self._take(_MESSAGES.decode(line), row, found, others, rejected)
                return
        except UNREADABLE:
            rejected["undecodable"] += 1
            return
        if kind.channel in _BAR_CHANNELS:
            rows, _ = self._decoder.bar_reader.read([line], rejected)
            others.bars.extend((each.symbol, each.event_ts, each.payload, each.ingest_ts) for each in rows)
        elif kind.channel in _CHANNELS:
            code = _CHANNELS[kind.channel]
            its: Amendments = []
            rows, _ = self._decoder.readers[code].read([line], rejected, its)
            others.amendments.extend((row, each) for _, each in its)
            fields = [FIELDS[code](each.symbol, each.event_ts, each.payload, each.ingest_ts) for each in rows]
            self._decoder.fill(found, code, np.array([row] * len(rows), np.int64), fields)
        else:
            rejected["other_message" if kind.T in _OTHER_KINDS else "unknown_channel"] += 1

    def _take(self, message: _AnyMessage, row: int, found: Scanned, others: _Others, rejected: Counter[str]) -> None:
        if isinstance(message, _BarMessage):
            others.bars.append((message.S, message.t, message, None))
        elif isinstance(message, (_CancelMessage, _CorrectionMessage)):
            its = amendment(message.S, message, rejected)
            if its is not None:
                others.amendments.append((row, its))
        else:
            code = TRADE if isinstance(message, _TradeMessage) else QUOTE
            self._decoder.fill(found, code, np.array([row]), [FIELDS[code](message.S, message.t, message, None)])


def _is_array(line: bytes) -> bool:
    return line.lstrip()[:1] == b"["


def _flattened(chunk: bytes, rejected: Counter[str]) -> bytes:
    """Return the lines with every array of messages as one line a message."""
    lines: list[bytes] = []
    for line in chunk.split(b"\n"):
        if not _is_array(line):
            lines.append(line)
            continue
        try:
            lines += [bytes(each).strip() for each in _ARRAY.decode(line)]
        except UNREADABLE:
            rejected["undecodable"] += 1
    return b"\n".join(lines)
