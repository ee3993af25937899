"""The rule that a declaration stands for: one position at a time, entered and left by its conditions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torghut_core.trading.model import Proposal, Side
from torghut_core.trading.strategies.conditions import Operand
from torghut_core.trading.strategies.declaration import CONDITIONS, Conditions, Declaration, read_declaration
from torghut_core.trading.strategies.definition import digest_of
from torghut_core.trading.strategies.places import Place
from torghut_core.trading.strategies.rule import View

if TYPE_CHECKING:
    from torghut_core.trading.strategies.rule import Columns, Mask

_LANGUAGE = b"conditions/1"
"""The meaning of the words: another one is another source, and another digest."""
_MOST_TEXT = 280
_MOST_SHARES = 1e8


@dataclass(frozen=True)
class DeclaredRule:
    """Proposes to open on `entry` while the strategy holds nothing, and to close on `exit` while it holds something."""

    declaration: Declaration
    name: str = CONDITIONS
    digest: str = field(default="")

    @property
    def version(self) -> str:
        return self.declaration.version

    @property
    def lookback(self) -> int:
        return self.declaration.lookback

    @property
    def uses_position(self) -> bool:
        return True

    def propose(self, view: View) -> Sequence[Proposal]:
        """Return the one thing it wants, or nothing.

        Without a stop, target or size that its declaration asks for and a null column keeps unknown, it does not enter.
        """
        declared, held = self.declaration, view.position
        if held is None:
            return self._enter(view) if declared.entry.tree.holds(view) else ()
        if declared.exit is None or not declared.exit.tree.holds(view):
            return ()
        side: Side = "sell" if held.qty > 0 else "buy"
        return (Proposal(side=side, rationale=_words("exit", declared.exit, view)),)

    def _enter(self, view: View) -> Sequence[Proposal]:
        declared, signal = self.declaration, view.signal
        sign = 1 if declared.side == "buy" else -1

        def value(operand: Operand) -> float | None:
            return operand.at(view, len(view.window) - 1)

        stop = None if declared.stop is None else declared.stop.price(signal, value, -sign)
        target = None if declared.target is None else declared.target.price(signal, value, sign)
        if not _lies(stop, declared.stop is not None, signal.close, -sign):
            return ()
        if not _lies(target, declared.target is not None, signal.close, sign):
            return ()
        qty = None
        if declared.volatility_dollars is not None:
            if not signal.volatility:
                return ()
            qty = min(_MOST_SHARES, declared.volatility_dollars / (signal.close * signal.volatility))
        rationale = _words("entry", declared.entry, view)
        return (Proposal(side=declared.side, rationale=rationale, qty=qty, stop=stop, target=target),)

    def candidates(self, columns: Columns) -> Mask:
        """Return where entry could hold or exit could, whatever is held."""
        could, _ = self.declaration.entry.tree.possible(columns)
        if self.declaration.exit is not None:
            could = could | self.declaration.exit.tree.possible(columns)[0]
        return could


def declared_rule(parameters: Mapping[str, Any], *, timeframe: str | None = None) -> DeclaredRule:
    """Return the rule of a declaration as it was stored. Raises MisstatedError."""
    declaration = read_declaration(parameters, Place(), timeframe=timeframe, has_exit=True)
    return DeclaredRule(declaration, digest=digest_of(dict(parameters), _LANGUAGE))


def _lies(price: float | None, is_wanted: bool, close: float, sign: int) -> bool:
    """Tell whether a level is on its side of the close; one that is wanted and unknown is not."""
    if price is None:
        return not is_wanted
    return 0 < price <= 1e9 and sign * (price - close) > 0


def _words(leg: str, conditions: Conditions, view: View) -> str:
    held = [leaf.text for leaf in conditions.leaves if leaf.condition.holds(view)]
    return f"{leg}: {', '.join(held) or 'none of its conditions holds'}"[:_MOST_TEXT]
