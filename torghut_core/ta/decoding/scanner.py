"""Trades and quotes out of JSON bytes, straight into columns, by a compiled pass that makes no Python objects.

It reads what producers usually write: one record a line, keys in any order, plain ASCII strings without escapes, decimal
numbers of up to 15 digits, timestamps in UTC. Of such a record it reads exactly the values a full JSON parser would
(such a number is an integer over a power of ten, both exact, so one division rounds as a parser must). Anything else it
leaves to the caller as unusual, and never guesses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.byte_words import (
    byte,
    bytes_before,
    compiled,
    first_bytes,
    stops,
    string_end,
    word,
)
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.json_scalars import POWERS, blank, number, pack, skip, string, time
from torghut_core.ta.decoding.kinds import ANY, QUOTE, TRADE, UNUSUAL
from torghut_core.ta.decoding.own_shape import own_record
from torghut_core.ta.decoding.timestamps import INVALID
from torghut_core.ta.decoding.trade_scalars import codes, key, tape, trade_number
from torghut_core.ta.decoding.trade_scalars import exchange as exchange_of

_PIECE = 1024
"""Records copied at once: so many that the scan still finds them in the cache."""
PADDING = b"\n" + bytes(40)
"""What must follow the lines, so that the pass needs no bounds checks: it never goes on after a newline."""


class Scanned(NamedTuple):
    """One row per line, in columns."""

    kind: NDArray[np.uint8]
    symbol: NDArray[np.int64]
    """Place in the symbol table, −1 where the table lacks it."""
    packed: NDArray[np.uint64]
    """The symbol's bytes, for those the table lacks."""
    at_ns: NDArray[np.int64]
    ingest_ns: NDArray[np.int64]
    """INVALID where the record says none."""
    conditions: NDArray[np.uint64]
    """A trade's codes and tape, as `conditions` says."""
    identity: NDArray[np.uint64]
    """Which trade it is, as `conditions` says."""
    values: NDArray[np.float64]
    """Price and size of a trade; bid, ask, bid size, ask size of a quote."""
    bounds: NDArray[np.int64]
    """Start and end of the line."""
    counts: NDArray[np.int64]
    """How many rows are unusual, and how many others have a symbol that the table lacks."""


class SymbolTable:
    """Symbols by place, and an open-addressing index over those of up to eight bytes for the compiled pass."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.places: dict[str, int] = {}
        self.keys = np.zeros(1024, np.uint64)
        self.slots = np.zeros(1024, np.int64)

    def place(self, name: str) -> int:
        """Return the place of `name`, a new one when it is new."""
        found = self.places.get(name)
        if found is None:
            found = self.places[name] = len(self.names)
            self.names.append(name)
            if 2 * len(self.names) > len(self.keys):
                self.keys = np.zeros(4 * len(self.keys), np.uint64)
                self.slots = np.zeros(len(self.keys), np.int64)
                self._index(self.names)
            else:
                self._index([name])
        return found

    def _index(self, names: Iterable[str]) -> None:
        for name in names:
            text = name.encode()
            if 0 < len(text) <= 8:
                _insert(self.keys, self.slots, np.uint64(int.from_bytes(text, "little")), self.places[name])


def scan_lines(lines: bytes, count: int, wanted: int, table: SymbolTable) -> Scanned:
    """Scan `count` newline-separated records followed by `PADDING`."""
    found = unscanned(count)
    data = np.frombuffer(lines, np.uint8)
    _scan(_address(data), len(lines) - len(PADDING) + 1, wanted, _address(_TABLES), table.keys, table.slots, found)
    return found


def scan_records(records: Sequence[bytes], wanted: int, table: SymbolTable) -> Scanned:
    """Scan records; what is no terminated column is copied into one, piece by piece while it is in the cache."""
    found = unscanned(len(records))
    if isinstance(records, ByteColumn) and records.is_terminated:
        _scan_column(records, wanted, table, found)
        return found
    for start in range(0, len(records), _PIECE):
        part = slice(start, start + _PIECE)
        piece = Scanned._make(column[part] for column in found)._replace(counts=found.counts)
        _scan_column(ByteColumn.terminated(records[part]), wanted, table, piece)
    return found


def _scan_column(records: ByteColumn, wanted: int, table: SymbolTable, found: Scanned) -> None:
    found.bounds[:, 0], found.bounds[:, 1] = records.starts, records.ends
    _scan(_address(records.data), -1, wanted, _address(_TABLES), table.keys, table.slots, found)


def unscanned(count: int) -> Scanned:
    """Return room for `count` rows."""
    return Scanned(
        kind=np.zeros(count, np.uint8),
        symbol=np.empty(count, np.int64),
        packed=np.empty(count, np.uint64),
        at_ns=np.empty(count, np.int64),
        ingest_ns=np.empty(count, np.int64),
        conditions=np.empty(count, np.uint64),
        identity=np.empty(count, np.uint64),
        values=np.empty((count, 4)),
        bounds=np.empty((count, 2), np.int64),
        counts=np.zeros(2, np.int64),
    )


def _address(array: NDArray[Any]) -> np.uint64:
    """Return where the elements begin; they must outlive its use."""
    return np.uint64(array.__array_interface__["data"][0])


def unpacked(packed: int) -> str:
    """Return the symbol that `Scanned.packed` holds."""
    return packed.to_bytes(8, "little").rstrip(b"\0").decode("ascii")


_u = np.uint64
"""Every place in the bytes is indexed as unsigned: the compiler then leaves out the test for negative ones."""


# What a key means. Values: column, and from the third column on a quote's alone.
(
    _OTHER, _PAYLOAD, _EVENT_TS, _TIME, _ENVELOPE_SYMBOL, _SYMBOL, _T, _CHANNEL, _INGEST, _CODES, _TAPE, _ID, _EXCHANGE,
    _FIRST_VALUE,
) = range(14)  # fmt: skip
_MEANINGS = {
    "payload": _PAYLOAD,
    "event_ts": _EVENT_TS,
    "eventTs": _EVENT_TS,
    "t": _TIME,
    "symbol": _ENVELOPE_SYMBOL,
    "S": _SYMBOL,
    "T": _T,
    "channel": _CHANNEL,
    "ingestTs": _INGEST,
    "c": _CODES,
    "z": _TAPE,
    "i": _ID,
    "x": _EXCHANGE,
    **{name: _FIRST_VALUE + number for number, name in enumerate(["p", "s", "bp", "ap", "bs", "as"])},
}


def _perfect_hash(texts: list[str]) -> np.uint64:
    """Return an odd factor that sends every key to a slot of its own among 64."""
    keys = [int.from_bytes(text.encode(), "little") for text in texts]
    factor = 0x9E3779B97F4A7C15
    while len({(key * factor % (1 << 64)) >> 58 for key in keys}) < len(keys):
        factor = (factor * 6364136223846793005 + 1442695040888963406) % (1 << 64) | 1
    return np.uint64(factor)


_FACTOR = _perfect_hash(list(_MEANINGS))
_SHIFT = np.uint64(58)
_KIND_T, _KIND_Q, _KIND_TRADES, _KIND_QUOTES = key("t"), key("q"), key("trades"), key("quotes")
_QUOTE_MARK, _COMMA, _MINUS, _DOT, _COLON, _NEWLINE = 34, 44, 45, 46, 58, 10
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _ZERO, _NINE, _EXPONENT = 123, 125, 91, 93, 48, 57, 101
# What was found: time, symbol, and the values by column; a trade's and a quote's values are told apart.
_HAS_TIME, _HAS_SYMBOL, _HAS_TRADE, _HAS_QUOTE, _HAS_KIND = 1, 2, 4 + 8, 16 + 32 + 64 + 128, 256
_HAS_PAYLOAD = 512
_HAS_INGEST, _HAS_CODES, _HAS_TAPE, _HAS_ID, _HAS_EXCHANGE = 1024, 2048, 4096, 8192, 16384
_REQUIRED = 1023
_BYTES = 8
_NO_TIME = np.int64(INVALID)


_INGEST_KEY, _INGEST_REST = key("ingest_t"), key('s"')


_AT_MEANINGS, _AT_POWERS = 8 * 64, np.uint64(8 * 128)
_TABLES = np.zeros(128 + 16, np.uint64)
"""The keys in the slots of their hash, what they mean, and the powers of ten as doubles."""
_TABLES[128:] = POWERS.view(np.uint64)
for _name, _meaning in _MEANINGS.items():
    _at = (int(key(_name)) * int(_FACTOR) % (1 << 64)) >> 58
    _TABLES[_at], _TABLES[64 + _at] = key(_name), _meaning


@compiled
def _slot(keys: Any, key: Any) -> Any:
    mask = np.uint64(len(keys) - 1)
    at = ((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while keys[at] != np.uint64(0) and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(keys: Any, slots: Any, key: Any, place: int) -> None:
    at = _slot(keys, key)
    keys[at] = key
    slots[at] = place


@compiled
def _meaning_of(key: Any, tables: Any) -> Any:
    at = np.int64((key * _FACTOR) >> _SHIFT) * 8
    return np.int64(word(tables, _AT_MEANINGS + at)) if word(tables, at) == key else _OTHER


@compiled
def _record(data: Any, p: int, wanted: int, tables: Any, last: Any) -> Any:
    """Read the record at p.

    Return its kind, its end, its time, its ingest time, its packed symbol, its conditions, its identity, its four values,
    and `last` for the next record.
    """
    kind = wanted
    in_envelope, in_message = 0, 0
    depth = 1
    at_ns, ingest_ns, packed = np.int64(0), _NO_TIME, _u(0)
    conditions, trade_id, exchange = _u(0), _u(0), _u(0)
    is_odd_trade = False
    first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
    is_usual = byte(data, p) == _OPEN
    p = blank(data, p + 1) if is_usual else p
    while is_usual:
        is_usual = False  # until all of this member was
        if byte(data, p) != _QUOTE_MARK:
            break
        text = word(data, p + 1)
        marks = stops(text)
        count = bytes_before(marks)
        end = p + 1 + count
        meaning = _meaning_of(first_bytes(text, count), tables)
        if marks == _u(0) and byte(data, end) != _QUOTE_MARK:  # longer than any key that means something
            is_ingest = text == _INGEST_KEY and first_bytes(word(data, end), 2) == _INGEST_REST
            end = string_end(data, end)
            meaning = _INGEST if is_ingest else _OTHER
        if byte(data, end) != _QUOTE_MARK:
            break
        p = blank(data, end + 1)
        if byte(data, p) != _COLON:
            break
        p = blank(data, p + 1)
        found, is_message = 0, depth == 1
        if meaning == _PAYLOAD and depth == 1:
            if byte(data, p) != _OPEN or in_envelope & _HAS_PAYLOAD:
                break
            in_envelope |= _HAS_PAYLOAD
            depth = 2
            p = blank(data, p + 1)
            is_usual = True
            continue
        if meaning >= _FIRST_VALUE and (depth == 2 or wanted == ANY):
            is_number, value, p = number(data, p, tables + _AT_POWERS)
            if not is_number:
                break
            column = meaning - _FIRST_VALUE
            found = 4 << column
            if column == 0 or column == 2:
                first = value
            elif column == 1 or column == 3:
                second = value
            elif column == 4:
                third = value
            else:
                fourth = value
        elif depth == 1 and (meaning == _EVENT_TS or (meaning == _TIME and wanted == ANY)):
            if byte(data, p) != _QUOTE_MARK:
                break
            at_ns, end, last = time(data, p + 1, tables + _AT_POWERS, last)
            if end < 0:
                break
            p = end + 1
            found, is_message = _HAS_TIME, meaning == _TIME
        elif depth == 1 and meaning == _INGEST:
            if byte(data, p) != _QUOTE_MARK:
                break
            ingest_ns, end, last = time(data, p + 1, tables + _AT_POWERS, last)
            if end < 0:
                break
            p = end + 1
            found, is_message = _HAS_INGEST, False
        elif (depth == 2 or wanted == ANY) and meaning >= _CODES and meaning <= _EXCHANGE:
            end = -1
            if meaning == _CODES:
                bits, end = codes(data, p)
                conditions |= bits
                found = _HAS_CODES
            elif meaning == _TAPE:
                conditions |= tape(first_bytes(word(data, p), 3))
                found = _HAS_TAPE
            elif meaning == _ID:
                trade_id, end = trade_number(data, p, tables + _AT_POWERS)
                found = _HAS_ID
            else:
                exchange, end = exchange_of(data, p)
                found = _HAS_EXCHANGE
            if end < 0:  # a quote may have anything there; a trade's is the parser's to read
                is_odd_trade = is_odd_trade or meaning != _TAPE
                end = skip(data, p)
                if end < 0:
                    break
            p = end
        elif depth == 1 and (meaning == _ENVELOPE_SYMBOL or (meaning == _SYMBOL and wanted == ANY)):
            end = string(data, p + 1)
            if byte(data, p) != _QUOTE_MARK or end < 0 or end - p > 9 or end == p + 1:
                break
            packed = pack(data, p + 1, end)
            p = end + 1
            found, is_message = _HAS_SYMBOL, meaning == _SYMBOL
        elif depth == 1 and (meaning == _CHANNEL or (meaning == _T and wanted == ANY)):
            end = string(data, p + 1)
            if byte(data, p) != _QUOTE_MARK or end < 0 or end - p > 9:
                break
            said = _kind(pack(data, p + 1, end), meaning)
            if said == UNUSUAL or (kind != ANY and said != kind):
                break
            kind = said
            p = end + 1
            found, is_message = _HAS_KIND, meaning == _T
        elif depth == 2 and meaning == _T:
            # A correction or a cancel travels with the trades: it is no trade, though it may have a price and a size.
            end = string(data, p + 1)
            if byte(data, p) != _QUOTE_MARK or end < 0 or end - p > 9:
                break
            if _kind(pack(data, p + 1, end), meaning) == UNUSUAL:
                break
            p = end + 1
        else:
            end = skip(data, p)
            if end < 0:
                break
            p = end
        if (in_message | in_envelope) & found:
            break  # said twice: which one counts is the parser's to know
        if is_message:
            in_message |= found
        else:
            in_envelope |= found
        p = blank(data, p)
        if byte(data, p) == _CLOSE and depth == 2:
            depth = 1
            p = blank(data, p + 1)
        if byte(data, p) == _COMMA:
            p = blank(data, p + 1)
            is_usual = True
        elif byte(data, p) == _CLOSE and depth == 1:
            is_usual = True
            p += 1
            break
        else:
            break
    needed = _HAS_TIME | _HAS_SYMBOL | (_HAS_TRADE if kind == TRADE else _HAS_QUOTE)
    if wanted != ANY:
        in_envelope |= _HAS_KIND  # a topic's name says it too
    needed |= _HAS_KIND | (_HAS_PAYLOAD if in_envelope != 0 else 0)
    if not is_usual or (in_envelope != 0 and in_message != 0) or (in_envelope | in_message) & _REQUIRED != needed:
        kind = UNUSUAL
    if kind == TRADE and is_odd_trade:
        kind = UNUSUAL
    identity = (trade_id << _u(8)) + exchange if trade_id != _u(0) else _u(0)
    return kind, p, at_ns, ingest_ns, packed, conditions, identity, first, second, third, fourth, last


@compiled
def _kind(said: Any, meaning: Any) -> int:
    if (meaning == _T and said == _KIND_T) or (meaning == _CHANNEL and said == _KIND_TRADES):
        return TRADE
    if (meaning == _T and said == _KIND_Q) or (meaning == _CHANNEL and said == _KIND_QUOTES):
        return QUOTE
    return UNUSUAL


@njit(cache=True, nogil=True, error_model="numpy")
def _scan(data: Any, size: int, wanted: int, tables: Any, keys: Any, slots: Any, out: Any) -> None:
    """Scan one record after the other until `size`, or with −1 each where `out.bounds` says."""
    last = (_u(0), _u(0), np.int64(-1))
    p = 0
    for row in range(len(out.kind)):
        if size >= 0 and p >= size:
            break
        start = p if size >= 0 else out.bounds[row, 0]
        kind = UNUSUAL
        if wanted != ANY:
            kind, end, at_ns, ingest_ns, packed, conditions, identity, first, second, third, fourth, last = own_record(
                data, start, wanted, tables + _AT_POWERS, last
            )
        if kind == UNUSUAL:
            kind, end, at_ns, ingest_ns, packed, conditions, identity, first, second, third, fourth, last = _record(
                data, start, wanted, tables, last
            )
        end = blank(data, end)
        if byte(data, end) == 13:
            end += 1
        if byte(data, end) != _NEWLINE:
            kind = UNUSUAL
        if size >= 0:
            while byte(data, end) != _NEWLINE:
                end += 1
            out.bounds[row, 0], out.bounds[row, 1] = start, end
            p = end + 1
        elif end != out.bounds[row, 1]:  # a newline inside the record ends the scan early
            kind = UNUSUAL
        out.kind[row] = kind
        if kind == UNUSUAL:
            out.counts[0] += 1
        else:
            at = _slot(keys, packed)
            if keys[at] == packed:
                out.symbol[row] = slots[at]
            else:
                out.symbol[row] = -1
                out.counts[1] += 1
            out.packed[row], out.at_ns[row], out.ingest_ns[row] = packed, at_ns, ingest_ns
            out.conditions[row], out.identity[row] = conditions, identity
            out.values[row, 0], out.values[row, 1] = first, second
            out.values[row, 2], out.values[row, 3] = third, fourth


def warm_up() -> None:
    """Compile, or load what was compiled before; takes seconds the first time."""
    table = SymbolTable()
    table.place("A")
    scan_lines(b"{}" + PADDING, 1, ANY, table)
    scan_records(ByteColumn.terminated([b"{}"]), TRADE, table)
