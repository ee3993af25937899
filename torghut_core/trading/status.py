"""What the runtime says of itself: one error per loop, so that no loop's success hides another's failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torghut_core.errors import TorghutError

Lane = Literal["start", "broker", "trading", "reconcile", "leadership", "kill_switch", "catalogue", "universe"]


@dataclass
class RunState:
    """The state that loops write and the API reads, all on one event loop."""

    running: bool = False
    last_run_ns: int | None = None
    """When the last trading cycle ended well, on the runtime's clock."""
    last_reconcile_ns: int | None = None
    last_success_monotonic: float | None = None
    is_account_confirmed: bool = False
    is_schema_current: bool = False
    current_heads: tuple[str, ...] = ()
    expected_heads: tuple[str, ...] = ()
    errors: dict[Lane, str] = field(default_factory=dict)

    def failed(self, lane: Lane, error: BaseException) -> None:
        """Keep a lane's error; only our own errors show their sentence, since others may carry a secret."""
        self.errors[lane] = (
            str(error) if isinstance(error, TorghutError) else f"internal error ({type(error).__name__})"
        )

    def succeeded(self, lane: Lane) -> None:
        """Forget a lane's error."""
        self.errors.pop(lane, None)

    @property
    def last_error(self) -> str | None:
        """Every lane's error, named, or None."""
        return "; ".join(f"{lane}: {text}" for lane, text in sorted(self.errors.items())) or None
