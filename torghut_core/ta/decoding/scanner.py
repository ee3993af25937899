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
    decimal,
    digits_end,
    first_bytes,
    non_digits,
    stops,
    string_end,
    word,
)
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.json_scalars import POWERS, blank, number, pack, power, skip, string, time
from torghut_core.ta.decoding.conditions import ODD_CODE, TAPE_AB, TAPE_C
from torghut_core.ta.decoding.timestamps import INVALID

UNUSUAL, TRADE, QUOTE = 0, 1, 2
_PIECE = 1024
"""Records copied at once: so many that the scan still finds them in the cache."""
ANY = 0
"""Asks for trades and quotes, as messages or envelopes, told apart by `T` or `channel`."""

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


def _key(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(text.encode(), "little"))


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
_KIND_T, _KIND_Q, _KIND_TRADES, _KIND_QUOTES = _key("t"), _key("q"), _key("trades"), _key("quotes")
_QUOTE_MARK, _COMMA, _MINUS, _DOT, _COLON, _NEWLINE = 34, 44, 45, 46, 58, 10
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _ZERO, _NINE, _EXPONENT = 123, 125, 91, 93, 48, 57, 101
# What was found: time, symbol, and the values by column; a trade's and a quote's values are told apart.
_HAS_TIME, _HAS_SYMBOL, _HAS_TRADE, _HAS_QUOTE, _HAS_KIND = 1, 2, 4 + 8, 16 + 32 + 64 + 128, 256
_HAS_PAYLOAD = 512
_HAS_INGEST, _HAS_CODES, _HAS_TAPE, _HAS_ID, _HAS_EXCHANGE = 1024, 2048, 4096, 8192, 16384
_REQUIRED = 1023
_BYTES = 8
_NO_TIME = np.int64(INVALID)


def _words(text: str, *places: int) -> tuple[np.uint64, ...]:
    """Return the eight bytes at each place of what stands between two values of an envelope."""
    return tuple(_key(text[place : place + 8]) for place in places)


# What stands between the values, in the contract's order.
_HEAD = _words('{"ingest_ts":"', 0, 6)
_EVENT = _words('","event_ts":"', 0, 6)
_FEED = _words('","feed":"', 0, 2)
_NEXT_CHANNEL = _words('","channel":"', 0, 5)
_TRADES = _words('trades","symbol":"', 0, 8, 10)
_QUOTES_TEXT = _words('quotes","symbol":"', 0, 8, 10)
_SEQ = _key('","seq":')
_TAIL = _words(',"is_final":true,"source":"ws","window":null,"payload":{', 0, 8, 16, 24, 32, 40, 48)
_VERSION = _words('},"version":1}', 1, 6)
_SHORT_KEY, _SHORT_MASK = _key('"\0":'), np.uint64(0xFFFF00FF)
_LONG_KEY, _LONG_MASK = _key('"\0\0":'), np.uint64(0xFFFF0000FF)
_KEY_P, _KEY_S, _KEY_I, _KEY_C, _KEY_X, _KEY_Z, _KEY_SYMBOL, _KEY_T = map(ord, "psicxzSt")
_KEY_BX, _KEY_AX, _KEY_BP, _KEY_AP, _KEY_BS, _KEY_AS = (int(_key(key)) for key in ("bx", "ax", "bp", "ap", "bs", "as"))
_ALL_OF_TRADE, _ALL_OF_QUOTE = 1 | 2, 1024 | 2048 | 4096 | 8192
_INGEST_KEY, _INGEST_REST = _key("ingest_t"), _key('s"')
_REGULAR, _NULL = _key('["@"]'), _key("null")
_LETTER_A, _LETTER_Z, _BLANK, _AT = 65, 90, 32, 64
_TAPE_TEXTS = tuple(_key(f'"{tape}"') for tape in "ABC")
_TAPE_AB, _TAPE_C = np.uint64(TAPE_AB), np.uint64(TAPE_C)


_AT_MEANINGS, _AT_POWERS = 8 * 64, np.uint64(8 * 128)
_TABLES = np.zeros(128 + 16, np.uint64)
"""The keys in the slots of their hash, what they mean, and the powers of ten as doubles."""
_TABLES[128:] = POWERS.view(np.uint64)
for _name, _meaning in _MEANINGS.items():
    _at = (int(_key(_name)) * int(_FACTOR) % (1 << 64)) >> 58
    _TABLES[_at], _TABLES[64 + _at] = _key(_name), _meaning


@compiled
def _slot(keys: Any, key: Any) -> Any:
    mask = np.uint64(len(keys) - 1)
    at = ((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while keys[at] != np.uint64(0) and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@njit(cache=True, error_model="numpy")
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
                bits, end = _codes(data, p)
                conditions |= bits
                found = _HAS_CODES
            elif meaning == _TAPE:
                conditions |= _tape(first_bytes(word(data, p), 3))
                found = _HAS_TAPE
            elif meaning == _ID:
                trade_id, end = _id(data, p, tables + _AT_POWERS)
                found = _HAS_ID
            else:
                exchange, end = _exchange(data, p)
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
def _own_record(data: Any, p: int, wanted: int, tables: Any, last: Any) -> Any:
    """Read the record at p where it has the shape that the forwarder writes; return as `_record` does.

    The envelope's members stand in the contract's order, without blanks, so what stands between the values is compared
    eight bytes at a time, and only the payload's keys are looked at one by one. Any other shape is called unusual here,
    and left to `_record`.
    """
    first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
    at_ns, ingest_ns, packed = np.int64(0), np.int64(0), _u(0)
    conditions, trade_id, exchange = _u(0), _u(0), _u(0)
    kind, seen, end = UNUSUAL, 0, p
    for _ in range(1):
        if word(data, p) != _HEAD[0] or word(data, p + 6) != _HEAD[1]:
            break
        ingest_ns, end, last = time(data, p + 14, tables + _AT_POWERS, last)
        if end < 0 or word(data, end) != _EVENT[0] or word(data, end + 6) != _EVENT[1]:
            break
        at_ns, end, last = time(data, end + 14, tables + _AT_POWERS, last)
        if end < 0 or word(data, end) != _FEED[0] or word(data, end + 2) != _FEED[1]:
            break
        end = string_end(data, end + 10)
        if word(data, end) != _NEXT_CHANNEL[0] or word(data, end + 5) != _NEXT_CHANNEL[1]:
            break
        end += 13
        text = word(data, end)
        if wanted == TRADE:
            if text != _TRADES[0] or word(data, end + 8) != _TRADES[1] or word(data, end + 10) != _TRADES[2]:
                break
        elif (
            text != _QUOTES_TEXT[0] or word(data, end + 8) != _QUOTES_TEXT[1] or word(data, end + 10) != _QUOTES_TEXT[2]
        ):
            break
        end += 18
        text = word(data, end)
        count = bytes_before(stops(text))
        if count == 0 or byte(data, end + count) != _QUOTE_MARK:
            break
        packed = first_bytes(text, count)
        end += count
        if word(data, end) != _SEQ:
            break
        start = end + 8
        end = digits_end(data, start)
        if end == start or byte(data, start) == _ZERO:
            break
        if (
            word(data, end) != _TAIL[0]
            or word(data, end + 8) != _TAIL[1]
            or word(data, end + 16) != _TAIL[2]
            or word(data, end + 24) != _TAIL[3]
            or word(data, end + 32) != _TAIL[4]
            or word(data, end + 40) != _TAIL[5]
            or word(data, end + 48) != _TAIL[6]
        ):
            break
        end += 56
        while True:  # the payload's members
            text = word(data, end)
            is_done = False
            found = 0
            if text & _SHORT_MASK == _SHORT_KEY:
                key = np.int64((text >> _u(8)) & _u(255))
                end += 4
                if key == _KEY_P or key == _KEY_S:
                    is_number, value, end = number(data, end, tables + _AT_POWERS)
                    if not is_number:
                        break
                    if key == _KEY_P:
                        first, found = value, 1
                    else:
                        second, found = value, 2
                elif key == _KEY_I:
                    trade_id, end = _id(data, end, tables + _AT_POWERS)
                    found = 4
                elif key == _KEY_C:
                    bits, end = _codes(data, end)
                    conditions |= bits
                    found = 8
                elif key == _KEY_X:
                    exchange, end = _exchange(data, end)
                    found = 16
                elif key == _KEY_Z:
                    text = word(data, end)
                    if first_bytes(text, 1) != _u(_QUOTE_MARK) or (text >> _u(16)) & _u(255) != _u(_QUOTE_MARK):
                        break
                    if not _is_plain(np.int64((text >> _u(8)) & _u(255))):
                        break
                    conditions |= _tape(first_bytes(text, 3))
                    end, found = end + 3, 32
                elif key == _KEY_SYMBOL or key == _KEY_T:
                    if byte(data, end) != _QUOTE_MARK:
                        break
                    end = string_end(data, end + 1)
                    if byte(data, end) != _QUOTE_MARK:
                        break
                    end, found = end + 1, 64 if key == _KEY_T else 128
                else:
                    break
            elif text & _LONG_MASK == _LONG_KEY and wanted == QUOTE:
                key = np.int64((text >> _u(8)) & _u(0xFFFF))
                end += 5
                if key == _KEY_BX or key == _KEY_AX:
                    _, end = _exchange(data, end)
                    found = 256 if key == _KEY_BX else 512
                else:
                    is_number, value, end = number(data, end, tables + _AT_POWERS)
                    if not is_number:
                        break
                    if key == _KEY_BP:
                        first, found = value, 1024
                    elif key == _KEY_AP:
                        second, found = value, 2048
                    elif key == _KEY_BS:
                        third, found = value, 4096
                    elif key == _KEY_AS:
                        fourth, found = value, 8192
            if found == 0 or end < 0 or seen & found:
                break
            seen |= found
            after = byte(data, end)
            end += 1
            if after == _COMMA:
                continue
            is_done = after == _CLOSE
            break
        needed = _ALL_OF_TRADE if wanted == TRADE else _ALL_OF_QUOTE
        is_end = word(data, end) == _VERSION[0] and word(data, end + 5) == _VERSION[1]
        if is_done and is_end and seen & (_ALL_OF_TRADE | _ALL_OF_QUOTE) == needed:
            end += 13
            kind = wanted
    identity = (trade_id << _u(8)) + exchange if trade_id != _u(0) else _u(0)
    return kind, end, at_ns, ingest_ns, packed, conditions, identity, first, second, third, fourth, last


@compiled
def _is_plain(code: Any) -> Any:
    return _BLANK <= code <= 126 and code != _QUOTE_MARK and code != 92


@compiled
def _codes(data: Any, p: int) -> Any:
    """Return the bits of the list of one-character codes at p and its end, −1 when it is something else."""
    text = word(data, p)
    if first_bytes(text, 5) == _REGULAR:
        return _u(0), p + 5
    if first_bytes(text, 4) == _NULL:
        return _u(0), p + 4
    if byte(data, p) != _OPEN_LIST:
        return _u(0), -1
    bits = _u(0)
    p = blank(data, p + 1)
    if byte(data, p) == _CLOSE_LIST:
        return bits, p + 1
    for _ in range(16):
        code = byte(data, p + 1)
        if byte(data, p) != _QUOTE_MARK or byte(data, p + 2) != _QUOTE_MARK or not _is_plain(code):
            break
        if _LETTER_A <= code <= _LETTER_Z:
            bits |= _u(1) << _u(code - _LETTER_A)
        elif _ZERO <= code <= _NINE:
            bits |= _u(1) << _u(code - _ZERO + 26)
        elif code != _BLANK and code != _AT:
            bits |= _u(1) << _u(ODD_CODE)
        p = blank(data, p + 3)
        if byte(data, p) == _CLOSE_LIST:
            return bits, p + 1
        if byte(data, p) != _COMMA:
            break
        p = blank(data, p + 1)
    return _u(0), -1


@compiled
def _tape(text: Any) -> Any:
    """Return the bit of the tape in quotes, 0 when it is none."""
    if text == _TAPE_TEXTS[2]:
        return _TAPE_C
    return _TAPE_AB if text == _TAPE_TEXTS[0] or text == _TAPE_TEXTS[1] else _u(0)


@compiled
def _id(data: Any, p: int, powers: Any) -> Any:
    """Return the number at p, plus one, and its end; −1 when it is none of up to 16 digits."""
    text = word(data, p)
    if first_bytes(text, 4) == _NULL:
        return _u(0), p + 4
    count = bytes_before(non_digits(text))
    if count == 0 or (count > 1 and byte(data, p) == _ZERO):
        return _u(0), -1
    value = decimal(text, count)
    p += count
    if count == _BYTES:
        text = word(data, p)
        count = bytes_before(non_digits(text))
        if count > 0:
            value = value * np.int64(power(powers, count)) + decimal(text, count)
            p += count
    after = byte(data, p)
    if after == _DOT or (_ZERO <= after <= _NINE) or after | 32 == _EXPONENT:
        return _u(0), -1
    return _u(value) + _u(1), p


@compiled
def _exchange(data: Any, p: int) -> Any:
    """Return the one character in quotes at p and its end; −1 when it is something else."""
    code = byte(data, p + 1)
    if byte(data, p) == _QUOTE_MARK and byte(data, p + 2) == _QUOTE_MARK and _is_plain(code):
        return _u(code), p + 3
    return _u(0), p + 4 if first_bytes(word(data, p), 4) == _NULL else -1


@compiled
def _kind(said: Any, meaning: Any) -> int:
    if (meaning == _T and said == _KIND_T) or (meaning == _CHANNEL and said == _KIND_TRADES):
        return TRADE
    if (meaning == _T and said == _KIND_Q) or (meaning == _CHANNEL and said == _KIND_QUOTES):
        return QUOTE
    return UNUSUAL


@njit(cache=True, error_model="numpy")
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
            kind, end, at_ns, ingest_ns, packed, conditions, identity, first, second, third, fourth, last = _own_record(
                data, start, wanted, tables, last
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
