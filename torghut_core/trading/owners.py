"""Keeps strategies' shares true to the account: what no order of ours explains is corrected, recorded and told."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from decimal import Decimal

from torghut_core.errors import TorghutError
from torghut_core.logs import event
from torghut_core.trading.books import Reading
from torghut_core.trading.decision.book import ZERO, Book
from torghut_core.trading.decision.desk import still_owned
from torghut_core.trading.money.account import NOBODY
from torghut_core.trading.money.attribution import Settled, corrections, split_ratio
from torghut_core.trading.money.events import Correction
from torghut_core.trading.parts import Parts

_LOG = logging.getLogger(__name__)
_SETTLING_SECONDS = 2.0
"""A position may lag behind a fill: only what was read twice, so far apart, is believed."""


@dataclass(frozen=True)
class _Seen:
    reading: Settled
    since: float


class Owners:
    """Compares each reading of the account, where nothing is on its way, with what strategies own by order events."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settled: dict[str, Settled] | None = None
        self._seen: dict[str, _Seen] = {}
        self._agreed: dict[str, dict[str, Decimal]] = {}
        """What strategies owned when the reading that is settled asked for nothing: it does not, as long as both stand."""
        self._names: dict[str, str] = {}

    def forget(self) -> None:
        """Read everything anew when this process leads again."""
        self._settled = None
        self._seen.clear()
        self._agreed.clear()

    async def settle(self, reading: Reading) -> tuple[Reading, dict[str, Decimal]]:
        """Return the reading after its corrections, and the splits that it found: how many shares one has become.

        What cannot be stored is told and looked at again: it holds up neither exits nor entries.
        """
        parts, book = self._parts, reading.book
        if book is None:
            return reading, {}
        splits: dict[str, Decimal] = {}
        try:
            if self._settled is None:
                self._settled = await asyncio.to_thread(parts.money.settled)
            found: list[Correction] = []
            owned: dict[str, dict[str, Decimal]] = {}
            for (owner, symbol), qty in reading.shares.owned.items():
                owned.setdefault(symbol, {})[owner] = qty
            now = {symbol: _reading_of(symbol, reading, book) for symbol in {*book.positions, *owned, *self._settled}}
            for symbol in sorted(now):
                if symbol in reading.moving or symbol in book.unreadable:
                    self._seen.pop(symbol, None)
                elif self._settled.get(symbol) != now[symbol] or self._agreed.get(symbol) != owned.get(symbol, {}):
                    found += await self._settle(symbol, owned.get(symbol, {}), now[symbol], self._settled, splits)
            await self._measure(reading, book)
        except TorghutError as error:
            parts.state.failed("shares", error)
            return reading, splits
        parts.state.succeeded("shares")
        after = _corrected(reading, book, found) if found else reading
        but = {item.symbol for item in found}
        believed = {name for name in book.positions if name not in but and self._settled.get(name) == now[name]}
        return _with_averages(after, believed), splits

    async def _settle(
        self,
        symbol: str,
        owned: dict[str, Decimal],
        now: Settled,
        settled: dict[str, Settled],
        splits: dict[str, Decimal],
    ) -> list[Correction]:
        parts, before = self._parts, settled.get(symbol)
        now_ns = parts.clock.now_ns()
        found = corrections(symbol, owned, now, before, at_ns=now_ns)
        if before == now and not found:
            self._agreed[symbol] = owned
            return []
        self._agreed.pop(symbol, None)
        ratio = None if before is None or before.after != now.after else split_ratio(before, now)
        if ratio is None and not self._is_believed(symbol, now):
            return []
        if not await asyncio.to_thread(parts.money.settle, symbol, now, found, now_ns=now_ns):
            return []
        settled[symbol] = now
        if ratio is not None:
            splits[symbol] = ratio
        self._tell(symbol, now, found)
        return list(found)

    def _is_believed(self, symbol: str, now: Settled) -> bool:
        at = self._parts.clock.monotonic()
        seen = self._seen.get(symbol)
        if seen is None or seen.reading != now:
            self._seen[symbol] = _Seen(reading=now, since=at)
            return False
        return at - seen.since >= _SETTLING_SECONDS

    def _tell(self, symbol: str, now: Settled, found: tuple[Correction, ...]) -> None:
        parts = self._parts
        for correction in found:
            parts.metrics.add_labelled("share_corrections_total", correction.kind)
            event(
                _LOG, "shares_corrected", logging.WARNING, symbol=symbol, kind=correction.kind, qty=str(correction.qty)
            )
        if found:
            what = "split" if found[0].kind == "split" else "sold by no order of ours"
            changed = sum((abs(correction.qty) for correction in found), ZERO)
            text = f"{symbol}: the account holds {now.qty.normalize():f}; {changed.normalize():f} shares of strategies {what}"
            parts.alerts.tell("shares_corrected", f"{symbol}:{now.after}:{now.qty}", text)

    async def _measure(self, reading: Reading, book: Book) -> None:
        """Put what own orders came to, and how many dollars are no strategy's, into the metrics."""
        metrics, shares = self._parts.metrics, reading.shares
        left = {symbol: position.qty for symbol, position in book.positions.items()}
        for (_, symbol), qty in book.owned.items():
            left[symbol] = left.get(symbol, ZERO) - qty
        strange = sum((abs(left[symbol]) * position.price for symbol, position in book.positions.items()), ZERO)
        if {owner for owner, _ in shares.lots} - {NOBODY} - set(self._names):
            self._names = await asyncio.to_thread(self._parts.money.names)
        open_dollars, by_strategy = ZERO, dict[str, Decimal]()
        for (owner, symbol), lot in shares.lots.items():
            held = book.positions.get(symbol)
            gain = lot.qty * held.price - lot.cost if held is not None and lot.qty else ZERO
            open_dollars += gain
            if owner != NOBODY:
                name = self._names.get(owner, owner)
                by_strategy[name] = by_strategy.get(name, ZERO) + lot.realised + gain
        metrics.put("nobodys_notional_dollars", _cents(strange))
        metrics.put("profit_realised_dollars", _cents(shares.realised))
        metrics.put("profit_unrealised_dollars", _cents(open_dollars))
        metrics.put("fees_dollars", _cents(shares.fees))
        metrics.put_labelled("strategy_profit_dollars", {name: _cents(value) for name, value in by_strategy.items()})


def _cents(dollars: Decimal) -> float:
    return float(round(dollars, 2))


def _reading_of(symbol: str, reading: Reading, book: Book) -> Settled:
    position = book.positions.get(symbol)
    return Settled(
        qty=ZERO if position is None else position.qty,
        entry_price=ZERO if position is None else position.entry_price,
        after=reading.shares.newest.get(symbol, 0),
    )


def _with_averages(reading: Reading, believed: set[str]) -> Reading:
    """Add the average prices of strategies' shares where the account stands as it was believed: no split is in between."""
    book = reading.book
    assert book is not None
    more = {
        key: abs(lot.average_price)
        for key, lot in reading.shares.lots.items()
        if key[1] in believed and key[0] != NOBODY and lot.average_price is not None
    }
    return replace(reading, book=replace(book, averages={**book.averages, **more}))


def _corrected(reading: Reading, book: Book, found: list[Correction]) -> Reading:
    owned = dict(reading.shares.owned)
    for correction in found:
        key = (correction.strategy, correction.symbol)
        sign = 1 if correction.kind == "split" else -1
        owned[key] = owned.get(key, ZERO) + sign * correction.qty
    symbols = {correction.symbol for correction in found}
    positions = {symbol: position for symbol, position in book.positions.items() if symbol in symbols}
    fresh = still_owned({key: qty for key, qty in owned.items() if key[1] in symbols}, positions)
    kept = {key: qty for key, qty in book.owned.items() if key[1] not in symbols}
    averages = {key: price for key, price in book.averages.items() if key[1] not in symbols}
    shares = replace(reading.shares, owned={key: qty for key, qty in owned.items() if qty})
    return replace(reading, book=replace(book, owned={**kept, **fresh}, averages=averages), shares=shares)
