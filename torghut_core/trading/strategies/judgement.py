"""Asking a rule, and believing nothing it says unchecked. Pure."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from torghut_core.rfc3339 import format_ns
from torghut_core.trading.model import Proposal
from torghut_core.trading.strategies.places import shown
from torghut_core.trading.strategies.rule import Rule, RuleFault, View

_MOST = Decimal(10) ** 9
"""No quantity, budget or price is larger."""
_MOST_TEXT = 280
_NUMBERS = ("qty", "budget", "limit", "stop", "target")


def ask(rule: Rule, view: View) -> tuple[Proposal, ...]:
    """Return what the rule proposes on the view, checked, its numbers exact.

    Raises RuleFault, with one sentence, for a rule that raises or answers nonsense.
    """
    try:
        answer = rule.propose(view)
    except RuleFault:
        raise
    except (Exception, SystemExit) as error:
        raise RuleFault("raised", f"{rule.name}: raised {raised(error)} on {_on(view)}; nothing is traded") from error
    try:
        proposals = checked(answer, view)
        if not rule.uses_position and any(each.stop is not None or each.target is not None for each in proposals):
            raise ValueError("stop and target need uses_position")
        return proposals
    except ValueError as error:
        raise RuleFault("nonsense", f"{rule.name}: {error} on {_on(view)}; nothing is traded") from error
    except Exception as error:
        # An answer may be an object that fails when it is looked at.
        told = f"{rule.name}: its answer raised {raised(error)} on {_on(view)}; nothing is traded"
        raise RuleFault("nonsense", told) from error


def checked(answer: object, view: View) -> tuple[Proposal, ...]:
    """Return an answer's proposals with exact numbers. Raises ValueError naming what is wrong, its value and the rule."""
    if answer is None:
        return ()
    if isinstance(answer, Proposal):
        return (_checked(answer, view),)
    if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
        raise ValueError(f"answered {type(answer).__name__}: must be a Proposal, a sequence of them, or None")
    if len(answer) > 2:
        raise ValueError(f"answered {len(answer)} proposals: must be one a side at most")
    proposals = tuple(_checked(item, view) for item in answer)
    if len({proposal.side for proposal in proposals}) < len(proposals):
        raise ValueError(f"proposed {proposals[0].side} twice: must be one a side at most")
    return proposals


def _checked(proposal: object, view: View) -> Proposal:
    if not isinstance(proposal, Proposal):
        raise ValueError(f"answered {type(proposal).__name__}: must be a Proposal, a sequence of them, or None")
    side: object = proposal.side
    if not isinstance(side, str) or side not in ("buy", "sell"):
        raise ValueError(f"side={shown(repr(side))}: must be buy or sell")
    text: object = proposal.rationale
    if not isinstance(text, str) or not 0 < len(text) <= _MOST_TEXT or not text.isprintable():
        raise ValueError(f"rationale: must be text of 1 to {_MOST_TEXT} printable characters")
    numbers: dict[str, Decimal | None] = {name: _number(name, getattr(proposal, name)) for name in _NUMBERS}
    if numbers["qty"] is not None and numbers["budget"] is not None:
        raise ValueError("qty and budget: must not both be given")
    _check_order(side, numbers, view)
    return replace(proposal, **numbers)  # type: ignore[arg-type]  # the names are a proposal's numbers


def _number(name: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    # What is no number at all compares with nothing: NaN, and whole numbers too long for a float.
    is_comparable = is_number and not (isinstance(value, Decimal) and value.is_nan())
    if not is_comparable or not 0 < value <= _MOST:
        raise ValueError(f"{name}={shown(repr(value))}: must be a number above 0 and at most {_MOST:.0f}")
    # As fine as the money columns are: what a float's arithmetic leaves behind is no part of a price.
    number = round(Decimal(str(value)), 8).normalize()
    if number == 0:
        raise ValueError(f"{name}={shown(repr(value))}: must be at least 0.00000001")
    return number


def _check_order(side: str, numbers: dict[str, Decimal | None], view: View) -> None:
    """Raise ValueError where stop and target do not lie on their own sides of the entry's price."""
    price = numbers["limit"] or Decimal(str(view.signal.close))
    below, above = ("stop", "target") if side == "buy" else ("target", "stop")
    low, high = numbers[below], numbers[above]
    if low is not None and low >= price:
        raise ValueError(f"{below}={low:f}: must be below {price:f} for a {side}")
    if high is not None and high <= price:
        raise ValueError(f"{above}={high:f}: must be above {price:f} for a {side}")


def raised(error: BaseException) -> str:
    """Return an exception's type and where it was raised, never its text, which may hold anything."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return shown(type(error).__name__) + shown(where)


def _on(view: View) -> str:
    return f"{view.symbol} at {format_ns(view.now_ns)}"


def exact(value: Decimal | float | None) -> Decimal | None:
    """Return a checked proposal's number as a Decimal."""
    return None if value is None else value if isinstance(value, Decimal) else Decimal(str(value))
