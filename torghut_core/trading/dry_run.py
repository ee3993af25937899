"""The dry run: the live loop at an exchange in this process, whose market are the quotes of the rows that the loop reads.

Nothing is sent to any broker. An order waits for the next row of its symbol, as a real one would for its way, and is
filled at that row's quote by the simulator's rules. The account lives as long as the process; after a restart it is made
again from the fills on record.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from torghut_core.clock import Clock
from torghut_core.exchange.broker import Broker as Exchange
from torghut_core.exchange.ledger import Ledger
from torghut_core.exchange.messages import Message
from torghut_core.exchange.prices import Board
from torghut_core.market_calendar import MarketCalendar
from torghut_core.trading.model import Signal
from torghut_core.trading.orders.broker import BrokerUnavailableError
from torghut_core.trading.orders.ledger import Fill
from torghut_core.trading.orders.paper import PaperBroker
from torghut_core.trading.settings import TradingSettings

MARGIN_MULTIPLIER = Decimal(2)


class DryRun:
    """An account and its exchange; `broker` is what the loop trades at."""

    def __init__(self, settings: TradingSettings, clock: Clock) -> None:
        self._board = Board()
        self._clock = clock
        self._is_restored = False
        self._exchange = Exchange(
            ledger=Ledger(cash=settings.dry_run_cash, multiplier=MARGIN_MULTIPLIER),
            prices=self._board,
            clock=clock,
            calendar=MarketCalendar(settings.market_calendar),
            # Ids are of this start alone: those of one before are on record.
            seed=clock.now_ns(),
        )
        self.broker = PaperBroker(
            self._exchange,
            cash=settings.dry_run_cash,
            created_ns=clock.now_ns(),
            advance=self._advance,
            admits_at_once=False,
        )

    def restore(self, fills: Iterable[Fill]) -> None:
        """Make the account what the fills on record made it."""
        for fill in fills:
            self._exchange.ledger.apply_fill(fill.symbol, fill.side, fill.qty, fill.price)
            self._exchange.known_symbols.add(fill.symbol)
        self._is_restored = True

    def _advance(self) -> None:
        if not self._is_restored:
            raise BrokerUnavailableError("dry run: the account is not made again from its fills yet")
        self._exchange.end_day(self._clock.now_ns())

    def see(self, signals: Iterable[Signal]) -> None:
        """Let the exchange see rows, in the order of their time: a quote that is too old is none."""
        for signal in sorted(signals, key=lambda item: item.event_ns):
            known = self._board.quotes.get(signal.symbol)
            if known is not None and known.event_ns > signal.event_ns:
                continue
            quote = _quote(signal)
            self._board.apply(quote)
            self._board.apply(_trade(signal))
            self._exchange.admit(signal.symbol)
            self._exchange.observe(quote)
            self._exchange.observe(_trade(signal))


def _quote(signal: Signal) -> Message:
    is_quoted = signal.bid is not None and signal.ask is not None
    return Message(
        signal.event_ns,
        signal.event_ns,
        "q",
        signal.symbol,
        b"",
        bid=signal.bid or 0.0,
        ask=signal.ask or 0.0,
        bid_size=(signal.imbalance_bid_sz or 0.0) if is_quoted else 0.0,
        ask_size=(signal.imbalance_ask_sz or 0.0) if is_quoted else 0.0,
    )


def _trade(signal: Signal) -> Message:
    return Message(signal.event_ns, signal.event_ns, "t", signal.symbol, b"", price=signal.close)
