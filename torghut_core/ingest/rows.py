"""What compiled passes over frames read and fill: the table of symbols, and rows of finished envelopes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.byte_words import address, compiled, copy, put_byte, put_word, word
from torghut_core.engines.byte_column import ByteColumn
from torghut_core.ingest.seen import SeenTable, is_repeat
from torghut_core.ingest.writing import Frame, put_end, put_head, put_middle
from torghut_core.json_scalars import POWERS

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "status")
TRADES, QUOTES, BARS, UPDATED_BARS, STATUS = range(5)
DONE, UNUSUAL, FULL = 0, 1, 2
"""How a pass ended: with the frame, before a message that it leaves to the caller, or for want of room."""
PADDING = bytes(1024)
"""What must follow a frame, so that a pass needs no test for its end within one value."""
MOST_AROUND_A_PAYLOAD = 512
ROWS, BYTES, REPEATED_TRADES, REPEATED_QUOTES, NOT_SUBSCRIBED, NEWEST_TRADE_NS, NEWEST_QUOTE_NS = range(7)
"""Places in `Rows.counts`."""


class Rows(NamedTuple):
    """Envelopes one after the other in one buffer, and a column for each thing known of them."""

    data: NDArray[np.uint8]
    channel: NDArray[np.uint8]
    place: NDArray[np.int64]
    """The symbol's place in the table."""
    ends: NDArray[np.int64]
    at_ns: NDArray[np.int64]
    counts: NDArray[np.int64]


def rows_with_room(size: int, count: int) -> Rows:
    """Return room for `count` envelopes of `size` bytes together."""
    return Rows(
        np.empty(size + 64, np.uint8),
        np.empty(count, np.uint8),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.zeros(7, np.int64),
    )


class SymbolArrays(NamedTuple):
    """The symbols for compiled passes."""

    keys: NDArray[np.uint64]
    slots: NDArray[np.int64]
    lengths: NDArray[np.int64]
    sequences: NDArray[np.int64]
    """The next number, by place and channel."""


class SymbolTable:
    """Every symbol that was ever wanted, by place. What comes under another name is not taken."""

    def __init__(self, first_sequence: int) -> None:
        self._first_sequence = first_sequence
        self.names: list[str] = []
        self.places: dict[str, int] = {}
        self.arrays: SymbolArrays
        self._room(64)

    def _room(self, count: int) -> None:
        sequences = np.full((count, len(CHANNELS)), self._first_sequence, np.int64)
        lengths = np.zeros(count, np.int64)
        if self.names:
            sequences[: len(self.names)] = self.arrays.sequences[: len(self.names)]
            lengths[: len(self.names)] = self.arrays.lengths[: len(self.names)]
        self.arrays = SymbolArrays(np.zeros(4 * count, np.uint64), np.zeros(4 * count, np.int64), lengths, sequences)
        for place, name in enumerate(self.names):
            self._index(name, place)

    def _index(self, name: str, place: int) -> None:
        text = name.encode()
        if len(text) <= 8:
            keys, slots = self.arrays.keys, self.arrays.slots
            insert(address(keys), address(slots), len(keys) - 1, packed(text), place)

    def add(self, names: Iterable[str]) -> None:
        """Give each new name a place."""
        for name in names:
            if name in self.places:
                continue
            place = len(self.names)
            if place == len(self.arrays.lengths):
                self._room(2 * place)
            self.names.append(name)
            self.places[name] = place
            self.arrays.lengths[place] = len(name.encode())
            self._index(name, place)

    def next_sequence(self, place: int, channel: int) -> int:
        """Return the next number of a symbol and channel, and count on."""
        number = int(self.arrays.sequences[place, channel])
        self.arrays.sequences[place, channel] = number + 1
        return number

    def keys(self, places: NDArray[np.int64]) -> ByteColumn:
        """Return the names at `places` as a column."""
        texts = [name.encode() for name in self.names]
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        starts = ends - self.arrays.lengths[: len(texts)]
        return ByteColumn(np.frombuffer(b"".join(texts), np.uint8), starts[places], ends[places])


def packed(text: bytes) -> np.uint64:
    """Return up to eight bytes as one word."""
    return np.uint64(int.from_bytes(text, "little"))


@compiled
def _slot(keys: Any, mask: Any, key: Any) -> Any:
    """Return where a key stands in the index, or would."""
    at = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while word(keys, 8 * at) != np.uint64(0) and word(keys, 8 * at) != key:
        at = (at + 1) & mask
    return at


@njit(cache=True)
def insert(keys: Any, slots: Any, mask: Any, key: Any, place: Any) -> None:
    """Put a key into the index at these addresses."""
    at = _slot(keys, mask, key)
    put_word(keys, 8 * at, key)
    put_word(slots, 8 * at, np.uint64(place))


# What a compiled pass is given: the address of an array of addresses and sizes.
(
    _TEXT,
    _ENDS,
    _OUT,
    _POWERS,
    _SCRATCH,
    _MINUTE,
    _CHANNEL_COLUMN,
    _PLACE_COLUMN,
    _END_COLUMN,
    _TIME_COLUMN,
    _COUNTS,
    _OUT_SIZE,
    _ROW_ROOM,
    _KEYS,
    _SLOTS,
    _MASK,
    _LENGTHS,
    _SEQUENCES,
    _SEEN,
    _KEPT,
) = range(20)


def pass_context(
    parts: Frame,
    rows: Rows,
    symbols: SymbolArrays,
    scratch: tuple[NDArray[Any], ...],
    seen: SeenTable,
    kept: SeenTable | None,
) -> NDArray[np.uint64]:
    """Return what a compiled pass is given. All that it names must outlive its use."""
    first: list[NDArray[Any]] = [
        parts.text,
        parts.ends,
        rows.data,
        POWERS,
        *scratch,
        rows.channel,
        rows.place,
        rows.ends,
        rows.at_ns,
        rows.counts,
    ]
    return np.array(
        [
            *map(address, first),
            len(rows.data),
            len(rows.ends),
            address(symbols.keys),
            address(symbols.slots),
            len(symbols.keys) - 1,
            address(symbols.lengths),
            address(symbols.sequences),
            seen.address,
            kept.address if kept is not None else 0,
        ],
        np.uint64,
    )


@compiled
def given(context: Any, place: Any) -> Any:
    """Return one of the addresses or sizes."""
    return word(context, 8 * place)


@compiled
def count(counts: Any, place: Any, by: Any) -> None:
    """Add to one of the counts."""
    put_word(counts, 8 * place, word(counts, 8 * place) + np.uint64(by))


@compiled
def has_room(context: Any, size: Any) -> Any:
    """Tell whether a payload of `size` bytes still finds room."""
    counts = given(context, _COUNTS)
    used = np.int64(word(counts, 8 * BYTES)) + size + MOST_AROUND_A_PAYLOAD
    return word(counts, 8 * ROWS) < given(context, _ROW_ROOM) and used <= np.int64(given(context, _OUT_SIZE))


@compiled
def envelope(
    context: Any, is_quote: Any, symbol: Any, at_ns: Any, first: Any, second: Any, now: Any, stamp: Any, payload: Any
) -> None:
    """Write a message as a row, unless it is a repeat or nobody wanted its symbol.

    `stamp` is address, start and end of the time's text; `payload` the same of what follows the opening brace.
    """
    counts = given(context, _COUNTS)
    at = _slot(given(context, _KEYS), np.int64(given(context, _MASK)), symbol)
    if symbol == np.uint64(0) or word(given(context, _KEYS), 8 * at) != symbol:
        count(counts, NOT_SUBSCRIBED, 1)
    elif is_repeat(given(context, _SEEN), first, second, now):
        count(counts, REPEATED_QUOTES if is_quote else REPEATED_TRADES, 1)
    else:
        if not is_quote and given(context, _KEPT) != np.uint64(0):
            is_repeat(given(context, _KEPT), first, second, now)
        place = np.int64(word(given(context, _SLOTS), 8 * at))
        channel = QUOTES if is_quote else TRADES
        out, text, ends = given(context, _OUT), given(context, _TEXT), given(context, _ENDS)
        at = np.int64(word(counts, 8 * BYTES))
        at = put_head(out, at, text, ends)
        at = copy(out, at, stamp[0], stamp[1], stamp[2])
        sequence_at = 8 * (len(CHANNELS) * place + channel)
        sequence = word(given(context, _SEQUENCES), sequence_at)
        at = put_middle(
            out, at, text, ends, is_quote, symbol, np.int64(word(given(context, _LENGTHS), 8 * place)), sequence
        )
        put_word(given(context, _SEQUENCES), sequence_at, sequence + np.uint64(1))
        put_byte(out, at, np.uint64(123))
        at = copy(out, at + 1, payload[0], payload[1], payload[2])
        at = put_end(out, at, text, ends)
        row = np.int64(word(counts, 8 * ROWS))
        put_byte(given(context, _CHANNEL_COLUMN), row, np.uint64(channel))
        put_word(given(context, _PLACE_COLUMN), 8 * row, np.uint64(place))
        put_word(given(context, _END_COLUMN), 8 * row, np.uint64(at))
        put_word(given(context, _TIME_COLUMN), 8 * row, np.uint64(at_ns))
        put_word(counts, 8 * ROWS, np.uint64(row + 1))
        put_word(counts, 8 * BYTES, np.uint64(at))
        newest = 8 * (NEWEST_QUOTE_NS if is_quote else NEWEST_TRADE_NS)
        if np.int64(word(counts, newest)) < at_ns:
            put_word(counts, newest, np.uint64(at_ns))


@compiled
def powers_of(context: Any) -> Any:
    return given(context, _POWERS)


@compiled
def scratch_of(context: Any) -> Any:
    return given(context, _SCRATCH)


@compiled
def minute_of(context: Any) -> Any:
    return given(context, _MINUTE)


@njit(cache=True)
def _pack(data: Any, starts: Any, ends: Any, out: Any) -> None:
    at = np.int64(0)
    for row in range(len(starts)):
        at = copy(out, at, data, starts[row], ends[row])


def packed_column(data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> ByteColumn:
    """Return the strings of a buffer that has eight bytes of room behind them, copied one directly after the other."""
    sizes = np.cumsum(ends - starts)
    found = np.empty(int(sizes[-1]) + 8, np.uint8)
    _pack(address(data), starts, ends, address(found))
    return ByteColumn.packed(found[: int(sizes[-1])], sizes)
