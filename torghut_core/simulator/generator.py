"""A seeded market: the same seed, symbols and start give the same messages, whatever the speed they are sent at.

Each symbol has a character. `swinging` ones rise and fall by about half a percent every 50 seconds, wide enough for a
momentum rule to act within a minute; `drifting` ones walk at random; `quiet` ones trade a few times a minute. Activity
follows the session: bursts at open and close, a lull at midday, little before and after hours, nothing when closed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Literal

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.exchange.messages import Message, encode_message
from torghut_core.market_calendar import NEW_YORK, CalendarName, MarketCalendar, Session

Character = Literal["swinging", "drifting", "quiet"]
_CHARACTERS: Sequence[Character] = ("swinging", "swinging", "drifting", "swinging", "quiet")
_SWING_SECONDS = 50.0
_SWING_AMPLITUDE = 0.006
_TRADES_PER_SECOND: dict[Character, float] = {"swinging": 3.0, "drifting": 2.0, "quiet": 0.05}
_QUOTES_PER_SECOND: dict[Character, float] = {"swinging": 4.0, "drifting": 3.0, "quiet": 0.2}
_EXCHANGES = "VQPNZK"
_TAPES = "ABC"
_MILLISECOND_NS = 1_000_000


@dataclass(kw_only=True)
class _Stock:
    symbol: str
    character: Character
    random: Random
    phase: float
    base_price: float
    tape: str
    walk: float = 0.0
    next_trade_id: int = 1
    bid: float = 0.0
    ask: float = 0.0

    def price(self, ns: int) -> float:
        """Return the price the market agrees on at an instant."""
        price = self.base_price * math.exp(self.walk)
        if self.character == "swinging":
            price *= 1 + _SWING_AMPLITUDE * swing(ns / NANOS_PER_SECOND / _SWING_SECONDS + self.phase)
        return price


def swing(turns: float) -> float:
    """Return a wave between -1 and 1 with one period per turn, slow at its ends and quick through its middle.

    Each half is 1 - |1 - 2x|³, so that a move loses pace well before it turns.
    """
    half = (turns % 1.0) * 2
    sign = 1.0 if half < 1 else -1.0
    return sign * (1 - abs(1 - 2 * (half % 1.0)) ** 3)


class GeneratedSource:
    """Messages without end from `start_ns` on, made a second at a time.

    `late_trades` is how many trades per symbol and hour arrive in the minute after their own.
    """

    def __init__(
        self,
        *,
        seed: int,
        symbols: Sequence[str],
        start_ns: int,
        calendar: CalendarName = "XNYS",
        late_trades: float = 0.0,
    ) -> None:
        self._calendar = MarketCalendar(calendar)
        self._late_share = late_trades * 10 / 3600  # they can only arrive in 6 of a minute's 60 seconds
        self._second = start_ns // NANOS_PER_SECOND
        self._stocks = [_new_stock(seed, symbol, index, len(symbols)) for index, symbol in enumerate(symbols)]
        self._ready: list[Message] = []
        self._position = 0
        self.symbols: set[str] = set(symbols)
        self.first_ns = self._second * NANOS_PER_SECOND
        self.left_out = 0

    @property
    def next_at_ns(self) -> int:
        """When the next message is due at the earliest."""
        if self._position < len(self._ready):
            return self._ready[self._position].at_ns
        return self._second * NANOS_PER_SECOND

    def take(self, until_ns: int, limit: int) -> list[Message]:
        """Return up to `limit` messages due by `until_ns`."""
        taken: list[Message] = []
        while len(taken) < limit:
            if self._position == len(self._ready):
                if self._second * NANOS_PER_SECOND > until_ns:
                    break
                self._ready, self._position = self._make_second(), 0
                continue
            message = self._ready[self._position]
            if message.at_ns > until_ns:
                break
            taken.append(message)
            self._position += 1
        return taken

    def _make_second(self) -> list[Message]:
        start_ns = self._second * NANOS_PER_SECOND
        activity = self._activity(start_ns)
        self._second += 1
        if activity == 0:
            # Whole minutes of a closed market are passed over at once.
            self._second = (self._second + 59) // 60 * 60
            return []
        made: list[Message] = []
        for stock in self._stocks:
            made += _stock_second(stock, start_ns, activity, self._late_share)
        made.sort(key=lambda message: message.at_ns)
        return made

    def _activity(self, ns: int) -> float:
        session = self._calendar.session(ns)
        if session is Session.CLOSED:
            return 0.0
        if self._calendar.is_always_open:
            return _burst(ns // NANOS_PER_SECOND % 3600, 3600)
        if session is not Session.REGULAR:
            return 0.15
        local = datetime.fromtimestamp(ns // NANOS_PER_SECOND, NEW_YORK)
        since_open = local.hour * 3600 + local.minute * 60 + local.second - (9 * 3600 + 30 * 60)
        opened, closes = self._calendar.next_regular(ns)
        return _burst(since_open, (closes - opened) // NANOS_PER_SECOND)


def _burst(since_open: int, length: int) -> float:
    """Return the activity at a second of a session: about 5 at the open, 0.7 in the middle, 4 at the close."""
    before_close = length - since_open
    scale = length / 78  # five minutes of a whole day, under one of an hour
    return 0.7 + 4.3 * math.exp(-since_open / scale) + 3.3 * math.exp(-before_close / scale)


def _new_stock(seed: int, symbol: str, index: int, count: int) -> _Stock:
    random = Random(f"{seed}:{symbol}")
    return _Stock(
        symbol=symbol,
        character=_CHARACTERS[index % len(_CHARACTERS)],
        random=random,
        phase=index / count,
        base_price=round(random.uniform(40, 260), 2),
        tape=_TAPES[random.randrange(3)],
    )


def _stock_second(stock: _Stock, start_ns: int, activity: float, late_share: float) -> list[Message]:
    random = stock.random
    # The walk is drawn back to its start, so that prices stay in their range however long the market runs.
    stock.walk += random.gauss(0, 0.00006 if stock.character == "swinging" else 0.00015) - stock.walk * 0.0005
    trades = _poisson(random, _TRADES_PER_SECOND[stock.character] * activity)
    quotes = _poisson(random, _QUOTES_PER_SECOND[stock.character] * activity)
    if stock.character == "swinging":
        trades, quotes = max(trades, 1), max(quotes, 1)
    moments = [(random.randrange(1000), False) for _ in range(quotes)]
    moments += [(random.randrange(1000), True) for _ in range(trades)]
    if trades > 2 and random.random() < 0.3:  # an order that sweeps the book trades several times in one instant
        sweep = random.randrange(1000)
        moments += [(sweep, True)] * random.randint(2, 4)
    made = [] if stock.bid else [_quote(stock, start_ns)]
    for millisecond, is_trade in sorted(moments):
        at_ns = start_ns + millisecond * _MILLISECOND_NS
        made.append(_trade(stock, at_ns, at_ns) if is_trade else _quote(stock, at_ns))
    second_of_minute = start_ns // NANOS_PER_SECOND % 60
    if 3 <= second_of_minute < 9 and random.random() < late_share:
        minute_ns = start_ns - second_of_minute * NANOS_PER_SECOND
        event_ns = minute_ns - random.randint(1, 2000) * _MILLISECOND_NS
        made.append(_trade(stock, start_ns + 999 * _MILLISECOND_NS, event_ns))
    return made


def _poisson(random: Random, mean: float) -> int:
    """Return a Poisson-distributed count (Knuth, The Art of Computer Programming, volume 2, section 3.4.1)."""
    limit, product, count = math.exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        count += 1
    return count


def _quote(stock: _Stock, at_ns: int) -> Message:
    random = stock.random
    spread = random.choice((1, 1, 1, 2, 2, 3)) if stock.character != "quiet" else random.randint(3, 9)
    cents = round(stock.price(at_ns) * 100)
    stock.bid = (cents - (spread + random.randrange(2)) // 2) / 100
    stock.ask = (round(stock.bid * 100) + spread) / 100
    fields: dict[str, Any] = {
        "T": "q",
        "S": stock.symbol,
        "bx": random.choice(_EXCHANGES),
        "bp": stock.bid,
        "bs": random.randint(1, 12) * 100,
        "ax": random.choice(_EXCHANGES),
        "ap": stock.ask,
        "as": random.randint(1, 12) * 100,
        "c": ["R"],
        "z": stock.tape,
    }
    return encode_message(at_ns, at_ns, fields)


def _trade(stock: _Stock, at_ns: int, event_ns: int) -> Message:
    random = stock.random
    kind_of_size = random.random()
    size: float
    if kind_of_size < 0.02:
        size, conditions = round(random.uniform(0.05, 9.5), 3), ["@", "I"]
    elif kind_of_size < 0.35:
        size, conditions = random.randint(1, 99), ["@", "I"]
    else:
        size, conditions = random.randint(1, 8) * 100, ["@", "F"] if random.random() < 0.2 else ["@"]
    fields: dict[str, Any] = {
        "T": "t",
        "S": stock.symbol,
        "i": stock.next_trade_id,
        "x": random.choice(_EXCHANGES),
        "p": stock.ask if random.random() < 0.5 else stock.bid,
        "s": size,
        "c": conditions,
        "z": stock.tape,
    }
    stock.next_trade_id += 1
    return encode_message(at_ns, event_ns, fields)
