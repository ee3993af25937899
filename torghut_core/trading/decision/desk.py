"""What the gates are shown while one batch of intents is dealt with: the world as read once, moved on by each order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.decision.sizing import Book
from torghut_core.trading.model import Position, Side, Snapshot
from torghut_core.trading.risk.buying_power import PRICE_SLACK
from torghut_core.trading.store.orders import OpenClaim, OpenExecution

_ZERO = Decimal(0)


def reservation(side: Side, qty: int, price: Decimal, held: Decimal) -> Decimal:
    """Return the dollars of buying power an order may use: none for a sell of what is held."""
    if side == "sell":
        return max(_ZERO, qty - max(_ZERO, held)) * price * (1 + PRICE_SLACK)
    return qty * price * (1 + PRICE_SLACK)


class Desk:
    """A projection: account and positions as read, plus what is on its way."""

    def __init__(
        self,
        *,
        snapshot: Snapshot | None,
        prices: Mapping[str, Decimal],
        claims: Iterable[OpenClaim],
        executions: Iterable[OpenExecution],
    ) -> None:
        self.snapshot = snapshot
        self.prices = dict(prices)
        self.reserved = _ZERO
        self.busy: set[str] = set()
        self._expected: dict[str, Decimal] = {}
        """Shares by symbol that orders on their way will add (bought) or take (sold)."""
        self._pending_sells: dict[str, Decimal] = {}
        self._pending_value = _ZERO
        for claim in claims:
            self._expect(claim.symbol, claim.side, claim.qty, claim.reserved_notional)
            self.reserved += claim.reserved_notional  # the account's reading may not know this order
        for execution in executions:
            self._expect(execution.symbol, execution.side, execution.remaining, execution.reserved_notional)

    def accept(self, intent: Intent, qty: int, reserved: Decimal) -> None:
        """Count an order that was just handed to the broker: the account's reading is older than it."""
        self._expect(intent.symbol, intent.side, Decimal(qty), reserved)
        self.reserved += reserved

    def replace_positions(self, positions: Mapping[str, Position]) -> None:
        """Take a newer reading of the holdings."""
        if self.snapshot is not None:
            self.snapshot = Snapshot(account=self.snapshot.account, positions=positions)

    def book(self, symbol: str) -> Book | None:
        """Return the holdings as `symbol`'s sizing and gates see them, None when they could not be read."""
        if self.snapshot is None:
            return None
        positions = self.snapshot.positions
        held = positions.get(symbol)
        values = [position.market_value for position in positions.values()]
        return Book(
            equity=self.snapshot.account.equity,
            position_qty=held.qty if held is not None else _ZERO,
            position_value=held.market_value if held is not None else _ZERO,
            pending_sells=self._pending_sells.get(symbol, _ZERO),
            gross_exposure=sum((abs(value) for value in values), _ZERO) + self._pending_value,
            net_exposure=sum(values, _ZERO) + self._pending_value,
            held_symbols=frozenset(positions) | {name for name, qty in self._expected.items() if qty > 0},
        )

    def _expect(self, symbol: str, side: Side, qty: Decimal, reserved: Decimal) -> None:
        self.busy.add(symbol)
        self._expected[symbol] = self._expected.get(symbol, _ZERO) + (qty if side == "buy" else -qty)
        if side == "sell":
            self._pending_sells[symbol] = self._pending_sells.get(symbol, _ZERO) + qty
        self._pending_value += reserved
