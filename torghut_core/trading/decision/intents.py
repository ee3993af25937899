"""Intents and the one key each has, which is also its `client_order_id` at the broker."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from torghut_core.rfc3339 import format_ns
from torghut_core.trading.model import Proposal, Side, Signal, Strategy

_OWN_CLIENT_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A strategy's wish to trade, before any judgement."""

    strategy: Strategy
    signal: Signal
    side: Side
    rationale: str
    account_label: str

    @property
    def symbol(self) -> str:
        return self.signal.symbol

    @property
    def key(self) -> str:
        """The idempotency key: nothing computed later (quantity, price, telemetry) is part of it."""
        return idempotency_key(
            strategy=self.strategy.name,
            symbol=self.signal.symbol,
            timeframe=self.signal.timeframe,
            signal_ns=self.signal.event_ns,
            side=self.side,
            account_label=self.account_label,
        )


def idempotency_key(
    *, strategy: str, symbol: str, timeframe: str, signal_ns: int, side: Side, account_label: str
) -> str:
    """Return 64 hex digits that depend on exactly these six facts.

    They are hashed (SHA-256) as a JSON array, so that no value can run into its neighbour.

    >>> idempotency_key(strategy="s", symbol="A", timeframe="1Sec", signal_ns=0, side="buy", account_label="paper")[:12]
    '079a81f2eaa8'
    """
    facts = [strategy, symbol, timeframe, format_ns(signal_ns), side, account_label]
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def make_intent(strategy: Strategy, signal: Signal, proposal: Proposal, account_label: str) -> Intent:
    """Return the intent that `proposal` of `strategy` on `signal` stands for."""
    return Intent(
        strategy=strategy,
        signal=signal,
        side=proposal.side,
        rationale=proposal.rationale,
        account_label=account_label,
    )


def is_own_client_id(client_order_id: str) -> bool:
    """Tell whether a client id has the shape of our keys: orders of people and other programs do not."""
    return _OWN_CLIENT_ID.fullmatch(client_order_id) is not None
