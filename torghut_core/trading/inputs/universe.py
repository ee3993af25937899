"""The symbols that may be traded: a fixed list, or a service's answer kept for a bounded time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from torghut_core.clock import Clock
from torghut_core.errors import UpstreamError
from torghut_core.trading.bounded import TooLongError, read_limited
from torghut_core.trading.model import is_symbol
from torghut_core.trading.settings import TradingSettings

_MAX_SYMBOLS = 20_000
_MAX_BYTES = 4_000_000


class UniverseError(UpstreamError):
    """The symbol service gave no usable answer."""


class Universe:
    """Answers which symbols may be traded now; none when that is not known, never all.

    An answer holds for `TRADING_UNIVERSE_CACHE_SECONDS`, a failed refresh leaves it standing until
    `TRADING_UNIVERSE_MAX_STALE_SECONDS` after it was read. An empty answer is a failure.
    """

    def __init__(
        self, settings: TradingSettings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._transport = transport
        self._symbols: frozenset[str] = frozenset()
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self.error: str | None = None

    @property
    def source(self) -> str:
        return self._settings.effective_universe_source

    def age_seconds(self) -> float | None:
        """Return seconds since the list was read from its service, None when it never was or is fixed."""
        return None if self._read_at is None else self._clock.monotonic() - self._read_at

    async def symbols(self) -> frozenset[str]:
        """Return the symbols that may be traded now."""
        if self.source == "static":
            return frozenset(self._settings.static_symbols)
        age = self.age_seconds()
        if age is None or age >= self._settings.universe_cache_seconds:
            await self._refresh()
            age = self.age_seconds()
        is_usable = age is not None and age <= self._settings.universe_max_stale_seconds
        return self._symbols if is_usable else frozenset()

    async def _refresh(self) -> None:
        now = self._clock.monotonic()
        pause = min(self._settings.universe_cache_seconds, 5.0)
        if self._tried_at is not None and self.error is not None and now - self._tried_at < pause:
            return
        self._tried_at = now
        try:
            self._symbols = await self._fetch()
        except UniverseError as error:
            self.error = str(error)
            return
        self._read_at = self._clock.monotonic()
        self.error = None

    async def _fetch(self) -> frozenset[str]:
        url = self._settings.symbols_url
        assert url is not None, "settings refuse the jangar source without its address"
        timeout = self._settings.universe_timeout_seconds
        try:
            async with (
                asyncio.timeout(timeout),
                httpx.AsyncClient(timeout=timeout, transport=self._transport, trust_env=False) as client,
                client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
            ):
                response.raise_for_status()
                body = json.loads(await read_limited(response, _MAX_BYTES))
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError, TooLongError) as error:
            raise UniverseError(f"JANGAR_SYMBOLS_URL: no usable answer ({type(error).__name__})") from error
        symbols = _read_symbols(body)
        if not symbols:
            raise UniverseError("JANGAR_SYMBOLS_URL: the answer names no symbol")
        return symbols


def _read_symbols(body: Any) -> frozenset[str]:
    """Return the symbols of `{"symbols": [...]}` or the enabled ones of `{"items": [{symbol, enabled}]}`."""
    if not isinstance(body, dict):
        return frozenset()
    listed: list[Any] = []
    if isinstance(body.get("symbols"), list):
        listed = body["symbols"]
    elif isinstance(body.get("items"), list):
        listed = [
            item.get("symbol") for item in body["items"] if isinstance(item, dict) and item.get("enabled") is True
        ]
    named = (symbol.upper() for symbol in listed[:_MAX_SYMBOLS] if isinstance(symbol, str))
    return frozenset(symbol for symbol in named if is_symbol(symbol))
