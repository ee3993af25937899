"""A small strict broker over real HTTP: Alpaca's paths, unique client ids, and answers that can be lost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

KEY, SECRET = "PKTEST000000", "broker-secret-000000"


@dataclass
class BrokerServer:
    """The server's state; tests read it and turn its faults on."""

    number: str = "PA0000001"
    equity: str = "100000"
    buying_power: str = "200000"
    positions: dict[str, float] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By client order id."""
    posts: list[str] = field(default_factory=list)
    """The client id of every order that was posted, in order."""
    lookups: list[str] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Every order's body as posted."""
    cash: str | None = None
    prices: dict[str, float] = field(default_factory=dict)
    """Dollars a share of positions, 100 without."""
    entry_prices: dict[str, float] = field(default_factory=dict)
    """What positions cost on average, 100 without."""
    activities: list[dict[str, Any]] = field(default_factory=list)
    """The account's activities, the oldest first."""
    foreign: list[dict[str, Any]] = field(default_factory=list)
    """Open orders of other people, as they are listed."""
    obeys_cancels: bool = True
    days_asked: list[str | None] = field(default_factory=list)
    """Since when all orders were asked for, each time."""
    uncancellable: set[str] = field(default_factory=set)
    """Ids of orders whose cancellation is answered 500."""
    fault: str | None = None
    """`lost_answer` keeps the order and never answers; `swallowed` does not keep it either; `lost_order` answers 504 and keeps nothing; `refused` answers 403;
    `garbage` keeps it and answers no order; `down` answers 500 to everything."""
    order_status: str = "accepted"
    fill_price: str = "100.5"
    """Dollars a share of what is filled on arrival."""
    submitted: asyncio.Event = field(default_factory=asyncio.Event)

    def keep(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take an order into the books."""
        order = {
            **body,
            "id": str(uuid4()),
            "status": self.order_status,
            "filled_qty": body["qty"] if self.order_status == "filled" else "0",
            "filled_avg_price": self.fill_price if self.order_status == "filled" else None,
            "submitted_at": "2026-01-05T15:00:00Z",
            "updated_at": f"2026-01-05T15:00:00.{len(self.orders):06d}Z",
        }
        self.orders[body["client_order_id"]] = order
        return order


def create_broker_app(state: BrokerServer) -> FastAPI:
    """Return the broker's HTTP application over `state`."""
    app = FastAPI(openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Any:
        if request.headers.get("apca-api-key-id") != KEY or request.headers.get("apca-api-secret-key") != SECRET:
            return JSONResponse({"message": "forbidden."}, status_code=401)
        if state.fault == "down":
            return JSONResponse({"message": "internal server error"}, status_code=500)
        return await call_next(request)

    @app.get("/v2/account")
    async def account() -> Any:
        return {
            "account_number": state.number,
            "status": "ACTIVE",
            "equity": state.equity,
            "cash": state.cash or state.equity,
            "buying_power": state.buying_power,
        }

    @app.get("/v2/account/activities")
    async def activities(page_size: int = 100, page_token: str | None = None) -> Any:
        ids = [item["id"] for item in state.activities]
        first = 0 if page_token is None else ids.index(page_token) + 1
        return state.activities[first : first + page_size]

    @app.get("/v2/positions")
    async def positions() -> Any:
        return [
            {
                "symbol": symbol,
                "qty": str(qty),
                "qty_available": str(qty),
                "side": "long" if qty > 0 else "short",
                "market_value": str(qty * state.prices.get(symbol, 100)),
                "avg_entry_price": str(state.entry_prices.get(symbol, 100)),
            }
            for symbol, qty in state.positions.items()
            if qty
        ]

    @app.get("/v2/assets/{symbol}")
    async def asset(symbol: str) -> Any:
        return {
            "symbol": symbol,
            "tradable": True,
            "shortable": True,
            "easy_to_borrow": True,
            "fractionable": True,
        }

    @app.post("/v2/orders")
    async def submit(request: Request) -> Any:
        body = await request.json()
        state.posts.append(body["client_order_id"])
        state.bodies.append(body)
        state.submitted.set()
        if body["client_order_id"] in state.orders:
            return JSONResponse({"code": 40010001, "message": "client_order_id must be unique"}, status_code=422)
        if state.fault == "refused":
            return JSONResponse({"code": 40310000, "message": "insufficient buying power"}, status_code=403)
        if state.fault == "lost_order":
            return JSONResponse({"message": "gateway timeout"}, status_code=504)
        if state.fault == "swallowed":
            await asyncio.Event().wait()
        order = state.keep(body)
        if state.order_status == "filled":
            signed = float(body["qty"]) * (1 if body["side"] == "buy" else -1)
            left = state.positions.get(body["symbol"], 0) + signed
            state.positions[body["symbol"]] = int(left) if left == int(left) else left
        if state.fault == "lost_answer":
            await asyncio.Event().wait()
        return {"unexpected": True} if state.fault == "garbage" else order

    @app.get("/v2/orders:by_client_order_id")
    async def find(client_order_id: str) -> Any:
        state.lookups.append(client_order_id)
        order = state.orders.get(client_order_id)
        return order if order is not None else JSONResponse({"message": "order not found"}, status_code=404)

    @app.get("/v2/orders/{order_id}")
    async def one(order_id: str) -> Any:
        found = [order for order in state.orders.values() if order["id"] == order_id]
        return found[0] if found else JSONResponse({"message": "order not found"}, status_code=404)

    @app.get("/v2/orders")
    async def listed(status: str, limit: int, after: str | None = None) -> Any:
        if status == "all":
            state.days_asked.append(after)
        done = ("filled", "canceled", "expired", "rejected")
        own = [o for o in state.orders.values() if status == "all" or o["status"] not in done]
        return [*state.foreign, *own][:limit]

    @app.delete("/v2/orders/{order_id}")
    async def cancel(order_id: str) -> Any:
        state.cancels.append(order_id)
        if order_id in state.uncancellable:
            return JSONResponse({"message": "internal server error"}, status_code=500)
        for order in state.orders.values():
            if order["id"] == order_id and state.obeys_cancels:
                order["status"] = "canceled"
        return Response(status_code=204)

    return app
