"""The strategy catalogue: a YAML or JSON file, read whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from torghut_core.errors import InputError
from torghut_core.trading.model import WINDOW_SIZES, OrderType, is_symbol
from torghut_core.trading.strategies import PARAMETER_CHECKS, RULES

DEFAULT_PATH = Path(__file__).with_name("default.yaml")
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
    }
)


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


def read_catalogue(path: Path) -> tuple[Entry, ...]:
    """Return the entries of the file at `path`.

    Raises InputError, naming file, entry, key and rule, for unknown keys, duplicate names or any bad value.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: must be no longer than {_MAX_BYTES} bytes")
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__})") from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"{path}: not valid YAML{where}: {getattr(error, 'problem', None) or 'unreadable'}") from error
    except InputError:
        raise
    except (ValueError, TypeError, ArithmeticError, AttributeError, KeyError, RecursionError) as error:
        # The parser's own: a date that is none (2026-99-99), numbers beyond counting, nesting beyond its stack.
        raise InputError(f"{path}: holds a value that YAML cannot mean ({type(error).__name__})") from error
    if not isinstance(document, dict) or set(document) != {"strategies"}:
        raise InputError(f"{path}: must hold one key, strategies")
    if not isinstance(document["strategies"], list):
        raise InputError(f"{path}: strategies must be a list")
    entries = tuple(_entry(item, f"{path}: strategies[{i}]") for i, item in enumerate(document["strategies"]))
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: name {name!r} stands twice; names are unique")
    return entries


def _entry(item: object, where: str) -> Entry:
    if not isinstance(item, dict):
        raise InputError(f"{where}: must be a mapping")
    for key in item:
        if not isinstance(key, str) or key not in _KEYS:
            raise InputError(f"{where}.{_shown(key)}: unknown key; known are {', '.join(sorted(_KEYS))}")
    if "symbols" in item and "universe_symbols" in item:
        raise InputError(f"{where}: symbols and universe_symbols are one key under two names; keep one")
    rule = _text(item, "rule", where, default="macd-rsi", limit=64)
    if rule not in RULES:
        raise InputError(f"{where}.rule={rule!r}: must be one of {', '.join(sorted(RULES))}")
    timeframe = _text(item, "base_timeframe", where, default="1Min", limit=16)
    if timeframe not in WINDOW_SIZES:
        raise InputError(f"{where}.base_timeframe={timeframe!r}: must be one of {', '.join(WINDOW_SIZES)}")
    enabled = item.get("enabled", True)
    if not isinstance(enabled, bool):
        raise InputError(f"{where}.enabled={enabled!r}: must be true or false")
    parameters = item.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InputError(f"{where}.parameters: must be a mapping")
    try:
        PARAMETER_CHECKS[rule](parameters)
    except InputError as error:
        raise InputError(f"{where}.{error}") from error
    order_type = _ORDER_TYPES.get(str(item.get("order_type", "market")))
    if order_type is None:
        raise InputError(f"{where}.order_type={item['order_type']!r}: must be one of {', '.join(_ORDER_TYPES)}")
    return Entry(
        name=_text(item, "name", where, limit=255),
        description=_text(item, "description", where, limit=2000) if item.get("description") is not None else None,
        rule=rule,
        enabled=enabled,
        base_timeframe=timeframe,
        universe_type=_text(item, "universe_type", where, default="static", limit=64),
        symbols=_symbols(item.get("universe_symbols", item.get("symbols")), where),
        max_position_pct_equity=_positive(item, "max_position_pct_equity", where, at_most=Decimal(1)),
        max_notional_per_trade=_positive(item, "max_notional_per_trade", where),
        max_notional_total=_positive(item, "max_notional_total", where),
        order_type=order_type,
        price_offset_bps=_positive(item, "price_offset_bps", where, at_most=Decimal(1000)) or Decimal(0),
        stop_loss_pct=_positive(item, "stop_loss_pct", where, at_most=Decimal(1)),
        take_profit_pct=_positive(item, "take_profit_pct", where, at_most=Decimal(10)),
        trailing_stop_pct=_positive(item, "trailing_stop_pct", where, at_most=Decimal(1)),
        parameters=parameters,
    )


def _shown(key: object) -> str:
    return "".join(character for character in str(key)[:64] if character.isprintable())


def _text(item: Mapping[str, Any], key: str, where: str, *, limit: int, default: str | None = None) -> str:
    value = item.get(key, default)
    if not isinstance(value, str) or not 0 < len(value) <= limit or not value.isprintable():
        raise InputError(f"{where}.{key}: must be text of 1 to {limit} printable characters")
    return value


def _symbols(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(symbol, str) for symbol in value):
        raise InputError(f"{where}.universe_symbols: must be a list of symbols (quote ON, NO and the like)")
    symbols = tuple(dict.fromkeys(symbol.upper() for symbol in value))
    for symbol in symbols:
        if not is_symbol(symbol):
            raise InputError(f"{where}.universe_symbols: {symbol[:40]!r} cannot be a symbol")
    return symbols


def _positive(item: Mapping[str, Any], key: str, where: str, *, at_most: Decimal | None = None) -> Decimal | None:
    value = item.get(key)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    most = _MOST if at_most is None else at_most
    if isinstance(value, bool) or not number.is_finite() or not 0 < number <= most:
        raise InputError(f"{where}.{key}={str(value)[:40]!r}: must be a number above 0 and at most {most:f}")
    rounded = round(number, 8)
    if rounded == 0:
        raise InputError(f"{where}.{key}={str(value)[:40]!r}: must be at least 0.00000001")
    return rounded
