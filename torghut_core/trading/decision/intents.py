"""Intents and the one key each has, which is also its `client_order_id` at the broker."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from decimal import Decimal

from torghut_core.rfc3339 import format_ns
from torghut_core.trading.decision.exits import Cause
from torghut_core.trading.model import Proposal, Side, Signal, Strategy

_OWN_CLIENT_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A strategy's wish to trade on a signal, before any judgement."""

    strategy: Strategy
    signal: Signal
    side: Side
    rationale: str
    account_label: str
    qty: Decimal | None = None
    budget: Decimal | None = None
    limit: Decimal | None = None
    stop: Decimal | None = None
    target: Decimal | None = None
    """What the proposal asks for; no part of the key."""
    is_closing: bool = False
    """Whether it is against what the strategy holds: it closes that, and opens nothing should that be gone by now."""
    cause: Cause = "signal"
    """What calls for closing."""

    @property
    def symbol(self) -> str:
        return self.signal.symbol

    @property
    def key(self) -> str:
        """The idempotency key of the entry: nothing computed later (quantity, price, telemetry) is part of it."""
        return _digest([*self._facts, "entry"])

    @property
    def legacy_key(self) -> str:
        """The key before legs were part of it: a decision that has it was dealt with, whatever version did."""
        return _digest(self._facts)

    @property
    def _facts(self) -> list[str]:
        signal = self.signal
        return [
            self.strategy.name,
            signal.symbol,
            signal.timeframe,
            format_ns(signal.event_ns),
            self.side,
            self.account_label,
        ]


def exit_key(*, account_label: str, holding: str, strategy: str, cause: str, attempt: int) -> str:
    """Return the key of one attempt to close a strategy's part of a holding: holding, cause and attempt.

    >>> exit_key(account_label="paper", holding="AAPL/long/1", strategy="s", cause="signal", attempt=1)[:12]
    '439f598e737a'
    """
    return _digest([account_label, holding, strategy, cause, str(attempt), "exit"])


def _digest(facts: list[str]) -> str:
    """Return 64 hex digits: SHA-256 of a JSON array, so that no value can run into its neighbour."""
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def make_intent(
    strategy: Strategy,
    signal: Signal,
    proposal: Proposal,
    account_label: str,
    *,
    is_closing: bool = False,
    cause: Cause = "signal",
) -> Intent:
    """Return the intent that `proposal` of `strategy` on `signal` stands for."""
    return Intent(
        strategy=strategy,
        signal=signal,
        side=proposal.side,
        rationale=proposal.rationale,
        account_label=account_label,
        qty=_exact(proposal.qty),
        budget=_exact(proposal.budget),
        limit=_exact(proposal.limit),
        stop=_exact(proposal.stop),
        target=_exact(proposal.target),
        is_closing=is_closing,
        cause=cause,
    )


def _exact(value: Decimal | float | None) -> Decimal | None:
    return value if value is None or isinstance(value, Decimal) else Decimal(str(value))


def is_own_client_id(client_order_id: str) -> bool:
    """Tell whether a client id has the shape of our keys: orders of people and other programs do not."""
    return _OWN_CLIENT_ID.fullmatch(client_order_id) is not None
