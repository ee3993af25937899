"""What was seen before: 128-bit identities, in arrays of a fixed size, forgotten by age and by number.

A lookup costs the same however much is remembered. Two different messages share an identity once in about 10^38 pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from torghut_core.byte_words import address, bits_of, compiled, double, put_word, word


class SeenTable:
    """An open-addressing table of identities, and a ring of them in the order they came.

    `info` is what compiled code takes, by address: where the arrays are, and what their sizes are.
    """

    def __init__(self, ttl_seconds: float, max_entries: int) -> None:
        size = 16
        while size < 2 * max_entries:
            size *= 2
        self._arrays = (
            np.zeros(2 * size, np.uint64),
            np.zeros(2 * max_entries, np.uint64),
            np.zeros(max_entries),
            np.zeros(2, np.int64),
        )
        sizes = np.array([16 * (size - 1), max_entries, np.float64(ttl_seconds).view(np.uint64)], np.uint64)
        self.info: NDArray[np.uint64] = np.concatenate(
            [np.array([address(each) for each in self._arrays], np.uint64), sizes]
        )

    @property
    def address(self) -> np.uint64:
        return address(self.info)

    def __len__(self) -> int:
        return int(self._arrays[3][1])


_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_SHIFT, _ONE = np.uint64(32), np.uint64(1)


@compiled
def mixed(first: Any, second: Any, value: Any) -> Any:
    """Return an identity with one more word in it."""
    first = (first ^ value) * _FIRST_FACTOR
    second = (second ^ value) * _SECOND_FACTOR
    return first ^ (first >> _SHIFT), second ^ (second >> _SHIFT)


@compiled
def trade_words(symbol: Any, exchange: Any, number: Any) -> Any:
    """Return the identity of a trade: symbol and exchange as packed text, and its number there."""
    first, second = mixed(np.uint64(0x74), np.uint64(0x74), symbol)
    first, second = mixed(first, second, exchange)
    first, second = mixed(first, second, number)
    return mixed(first, second, _ONE)


@compiled
def quote_words(symbol: Any, at_ns: Any, bx: Any, ax: Any, bp: Any, bs: Any, ap: Any, asks: Any) -> Any:
    """Return the identity of a quote: all that it says."""
    first, second = mixed(np.uint64(0x71), np.uint64(0x71), symbol)
    first, second = mixed(first, second, at_ns)
    first, second = mixed(first, second, bx)
    first, second = mixed(first, second, ax)
    first, second = mixed(first, second, bits_of(bp))
    first, second = mixed(first, second, bits_of(bs))
    first, second = mixed(first, second, bits_of(ap))
    first, second = mixed(first, second, bits_of(asks))
    return mixed(first, second, _ONE)


@njit(cache=True)
def _quote_identity(symbol: Any, at_ns: Any, venues: Any, values: Any) -> Any:
    return quote_words(symbol, at_ns, venues[0], venues[1], values[0], values[1], values[2], values[3])


def quote_identity(
    symbol: str, at_ns: int, venues: tuple[str, str], values: tuple[float, ...]
) -> tuple[np.uint64, np.uint64]:
    """Return what `quote_words` does, for names of up to eight characters; `values` are bp, bs, ap, as."""
    name, bid, ask = (np.uint64(int.from_bytes(text.encode(), "little")) for text in (symbol, *venues))
    first, second = _quote_identity(name, np.uint64(at_ns), (bid, ask), values)
    return np.uint64(first), np.uint64(second)


@njit(cache=True)
def _trade_identity(symbol: Any, exchange: Any, number: Any) -> Any:
    return trade_words(symbol, exchange, number)


def trade_identity(symbol: str, exchange: str, number: int) -> tuple[np.uint64, np.uint64]:
    """Return what `trade_words` does, for names of up to eight characters and a number that is not negative."""
    name, venue = (np.uint64(int.from_bytes(text.encode(), "little")) for text in (symbol, exchange))
    first, second = _trade_identity(name, venue, np.uint64(number))
    return np.uint64(first), np.uint64(second)


_ENTRY = 16
"""Bytes of an identity in the table and in the ring."""
_NOTHING = np.uint64(0)


@njit(cache=True)
def is_repeat(info: Any, first: Any, second: Any, now: Any) -> Any:
    """Tell whether this identity was seen within the time to live, and remember it; a repeat does not renew.

    `info` is the address of a table's.
    """
    table, ring, ring_at, state = word(info, 0), word(info, 8), word(info, 16), word(info, 24)
    mask, room, ttl = np.int64(word(info, 32)), np.int64(word(info, 40)), double(info, 48)
    if first == _NOTHING:
        first = _ONE
    oldest: Any = np.int64(word(state, 0))
    count = np.int64(word(state, 8))
    while count > 0 and (count >= room or now - double(ring_at, 8 * oldest) >= ttl):
        _remove(table, word(ring, _ENTRY * oldest), word(ring, _ENTRY * oldest + 8), mask)
        oldest = oldest + 1 if oldest + 1 < room else 0
        count -= 1
    at = np.int64(first << np.uint64(4)) & mask
    is_known = False
    while word(table, at) != _NOTHING:
        if word(table, at) == first and word(table, at + 8) == second:
            is_known = True
            break
        at = (at + _ENTRY) & mask
    if not is_known:
        put_word(table, at, first)
        put_word(table, at + 8, second)
        place = oldest + count
        if place >= room:
            place -= room
        put_word(ring, _ENTRY * place, first)
        put_word(ring, _ENTRY * place + 8, second)
        put_word(ring_at, 8 * place, bits_of(now))
        count += 1
    put_word(state, 0, np.uint64(oldest))
    put_word(state, 8, np.uint64(count))
    return is_known


@compiled
def _remove(table: Any, first: Any, second: Any, mask: Any) -> None:
    """Take an identity out and move those behind it up, so that none is cut off from its own place."""
    at = np.int64(first << np.uint64(4)) & mask
    while word(table, at) != first or word(table, at + 8) != second:
        if word(table, at) == _NOTHING:  # forgotten on request
            return
        at = (at + _ENTRY) & mask
    hole, following = at, (at + _ENTRY) & mask
    while word(table, following) != _NOTHING:
        home = np.int64(word(table, following) << np.uint64(4)) & mask
        if ((following - home) & mask) >= ((following - hole) & mask):
            put_word(table, hole, word(table, following))
            put_word(table, hole + 8, word(table, following + 8))
            hole = following
        following = (following + _ENTRY) & mask
    put_word(table, hole, _NOTHING)


@njit(cache=True)
def forget(info: Any, first: Any, second: Any) -> None:
    """Take one identity out before its time."""
    if first == _NOTHING:
        first = _ONE
    _remove(word(info, 0), first, second, np.int64(word(info, 32)))


def identity_of(key: Hashable) -> tuple[np.uint64, np.uint64]:
    """Return the identity of any key that has a stable text."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.uint64(int.from_bytes(digest[:8], "little")), np.uint64(int.from_bytes(digest[8:], "little"))
