"""What the stream did not bring, from REST: minute bars, and trades when asked to.

After every gap, at start, and for symbols that join later. Pages are followed, ranges are explicit, and nothing is put
a second time: minutes are compared with the account, trades with those that are remembered by exchange and number.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from torghut_core.backoff import FullJitter
from torghut_core.clock import Clock
from torghut_core.feeds import Feed
from torghut_core.ingest.account import MINUTE_NS, Account
from torghut_core.ingest.intake import Intake
from torghut_core.ingest.messages import Message, MessageError, read_message
from torghut_core.logs import event
from torghut_core.rfc3339 import format_ns

_logger = logging.getLogger("torghut.ws.backfill")
_HOUR_NS = 60 * MINUTE_NS
_PAGE = 10_000
_SYMBOLS_PER_REQUEST = 100
_MOST_PAGES = 1000
_CALM_SECONDS = 1.0
"""What happens together, as many symbols that join, becomes one request; and REST knows of the last trades by then."""
_AHEAD_NS = 2_000_000_000
"""Trades are asked for a little beyond this machine's clock, which may be behind the exchange's."""


@dataclass(frozen=True, kw_only=True)
class BackfillSettings:
    """What is filled, and how far back."""

    base_url: str
    key_id: str
    secret_key: str
    feed: Feed
    bars_hours: float | None
    trades_hours: float | None
    trades_most: int


class Backfill:
    """Runs when asked to, one thing at a time, again and again until it worked."""

    def __init__(
        self,
        settings: BackfillSettings,
        *,
        account: Account,
        intake: Intake,
        clock: Clock,
        symbols: Callable[[], frozenset[str]],
        flush: Callable[[], None],
        tell: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self._settings = settings
        self._account = account
        self._intake = intake
        self._clock = clock
        self._symbols = symbols
        self._flush = flush
        self._tell = tell
        self._needed = asyncio.Event()
        self._backoff = FullJitter(base=1.0, cap=60.0, least=0.5)
        self._is_filling = False
        self._minutes_before = dict(account.acked_minute)
        self._trades_before = dict(account.acked_trade)
        self._bars_begun: set[str] = set()
        self._trades_begun: set[str] = set()
        """Symbols for which what was before this start, or before they were wanted, is filled."""
        self.filled: dict[str, int] = {}
        """Records put, by channel."""
        self.failures = 0
        self.error: str | None = None
        self.truncated = 0
        """Times that trades were more than the bound."""

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is asked for and nothing on its way."""
        return not self._is_filling and not self._needed.is_set()

    def need(self) -> None:
        """Ask for what is missing as soon as possible."""
        self._needed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Fill when asked to, until `stop` is set."""
        if self._settings.bars_hours is None and self._settings.trades_hours is None:
            await stop.wait()
            return
        attempt = 0
        headers = {
            "APCA-API-KEY-ID": self._settings.key_id,
            "APCA-API-SECRET-KEY": self._settings.secret_key,
        }
        async with httpx.AsyncClient(timeout=10.0, headers=headers) as client:
            while not stop.is_set():
                if not await self._asked(stop):
                    return
                self._needed.clear()
                self._is_filling = True
                try:
                    await self._fill(client)
                except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
                    attempt += 1
                    self.failures += 1
                    self.error = f"{type(error).__name__}"
                    event(_logger, "backfill_failed", logging.WARNING, reason=self.error, attempt=attempt)
                    self._needed.set()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._backoff.delay(attempt)):
                            await stop.wait()
                else:
                    attempt, self.error = 0, None
                self._is_filling = False

    async def _asked(self, stop: asyncio.Event) -> bool:
        waits = [asyncio.ensure_future(self._needed.wait()), asyncio.ensure_future(stop.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                await asyncio.wait(waits[1:], timeout=_CALM_SECONDS)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return not stop.is_set()

    async def _fill(self, client: httpx.AsyncClient) -> None:
        symbols = sorted(self._symbols())
        now_ns = self._clock.now_ns() - self._settings.feed.delay_seconds * 1_000_000_000
        begun = time.monotonic()
        if self._settings.bars_hours is not None:
            oldest = now_ns - int(self._settings.bars_hours * _HOUR_NS)
            self._account.forget_minutes(oldest - _HOUR_NS)
            await self._fill_bars(client, symbols, oldest, now_ns)
        if self._settings.trades_hours is not None:
            await self._fill_trades(client, symbols, now_ns - int(self._settings.trades_hours * _HOUR_NS), now_ns)
        self._flush()
        event(_logger, "backfilled", symbols=len(symbols), seconds=round(time.monotonic() - begun, 2), **self.filled)

    async def _fill_bars(self, client: httpx.AsyncClient, symbols: list[str], oldest: int, now_ns: int) -> None:
        account = self._account
        gaps = account.take_gaps("bars")
        starts = {
            symbol: max(oldest, min(self._bars_known_until(symbol, oldest), gaps.get(symbol, now_ns)))
            for symbol in symbols
        }
        end = now_ns // MINUTE_NS * MINUTE_NS - 1  # the minute that runs is not final
        count, first, last = 0, now_ns, 0
        try:
            rows = [found async for found in self._rows(client, "bars", starts, end, {"timeframe": "1Min"})]
        except BaseException:
            account.give_back("bars", gaps)
            raise
        for symbol, row in rows:
            message = self._message("b", symbol, row)
            if message is None or message.at_ns > end - MINUTE_NS + 1 or not account.add_minute(symbol, message.at_ns):
                continue
            if self._intake.put(message, self._clock.now_ns(), "rest"):
                count, first, last = count + 1, min(first, message.at_ns), max(last, message.at_ns)
        self._bars_begun.update(symbols)
        self._filled("bars", count, first, last)

    def _bars_known_until(self, symbol: str, oldest: int) -> int:
        """Return the last acknowledged minute; at first the one before this start, whatever the stream brought since."""
        known = self._account.acked_minute if symbol in self._bars_begun else self._minutes_before
        return known.get(symbol, oldest)

    async def _fill_trades(self, client: httpx.AsyncClient, symbols: list[str], oldest: int, now_ns: int) -> None:
        account = self._account
        gaps = account.take_gaps("trades")
        starts = {
            symbol: max(oldest, (gaps if symbol in self._trades_begun else self._trades_before).get(symbol, oldest))
            for symbol in symbols
            if symbol in gaps or symbol not in self._trades_begun
        }
        count, first, last = 0, now_ns, 0
        try:
            trades = await self._newest_trades(client, starts, now_ns + _AHEAD_NS)
        except BaseException:
            account.give_back("trades", gaps)
            raise
        for message in trades:
            if self._intake.put(message, self._clock.now_ns(), "rest"):
                count, first, last = count + 1, min(first, message.at_ns), max(last, message.at_ns)
            if count % 500 == 499:
                self._flush()
                await asyncio.sleep(0)  # the stream goes first
        self._trades_begun.update(symbols)
        self._filled("trades", count, first, last)

    async def _newest_trades(self, client: httpx.AsyncClient, starts: Mapping[str, int], end: int) -> list[Message]:
        """Return the trades since `starts` by time; of more than the bound the newest, and it is told."""
        found: list[Message] = []
        async for symbol, row in self._rows(client, "trades", starts, end, {"sort": "desc"}):
            message = self._message("t", symbol, row)
            if message is None or message.at_ns < starts[symbol]:
                continue
            found.append(message)
            if len(found) >= self._settings.trades_most:
                self.truncated += 1
                event(_logger, "backfill_truncated", logging.WARNING, records=len(found))
                oldest = format_ns(min(starts.values()))
                self._tell("gap", {"channel": "trades", "reason": "backfill_bound", "from": oldest, "count": None})
                break
        return sorted(found, key=lambda message: message.at_ns)

    def _message(self, kind: str, symbol: str, row: Any) -> Message | None:
        try:
            if not isinstance(row, dict):
                raise MessageError("not_an_object")
            return read_message({"T": kind, "S": symbol, **{name: each for name, each in row.items() if name != "T"}})
        except MessageError as error:
            self._intake.drop(f"rest_{error}")
            return None

    def _filled(self, channel: str, count: int, first: int, last: int) -> None:
        self.filled[channel] = self.filled.get(channel, 0) + count
        if count:
            self._tell(
                "backfilled", {"channel": channel, "from": format_ns(first), "to": format_ns(last), "count": count}
            )

    async def _rows(
        self, client: httpx.AsyncClient, what: str, starts: Mapping[str, int], end: int, more: Mapping[str, str]
    ) -> Any:
        """Yield symbol and row of every page, the oldest first; symbols that begin together are asked for together."""
        for group in _groups(starts, end):
            token: str | None = None
            for _ in range(_MOST_PAGES):
                parameters = {
                    "symbols": ",".join(group),
                    "start": format_ns(min(starts[symbol] for symbol in group)),
                    "end": format_ns(end),
                    "feed": self._settings.feed.history,
                    "limit": str(_PAGE),
                    "sort": "asc",
                    **more,
                    **({"page_token": token} if token else {}),
                }
                answer = await client.get(f"{self._settings.base_url}/v2/stocks/{what}", params=parameters)
                body = answer.raise_for_status().json()
                for symbol, rows in (body.get(what) or {}).items():
                    for number, row in enumerate(rows or []):
                        yield symbol, row
                        if number % 500 == 499:
                            self._flush()
                            await asyncio.sleep(0)  # the stream goes first
                token = body.get("next_page_token")
                if not token:
                    break


def _groups(starts: Mapping[str, int], end: int) -> Iterable[list[str]]:
    asked = sorted((symbol for symbol in starts if starts[symbol] < end), key=lambda symbol: starts[symbol])
    for at in range(0, len(asked), _SYMBOLS_PER_REQUEST):
        yield asked[at : at + _SYMBOLS_PER_REQUEST]
