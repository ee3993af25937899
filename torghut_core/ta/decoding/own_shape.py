"""The record as the forwarder writes it, read at known places; every other shape is the scanner's."""

from __future__ import annotations

from typing import Any

import numpy as np

from torghut_core.byte_words import byte, bytes_before, compiled, digits_end, first_bytes, stops, string_end, word
from torghut_core.json_scalars import number, time
from torghut_core.ta.decoding.kinds import QUOTE, TRADE, UNUSUAL
from torghut_core.ta.decoding.trade_scalars import codes, is_plain, key, tape, trade_number
from torghut_core.ta.decoding.trade_scalars import exchange as exchange_of

_QUOTE_MARK, _COMMA, _CLOSE, _ZERO = 34, 44, 125, 48


def _words(text: str, *places: int) -> tuple[np.uint64, ...]:
    """Return the eight bytes at each place of what stands between two values of an envelope."""
    return tuple(key(text[place : place + 8]) for place in places)


# What stands between the values, in the contract's order.
_HEAD = _words('{"ingest_ts":"', 0, 6)
_EVENT = _words('","event_ts":"', 0, 6)
_FEED = _words('","feed":"', 0, 2)
_NEXT_CHANNEL = _words('","channel":"', 0, 5)
_TRADES = _words('trades","symbol":"', 0, 8, 10)
_QUOTES_TEXT = _words('quotes","symbol":"', 0, 8, 10)
_SEQ = key('","seq":')
_TAIL = _words(',"is_final":true,"source":"ws","window":null,"payload":{', 0, 8, 16, 24, 32, 40, 48)
_VERSION = _words('},"version":1}', 1, 6)
_SHORT_KEY, _SHORT_MASK = key('"\0":'), np.uint64(0xFFFF00FF)
_LONG_KEY, _LONG_MASK = key('"\0\0":'), np.uint64(0xFFFF0000FF)
_KEY_P, _KEY_S, _KEY_I, _KEY_C, _KEY_X, _KEY_Z, _KEY_SYMBOL, _KEY_T = map(ord, "psicxzSt")
_KEY_BX, _KEY_AX, _KEY_BP, _KEY_AP, _KEY_BS, _KEY_AS = (int(key(name)) for name in ("bx", "ax", "bp", "ap", "bs", "as"))
_ALL_OF_TRADE, _ALL_OF_QUOTE = 1 | 2, 1024 | 2048 | 4096 | 8192
"""What a payload must say: price and size, or both sides of a quote."""


@compiled
def own_record(data: Any, p: int, wanted: int, powers: Any, last: Any) -> Any:
    """Read the record at p where it has the shape that the forwarder writes; return as the scanner does.

    The envelope's members stand in the contract's order, without blanks, so what stands between the values is compared
    eight bytes at a time, and only the payload's keys are looked at one by one. Any other shape is called unusual here,
    and left to the scanner.
    """
    first, second, third, fourth = 0.0, 0.0, 0.0, 0.0
    at_ns, ingest_ns, packed = np.int64(0), np.int64(0), np.uint64(0)
    conditions, trade_id, exchange = np.uint64(0), np.uint64(0), np.uint64(0)
    kind, seen, end = UNUSUAL, 0, p
    for _ in range(1):
        if word(data, p) != _HEAD[0] or word(data, p + 6) != _HEAD[1]:
            break
        ingest_ns, end, last = time(data, p + 14, powers, last)
        if end < 0 or word(data, end) != _EVENT[0] or word(data, end + 6) != _EVENT[1]:
            break
        at_ns, end, last = time(data, end + 14, powers, last)
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
                name = np.int64((text >> np.uint64(8)) & np.uint64(255))
                end += 4
                if name == _KEY_P or name == _KEY_S:
                    is_number, value, end = number(data, end, powers)
                    if not is_number:
                        break
                    if name == _KEY_P:
                        first, found = value, 1
                    else:
                        second, found = value, 2
                elif name == _KEY_I:
                    trade_id, end = trade_number(data, end, powers)
                    found = 4
                elif name == _KEY_C:
                    bits, end = codes(data, end)
                    conditions |= bits
                    found = 8
                elif name == _KEY_X:
                    exchange, end = exchange_of(data, end)
                    found = 16
                elif name == _KEY_Z:
                    text = word(data, end)
                    if first_bytes(text, 1) != np.uint64(_QUOTE_MARK) or (text >> np.uint64(16)) & np.uint64(
                        255
                    ) != np.uint64(_QUOTE_MARK):
                        break
                    if not is_plain(np.int64((text >> np.uint64(8)) & np.uint64(255))):
                        break
                    conditions |= tape(first_bytes(text, 3))
                    end, found = end + 3, 32
                elif name == _KEY_SYMBOL or name == _KEY_T:
                    if byte(data, end) != _QUOTE_MARK:
                        break
                    end = string_end(data, end + 1)
                    if byte(data, end) != _QUOTE_MARK:
                        break
                    end, found = end + 1, 64 if name == _KEY_T else 128
                else:
                    break
            elif text & _LONG_MASK == _LONG_KEY and wanted == QUOTE:
                name = np.int64((text >> np.uint64(8)) & np.uint64(0xFFFF))
                end += 5
                if name == _KEY_BX or name == _KEY_AX:
                    _, end = exchange_of(data, end)
                    found = 256 if name == _KEY_BX else 512
                else:
                    is_number, value, end = number(data, end, powers)
                    if not is_number:
                        break
                    if name == _KEY_BP:
                        first, found = value, 1024
                    elif name == _KEY_AP:
                        second, found = value, 2048
                    elif name == _KEY_BS:
                        third, found = value, 4096
                    elif name == _KEY_AS:
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
    identity = (trade_id << np.uint64(8)) + exchange if trade_id != np.uint64(0) else np.uint64(0)
    return kind, end, at_ns, ingest_ns, packed, conditions, identity, first, second, third, fourth, last
