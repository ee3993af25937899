"""An exchange and a broker in one: accepts orders, fills them at the quote, keeps the account.

A buy fills at the ask and a sell at the bid, up to the size quoted; the rest waits for the next quote. Market and limit
orders meet the standing quote once as soon as they are accepted. Stop orders wait for a trade at their price. While a
symbol is halted nothing fills in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any
from uuid import UUID, uuid5

from torghut_core.clock import Clock
from torghut_core.exchange.activities import Activities
from torghut_core.exchange.ledger import ZERO, Ledger, plain
from torghut_core.exchange.messages import Message, decode_fields
from torghut_core.exchange.orders import ApiError, Order, OrderRequest
from torghut_core.exchange.prices import Prices
from torghut_core.market_calendar import MarketCalendar, Session
from torghut_core.rfc3339 import format_ns

_ASSET_NAMESPACE = UUID("6a3f6f0e-5d0b-4b60-9f0c-0c6a9d2f7b11")
_HALTS, _RESUMPTIONS = frozenset(["2", "H", "P"]), frozenset(["3", "T"])
"""Status codes of both tapes: https://docs.alpaca.markets/docs/real-time-stock-pricing-data#trading-status."""
Listener = Callable[[dict[str, Any]], None]


@cache
def asset_id(symbol: str) -> str:
    """Return the id of a symbol's asset, the same in every run."""
    return str(uuid5(_ASSET_NAMESPACE, symbol))


class Broker:
    """One account at one broker. `on_update` gets each trade update; `on_submit` is called when an order waits.

    `refuses` is asked for each order that comes into the market: a yes rejects it.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        prices: Prices,
        clock: Clock,
        calendar: MarketCalendar,
        seed: int,
        refuses: Callable[[], bool] = lambda: False,
        charges_fees: bool = False,
    ) -> None:
        self.ledger = ledger
        self.activities = Activities()
        self._charges_fees = charges_fees
        self.prices = prices
        self._clock = clock
        self._calendar = calendar
        self._refuses = refuses
        self._random = Random(f"{seed}:orders")
        self._orders: dict[str, Order] = {}
        self._by_client_id: dict[str, Order] = {}
        self._working: dict[str, list[Order]] = {}
        self._waiting: list[Order] = []
        self._halted: set[str] = set()
        self._day_closes_ns: int | None = None
        self.known_symbols: set[str] = set()
        self.on_update: Listener = lambda _update: None
        self.on_submit: Callable[[], None] = lambda: None

    @property
    def working_symbols(self) -> Collection[str]:
        """Return the symbols in which an order waits in the market for a quote or a trade."""
        return self._working.keys()

    @property
    def order_count(self) -> int:
        """Return how many orders were accepted."""
        return len(self._orders)

    def _new_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    # What the account asks for.

    def submit(self, request: OrderRequest) -> Order:
        """Accept an order. Raises ApiError when its id is taken, or the account cannot bear it."""
        if request.symbol not in self.known_symbols | self.prices.symbols:
            raise ApiError(422, 42210000, f'asset "{request.symbol}" not found')
        if request.client_order_id is not None and request.client_order_id in self._by_client_id:
            raise ApiError(422, 40010001, "client_order_id must be unique")
        self._check_crossing(request)
        self._check_affordable(request)
        now_ns = self._clock.now_ns()
        order_id = self._new_id()
        order = Order(
            id=order_id,
            client_order_id=request.client_order_id or self._new_id(),
            asset_id=asset_id(request.symbol),
            request=request,
            created_ns=now_ns,
            updated_ns=now_ns,
        )
        self._orders[order.id] = order
        self._by_client_id[order.client_order_id] = order
        self._waiting.append(order)
        self.on_submit()
        return order

    def _check_crossing(self, request: OrderRequest) -> None:
        for order in self.open_orders(request.symbol):
            other = order.request
            if other.side == request.side:
                continue
            buy, sell = (request, other) if request.side == "buy" else (other, request)
            if buy.limit_price is None or sell.limit_price is None or buy.limit_price >= sell.limit_price:
                raise ApiError(
                    403,
                    40310000,
                    "potential wash trade detected. use complex orders",
                    existing_order_id=order.id,
                    reject_reason="opposite side market/stop order exists",
                )

    def _check_affordable(self, request: OrderRequest) -> None:
        held = self.ledger.held(request.symbol)
        is_closing = held > 0 if request.side == "sell" else held < 0
        if is_closing:
            available = abs(held) - self._held_for_orders(request.symbol, request.side)
            if request.qty > available:
                raise ApiError(
                    403,
                    40310000,
                    f"insufficient qty available for order (requested: {plain(request.qty)}, "
                    f"available: {plain(available)})",
                    available=plain(available),
                    existing_qty=plain(abs(held)),
                    held_for_orders=plain(abs(held) - available),
                    symbol=request.symbol,
                )
            return
        if request.side == "sell" and request.qty != request.qty.to_integral_value():
            raise ApiError(403, 40310000, "fractional orders cannot be sold short")
        cost = self._expected_price(request) * request.qty
        power = self.buying_power()
        if cost > power:
            raise ApiError(
                403, 40310000, "insufficient buying power", buying_power=plain(power), cost_basis=plain(cost)
            )

    def _expected_price(self, request: OrderRequest) -> Decimal:
        price = request.limit_price or request.stop_price
        if price is not None:
            return price
        quote = self.prices.quote(request.symbol)
        side_price = 0.0 if quote is None else quote.ask if request.side == "buy" else quote.bid
        if side_price > 0:
            return Decimal(str(side_price))
        last = self.prices.last_price(request.symbol)
        if last is None:
            raise ApiError(403, 40310000, f"no price is known for {request.symbol}")
        return last

    def cancel(self, order_id: str) -> None:
        """Cancel an open order. Raises ApiError 404 or 422."""
        order = self.find(order_id)
        if not order.is_open:
            raise ApiError(422, 42210000, f'order is already in "{order.status}" state')
        self._end(order, "canceled", self._clock.now_ns())

    def cancel_all(self) -> list[Order]:
        """Cancel every open order and return them."""
        orders = self.open_orders()
        now_ns = self._clock.now_ns()
        for order in orders:
            self._end(order, "canceled", now_ns)
        return orders

    # What can be asked of it.

    def find(self, order_id: str) -> Order:
        """Return an order by id. Raises ApiError 404."""
        order = self._orders.get(order_id)
        if order is None:
            raise ApiError(404, 40410000, f"order not found for {order_id[:64]}")
        return order

    def find_by_client_id(self, client_order_id: str) -> Order:
        """Return an order by its client's id. Raises ApiError 404."""
        order = self._by_client_id.get(client_order_id)
        if order is None:
            raise ApiError(404, 40410000, f"order not found for {client_order_id[:64]}")
        return order

    def orders(self) -> list[Order]:
        """Return every order, the oldest first."""
        return list(self._orders.values())

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Return the open orders, of one symbol or of all: those in the market, then those on their way to it."""
        queued = [order for order in self._waiting if order.is_open]
        working = [order for orders in self._working.values() for order in orders]
        return [order for order in working + queued if symbol in (None, order.request.symbol)]

    def _held_for_orders(self, symbol: str, side: str) -> Decimal:
        return sum((order.remaining for order in self.open_orders(symbol) if order.request.side == side), ZERO)

    def available(self, symbol: str) -> Decimal:
        """Return the signed quantity of a position that no open order would close."""
        held = self.ledger.held(symbol)
        reserved = self._held_for_orders(symbol, "sell" if held > 0 else "buy")
        return max(ZERO, held - reserved) if held > 0 else min(ZERO, held + reserved)

    def buying_power(self) -> Decimal:
        """Return what can still be bought beside the open orders that add to a position."""
        reserved = ZERO
        for order in self.open_orders():
            held = self.ledger.held(order.request.symbol)
            is_closing = held > 0 if order.request.side == "sell" else held < 0
            if not is_closing:
                reserved += order.remaining * self._expected_price(order.request)
        return self.ledger.buying_power(self.prices.last_price, reserved)

    # What the market does.

    def admit(self, symbol: str | None = None) -> None:
        """Let accepted orders into the market, of one symbol or of all: they are new, and meet the standing quote."""
        waiting = [order for order in self._waiting if symbol in (None, order.request.symbol)]
        self._waiting = [order for order in self._waiting if symbol not in (None, order.request.symbol)]
        now_ns = self._clock.now_ns()
        for order in waiting:
            if not order.is_open:
                continue
            if self._refuses():
                self._end(order, "rejected", now_ns)
                continue
            order.status = "new"
            self._working.setdefault(order.request.symbol, []).append(order)
            self._report(order, "new", now_ns)
            quote = self.prices.quote(order.request.symbol)
            if quote is not None:
                self._meet_quote(order, quote, now_ns)
            if order.is_open and order.request.time_in_force in ("ioc", "fok"):
                self._end(order, "canceled", now_ns)

    def observe(self, message: Message) -> None:
        """Let the working orders of a symbol meet a quote, or a trade touch their stop."""
        if message.kind == "s":
            self._note_status(message)
        orders = self._working.get(message.symbol)
        if not orders:
            return
        for order in tuple(orders):
            if message.kind == "q":
                self._meet_quote(order, message, message.at_ns)
            elif message.kind == "t":
                self._touch_stop(order, message)

    def _note_status(self, message: Message) -> None:
        code = decode_fields(message).get("sc")
        if code in _HALTS:
            self._halted.add(message.symbol)
        elif code in _RESUMPTIONS:
            self._halted.discard(message.symbol)

    def end_day(self, now_ns: int) -> None:
        """Expire day orders once the session they were for has closed; book the fees of days that are over."""
        if self._charges_fees:
            self.ledger.cash -= self.activities.charge(now_ns)
        if self._calendar.is_always_open:
            return
        if self._day_closes_ns is None:
            self._day_closes_ns = self._calendar.next_regular(now_ns)[1]
        if now_ns < self._day_closes_ns:
            return
        closed_ns, self._day_closes_ns = self._day_closes_ns, self._calendar.next_regular(now_ns)[1]
        for order in self.open_orders():
            is_for_day = order.request.time_in_force == "day" and not order.request.extended_hours
            if is_for_day and order.created_ns < closed_ns:
                self._end(order, "expired", now_ns)

    def _touch_stop(self, order: Order, trade: Message) -> None:
        stop = order.request.stop_price
        if stop is None or order.is_triggered:
            return
        price = Decimal(str(trade.price))
        order.is_triggered = price >= stop if order.request.side == "buy" else price <= stop
        quote = self.prices.quote(trade.symbol)
        if order.is_triggered and quote is not None:
            self._meet_quote(order, quote, trade.at_ns)

    def _meet_quote(self, order: Order, quote: Message, now_ns: int) -> None:
        request = order.request
        is_waiting = request.stop_price is not None and not order.is_triggered
        if is_waiting or request.symbol in self._halted or not self._can_trade(request, now_ns):
            return
        is_buy = request.side == "buy"
        quoted, size = (quote.ask, quote.ask_size) if is_buy else (quote.bid, quote.bid_size)
        if quoted <= 0 or size <= 0:
            return
        price = Decimal(str(quoted))
        if request.limit_price is not None:
            is_acceptable = price <= request.limit_price if is_buy else price >= request.limit_price
            if not is_acceptable:
                return
        qty = min(order.remaining, Decimal(str(size)))
        if request.time_in_force == "fok" and qty < order.remaining:
            return
        self._fill(order, qty, price, now_ns)

    def _can_trade(self, request: OrderRequest, now_ns: int) -> bool:
        session = self._calendar.session(now_ns)
        if session is Session.REGULAR:
            return True
        return request.extended_hours and session in (Session.PRE, Session.POST)

    def _fill(self, order: Order, qty: Decimal, price: Decimal, now_ns: int) -> None:
        self.ledger.apply_fill(order.request.symbol, order.request.side, qty, price)
        order.filled_qty += qty
        order.filled_value += qty * price
        order.updated_ns = now_ns
        is_whole = order.remaining == 0
        order.status = "filled" if is_whole else "partially_filled"
        self.activities.fill(order, qty, price, now_ns)
        if is_whole:
            order.filled_ns = now_ns
            self._forget(order)
        self._report(
            order,
            "fill" if is_whole else "partial_fill",
            now_ns,
            price=plain(price),
            qty=plain(qty),
            position_qty=plain(self.ledger.held(order.request.symbol)),
        )

    def _end(self, order: Order, status: str, now_ns: int) -> None:
        order.status = status
        order.updated_ns = now_ns
        if status == "canceled":
            order.canceled_ns = now_ns
        elif status == "expired":
            order.expired_ns = now_ns
        else:
            order.failed_ns = now_ns
        self._forget(order)
        self._report(order, status, now_ns)

    def _forget(self, order: Order) -> None:
        working = self._working.get(order.request.symbol, [])
        if order in working:
            working.remove(order)
            if not working:
                del self._working[order.request.symbol]

    def _report(self, order: Order, event: str, now_ns: int, **fields: str) -> None:
        self.on_update(
            {
                "event": event,
                "event_id": str(now_ns),
                "execution_id": self._new_id(),
                "timestamp": format_ns(now_ns),
                **fields,
                "order": order.fields(),
            }
        )
