"""Which symbols: polled from a URL, one by one checked, sharded; the last known set outlives failures."""

from __future__ import annotations

import asyncio
import logging
import re
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from torghut_core.logs import event

_logger = logging.getLogger("torghut.ws.universe")
SYMBOL = re.compile(r"[A-Z0-9._:/-]{1,32}")
_SHOWN = 5
_TIMEOUT_SECONDS = 5.0


def parse_symbols(text: str) -> tuple[str, ...]:
    """Return distinct upper-case symbols of a comma-separated list, sorted. Raises ValueError for what is none."""
    found = sorted({part.strip().upper() for part in text.split(",") if part.strip()})
    for symbol in found:
        if not SYMBOL.fullmatch(symbol):
            raise ValueError(f"{symbol[:40]!r} is not a symbol (A-Z, 0-9 and ._:/-, at most 32 characters)")
    return tuple(found)


class UniverseError(ValueError):
    """An answer that holds no universe; its text is the reason."""


@dataclass(frozen=True)
class Answer:
    """The symbols of an answer, and what in it was none."""

    symbols: frozenset[str]
    rejected: tuple[str, ...] = ()


def read_answer(body: Any) -> Answer:
    """Return the symbols of `{"symbols": […]}` or a bare array, of strings or of objects with `symbol`.

    Raises UniverseError when the answer has another shape, or holds no symbol at all: that is a failure, not a wish.
    """
    items = body.get("symbols") if isinstance(body, dict) else body
    if not isinstance(items, list):
        raise UniverseError("bad_shape")
    symbols, rejected = set(), []
    for item in items:
        name = (item.get("symbol") or item.get("contract_symbol")) if isinstance(item, dict) else item
        text = name.strip().upper() if isinstance(name, str) else ""
        if SYMBOL.fullmatch(text):
            symbols.add(text)
        else:
            rejected.append(repr(name)[:40])
    if not symbols:
        raise UniverseError("empty_result")
    return Answer(frozenset(symbols), tuple(rejected))


def shard(symbols: Iterable[str], count: int, index: int) -> frozenset[str]:
    """Return the symbols of a shard: CRC-32 of the name, modulo the count."""
    return frozenset(symbol for symbol in symbols if zlib.crc32(symbol.encode()) % count == index)


class Universe:
    """Polls, and hands each set that is new to `on_change`."""

    def __init__(
        self,
        *,
        url: str | None,
        static: Iterable[str],
        poll_seconds: float,
        shard_count: int,
        shard_index: int,
        on_change: Callable[[frozenset[str]], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._url = url
        self._poll_seconds = poll_seconds
        self._shard = (shard_count, shard_index)
        self._on_change = on_change
        self._monotonic = monotonic
        self.symbols = shard(static, *self._shard)
        self.error: str | None = None
        """Why the last answer could not be used."""
        self.rejected: tuple[str, ...] = ()
        """What in the last answer was no symbol."""
        self.successes = 0
        self.failures: dict[str, int] = {}
        self.read_at: float | None = None
        """When the last usable answer came, monotonic."""

    @property
    def detail(self) -> str | None:
        """Return what an operator should know about it, None when all is well."""
        if self.error is not None:
            return f"universe kept: {self.error}"
        if self.rejected:
            more = len(self.rejected) - _SHOWN
            listed = ", ".join(self.rejected[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
            return f"universe: not symbols: {listed}"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until `stop` is set."""
        if self._url is None:
            await stop.wait()
            return
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS) as client:
            while not stop.is_set():
                try:
                    async with asyncio.timeout(2 * _TIMEOUT_SECONDS):
                        answer = await client.get(self._url)
                    self._use(read_answer(answer.raise_for_status().json()))
                except httpx.HTTPStatusError as error:
                    self._fail(f"http_{error.response.status_code}")
                except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                    self._fail(f"unreachable ({type(error).__name__})")
                except UniverseError as error:
                    self._fail(str(error))
                except (ValueError, RecursionError):
                    self._fail("not_json")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await stop.wait()

    def _use(self, answer: Answer) -> None:
        symbols = shard(answer.symbols, *self._shard)
        self.rejected = answer.rejected
        if not symbols:
            self._fail("empty_shard")
            return
        self.error = None
        self.successes += 1
        self.read_at = self._monotonic()
        if symbols != self.symbols:
            event(_logger, "universe_changed", symbols=len(symbols), rejected=len(answer.rejected))
            self.symbols = symbols
            self._on_change(symbols)

    def _fail(self, reason: str) -> None:
        if reason != self.error:
            event(_logger, "universe_kept", logging.WARNING, reason=reason)
        self.error = reason
        kind = reason.split(" ", maxsplit=1)[0]
        self.failures[kind] = self.failures.get(kind, 0) + 1
