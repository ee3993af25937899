"""An exchange in this process as the broker: no socket, no money; what it answers is read as the real one's answers are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from torghut_core.exchange.broker import Broker as Exchange
from torghut_core.exchange.ledger import Position as Held
from torghut_core.exchange.ledger import plain
from torghut_core.exchange.orders import ApiError, parse_order
from torghut_core.exchange.orders import Order as ExchangeOrder
from torghut_core.exchange.shapes import account_fields, asset_fields, market_value, position_fields
from torghut_core.trading.model import Account, Asset, Order, OrderRequest, Position, Snapshot
from torghut_core.trading.orders import answers
from torghut_core.trading.orders.broker import OrderRefusedError, order_body

NUMBER = "IN-PROCESS"


@dataclass(frozen=True)
class _Known:
    """A position as it was answered last, and what all of the answer but its value was made of."""

    held: Held
    available: Decimal
    position: Position


class PaperBroker:
    """One account at an exchange; `advance` lets the exchange see the market up to now before each request.

    Unless `admits_at_once`, an order waits for whoever moves the market to let it in.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        cash: Decimal,
        created_ns: int,
        advance: Callable[[], None],
        admits_at_once: bool = True,
    ) -> None:
        self._exchange = exchange
        self._cash = cash
        self._created_ns = created_ns
        self._advance = advance
        self._known: dict[str, _Known] = {}
        if admits_at_once:
            exchange.on_submit = exchange.admit

    async def close(self) -> None:
        """Keep the interface: there is nothing to close."""

    async def snapshot(self) -> Snapshot:
        self._advance()
        return Snapshot(account=self._account(), positions=self._positions(), orders=self._open())

    async def account(self) -> Account:
        self._advance()
        return self._account()

    async def positions(self) -> dict[str, Position]:
        self._advance()
        return self._positions()

    async def asset(self, symbol: str) -> Asset:
        return answers.parse_asset(asset_fields(symbol))

    async def submit(self, request: OrderRequest) -> Order:
        """Send an order. Raises OrderRefusedError."""
        self._advance()
        try:
            return _order(self._exchange.submit(parse_order(order_body(request))))
        except ApiError as error:
            reason = f"alpaca_order_rejected code={error.body['code']} status={error.status}"
            raise OrderRefusedError(reason) from error

    async def find(self, client_order_id: str) -> Order | None:
        self._advance()
        try:
            return _order(self._exchange.find_by_client_id(client_order_id))
        except ApiError:
            return None

    async def order(self, order_id: str) -> Order | None:
        self._advance()
        try:
            return _order(self._exchange.find(order_id))
        except ApiError:
            return None

    async def open_orders(self) -> tuple[Order, ...]:
        self._advance()
        return self._open()

    async def find_since(self, client_order_id: str, since: datetime) -> Order | None:  # noqa: ARG002  it knows all its orders
        return await self.find(client_order_id)

    async def cancel(self, order_id: str) -> None:
        """Cancel an order; one that is already done is no error."""
        self._advance()
        try:
            self._exchange.cancel(order_id)
        except ApiError:
            return

    def _account(self) -> Account:
        fields = account_fields(self._exchange, number=NUMBER, starting_cash=self._cash, created_ns=self._created_ns)
        return answers.parse_account(fields)

    def _positions(self) -> dict[str, Position]:
        known, self._known = self._known, {}
        for held in self._exchange.ledger.positions():
            before, available = known.get(held.symbol), self._exchange.available(held.symbol)
            if before is not None and before.held is held and before.available == available:
                # Nothing but its price may have moved, and many are asked of many times.
                value = Decimal(plain(market_value(self._exchange, held)))
                position = replace(before.position, market_value=value)
            else:
                position = answers.parse_position(position_fields(self._exchange, held))
            self._known[held.symbol] = _Known(held, available, position)
        return {symbol: each.position for symbol, each in self._known.items()}

    def _open(self) -> tuple[Order, ...]:
        return tuple(_order(order) for order in self._exchange.open_orders())


def _order(order: ExchangeOrder) -> Order:
    return answers.parse_order(order.fields())
