"""A trade's sale conditions and tape as bits, and which trade it is as one number: what the scan and the parser yield.

`Trades.conditions` has bit `BITS[code]` for each code the trade carries (blank and `@` have none: a regular sale), and
one of `TAPE_AB` and `TAPE_C`, or neither where the tape is not known. `Trades.identity` is 0 for a trade without an id.
"""

from __future__ import annotations

import hashlib
import string
from typing import Any

CODES = string.ascii_uppercase + string.digits
BITS = {code: bit for bit, code in enumerate(CODES)}
ODD_CODE = 36
"""Bit of what is no letter and no digit: no plan has such a code."""
TAPE_AB, TAPE_C = 1 << 40, 1 << 41
_TAPES = {"A": TAPE_AB, "B": TAPE_AB, "C": TAPE_C}
LARGEST_ID = 10**16 - 1
"""Ids up to here, with an exchange of one ASCII character, are their own identity; others are hashed."""
_HASHED = 1 << 63


def condition_bits(codes: Any, tape: Any) -> int:
    """Return the bits of decoded `c` (a list of codes, a text of them, or nothing) and `z`."""
    found: int = _TAPES.get(tape, 0) if isinstance(tape, str) else 0
    if codes is None:
        return found
    for code in codes if isinstance(codes, (list, str)) else [None]:
        if code not in (" ", "@", ""):
            bit = BITS.get(code, ODD_CODE) if isinstance(code, str) else ODD_CODE
            found |= 1 << bit
    return found


def identity(number: Any, exchange: Any) -> int:
    """Return a trade's number of its own within its symbol, from decoded `i` and `x`; 0 without an id."""
    if number is None or isinstance(number, (bool, list, dict)):
        return 0
    if exchange is None:
        exchange = ""
    is_plain = isinstance(number, int) and 0 <= number <= LARGEST_ID and isinstance(exchange, str)
    if is_plain and len(exchange) <= 1 and exchange.isascii():
        plain: int = (number + 1) * 256 + (ord(exchange) if exchange else 0)
        return plain
    digest = hashlib.blake2b(repr((number, exchange)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") | _HASHED
