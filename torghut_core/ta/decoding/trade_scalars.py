"""A trade's conditions, tape, id and exchange out of JSON bytes, in compiled code: the bits and the number of `conditions`."""

from __future__ import annotations

from typing import Any

import numpy as np

from torghut_core.byte_words import byte, bytes_before, compiled, decimal, first_bytes, non_digits, word
from torghut_core.json_scalars import blank, power
from torghut_core.ta.decoding.conditions import ODD_CODE, TAPE_AB, TAPE_C


def key(text: str) -> np.uint64:
    """Return up to eight characters as a word, the first one lowest."""
    return np.uint64(int.from_bytes(text.encode(), "little"))


_QUOTE_MARK, _COMMA, _DOT = 34, 44, 46
_OPEN_LIST, _CLOSE_LIST, _ZERO, _NINE, _EXPONENT = 91, 93, 48, 57, 101
_REGULAR, _NULL = key('["@"]'), key("null")
_LETTER_A, _LETTER_Z, _BLANK, _AT = 65, 90, 32, 64
_TAPE_TEXTS = tuple(key(f'"{text}"') for text in "ABC")
_TAPE_AB, _TAPE_C = np.uint64(TAPE_AB), np.uint64(TAPE_C)
_BYTES = 8


@compiled
def is_plain(code: Any) -> Any:
    """Tell whether a character stands for itself in a JSON string."""
    return _BLANK <= code <= 126 and code != _QUOTE_MARK and code != 92


@compiled
def codes(data: Any, p: int) -> Any:
    """Return the bits of the list of one-character codes at p and its end, −1 when it is something else."""
    text = word(data, p)
    if first_bytes(text, 5) == _REGULAR:
        return np.uint64(0), p + 5
    if first_bytes(text, 4) == _NULL:
        return np.uint64(0), p + 4
    if byte(data, p) != _OPEN_LIST:
        return np.uint64(0), -1
    bits = np.uint64(0)
    p = blank(data, p + 1)
    if byte(data, p) == _CLOSE_LIST:
        return bits, p + 1
    for _ in range(16):
        code = byte(data, p + 1)
        if byte(data, p) != _QUOTE_MARK or byte(data, p + 2) != _QUOTE_MARK or not is_plain(code):
            break
        if _LETTER_A <= code <= _LETTER_Z:
            bits |= np.uint64(1) << np.uint64(code - _LETTER_A)
        elif _ZERO <= code <= _NINE:
            bits |= np.uint64(1) << np.uint64(code - _ZERO + 26)
        elif code != _BLANK and code != _AT:
            bits |= np.uint64(1) << np.uint64(ODD_CODE)
        p = blank(data, p + 3)
        if byte(data, p) == _CLOSE_LIST:
            return bits, p + 1
        if byte(data, p) != _COMMA:
            break
        p = blank(data, p + 1)
    return np.uint64(0), -1


@compiled
def tape(text: Any) -> Any:
    """Return the bit of the tape in quotes, 0 when it is none."""
    if text == _TAPE_TEXTS[2]:
        return _TAPE_C
    return _TAPE_AB if text == _TAPE_TEXTS[0] or text == _TAPE_TEXTS[1] else np.uint64(0)


@compiled
def trade_number(data: Any, p: int, powers: Any) -> Any:
    """Return the number at p, plus one, and its end; −1 when it is none of up to 16 digits."""
    text = word(data, p)
    if first_bytes(text, 4) == _NULL:
        return np.uint64(0), p + 4
    count = bytes_before(non_digits(text))
    if count == 0 or (count > 1 and byte(data, p) == _ZERO):
        return np.uint64(0), -1
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
        return np.uint64(0), -1
    return np.uint64(value) + np.uint64(1), p


@compiled
def exchange(data: Any, p: int) -> Any:
    """Return the one character in quotes at p and its end; −1 when it is something else."""
    code = byte(data, p + 1)
    if byte(data, p) == _QUOTE_MARK and byte(data, p + 2) == _QUOTE_MARK and is_plain(code):
        return np.uint64(code), p + 3
    return np.uint64(0), p + 4 if first_bytes(word(data, p), 4) == _NULL else -1
