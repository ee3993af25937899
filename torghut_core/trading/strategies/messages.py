"""What is said between the trading process and a strategy's own: msgpack, each message behind its length."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from torghut_core.trading.model import Signal
from torghut_core.trading.strategies.rule import FaultReason, Held

MOST_BYTES = 16_000_000
LENGTH_BYTES = 4


class Describe(msgspec.Struct, tag=True, frozen=True):
    """What is declared there? The first message, and the one that loads the author's code."""

    source: str
    """`module:attribute`, or the path of a Python file."""
    seconds: float
    """A call that takes twice this ends the process, also when nobody waits any more."""
    memory_bytes: int
    """More addresses than that are refused, by the kernel: a MemoryError where they are asked for."""


class Open(msgspec.Struct, tag=True, frozen=True):
    """Make this rule, with these parameters."""

    name: str
    values: dict[str, Any]


class Ask(msgspec.Struct, tag=True, frozen=True):
    """What is proposed on the last of these bars? Those before it may be left out where they were told already."""

    series: str
    bars: tuple[Signal, ...]
    is_whole: bool
    position: Held | None


class Told(msgspec.Struct, frozen=True):
    """A parameter, as it can be written down."""

    name: str
    type: str
    default: bool | int | float | str
    at_least: float | None
    at_most: float | None
    choices: tuple[str, ...]
    unit: str
    help: str


class Declared(msgspec.Struct, frozen=True):
    """A definition, as it can be written down."""

    name: str
    version: str
    parameters: tuple[Told, ...]
    timeframes: tuple[str, ...]


class Described(msgspec.Struct, tag=True, frozen=True):
    """What is declared."""

    definitions: tuple[Declared, ...]


class Opened(msgspec.Struct, tag=True, frozen=True):
    """The rule is made."""

    lookback: int
    digest: str
    uses_position: bool


class Wish(msgspec.Struct, frozen=True):
    """A checked proposal."""

    side: str
    rationale: str
    qty: Decimal | None
    budget: Decimal | None
    limit: Decimal | None
    stop: Decimal | None
    target: Decimal | None


class Answer(msgspec.Struct, tag=True, frozen=True):
    """What is proposed."""

    wishes: tuple[Wish, ...]


class Fault(msgspec.Struct, tag=True, frozen=True):
    """It failed, in one sentence."""

    reason: FaultReason
    sentence: str


Request = Describe | Open | Ask
Reply = Described | Opened | Answer | Fault


def encode(message: Request | Reply) -> bytes:
    """Return a message with its length before it."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
