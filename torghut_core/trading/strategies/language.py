"""The words of a condition, one line each:

    macd crosses above macd_signal            close < 0.998 * vwap_session - 0.01
    rsi14 < 35 within 30 bars                 time between 09:45 and 15:30
    minutes_to_close <= 10                    held for 60 bars

A side is a number, or a column with a factor before or behind it and an offset. `within N bars` is this bar or one of the
N before it. Times are New York's, at the bar's end: from the first on, up to and without the second. `bars_held`,
`minutes_held` and `average_price` are null while nothing is held; `flat`, `held`, `held for N bars` and
`held under N bars` ask for the position itself, over 599 bars at most. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from torghut_core.trading.strategies.conditions import (
    KNOWN,
    Comparison,
    Condition,
    Cross,
    Holding,
    Operand,
    Order,
    TimeOfDay,
)
from torghut_core.trading.strategies.rule import MOST_BARS

MOST_WITHIN = 500
"""Bars that `within` may look back."""
_MOST_TEXT = 200
_TOKEN = re.compile(
    r"\s*(?:(?P<clock>\d{1,2}:\d{2})|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|<|>|\*|\+|-))",
    re.ASCII,
)
_ORDERS = ("<=", ">=", "<", ">")


class UnreadableError(ValueError):
    """A condition says what the language has no meaning for; `offset` is where, in characters."""

    def __init__(self, rule: str, offset: int) -> None:
        super().__init__(rule)
        self.offset = offset


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    offset: int


def parse_condition(text: str) -> Condition:
    """Return what one line means. Raises UnreadableError."""
    return _Parser(text).condition()


def parse_operand(text: str) -> Operand:
    """Return a price or other number as `boll_lower - 0.05` states it. Raises UnreadableError."""
    parser = _Parser(text)
    operand = parser.operand()
    parser.end()
    return operand


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > _MOST_TEXT:
            raise UnreadableError(f"must be no longer than {_MOST_TEXT} characters", 0)
        self._tokens = _tokens(text)
        self._length = len(text)
        self._at = 0

    def condition(self) -> Condition:
        first = self._peek()
        if first.text in ("flat", "held"):
            found = self._holding()
        elif first.text == "time":
            found = self._time()
        else:
            found = self._comparison()
        self.end()
        return found

    def end(self) -> None:
        token = self._peek()
        if token.kind != "end":
            raise UnreadableError(f"nothing may follow here, not {token.text!r}", token.offset)

    def _holding(self) -> Condition:
        if self._take().text == "flat":
            return Holding(is_held=False)
        if self._peek().kind == "end":
            return Holding(is_held=True)
        word = self._word("for", "under")
        bars = self._bars(most=MOST_BARS - 1)
        return Holding(is_held=True, at_least=bars) if word == "for" else Holding(is_held=True, below=bars)

    def _time(self) -> Condition:
        self._take()
        word = self._word("after", "before", "between")
        offset = self._peek().offset
        first = self._clock()
        if word == "after":
            return TimeOfDay(start=first)
        if word == "before":
            return TimeOfDay(end=first)
        self._word("and")
        second = self._clock()
        if first >= second:
            raise UnreadableError("the first time must be before the second", offset)
        return TimeOfDay(start=first, end=second)

    def _comparison(self) -> Condition:
        start = self._peek().offset
        left = self.operand()
        token = self._take()
        if token.text == "crosses":
            is_above = self._word("above", "below") == "above"
            right = self.operand()
            within = self._within()
            self._refuse_position(left, right, "crosses", start)
            found: Condition = Cross(left=left, is_above=is_above, right=right, within=within)
        elif token.text in _ORDERS:
            right = self.operand()
            within = self._within()
            if within:
                self._refuse_position(left, right, "within", start)
            found = Comparison(left=left, order=cast(Order, token.text), right=right, within=within)
        else:
            raise UnreadableError("here must stand <, <=, >, >=, crosses above or crosses below", token.offset)
        if left.column is None and right.column is None:
            raise UnreadableError("must compare with a column, not two numbers", start)
        return found

    def _refuse_position(self, left: Operand, right: Operand, word: str, offset: int) -> None:
        for operand in (left, right):
            if operand.uses_position:
                raise UnreadableError(f"{word} needs a column of the signals, not {operand.column}", offset)

    def _within(self) -> int:
        if self._peek().text != "within":
            return 0
        self._take()
        return self._bars(most=MOST_WITHIN)

    def _bars(self, *, most: int) -> int:
        token = self._take()
        if token.kind != "number" or not token.text.isdigit() or not 1 <= int(token.text) <= most:
            raise UnreadableError(f"here must stand a whole number of bars from 1 to {most}", token.offset)
        self._word("bars", "bar")
        return int(token.text)

    def operand(self) -> Operand:
        """Return `[number *] column [* number] [+|- number]`, or a number."""
        sign = self._sign("-", "+")
        token = self._take()
        if token.kind == "number":
            number = sign * float(token.text)
            if self._peek().text != "*":
                return Operand(offset=number)
            self._take()
            return Operand(column=self._column(self._take()), factor=number, offset=self._offset())
        if sign < 0:
            raise UnreadableError("a minus needs a number behind it", token.offset)
        column, factor = self._column(token), 1.0
        if self._peek().text == "*":
            self._take()
            factor = self._sign("-") * self._number()
        return Operand(column=column, factor=factor, offset=self._offset())

    def _offset(self) -> float:
        if self._peek().text not in ("+", "-"):
            return 0.0
        return self._sign("-", "+") * self._number()

    def _sign(self, *signs: str) -> float:
        if self._peek().text not in signs:
            return 1.0
        return -1.0 if self._take().text == "-" else 1.0

    def _number(self) -> float:
        token = self._take()
        if token.kind != "number":
            raise UnreadableError("here must stand a number", token.offset)
        return float(token.text)

    def _column(self, token: _Token) -> str:
        if token.kind == "word" and token.text in KNOWN:
            return token.text
        if token.kind == "word":
            raise UnreadableError(f"unknown column {token.text}; known are {', '.join(KNOWN)}", token.offset)
        raise UnreadableError("here must stand a column or a number", token.offset)

    def _clock(self) -> float:
        token = self._take()
        hours, _, minutes = token.text.partition(":")
        if token.kind != "clock" or int(hours) > 23 or int(minutes) > 59:
            raise UnreadableError("here must stand a time of day in New York, as 09:45", token.offset)
        return int(hours) * 60.0 + int(minutes)

    def _word(self, *words: str) -> str:
        token = self._take()
        if token.text not in words:
            raise UnreadableError(f"here must stand {' or '.join(words)}", token.offset)
        return token.text

    def _peek(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _Token("end", "", self._length)

    def _take(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            offset = at + len(text[at:]) - len(text[at:].lstrip())
            raise UnreadableError(f"{text[offset]!r} has no meaning here", offset)
        kind = match.lastgroup
        value = match.group(kind)
        if kind == "number" and not float(value) <= 1e12:
            raise UnreadableError("a number must be at most 1e12", match.start(kind))
        found.append(_Token(kind, value, match.start(kind)))
        at = match.end()
    return found
