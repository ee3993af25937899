"""The strategy catalogue: a YAML or JSON file, read whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from torghut_core.errors import InputError
from torghut_core.trading.model import WINDOW_SIZES, OrderType, is_symbol
from torghut_core.trading.strategies import declaration
from torghut_core.trading.strategies.declaration import CONDITIONS, Declaration, read_declaration
from torghut_core.trading.strategies.library import Library
from torghut_core.trading.strategies.places import MisstatedError, Place, position
from torghut_core.trading.strategies.shipped import SHIPPED

_FOLDER = Path(__file__).parent
DEFAULT_PATH = _FOLDER / "default.yaml"
_SHIPPED_PREFIX = "shipped:"
_MAX_BYTES = 1_000_000
_MOST = Decimal(10) ** 11
"""Below what a money column holds."""
_ORDER_TYPES: Mapping[str, OrderType] = {
    "market": "market",
    "limit": "limit",
    "stop": "stop",
    "stop_limit": "stop_limit",
}
_KEYS = frozenset(
    {
        "name",
        "description",
        "rule",
        "enabled",
        "base_timeframe",
        "universe_type",
        "universe_symbols",
        "symbols",
        "max_position_pct_equity",
        "max_notional_per_trade",
        "max_notional_total",
        "order_type",
        "price_offset_bps",
        "stop_loss_pct",
        "take_profit_pct",
        "trailing_stop_pct",
        "parameters",
        *declaration.KEYS,
    }
)
_SAME: tuple[tuple[str, str, str, str], ...] = (
    ("stop", "percent", "stop_loss_pct", "stop_percent"),
    ("target", "percent", "take_profit_pct", "target_percent"),
    ("size", "budget", "max_notional_per_trade", "budget"),
    ("size", "equity_percent", "max_position_pct_equity", "equity_percent"),
)
"""What a declaration and the older keys both can say, and the declaration's field."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One strategy as the file states it."""

    name: str
    description: str | None
    rule: str
    enabled: bool
    base_timeframe: str
    universe_type: str
    symbols: tuple[str, ...]
    max_position_pct_equity: Decimal | None
    max_notional_per_trade: Decimal | None
    max_notional_total: Decimal | None = None
    order_type: OrderType = "market"
    price_offset_bps: Decimal = Decimal(0)
    stop_loss_pct: Decimal | None = None
    take_profit_pct: Decimal | None = None
    trailing_stop_pct: Decimal | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Of a declared strategy its declaration."""


def catalogue_path(stated: str | None) -> Path:
    """Return the file that a setting or option names: a path, `shipped:NAME`, or the default. Raises InputError."""
    if stated is None:
        return DEFAULT_PATH
    if not stated.startswith(_SHIPPED_PREFIX):
        return Path(stated)
    known = sorted(path.stem for path in _FOLDER.glob("*.yaml"))
    name = stated.removeprefix(_SHIPPED_PREFIX)
    if name not in known:
        raise InputError(f"{stated[:80]}: no such catalogue ships; there are {', '.join(known)}")
    return _FOLDER / f"{name}.yaml"


def read_catalogue(path: Path, library: Library = SHIPPED) -> tuple[Entry, ...]:
    """Return the entries of the file at `path`, whose rules `library` knows.

    Raises InputError, naming file, line, column, entry, key, value and rule, for unknown keys, duplicate names or any
    bad value.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    text = ""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: must be no longer than {_MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        document = YAML(typ="safe", pure=True).load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__})") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise InputError(f"{path}: not valid YAML{where}: {getattr(error, 'problem', None) or 'unreadable'}") from error
    except InputError:
        raise
    except (ValueError, TypeError, ArithmeticError, AttributeError, KeyError, RecursionError) as error:
        # The parser's own: a date that is none (2026-99-99), numbers beyond counting, nesting beyond its stack.
        raise InputError(f"{path}: holds a value that YAML cannot mean ({type(error).__name__})") from error
    try:
        return _entries(document, library)
    except MisstatedError as error:
        at = position(text, error)
        where = "" if at is None else f" line {at[0]}, column {at[1]}:"
        raise InputError(f"{path}:{where} {error}") from error


def _entries(document: object, library: Library) -> tuple[Entry, ...]:
    root = Place()
    if not isinstance(document, dict) or set(document) != {"strategies"}:
        raise MisstatedError(root, "must hold one key, strategies")
    if not isinstance(document["strategies"], list):
        raise MisstatedError(root / "strategies", "strategies must be a list")
    places = [root / "strategies" / index for index in range(len(document["strategies"]))]
    entries = tuple(_entry(item, place, library) for item, place in zip(document["strategies"], places, strict=True))
    seen: set[str] = set()
    for entry, place in zip(entries, places, strict=True):
        if entry.name in seen:
            raise MisstatedError(place / "name", f"name {entry.name!r} stands twice; names are unique")
        seen.add(entry.name)
    return entries


def _entry(item: object, place: Place, library: Library) -> Entry:
    if not isinstance(item, dict):
        raise place.refused("must be a mapping")
    for key in item:
        if not isinstance(key, str) or key not in _KEYS:
            raise (place / str(key)).refused(f"unknown key; known are {', '.join(sorted(_KEYS))}", is_key=True)
    if "symbols" in item and "universe_symbols" in item:
        raise place.refused("symbols and universe_symbols are one key under two names; keep one")
    timeframe = _text(item, "base_timeframe", place, default="1Min", limit=16)
    if timeframe not in WINDOW_SIZES:
        raise (place / "base_timeframe").refused(f"must be one of {', '.join(WINDOW_SIZES)}", timeframe)
    enabled = item.get("enabled", True)
    if not isinstance(enabled, bool):
        raise (place / "enabled").refused("must be true or false", enabled)
    order_type = _ORDER_TYPES.get(str(item.get("order_type", "market")))
    if order_type is None:
        raise (place / "order_type").refused(f"must be one of {', '.join(_ORDER_TYPES)}", item["order_type"])
    declared = _declaration(item, place, timeframe)
    rule, parameters = (
        _named_rule(item, place, library, timeframe) if declared is None else (CONDITIONS, dict(declared.stated))
    )
    limits = {
        "max_position_pct_equity": _positive(item, "max_position_pct_equity", place, at_most=Decimal(1)),
        "max_notional_per_trade": _positive(item, "max_notional_per_trade", place),
        "stop_loss_pct": _positive(item, "stop_loss_pct", place, at_most=Decimal(1)),
        "take_profit_pct": _positive(item, "take_profit_pct", place, at_most=Decimal(10)),
    }
    if declared is not None:
        _take_over(limits, declared, place)
    return Entry(
        name=_text(item, "name", place, limit=255),
        description=_text(item, "description", place, limit=2000) if item.get("description") is not None else None,
        rule=rule,
        enabled=enabled,
        base_timeframe=timeframe,
        universe_type=_text(item, "universe_type", place, default="static", limit=64),
        symbols=_symbols(item.get("universe_symbols", item.get("symbols")), place),
        max_position_pct_equity=limits["max_position_pct_equity"],
        max_notional_per_trade=limits["max_notional_per_trade"],
        max_notional_total=_positive(item, "max_notional_total", place),
        order_type=order_type,
        price_offset_bps=_positive(item, "price_offset_bps", place, at_most=Decimal(1000)) or Decimal(0),
        stop_loss_pct=limits["stop_loss_pct"],
        take_profit_pct=limits["take_profit_pct"],
        trailing_stop_pct=_positive(item, "trailing_stop_pct", place, at_most=Decimal(1)),
        parameters=parameters,
    )


def _declaration(item: Mapping[str, Any], place: Place, timeframe: str) -> Declaration | None:
    """Return what the entry declares; None where it names a rule."""
    stated = {key: item[key] for key in declaration.KEYS if key in item}
    named = item.get("rule", CONDITIONS if stated else None)
    if named != CONDITIONS:
        if stated:
            key = next(iter(stated))
            raise (place / key).refused(f"is for declared strategies; keep it or rule {named!r}", is_key=True)
        return None
    if item.get("parameters"):
        raise (place / "parameters").refused("a declared strategy takes none: it says what it means", is_key=True)
    has_exit = any(item.get(key) is not None for key in ("stop_loss_pct", "take_profit_pct", "trailing_stop_pct"))
    return read_declaration(stated, place, timeframe=timeframe, has_exit=has_exit)


def _take_over(limits: dict[str, Decimal | None], declared: Declaration, place: Place) -> None:
    """Let a declaration's percent stop, budget and share of equity be what the older keys say."""
    for key, word, older, name in _SAME:
        value = getattr(declared, name)
        if value is None:
            continue
        if limits[older] is not None:
            raise (place / key).refused(f"{key}.{word} and {older} are one key under two names; keep one")
        number = Decimal(str(value)) if word == "budget" else Decimal(str(value)) / 100
        limits[older] = max(Decimal("0.00000001"), round(number, 8))


def _named_rule(
    item: Mapping[str, Any], place: Place, library: Library, timeframe: str
) -> tuple[str, Mapping[str, Any]]:
    rule = _text(item, "rule", place, default="macd-rsi", limit=64)
    definition = library.get(rule)
    parameters = item.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise (place / "parameters").refused("must be a mapping")
    if definition is None:
        if library.trouble(rule) is not None:
            # Its package is broken, not this file: it is off alone, and says why when it is loaded.
            return rule, parameters
        known = ", ".join(sorted({*library.names, CONDITIONS}))
        raise (place / "rule").refused(f"must be one of {known}", rule)
    if definition.timeframes and timeframe not in definition.timeframes:
        raise (place / "base_timeframe").refused(
            f"must be one of {', '.join(definition.timeframes)} for rule {rule}", timeframe
        )
    definition.verify(definition.read(parameters, place / "parameters"), place / "parameters")
    return rule, parameters


def _text(item: Mapping[str, Any], key: str, place: Place, *, limit: int, default: str | None = None) -> str:
    value = item.get(key, default)
    if not isinstance(value, str) or not 0 < len(value) <= limit or not value.isprintable():
        raise (place / key).refused(f"must be text of 1 to {limit} printable characters")
    return value


def _symbols(value: object, place: Place) -> tuple[str, ...]:
    where = place / "universe_symbols"
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(symbol, str) for symbol in value):
        raise where.refused("must be a list of symbols (quote ON, NO and the like)")
    symbols = tuple(dict.fromkeys(symbol.upper() for symbol in value))
    for symbol in symbols:
        if not is_symbol(symbol):
            raise where.refused(f"{symbol[:40]!r} cannot be a symbol")
    return symbols


def _positive(item: Mapping[str, Any], key: str, place: Place, *, at_most: Decimal | None = None) -> Decimal | None:
    value = item.get(key)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    most = _MOST if at_most is None else at_most
    if isinstance(value, bool) or not number.is_finite() or not 0 < number <= most:
        raise (place / key).refused(f"must be a number above 0 and at most {most:f}", value)
    rounded = round(number, 8)
    if rounded == 0:
        raise (place / key).refused("must be at least 0.00000001", value)
    return rounded
