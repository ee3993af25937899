"""What a rule is, and all that it sees. Plain values: no broker, no database, no clock but the bar's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.errors import TorghutError
from torghut_core.trading.model import Proposal, Signal
from torghut_core.trading.strategies.sessions import minutes_from_open, minutes_to_close

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = Mapping[str, NDArray[np.float64]]
    """One symbol's rows in time order by the ClickHouse name of the column, null as NaN, and beside them `event_ns`."""
    Mask = NDArray[np.bool_]

MOST_BARS = 600
"""Bars that a window holds at most."""
FaultReason = Literal["raised", "nonsense", "deadline", "died", "unloadable"]


class RuleFault(TorghutError):
    """A rule did not answer as rules do; the message is one sentence, `reason` is stable."""

    def __init__(self, reason: FaultReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: FaultReason = reason


@dataclass(frozen=True, kw_only=True)
class Held:
    """What the strategy itself holds of the symbol; `qty` is negative when short."""

    qty: Decimal
    average_price: Decimal
    """Dollars a share."""
    bars: int
    """Bars of the window that ended after the entry's: counted no further than the rule's lookback."""
    opened_ns: int
    stop: Decimal | None = None
    target: Decimal | None = None
    """What the entry's proposal set, dollars a share."""


@dataclass(frozen=True)
class View:
    """What a rule is asked about: the last bar of the window, with those before it."""

    window: Sequence[Signal]
    """Signals of one symbol and timeframe in time order, every column of the contract; at least one."""
    position: Held | None = None
    """The strategy's own; None when it holds nothing."""

    @property
    def signal(self) -> Signal:
        """The bar that is judged."""
        return self.window[-1]

    @property
    def symbol(self) -> str:
        return self.signal.symbol

    @property
    def now_ns(self) -> int:
        """The bar's end: the same row is judged at the same time live, late, and in a backtest at any speed."""
        return self.signal.event_ns

    @cached_property
    def minutes_from_open(self) -> float | None:
        """Minutes since the regular session of the New York day opened, negative before; None on a closed day."""
        return minutes_from_open(self.now_ns)

    @cached_property
    def minutes_to_close(self) -> float | None:
        """Minutes until the regular session closes, half days included, negative after; None on a closed day."""
        return minutes_to_close(self.now_ns)

    @property
    def seconds_held(self) -> float | None:
        """Seconds since the entry; None without a position."""
        return None if self.position is None else (self.now_ns - self.position.opened_ns) / NANOS_PER_SECOND


class Rule(Protocol):
    """A strategy's judgement, ready to be asked: parameters read, source known.

    It is pure: of one view it always says the same, so that the same rows give the same proposals after a restart, a
    replay, or a row that arrived late.
    """

    @property
    def name(self) -> str:
        """The rule's name, as the catalogue calls it."""

    @property
    def version(self) -> str:
        """What its author calls this state of it."""

    @property
    def digest(self) -> str:
        """SHA-256 of parameters and source, as hex."""

    @property
    def lookback(self) -> int:
        """How many bars it sees, the judged one included; `position.bars` is counted over them."""

    @property
    def uses_position(self) -> bool:
        """Whether what it says depends on `view.position`."""

    def propose(self, view: View) -> Sequence[Proposal]:
        """Return what it wants on the last bar of the window; nothing when nothing changed. May raise anything."""

    def candidates(self, columns: Columns) -> Mask | None:
        """Return where `propose` could answer with something, whatever is held: never false where it does.

        None stands for every row. `columns` are all rows of one symbol in time order; see `columns.columns_of`.
        """
