"""Bytes eight at a time, for compiled passes over text: where a string ends, how many digits stand here, their value.

A word is the eight bytes from a place on, the first one lowest. Marks are the high bits of the bytes that were looked
for; the lowest mark is exact, those above it need not be. Places are an address and
an offset; callers see to it that eight bytes beyond any newline can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile what is called many times a record into its callers: a call would cost more than its work."""
    inlined: Any = njit(cache=True, forceinline=True, error_model="numpy")(function)
    return cast("_Function", inlined)


_LOW, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_QUOTES, _BACKSLASHES, _DELETES = (np.uint64(code * 0x0101010101010101) for code in (34, 92, 127))
_BLANKS, _ZEROS, _BEYOND_NINE = (np.uint64(code * 0x0101010101010101) for code in (32, 48, 0x76))
_WORD_BITS, _BYTES = 64, 8


def _load(bits: int, result: Any) -> Any:
    """Return an intrinsic that reads a number at an address and an offset in bytes, wherever that falls."""

    @intrinsic
    def load(_context: Any, _address: Any, _offset: Any) -> Any:
        def generate(_codegen: Any, builder: Any, _signature: Any, given: Any) -> Any:
            kind = ir.DoubleType() if result is types.float64 else ir.IntType(bits)
            place = builder.inttoptr(builder.add(given[0], given[1]), kind.as_pointer())
            read = builder.load(place, align=1)
            return read if bits == _WORD_BITS else builder.zext(read, ir.IntType(_WORD_BITS))

        return result(types.uint64, types.int64), generate

    return load


# Addresses instead of arrays: an array that is passed on is counted, twice a call, which costs more than what is read.
byte: Any = _load(8, types.int64)
word: Any = _load(_WORD_BITS, types.uint64)
double: Any = _load(_WORD_BITS, types.float64)


@intrinsic
def _trailing_zeros(_context: Any, _number: Any) -> Any:
    def generate(_codegen: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


_zeros: Any = _trailing_zeros


@compiled
def bytes_before(marks: Any) -> Any:
    """Return how many bytes stand before the lowest mark, 8 without one."""
    return _zeros(marks) >> 3


@compiled
def first_bytes(text: Any, count: Any) -> Any:
    """Return a word's first `count` bytes (0 to 8), the others zero."""
    return text if count == _BYTES else text & ((np.uint64(1) << np.uint64(8 * count)) - np.uint64(1))


@compiled
def stops(text: Any) -> Any:
    """Mark what is no plain character of a JSON string: quotes, backslashes, controls, all beyond ASCII."""
    quote, backslash, delete = text ^ _QUOTES, text ^ _BACKSLASHES, text ^ _DELETES
    found = ((quote - _LOW) & ~quote) | ((backslash - _LOW) & ~backslash) | ((delete - _LOW) & ~delete)
    return (found | ((text - _BLANKS) & ~text) | text) & _HIGH


@compiled
def non_digits(text: Any) -> Any:
    """Mark what is no decimal digit."""
    digit = text ^ _ZEROS
    return ((digit + _BEYOND_NINE) | digit) & _HIGH


@compiled
def decimal(text: Any, count: Any) -> Any:
    """Return the number that a word's first `count` digits (1 to 8) spell."""
    # Pairs, then fours, then all eight are put together by one multiplication each.
    text = (text << np.uint64(_WORD_BITS - 8 * count)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    text = ((text * np.uint64(2561)) >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    text = ((text * np.uint64(6553601)) >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return np.int64((text * np.uint64(42949672960001)) >> np.uint64(32))


@compiled
def string_end(data: Any, at: Any) -> Any:
    """Return the place of the first character from `at` on that is not plain."""
    while True:
        marks = stops(word(data, at))
        at += bytes_before(marks)
        if marks != np.uint64(0):
            return at


@compiled
def digits_end(data: Any, at: Any) -> Any:
    """Return the place of the first character from `at` on that is no digit."""
    while True:
        marks = non_digits(word(data, at))
        at += bytes_before(marks)
        if marks != np.uint64(0):
            return at


def _store(bits: int) -> Any:
    """Return an intrinsic that writes a word's low `bits` at an address and an offset in bytes, wherever that falls."""

    @intrinsic
    def store(_context: Any, _address: Any, _offset: Any, _value: Any) -> Any:
        def generate(_codegen: Any, builder: Any, _signature: Any, given: Any) -> Any:
            kind = ir.IntType(bits)
            place = builder.inttoptr(builder.add(given[0], given[1]), kind.as_pointer())
            value = given[2] if bits == _WORD_BITS else builder.trunc(given[2], kind)
            builder.store(value, place, align=1)
            return _codegen.get_dummy_value()

        return types.none(types.uint64, types.int64, types.uint64), generate

    return store


put_byte: Any = _store(8)
put_word: Any = _store(_WORD_BITS)


def _converted(result: Any, given_type: Any, instruction: str) -> Any:
    @intrinsic
    def convert(_context: Any, _value: Any) -> Any:
        def generate(_codegen: Any, builder: Any, _signature: Any, given: Any) -> Any:
            if instruction == "bswap":
                return builder.bswap(given[0])
            return builder.bitcast(given[0], ir.DoubleType() if result is types.float64 else ir.IntType(_WORD_BITS))

        return result(given_type), generate

    return convert


reversed_bytes: Any = _converted(types.uint64, types.uint64, "bswap")
double_of: Any = _converted(types.float64, types.uint64, "bitcast")
bits_of: Any = _converted(types.uint64, types.float64, "bitcast")


@compiled
def copy(to: Any, at: Any, data: Any, start: Any, end: Any) -> Any:
    """Copy the bytes from `start` to before `end` and return the place after them.

    Up to seven bytes behind either end are read and written too.
    """
    place = at
    while start < end:
        put_word(to, place, word(data, start))
        start += _BYTES
        place += _BYTES
    return at + (end - (start - (place - at)))


def address(array: NDArray[Any]) -> np.uint64:
    """Return where the elements begin; they must outlive its use."""
    return np.uint64(array.__array_interface__["data"][0])
