"""The input of the TA benchmark: trades as JSON envelopes, most of them a little out of order. Standard library alone.

Its shape is that of a recorded day of two liquid names: bursts, as an order is filled in several trades at once, and
about 6.4 trades to a second that has any.
"""

from __future__ import annotations

import random
from pathlib import Path

SYMBOLS = 200
PER_SECOND = 556
"""Two million trades in an hour."""
_GOES_ON = 0.6
"""Chance that another trade of the same order follows: bursts of 2.5 trades on average."""
START = 1_780_408_800
_LINE = (
    '{"ingest_ts":"%s","event_ts":"%s","feed":"sip","channel":"trades","symbol":"%s","seq":%d,"is_final":true,'
    '"source":"ws","window":null,"payload":{"S":"%s","i":%d,"x":"V","p":%.2f,"s":%d,"c":["@"],"t":"%s","z":"C"},'
    '"version":1}\n'
)


def write_trades(path: Path, events: int, symbols: int = SYMBOLS) -> None:
    """Write `events` trades of `symbols` symbols; each arrives up to 1.9 s after its event time."""
    chance = random.Random(20260602)
    names = [f"SYM{number:03d}" for number in range(symbols)]
    prices = [chance.uniform(10, 400) for _ in names]
    with path.open("w") as file:
        symbol, traded = 0, 0.0
        for number in range(events):
            arrival = number / PER_SECOND
            if number == 0 or chance.random() >= _GOES_ON:
                symbol = int(symbols * chance.random() ** 4)  # some trade far more than others
                traded = max(0.0, arrival - 1.9 * chance.random())
            prices[symbol] *= 1 + chance.gauss(0, 1e-4)
            at = _time(traded)
            name = names[symbol]
            said = (_time(arrival), at, name, number, name, number, prices[symbol], chance.randint(1, 900), at)
            file.write(_LINE % said)


def _time(seconds: float) -> str:
    whole = int(seconds)
    minute, second = divmod(whole, 60)
    return f"2026-06-02T{14 + minute // 60:02d}:{minute % 60:02d}:{second:02d}.{int((seconds - whole) * 1e6):06d}Z"
