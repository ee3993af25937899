"""The tape: any place in a recorded market, the same as when every message had been taken one by one."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pytest

from torghut_core.clock import StepClock
from torghut_core.exchange.broker import Broker
from torghut_core.exchange.ledger import Ledger
from torghut_core.exchange.messages import Message
from torghut_core.exchange.orders import ApiError, parse_order
from torghut_core.exchange.prices import Board
from torghut_core.market_calendar import MarketCalendar
from torghut_core.trading.backtest.recording import Market, Ticks
from torghut_core.trading.backtest.tape import Tape
from torghut_core.trading.orders.paper import PaperBroker

START = 1_000_000_000


def _messages(random: Random, count: int) -> list[Message]:
    found, at_ns = [], START
    for _ in range(count):
        at_ns += random.choice([0, 1, 1000])
        symbol = random.choice("AB")
        event_ns = at_ns - random.choice([0, 0, 1500])
        if random.random() < 0.5:
            price = random.randint(95, 105)
            found.append(Message(at_ns, event_ns, "t", symbol, b"", price=float(price)))
        else:
            bid = random.randint(95, 104)
            sizes = [random.choice([0.0, 3.0, 10.0]) for _ in range(2)]
            found.append(
                Message(
                    at_ns,
                    event_ns,
                    "q",
                    symbol,
                    b"",
                    bid=float(bid),
                    ask=bid + 1.0,
                    bid_size=sizes[0],
                    ask_size=sizes[1],
                )
            )
    return found


def _market(messages: list[Message], statuses: list[tuple[int, str, str]]) -> Market:
    ticks = {}
    for symbol in "AB":
        quotes = [(at, each) for at, each in enumerate(messages) if each.symbol == symbol and each.kind == "q"]
        trades = [(at, each) for at, each in enumerate(messages) if each.symbol == symbol and each.kind == "t"]
        ticks[symbol] = Ticks(
            np.array([at for at, _ in quotes], np.int64),
            np.array([each.event_ns for _, each in quotes], np.int64),
            np.array([[each.bid, each.ask, each.bid_size, each.ask_size] for _, each in quotes]).reshape(-1, 4),
            np.array([at for at, _ in trades], np.int64),
            np.array([each.event_ns for _, each in trades], np.int64),
            np.array([each.price for _, each in trades]),
        )
    return Market(np.array([each.at_ns for each in messages], np.int64), ticks, statuses)


def _broker(prices: Any, clock: StepClock) -> tuple[Broker, list[dict[str, Any]]]:
    broker = Broker(
        ledger=Ledger(cash=Decimal(10_000), multiplier=Decimal(2)),
        prices=prices,
        clock=clock,
        calendar=MarketCalendar("always-open"),
        seed=1,
    )
    broker.on_submit = broker.admit
    broker.known_symbols |= {"A", "B"}
    heard: list[dict[str, Any]] = []
    broker.on_update = lambda update: heard.append({**update, "execution_id": None})
    return broker, heard


def _order(random: Random) -> dict[str, Any]:
    kind = random.choice(["market", "limit", "stop"])
    body = {
        "symbol": random.choice("AB"),
        "side": random.choice(["buy", "sell"]),
        "qty": random.randint(1, 20),
        "type": kind,
        "time_in_force": "day",
    }
    if kind != "market":
        body[f"{kind}_price"] = random.randint(96, 104)
    return body


@pytest.mark.parametrize("seed", range(40))
def test_tape_when_orders_come_at_any_place_then_they_meet_what_a_message_by_message_market_shows(seed: int) -> None:
    """Fills, prices, times, refusals, halts and account are those of a market that took every message."""
    random = Random(seed)
    messages = _messages(random, 300)
    statuses = sorted((random.randint(1, 299), random.choice("AB"), random.choice(["H", "T"])) for _ in range(4))
    clocks = StepClock(START), StepClock(START)
    tape, board = Tape(_market(messages, statuses)), Board()
    (quick, quick_heard), (plain, plain_heard) = _broker(tape, clocks[0]), _broker(board, clocks[1])
    done, stated = 0, list(statuses)
    for until_ns in sorted(random.choices(range(START, messages[-1].at_ns + 10), k=30)):
        while done < len(messages) and messages[done].at_ns <= until_ns:
            while stated and stated[0][0] <= done:
                _, symbol, code = stated.pop(0)
                plain.observe(Message(0, 0, "s", symbol, b'{"sc":"%b"}' % code.encode()))
            board.apply(messages[done])
            plain.observe(messages[done])
            done += 1
        while stated and stated[0][0] < done:
            _, symbol, code = stated.pop(0)
            plain.observe(Message(0, 0, "s", symbol, b'{"sc":"%b"}' % code.encode()))
        tape.advance(until_ns, quick)
        for clock in clocks:
            clock.move_to(until_ns)
        body = _order(random)
        answers = []
        for broker in (quick, plain):
            try:
                answers.append(broker.submit(parse_order(body)).fields()["status"])
            except ApiError as error:
                answers.append(str(error.body))
        assert answers[0] == answers[1]
        assert (quick.ledger.cash, quick.buying_power()) == (plain.ledger.cash, plain.buying_power())
    assert quick_heard == plain_heard
    assert any(update["event"] == "fill" for update in quick_heard)


@pytest.mark.parametrize("seed", range(8))
async def test_paper_broker_when_orders_and_prices_go_on_then_positions_are_as_read_anew(seed: int) -> None:
    """What was answered before is kept only as far as nothing of it has changed."""
    random = Random(seed)
    messages = _messages(random, 300)
    clock, tape = StepClock(START), Tape(_market(messages, []))
    exchange, _ = _broker(tape, clock)
    kept = PaperBroker(
        exchange, cash=Decimal(10_000), created_ns=START, advance=lambda: tape.advance(clock.now_ns(), exchange)
    )
    held = 0
    for until_ns in sorted(random.choices(range(START, messages[-1].at_ns + 10), k=40)):
        clock.move_to(until_ns)
        found = (await kept.snapshot()).positions
        anew = PaperBroker(exchange, cash=Decimal(10_000), created_ns=START, advance=lambda: None)
        assert found == (await anew.snapshot()).positions
        held += len(found)
        with suppress(ApiError):
            exchange.submit(parse_order(_order(random)))
    assert held > 0
