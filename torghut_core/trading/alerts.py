"""What a person must hear of: logged, kept for the status, stored, and posted to a webhook when one is set.

A post is JSON, signed (HMAC-SHA-256 of the body, hexadecimal, in `X-Torghut-Signature`), tried again with growing
pauses, and sent once per alert: the body's `id` stays the same over every attempt.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import deque
from typing import Any

import httpx

from torghut_core.backoff import Backoff
from torghut_core.clock import Clock
from torghut_core.errors import UpstreamError
from torghut_core.logs import event
from torghut_core.settings import reveal
from torghut_core.trading.encoding import dumps
from torghut_core.trading.settings import TradingSettings
from torghut_core.trading.store.alerts import AlertStore

_LOG = logging.getLogger(__name__)
_KEPT = 20


class WebhookError(UpstreamError):
    """The webhook did not take an alert."""


class Alerts:
    """Takes alerts from anywhere on the event loop; `deliver` stores and posts them."""

    def __init__(
        self,
        settings: TradingSettings,
        store: AlertStore,
        *,
        clock: Clock,
        wall: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._wall = wall
        self._transport = transport
        self._waiting: deque[tuple[str, str, str, int]] = deque(maxlen=1000)
        self._backoff = Backoff(base=1, cap=300)
        self._failures = 0
        self._next_try = 0.0
        self._told: deque[tuple[str, str]] = deque(maxlen=1000)
        self.recent: deque[str] = deque(maxlen=_KEPT)

    def tell(self, name: str, about: str, text: str) -> None:
        """Raise an alert, once for what it is about."""
        if (name, about) in self._told:
            return
        self._told.append((name, about))
        self.recent.append(text)
        event(_LOG, name, logging.ERROR, alert=text)
        self._waiting.append((name, about, text, self._clock.now_ns()))

    async def deliver(self) -> None:
        """Store what waits, and post what was not posted yet. Raises WebhookError or EngineUnavailableError."""
        while self._waiting:
            name, about, text, at_ns = self._waiting[0]
            await asyncio.to_thread(self._store.add, name, f"{name}:{about}"[:255], text, now_ns=at_ns)
            self._waiting.popleft()
        if self._settings.webhook_url is None or self._wall.monotonic() < self._next_try:
            return
        for alert in await asyncio.to_thread(self._store.undelivered):
            try:
                await self._post(alert)
            except WebhookError:
                self._failures += 1
                self._next_try = self._wall.monotonic() + self._backoff.delay(self._failures)
                raise
            self._failures = 0
            await asyncio.to_thread(self._store.delivered, alert["id"], now_ns=self._clock.now_ns())

    async def _post(self, alert: dict[str, Any]) -> None:
        assert self._settings.webhook_url is not None
        body = dumps({"schemaVersion": "torghut.alert/v1", **alert}).encode()
        headers = {"Content-Type": "application/json"}
        secret = reveal(self._settings.webhook_secret)
        if secret is not None:
            headers["X-Torghut-Signature"] = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        timeout = self._settings.webhook_timeout_seconds
        try:
            async with (
                asyncio.timeout(timeout),
                httpx.AsyncClient(timeout=timeout, transport=self._transport, trust_env=False) as client,
                client.stream("POST", self._settings.webhook_url, content=body, headers=headers) as response,
            ):
                status = response.status_code
        except (httpx.HTTPError, TimeoutError) as error:
            raise WebhookError(f"TRADING_WEBHOOK_URL: no answer ({type(error).__name__})") from error
        if not 200 <= status < 300:
            raise WebhookError(f"TRADING_WEBHOOK_URL: HTTP {status}")
