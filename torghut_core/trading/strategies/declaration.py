"""A strategy declared in the catalogue: conditions for entry and exit, stop, target and size. Read strictly; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from torghut_core.trading.model import Side, Signal
from torghut_core.trading.strategies.conditions import All, AnyOf, Condition, Not, Operand
from torghut_core.trading.strategies.language import UnreadableError, parse_condition, parse_operand
from torghut_core.trading.strategies.places import Place
from torghut_core.trading.strategies.rule import MOST_BARS

CONDITIONS = "conditions"
"""The rule's name of every strategy that is declared."""
KEYS = ("side", "entry", "exit", "stop", "target", "size", "version")
_MOST_DEPTH = 8
_MOST_CONDITIONS = 50
_SIDES: Mapping[str, Side] = {"long": "buy", "short": "sell"}
_PERCENT_MOST: Mapping[str, float] = {"stop": 100, "target": 1000}
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Named:
    """A single condition and its own words."""

    text: str
    condition: Condition


@dataclass(frozen=True)
class Conditions:
    """A tree of conditions, and its leaves with their words."""

    tree: Condition
    leaves: tuple[Named, ...]


@dataclass(frozen=True, kw_only=True)
class Level:
    """A price away from the entry's: a number of standard deviations, or where an operand stands."""

    volatilities: float | None = None
    at: Operand | None = None

    def price(self, signal: Signal, operand: Callable[[Operand], float | None], sign: int) -> float | None:
        """Return the price, `sign` × the distance from the close; None while a column it needs is null."""
        if self.at is not None:
            return operand(self.at)
        assert self.volatilities is not None
        if not signal.volatility:
            return None
        return signal.close * (1 + sign * self.volatilities * signal.volatility)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a declared strategy does; percent stops, budgets and shares of equity are the catalogue's own keys."""

    side: Side
    entry: Conditions
    exit: Conditions | None
    stop: Level | None
    target: Level | None
    volatility_dollars: float | None
    """Dollars that one standard deviation of a bar's return is to be worth."""
    version: str
    stated: Mapping[str, Any]
    """As the file has it."""
    stop_percent: float | None
    target_percent: float | None
    budget: float | None
    equity_percent: float | None

    @property
    def lookback(self) -> int:
        """Bars that entry and exit look at."""
        return max(self.entry.tree.lookback, 1 if self.exit is None else self.exit.tree.lookback)


def read_declaration(stated: Mapping[str, Any], place: Place, *, timeframe: str | None, has_exit: bool) -> Declaration:
    """Return what `stated` declares; `has_exit` says that something else closes what it opens.

    Raises MisstatedError naming place, value and rule.
    """
    for key in stated:
        if key not in KEYS:
            raise (place / str(key)).refused(f"unknown key; known are {', '.join(KEYS)}", is_key=True)
    if "entry" not in stated:
        raise place.refused("entry: must be given, as the conditions that open a position")
    side = _SIDES.get(str(stated.get("side", "long")))
    if side is None:
        raise (place / "side").refused(f"must be one of {', '.join(_SIDES)}", stated["side"])
    entry = _conditions(stated["entry"], place / "entry")
    leaving = None if stated.get("exit") is None else _conditions(stated["exit"], place / "exit")
    stop, stop_percent = _level(stated, "stop", place, timeframe)
    target, target_percent = _level(stated, "target", place, timeframe)
    size = _one_of(stated, "size", ("budget", "equity_percent", "volatility"), place)
    declared = Declaration(
        side=side,
        entry=entry,
        exit=leaving,
        stop=stop,
        target=target,
        volatility_dollars=None if size is None else _dollars_of_volatility(size, place / "size", timeframe),
        version=_version(stated, place),
        stated=dict(stated),
        stop_percent=stop_percent,
        target_percent=target_percent,
        budget=_size(size, "budget", place, 1e11),
        equity_percent=_size(size, "equity_percent", place, 100),
    )
    if all(way is None for way in (leaving, stop, target, stop_percent, target_percent)) and not has_exit:
        raise place.refused("exit: must be given where no stop or target closes what entry opens")
    return declared


def _conditions(node: object, place: Place) -> Conditions:
    leaves: list[Named] = []
    return Conditions(tree=_tree(node, place, leaves, depth=0), leaves=tuple(leaves))


def _tree(node: object, place: Place, leaves: list[Named], *, depth: int) -> Condition:
    if depth > _MOST_DEPTH:
        raise place.refused(f"conditions must be nested no deeper than {_MOST_DEPTH}")
    if isinstance(node, str):
        if len(leaves) >= _MOST_CONDITIONS:
            raise place.refused(f"must be no more than {_MOST_CONDITIONS} conditions")
        condition = _parsed(parse_condition, node, place)
        if condition.lookback > MOST_BARS:
            raise place.refused(f"must look back no further than {MOST_BARS} bars", node)
        leaves.append(Named(" ".join(node.split()), condition))
        return condition
    if isinstance(node, list):
        return All(_parts(node, place, leaves, depth))
    if isinstance(node, dict) and len(node) == 1:
        [(word, inner)] = node.items()
        if word == "not":
            return Not(_tree(inner, place / "not", leaves, depth=depth + 1))
        if word in ("all", "any") and isinstance(inner, list):
            parts = _parts(inner, place / word, leaves, depth)
            return All(parts) if word == "all" else AnyOf(parts)
    raise place.refused("must be a condition, a list of conditions that all hold, or one of all, any (lists) and not")


def _parts(nodes: list[object], place: Place, leaves: list[Named], depth: int) -> tuple[Condition, ...]:
    if not nodes:
        raise place.refused("must hold at least one condition")
    return tuple(_tree(node, place / index, leaves, depth=depth + 1) for index, node in enumerate(nodes))


def _parsed(parse: Callable[[str], _Read], text: str, place: Place) -> _Read:
    try:
        return parse(text)
    except UnreadableError as error:
        raise place.refused(str(error), text, offset=error.offset) from error


def _one_of(stated: Mapping[str, Any], key: str, names: tuple[str, ...], place: Place) -> Mapping[str, Any] | None:
    value = stated.get(key)
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in names:
        raise (place / key).refused(f"must hold one of {', '.join(names)}")
    return value


def _level(
    stated: Mapping[str, Any], key: Literal["stop", "target"], place: Place, timeframe: str | None
) -> tuple[Level | None, float | None]:
    value = _one_of(stated, key, ("percent", "volatility", "at"), place)
    if value is None:
        return None, None
    if "percent" in value:
        return None, _number(value["percent"], place / key / "percent", _PERCENT_MOST[key])
    if "volatility" in value:
        where = place / key / "volatility"
        _check_volatility(where, timeframe)
        return Level(volatilities=_number(value["volatility"], where, 10_000)), None
    where = place / key / "at"
    text = str(value["at"])
    operand = _parsed(parse_operand, text, where)
    if operand.column is None or operand.uses_position:
        raise where.refused("must be a price from a column of the signals, as boll_lower - 0.05", text)
    return Level(at=operand), None


def _dollars_of_volatility(size: Mapping[str, Any], place: Place, timeframe: str | None) -> float | None:
    if "volatility" not in size:
        return None
    _check_volatility(place / "volatility", timeframe)
    return _number(size["volatility"], place / "volatility", 1e9)


def _check_volatility(place: Place, timeframe: str | None) -> None:
    if timeframe is not None and timeframe != "1Sec":
        raise place.refused(f"needs vol_realized_w60s, which 1Sec bars alone have, not {timeframe}")


def _size(size: Mapping[str, Any] | None, key: str, place: Place, most: float) -> float | None:
    return None if size is None or key not in size else _number(size[key], place / "size" / key, most)


def _number(value: object, place: Place, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise place.refused(f"must be a number above 0 and at most {most:g}", value)
    return float(value)


def _version(stated: Mapping[str, Any], place: Place) -> str:
    value = stated.get("version", "1")
    text = str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    if not 0 < len(text) <= 64 or not text.isprintable():
        raise (place / "version").refused("must be text of 1 to 64 printable characters", value)
    return text
