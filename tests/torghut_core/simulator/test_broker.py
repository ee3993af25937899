"""The broker: what fills when, and at which price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from torghut_core.clock import ManualClock
from torghut_core.exchange.broker import Broker
from torghut_core.exchange.ledger import Ledger
from torghut_core.exchange.messages import Message, encode_message
from torghut_core.exchange.orders import ApiError, Order, parse_order
from torghut_core.market_calendar import MarketCalendar
from torghut_core.rfc3339 import parse_ns
from torghut_core.simulator.book import Book

OPEN_NS = parse_ns("2026-01-05T15:00:00Z")


class Desk:
    """A broker whose market is moved by hand."""

    def __init__(
        self, *, calendar: str = "XNYS", now_ns: int = OPEN_NS, cash: str = "100000", fees: bool = False
    ) -> None:
        self.book = Book()
        self.clock = ManualClock(now_ns)
        self.updates: list[dict[str, Any]] = []
        self.broker = Broker(
            ledger=Ledger(cash=Decimal(cash), multiplier=Decimal(2)),
            prices=self.book,
            clock=self.clock,
            calendar=MarketCalendar(calendar),  # type: ignore[arg-type]
            seed=1,
            charges_fees=fees,
        )
        self.broker.on_update = self.updates.append

    def quote(self, bid: float, ask: float, size: int = 1000) -> None:
        """Let a quote arrive."""
        fields = {"T": "q", "S": "A", "bp": bid, "bs": size, "ap": ask, "as": size}
        self._arrive(encode_message(self.clock.now_ns(), self.clock.now_ns(), fields))

    def trade(self, price: float) -> None:
        """Let a trade arrive."""
        self._arrive(encode_message(self.clock.now_ns(), self.clock.now_ns(), {"T": "t", "S": "A", "p": price, "s": 1}))

    def _arrive(self, message: Message) -> None:
        self.book.apply(message)
        self.broker.observe(message)

    def order(self, side: str = "buy", qty: float = 10, kind: str = "market", tif: str = "day", **more: Any) -> Order:
        """Submit an order and let it into the market."""
        body = {"symbol": "A", "side": side, "qty": qty, "type": kind, "time_in_force": tif, **more}
        order = self.broker.submit(parse_order(body))
        self.broker.admit()
        return order

    @property
    def events(self) -> list[str]:
        """Return the trade updates' names."""
        return [update["event"] for update in self.updates]


@pytest.fixture
def desk() -> Desk:
    """Return a desk in regular hours with a quote of 99.9 to 100.1."""
    desk = Desk()
    desk.quote(99.9, 100.1)
    return desk


@pytest.mark.parametrize(("side", "price"), [("buy", "100.1"), ("sell", "99.9")])
def test_market_order_when_quoted_then_it_fills_at_its_side(desk: Desk, side: str, price: str) -> None:
    """A buy pays the ask, a sell gets the bid."""
    order = desk.order(side)
    assert (order.status, order.fields()["filled_avg_price"]) == ("filled", price)
    assert desk.events == ["new", "fill"]


def test_market_order_when_larger_than_the_quote_then_it_fills_in_parts(desk: Desk) -> None:
    """No more than the quoted size fills at once; the rest waits for the next quote."""
    order = desk.order(qty=1200)
    assert (order.status, order.filled_qty) == ("partially_filled", Decimal(1000))
    desk.quote(100.0, 100.3)
    assert (order.status, order.fields()["filled_avg_price"]) == ("filled", "100.133333333")
    assert desk.events == ["new", "partial_fill", "fill"]
    assert [update["position_qty"] for update in desk.updates[1:]] == ["1000", "1200"]


def test_limit_order_when_the_quote_comes_to_it_then_it_fills_at_the_quote(desk: Desk) -> None:
    """A limit order waits for its price, and takes a better one."""
    order = desk.order(kind="limit", limit_price=99.5)
    assert order.status == "new"
    desk.quote(99.0, 99.4)
    assert (order.status, order.fields()["filled_avg_price"]) == ("filled", "99.4")


def test_stop_order_when_its_price_trades_then_it_fills_at_the_market(desk: Desk) -> None:
    """A stop waits for a trade at or beyond its price, whatever is quoted."""
    order = desk.order(kind="stop", stop_price=101)
    desk.quote(101.9, 102.0)
    assert order.status == "new"
    desk.trade(101.0)
    assert (order.status, order.fields()["filled_avg_price"]) == ("filled", "102")


def test_stop_limit_order_when_triggered_beyond_its_limit_then_it_waits(desk: Desk) -> None:
    """A triggered stop-limit order is a limit order."""
    order = desk.order(kind="stop_limit", stop_price=101, limit_price=101.5)
    desk.quote(101.9, 102.0)
    desk.trade(102.0)
    assert order.status == "new"
    desk.quote(101.0, 101.4)
    assert order.status == "filled"


def test_ioc_order_when_only_a_part_is_quoted_then_the_rest_is_cancelled(desk: Desk) -> None:
    """Immediate-or-cancel takes what there is."""
    order = desk.order(qty=1500, tif="ioc")
    assert (order.status, order.filled_qty) == ("canceled", Decimal(1000))


def test_fok_order_when_only_a_part_is_quoted_then_nothing_fills(desk: Desk) -> None:
    """Fill-or-kill takes all or nothing."""
    order = desk.order(qty=1500, tif="fok")
    assert (order.status, order.filled_qty) == ("canceled", Decimal(0))


def test_order_when_the_market_is_closed_then_it_waits_for_the_open() -> None:
    """A day order of the night fills at the first quote of the regular session; extended hours take a limit order."""
    desk = Desk(now_ns=parse_ns("2026-01-05T13:00:00Z"))
    desk.quote(99.9, 100.1)
    order = desk.order()
    early = desk.order(kind="limit", limit_price=100.2, extended_hours=True)
    assert (order.status, early.status) == ("new", "filled")
    desk.clock.advance(2 * 3600)
    desk.quote(100.0, 100.2)
    assert (order.status, order.fields()["filled_avg_price"]) == ("filled", "100.2")


def test_day_order_when_the_session_closes_then_it_expires(desk: Desk) -> None:
    """At the close, day orders end and others stay."""
    day, lasting = desk.order(kind="limit", limit_price=1), desk.order(kind="limit", limit_price=1, tif="gtc")
    desk.broker.end_day(desk.clock.now_ns())
    desk.clock.advance(6 * 3600)
    desk.broker.end_day(desk.clock.now_ns())
    assert (day.status, lasting.status) == ("expired", "new")


@pytest.mark.parametrize(("fees", "left"), [(False, "99998"), (True, "99997.96")])
def test_day_when_it_is_over_then_a_live_account_is_charged_its_fees(fees: bool, left: str) -> None:
    """Bought at 100.1, sold at 99.9: two dollars lost on the day, and on the next the cents of both fees."""
    desk = Desk(fees=fees)
    desk.quote(99.9, 100.1)
    desk.order()
    desk.order("sell")
    assert desk.broker.ledger.cash == Decimal(99_998)
    desk.clock.advance(24 * 3600)
    desk.broker.end_day(desk.clock.now_ns())
    assert desk.broker.ledger.cash == Decimal(left)


def refusal(desk: Desk, **order: Any) -> tuple[int, int, str]:
    """Return status, code and message of a refused order."""
    with pytest.raises(ApiError) as refused:
        desk.order(**order)
    body = refused.value.body
    return refused.value.status, body["code"], body["message"]


def test_order_when_open_orders_hold_the_money_then_buying_power_is_short(desk: Desk) -> None:
    """What open buys would cost is not to be spent again."""
    desk.order(qty=1900, kind="limit", limit_price=99)
    assert desk.broker.buying_power() == Decimal(200_000) - 1900 * 99
    assert refusal(desk, qty=1000) == (403, 40310000, "insufficient buying power")


def test_sell_when_more_than_is_free_then_it_is_refused(desk: Desk) -> None:
    """A sell of a long position may take what is held and not promised to other sells."""
    desk.order(qty=10)
    desk.order("sell", qty=4, kind="limit", limit_price=200)
    assert refusal(desk, side="sell", qty=7) == (
        403,
        40310000,
        "insufficient qty available for order (requested: 7, available: 6)",
    )
    assert desk.order("sell", qty=6).status == "filled"


def test_order_when_it_would_cross_an_own_one_then_it_is_refused_with_its_id(desk: Desk) -> None:
    """Trading with oneself is refused and the order in the way named."""
    resting = desk.order(kind="limit", limit_price=99)
    with pytest.raises(ApiError) as refused:
        desk.order("sell", qty=1)
    assert (refused.value.status, refused.value.body["existing_order_id"]) == (403, resting.id)
    assert desk.order("sell", qty=1, kind="limit", limit_price=150).status == "new"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"side": "hold"}, "invalid side: must be one of buy, sell"),
        ({"kind": "trailing_stop"}, "invalid type: must be one of market, limit, stop, stop_limit"),
        ({"tif": "opg"}, "invalid time_in_force: must be one of day, gtc, ioc, fok"),
        ({"qty": 0}, "qty must be > 0"),
        ({"qty": "NaN"}, "qty must be > 0"),
        ({"qty": 0.5, "tif": "gtc"}, "fractional orders must be DAY orders"),
        ({"kind": "limit"}, "limit orders require a limit price"),
        ({"limit_price": 1}, "market orders require no limit price"),
        ({"kind": "limit", "limit_price": 10.001}, "sub-penny increment"),
        ({"notional": 100}, "notional: the simulator takes qty only"),
        ({"extended_hours": True}, "extended hours order must be DAY limit orders"),
        ({"symbol": "ZZZ"}, 'asset "ZZZ" not found'),
        ({"client_order_id": "x" * 129}, "no more than 128 characters"),
    ],
)
def test_order_when_a_field_is_wrong_then_422_names_it(desk: Desk, order: dict[str, Any], words: str) -> None:
    """Requests that are not well formed are refused before the account is looked at."""
    status, _, message = refusal(desk, **order)
    assert status == 422
    assert words in message


def test_ids_when_the_seed_is_the_same_then_they_are(desk: Desk) -> None:
    """Order ids follow from the seed."""
    other = Desk()
    other.quote(99.9, 100.1)
    assert desk.order().id == other.order().id
