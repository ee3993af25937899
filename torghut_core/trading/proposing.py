"""Asking the rules: what each sees, what it may not do to the others, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from torghut_core.clock import NANOS_PER_SECOND
from torghut_core.errors import InputError
from torghut_core.logs import event
from torghut_core.trading.books import read_book
from torghut_core.trading.closing import Closer
from torghut_core.trading.decision.exits import Cause
from torghut_core.trading.decision.intents import Intent, make_intent
from torghut_core.trading.decision.quote import quote_of
from torghut_core.trading.model import TIMEFRAME_SECONDS, Proposal, Side, Signal, Strategy
from torghut_core.trading.parts import Parts
from torghut_core.trading.store.decisions import Opened
from torghut_core.trading.strategies.judgement import ask
from torghut_core.trading.strategies.library import Library, load_rules
from torghut_core.trading.strategies.rule import Held, Rule, RuleFault, View

_LOG = logging.getLogger(__name__)
_ENDING = frozenset({"deadline", "died", "unloadable"})
"""Faults after which a rule is not asked again."""


@dataclass(frozen=True)
class _Asked:
    """A strategy and its rule."""

    strategy: Strategy
    rule: Rule


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Strategies, the rules of those that are enabled, and what kept the others from loading, by their names."""

    strategies: tuple[Strategy, ...]
    rules: Mapping[str, Rule]
    faults: Mapping[str, RuleFault]


def end_rules(rules: Iterable[Rule]) -> None:
    """End what rules have running: those from outside a process each."""
    for rule in rules:
        end = getattr(rule, "close", None)
        if end is not None:
            end()


class Proposer:
    """Keeps the rules of the catalogue, and turns windows into intents."""

    def __init__(self, parts: Parts, closer: Closer, library: Library) -> None:
        self._parts = parts
        self._closer = closer
        self._library = library
        self._rules: dict[str, Rule] = {}
        self._faults: dict[str, RuleFault] = {}
        """The fault that each strategy made last; one that ends it stays until rules are loaded anew."""
        self.failures: dict[str, tuple[int, RuleFault]] = {}
        """How often each strategy failed since its rule was loaded, and how the last time."""
        self._strategies: tuple[Strategy, ...] = ()
        self._owned: Mapping[tuple[str, str], Decimal] | None = None
        self._opened: Mapping[tuple[str, str], Opened] = {}

    async def load(self, strategies: Sequence[Strategy]) -> tuple[Strategy, ...]:
        """Load the rules of enabled strategies anew and use them; return all strategies, with their rules' identity."""
        return self.use(await asyncio.to_thread(self.build, strategies))

    def build(self, strategies: Sequence[Strategy]) -> Loaded:
        """Load the rules of enabled strategies, and use them not yet: what is in force goes on meanwhile. Blocks."""
        wanted = [strategy for strategy in strategies if strategy.is_enabled]
        rules, faults = load_rules(wanted, self._library)
        return Loaded(strategies=tuple(strategies), rules=rules, faults=faults)

    def use(self, loaded: Loaded) -> tuple[Strategy, ...]:
        """Put loaded rules in the place of those that were in force; return all strategies, with their rules' identity."""
        self.close()
        self._rules, self._faults = dict(loaded.rules), dict(loaded.faults)
        self.failures = {name: (1, fault) for name, fault in loaded.faults.items()}
        for fault in self._faults.values():
            self._parts.metrics.add_labelled("strategy_faults_total", fault.reason)
            event(_LOG, "strategy_not_loaded", logging.ERROR, error=str(fault))
        self._strategies = tuple(self._identified(strategy) for strategy in loaded.strategies)
        self._tell()
        return self._strategies

    def _identified(self, strategy: Strategy) -> Strategy:
        rule = self._rules.get(strategy.name)
        return strategy if rule is None else replace(strategy, version=rule.version, digest=rule.digest)

    def close(self) -> None:
        """End what the rules have running."""
        end_rules(self._rules.values())
        self._rules = {}

    def active(self) -> tuple[Strategy, ...]:
        """Return the strategies whose rules are asked."""
        return tuple(strategy for strategy in self._strategies if self._is_asked(strategy.name))

    def _is_asked(self, name: str) -> bool:
        fault = self._faults.get(name)
        return name in self._rules and (fault is None or fault.reason not in _ENDING)

    def judges(self) -> list[tuple[Strategy, Rule]]:
        """Return the strategies whose rules are asked, with their rules."""
        return [(strategy, self._rules[strategy.name]) for strategy in self.active()]

    @property
    def faults(self) -> Mapping[str, RuleFault]:
        """The fault that each strategy made last, by its name."""
        return self._faults

    def levels(self, symbol: str) -> tuple[list[Decimal], list[Decimal]] | None:
        """Return the stops and the targets that entries in a symbol have set; None while they are not known."""
        stops: list[Decimal] = []
        targets: list[Decimal] = []
        book = self._closer.book
        for strategy in self.active():
            key = strategy.id, symbol
            if not self._rules[strategy.name].uses_position or book is None or not book.owned.get(key):
                continue
            opened = self._opened.get(key)
            if opened is None:
                return None
            stops += [] if opened.stop is None else [opened.stop]
            targets += [] if opened.target is None else [opened.target]
        return stops, targets

    def lookback(self, timeframe: str) -> tuple[int, int]:
        """Return how many bars of a timeframe the rules need at most, at least one, and their span in nanoseconds."""
        needed = [self._rules[strategy.name].lookback for strategy in self.active() if strategy.timeframe == timeframe]
        bars = max(needed, default=1)
        return bars, bars * TIMEFRAME_SECONDS.get(timeframe, 1) * NANOS_PER_SECOND

    def lookback_ns(self) -> int:
        """Return how far back the bars lie that the rules need at most, were there one in every step."""
        spans = (
            self._rules[strategy.name].lookback * TIMEFRAME_SECONDS[strategy.timeframe] for strategy in self.active()
        )
        return max(spans, default=0) * NANOS_PER_SECOND

    @property
    def uses_positions(self) -> bool:
        """Whether a rule looks at what its strategy holds."""
        return any(self._rules[strategy.name].uses_position for strategy in self.active())

    async def propose(self, windows: Iterable[Sequence[Signal]], *, turn: asyncio.Lock) -> list[Intent]:
        """Ask every rule of every window, each for itself, in the windows' order.

        `turn` is held while the book is read anew. Raises EngineUnavailableError.
        """
        if self.uses_positions:
            await self._look_at_positions(turn)
        asked = [_Asked(strategy, self._rules[strategy.name]) for strategy in self.active()]
        before = dict(self._faults)
        self._faults = {name: fault for name, fault in before.items() if fault.reason in _ENDING}
        # A rule in a process of its own is waited for: not on the loop's thread.
        intents = await asyncio.to_thread(self._ask_all, list(windows), asked)
        if self._faults != before:
            self._tell()
        return intents

    async def _look_at_positions(self, turn: asyncio.Lock) -> None:
        """Read the book anew when an order of ours was filled since: a rule must know that it is in."""
        parts = self._parts
        await self._closer.refresh()
        owned = (await asyncio.to_thread(parts.money.shares)).owned
        if owned == self._owned and self._closer.book is not None:
            return
        async with turn:
            reading = await read_book(parts, ())
            await self._closer.update(reading)
        if reading.book is None:
            return
        self._opened = await asyncio.to_thread(parts.decisions.opened, sorted({symbol for _, symbol in owned}))
        self._owned = owned

    def _ask_all(self, windows: Sequence[Sequence[Signal]], asked: Sequence[_Asked]) -> list[Intent]:
        intents: list[Intent] = []
        for window in windows:
            signal = window[-1]
            for each in asked:
                strategy = each.strategy
                is_meant = strategy.timeframe == signal.timeframe
                if is_meant and (not strategy.symbols or signal.symbol in strategy.symbols):
                    intents += self._ask(each, window)
        return intents

    def _ask(self, asked: _Asked, window: Sequence[Signal]) -> list[Intent]:
        strategy, signal = asked.strategy, window[-1]
        if not self._is_asked(strategy.name):
            return []
        # The same bars live and in a backtest, however many are at hand: what is counted over them is the same too.
        seen = window[-asked.rule.lookback :]
        held = self._held(strategy, seen) if asked.rule.uses_position else None
        guarded = None if held is None else touched(held, signal)
        if guarded is not None and held is not None:
            cause, proposal = guarded
            return [self._intent(strategy, signal, proposal, held, cause)]
        try:
            proposals = ask(asked.rule, View(seen, held))
        except RuleFault as fault:
            self._failed(strategy, signal, fault)
            return []
        return [self._intent(strategy, signal, proposal, held, "signal") for proposal in proposals]

    def _intent(
        self, strategy: Strategy, signal: Signal, proposal: Proposal, held: Held | None, cause: Cause
    ) -> Intent:
        is_closing = held is not None and (proposal.side == "sell") == (held.qty > 0)
        label = self._parts.settings.account_label
        return make_intent(strategy, signal, proposal, label, is_closing=is_closing, cause=cause)

    def _held(self, strategy: Strategy, window: Sequence[Signal]) -> Held | None:
        signal, book = window[-1], self._closer.book
        key = strategy.id, signal.symbol
        opened = self._opened.get(key)
        if book is None or opened is None or not (qty := book.owned.get(key)) or signal.event_ns <= opened.signal_ns:
            return None
        return Held(
            qty=qty,
            average_price=book.averages.get(key, opened.price),
            bars=sum(1 for bar in window if bar.event_ns > opened.signal_ns),
            opened_ns=opened.signal_ns,
            stop=opened.stop,
            target=opened.target,
        )

    def _failed(self, strategy: Strategy, signal: Signal, fault: RuleFault) -> None:
        self._faults[strategy.name] = fault
        self.failures[strategy.name] = (self.failures.get(strategy.name, (0, fault))[0] + 1, fault)
        self._parts.metrics.add("rule_errors_total")
        self._parts.metrics.add_labelled("strategy_faults_total", fault.reason)
        event(
            _LOG,
            "rule_failed",
            logging.ERROR,
            strategy=strategy.name,
            symbol=signal.symbol,
            reason=fault.reason,
            error=str(fault),
        )

    def _tell(self) -> None:
        """Say in status, last error and metrics how the strategies are."""
        state, metrics = self._parts.state, self._parts.metrics
        state.strategies = tuple(
            {
                **strategy.identity,
                "enabled": strategy.is_enabled,
                "asked": self._is_asked(strategy.name),
                "failures": self.failures.get(strategy.name, (0, None))[0],
                "fault": None if strategy.name not in self._faults else self._faults[strategy.name].reason,
                "error": None if strategy.name not in self._faults else str(self._faults[strategy.name]),
            }
            for strategy in self._strategies
        )
        metrics.put("strategies_disabled", sum(fault.reason in _ENDING for fault in self._faults.values()))
        if self._faults:
            state.failed("strategies", InputError("; ".join(str(fault) for _, fault in sorted(self._faults.items()))))
        else:
            state.succeeded("strategies")


def touched(held: Held, signal: Signal) -> tuple[Cause, Proposal] | None:
    """Return the closing that a bar calls for by touching the entry's own stop or target; None when it touches none."""
    is_long = held.qty > 0
    side: Side = "sell" if is_long else "buy"
    price = quote_of(signal).price(side) or Decimal(str(signal.close))
    sign = 1 if is_long else -1
    if held.stop is not None and sign * (price - held.stop) <= 0:
        return "stop_loss", Proposal(side=side, rationale=f"stop_loss {held.stop:f} at {price:f}")
    if held.target is not None and sign * (price - held.target) >= 0:
        return "take_profit", Proposal(side=side, rationale=f"take_profit {held.target:f} at {price:f}")
    return None
