"""Records to columns: envelopes from Kafka; `lines` adds what a file may hold.

Trades and quotes are scanned by a compiled pass; what it calls unusual is decoded by msgspec, record by record if need
be, so that one bad record costs itself alone. Nothing is raised for bad input: it is counted by reason.

Reasons: `undecodable`, `bad_symbol`, `bad_time`, `bad_price`, `bad_size`, `outlier_…` (an event more than a minute after its own
ingest time), `unknown_channel`, and for files `other_message` (statuses, control). Whether a time without an ingest time
can be believed is for the engine to judge, which knows the times before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from torghut_core.ta.decoding.columns import (
    NANOS,
    Bars,
    Decoded,
    Floats,
    Ints,
    Quotes,
    Symbols,
    Trades,
    floats,
)
from torghut_core.ta.decoding.kinds import QUOTE, TRADE, UNUSUAL
from torghut_core.ta.decoding.records import (
    FIELDS,
    Amendments,
    BarFields,
    Fields,
    bar_reader,
    in_order,
    quote_reader,
    text_of,
    trade_reader,
)
from torghut_core.ta.decoding.scanner import Scanned, SymbolTable, scan_records, unpacked
from torghut_core.ta.decoding.timestamps import INVALID, parse_column
from torghut_core.ta.decoding.verdicts import AHEAD_NS, BAD_SYMBOL, LARGEST, judge

MAX_SYMBOL_LENGTH = 32
LARGEST_COUNT = 10**15 - 1
"""Of trades in a minute: up to here the rows hold it exactly."""
_MINUTE_NS = 60 * NANOS


class Decoder:
    """Decodes the records of one partition number; remembers its symbols and nothing else."""

    def __init__(self) -> None:
        self.table = SymbolTable()
        self.readers = {TRADE: trade_reader(), QUOTE: quote_reader()}
        self.bar_reader = bar_reader()
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
        ingest_ns = parse_column([text_of(ingest) for *_, ingest in rows])
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
