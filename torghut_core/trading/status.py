"""What the runtime says of itself: error and last success of each lane, so that no lane's success hides another."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

from torghut_core.errors import TorghutError
from torghut_core.logs import event
from torghut_core.trading.risk.context import Control

_LOG = logging.getLogger(__name__)
Lane = Literal[
    "start",
    "broker",
    "control",
    "trading",
    "exits",
    "reconcile",
    "leadership",
    "kill_switch",
    "catalogue",
    "strategies",
    "universe",
    "losses",
    "shares",
    "trade_updates",
    "alerts",
    "status",
]
LOOPS: tuple[Lane, ...] = ("leadership", "trading", "reconcile", "alerts", "trade_updates", "status")
"""Lanes that run as loops of their own: each has to succeed now and then."""
_STOOD_IN_FOR: frozenset[Lane] = frozenset(["trade_updates"])
"""Lanes whose work another lane does too, later."""


@dataclass
class RunState:
    """The state that loops write and the API reads, all on one event loop."""

    running: bool = False
    is_ending: bool = False
    """Whether all is to end: what is under way ends, and nothing else is begun."""
    last_run_ns: int | None = None
    """When the last trading cycle ended well, on the runtime's clock."""
    last_reconcile_ns: int | None = None
    succeeded_at: dict[Lane, float] = field(default_factory=dict)
    """When each lane succeeded last, on the monotonic clock."""
    is_account_confirmed: bool = False
    is_schema_current: bool = False
    is_stop_recorded: bool = False
    """Whether this start is on record, with its stop where it starts with trading off; an API process needs none."""
    control: Control | None = None
    """What may not be done, as last read; None when it could not be."""
    current_heads: tuple[str, ...] = ()
    expected_heads: tuple[str, ...] = ()
    uncertain: dict[str, int] = field(default_factory=dict)
    orphans: int = 0
    not_obeyed: int = 0
    foreign: dict[str, object] = field(default_factory=dict)
    """What the first reading found that was not this program's."""
    strategies: tuple[dict[str, object], ...] = ()
    """Every strategy with its rule's identity, and the fault that keeps it off or that it made last."""
    errors: dict[Lane, str] = field(default_factory=dict)

    def failed(self, lane: Lane, error: BaseException) -> None:
        """Keep a lane's error, and log one that is new; only our own show their sentence: others may carry a secret."""
        text = str(error) if isinstance(error, TorghutError) else f"internal error ({type(error).__name__})"
        if self.errors.get(lane) != text:
            event(_LOG, "lane_failed", logging.ERROR, lane=lane, error=text)
        self.errors[lane] = text

    def succeeded(self, lane: Lane, at: float | None = None) -> None:
        """Forget a lane's error, and remember when (monotonic) it succeeded."""
        if self.errors.pop(lane, None) is not None:
            event(_LOG, "lane_healed", lane=lane)
        if at is not None:
            self.succeeded_at[lane] = at

    @property
    def last_error(self) -> str | None:
        """Every error of a lane that nothing else stands in for, named, or None.

        A stream of order updates that is cut is no failure of the loop: reconciling asks for the same. Its error stands with
        its lane in `/trading/health`.
        """
        counted = {lane: text for lane, text in self.errors.items() if lane not in _STOOD_IN_FOR}
        return "; ".join(f"{lane}: {text}" for lane, text in sorted(counted.items())) or None
