"""One connection after the other to Alpaca's stream: connect, authenticate, subscribe, read, and again.

Every wait has a deadline. An open socket is not a connection: only acknowledged subscriptions are, and only while data
comes that should. A ping without an answer is a mute socket at once; silence is judged by the feed's session. Reading
never waits for anything but the socket.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, WebSocketException

from torghut_core.backoff import FullJitter
from torghut_core.ingest.protocol import (
    Effect,
    ErrorClass,
    Policy,
    SubscriptionRequest,
    Wire,
    auth_request,
    frame_policy,
    upgrade_policy,
)
from torghut_core.ingest.silence import Silence
from torghut_core.ingest.subscriptions import Subscriptions
from torghut_core.logs import event

_logger = logging.getLogger("torghut.ws.alpaca")
HANDSHAKE_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_TICK_SECONDS = 0.25
_PING_SECONDS = 1.5
_PONG_SECONDS = 3.0
_SETTLED_SECONDS = 30.0
"""After so long a stretch of readiness failures are counted from one again."""
_MAX_FRAME_BYTES = 64 << 20
_MOST_RETRY_AFTER = 600.0
_LONGEST_AGAIN = 10
"""What was refused is asked for again after one, two, … at most so many times the wait after a refusal."""


class SessionEndedError(Exception):
    """A connection will not deliver any more."""

    def __init__(self, policy: Policy, detail: str, retry_after: float = 0.0) -> None:
        super().__init__(detail)
        self.policy = policy
        self.retry_after = retry_after


def _silent(detail: str) -> SessionEndedError:
    return SessionEndedError(Policy(ErrorClass.FEED_SILENT, Effect.END, "silent"), detail)


class StreamSession:
    """Keeps one market-data connection up.

    `take` gets each frame and returns its control messages; `tell` gets what happened, by name, for status and metrics.
    """

    def __init__(
        self,
        *,
        url: str,
        key_id: str,
        secret_key: str,
        wire: Wire,
        subscriptions: Subscriptions,
        silence: Silence,
        backoff: FullJitter,
        slow_backoff: FullJitter,
        take: Callable[[bytes], list[dict[str, Any]]],
        tell: Callable[[str, Mapping[str, Any]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._key_id = key_id
        self._secret_key = secret_key
        self._wire = wire
        self.subscriptions = subscriptions
        self.silence = silence
        self._backoff = backoff
        self._slow_backoff = slow_backoff
        self._take = take
        self._tell = tell
        self._monotonic = monotonic
        self.failure: tuple[ErrorClass, str] | None = (ErrorClass.UNKNOWN, "not connected yet")
        """Why there is no settled subscription; None while there is one."""
        self.connects = 0
        self.reconnects = 0
        self.attempt = 0
        """Failures since the last stretch of readiness."""
        self.connect_errors: dict[str, int] = {}
        self.settled_at: float | None = None
        self._asks_again_at: float | None = None
        """When what was refused is asked for once more; None while nothing is."""
        self._refusals = 0
        self._has_universe = asyncio.Event()
        self._asked_at = 0.0
        self._was_silent: str | None = None
        """How the silence showed that ended the last connection; None once something was heard again."""
        if subscriptions.wanted:
            self._has_universe.set()

    def want(self, symbols: frozenset[str]) -> None:
        """Set the universe; a running session unsubscribes first, then subscribes."""
        if symbols and symbols != self.subscriptions.wanted:
            self.subscriptions.want(symbols)
            self._has_universe.set()

    def readiness(self) -> tuple[ErrorClass, str] | None:
        """Return why no data comes, None while it does."""
        if self.failure is not None:
            return self.failure
        now = self._monotonic()
        if self._was_silent is not None and self.silence.is_regular:
            return ErrorClass.FEED_SILENT, self._was_silent
        if self.silence.is_broken(now):
            return ErrorClass.FEED_SILENT, f"no trade or quote of any symbol for {self.silence.seconds(now):.0f} s"
        problem = self.subscriptions.problem
        return problem if problem is not None and problem[0] is not ErrorClass.SYMBOL_LIMIT else None

    async def run(self, stop: asyncio.Event) -> None:
        """Connect again and again until `stop` is set."""
        while not stop.is_set():
            if not await _first(self._has_universe.wait(), stop.wait()):
                return
            retry_after = 0.0
            try:
                await self._connected(stop)
                policy, detail = Policy(ErrorClass.UNKNOWN, Effect.END, ""), "closed"
            except SessionEndedError as ended:
                policy, detail, retry_after = ended.policy, str(ended), ended.retry_after
            except InvalidStatus as error:
                status = error.response.status_code
                policy = upgrade_policy(status)
                detail = f"HTTP {status} in place of the upgrade: {policy.words}"
                retry_after = _retry_after(error.response.headers.get("Retry-After"))
            except ConnectionClosed as error:
                policy = Policy(ErrorClass.UNKNOWN, Effect.END, "closed")
                detail = f"the connection was closed ({error.rcvd.code if error.rcvd else 'cut'})"
            except (WebSocketException, InvalidHandshake, OSError, TimeoutError) as error:
                policy = Policy(ErrorClass.UNKNOWN, Effect.END, "")
                detail = f"no connection: {type(error).__name__}"
            if stop.is_set():
                return
            await self._after(policy, detail, retry_after, stop)

    async def _after(self, policy: Policy, detail: str, retry_after: float, stop: asyncio.Event) -> None:
        now = self._monotonic()
        if self.settled_at is not None and now - self.settled_at >= _SETTLED_SECONDS:
            self.attempt = 0
        self.attempt += 1
        self.settled_at = None
        if policy.error_class is ErrorClass.FEED_SILENT:
            self._was_silent = self._was_silent or detail
        self.failure = (policy.error_class, detail)
        self.connect_errors[policy.error_class] = self.connect_errors.get(policy.error_class, 0) + 1
        self.reconnects += 1
        backoff = self._slow_backoff if policy.effect is Effect.END_SLOWLY else self._backoff
        delay = max(backoff.delay(self.attempt), min(retry_after, _MOST_RETRY_AFTER))
        event(
            _logger,
            "session_ended",
            logging.WARNING,
            error_class=policy.error_class.value,
            reason=detail,
            attempt=self.attempt,
            seconds=round(delay, 2),
        )
        self._tell("reconnect", {"reason": policy.error_class.value, "detail": detail, "attempt": self.attempt})
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await stop.wait()

    async def _connected(self, stop: asyncio.Event) -> None:
        is_local = urlsplit(self._url).hostname in ("127.0.0.1", "localhost", "::1")
        async with connect(
            self._url,
            additional_headers=self._wire.headers,
            compression=None,
            open_timeout=HANDSHAKE_SECONDS,
            close_timeout=2,
            ping_interval=None,
            max_size=_MAX_FRAME_BYTES,
            max_queue=64,
            proxy=None if is_local else True,
        ) as socket:
            self.subscriptions.restart()
            self._asks_again_at, self._refusals = None, 0
            await self._send(socket, auth_request(self._key_id, self._secret_key))
            try:
                async with asyncio.timeout(HANDSHAKE_SECONDS):
                    await self._until_authenticated(socket)
            except TimeoutError:
                policy = Policy(ErrorClass.UNKNOWN, Effect.END, "")
                raise SessionEndedError(policy, "no answer to the authentication within 10 s") from None
            self._tell("connected", {})
            reading = asyncio.create_task(self._read(socket))
            ticking = asyncio.create_task(self._tick(socket))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait([reading, ticking, stopping], return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    await self._leave(socket)
            finally:
                for task in (reading, ticking, stopping):
                    task.cancel()
                results = await asyncio.gather(reading, ticking, stopping, return_exceptions=True)
            for kind in (SessionEndedError, Exception):  # what Alpaca said, before what followed from it
                for result in results:
                    if isinstance(result, kind) and not (stop.is_set() and isinstance(result, ConnectionClosed)):
                        raise result

    async def _send(self, socket: ClientConnection, message: dict[str, Any]) -> None:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await socket.send(self._wire.encode(message))

    async def _leave(self, socket: ClientConnection) -> None:
        """Unsubscribe and say good-bye; nobody waits long for either."""
        symbols = frozenset().union(*self.subscriptions.acknowledged.values())
        if symbols:
            with suppress(WebSocketException, OSError, TimeoutError):
                await self._send(socket, SubscriptionRequest("unsubscribe", tuple(sorted(symbols))).message())
        with suppress(WebSocketException, OSError, TimeoutError):
            async with asyncio.timeout(2):
                await socket.close()

    async def _until_authenticated(self, socket: ClientConnection) -> None:
        while True:
            for message in self._take(await socket.recv(decode=False)):
                if message.get("T") == "error":
                    self._obey(message)
                elif message.get("T") == "success" and "authenticated" in str(message.get("msg")):
                    return

    async def _read(self, socket: ClientConnection) -> None:
        frames = 0
        while True:
            frame = await socket.recv(decode=False)
            for message in self._take(frame):
                if message.get("T") == "error":
                    self._obey(message)
                elif message.get("T") == "subscription":
                    self._acknowledged(message)
            frames += 1
            if len(frame) > 32_768 or frames % 16 == 0:
                await asyncio.sleep(0)  # frames that are here already would keep every other task waiting

    def _acknowledged(self, message: dict[str, Any]) -> None:
        self.subscriptions.acknowledge(message)
        self._settle()

    def _settle(self) -> None:
        if not self.subscriptions.is_settled or self.settled_at is not None:
            return
        now = self._monotonic()
        self.settled_at = now
        if self._was_silent is None:
            self.silence.counts_from = now
        self.connects += 1
        self.failure = None
        problem = self.subscriptions.problem
        event(_logger, "subscribed", symbols=len(self.subscriptions.acknowledged["trades"]))
        self._tell(
            "subscribed",
            {"symbols": len(self.subscriptions.acknowledged["trades"]), "detail": problem[1] if problem else None},
        )

    def heard(self, now: float) -> bool:
        """Note that a trade or quote came; tell whether it ends a silence that was longer than it may be."""
        was_silent = self._was_silent is not None or (
            self.silence.seconds(now) >= self.silence.regular_seconds and self.silence.is_broken(now)
        )
        self._was_silent = None
        self.silence.hear(now)
        return was_silent

    def _obey(self, message: dict[str, Any]) -> None:
        """Do what an error frame asks for."""
        code = message.get("code")
        number = code if isinstance(code, int) and not isinstance(code, bool) else None
        policy = frame_policy(number, str(message.get("msg", "")))
        if policy.effect is Effect.NONE:
            return
        if policy.effect is Effect.REQUEST and number is not None and self.subscriptions.asked is not None:
            event(_logger, "request_refused", logging.WARNING, code=number, reason=policy.words)
            self.subscriptions.refuse(number)
            self._asks_again_at = None
            if not self.subscriptions.missing and not self.subscriptions.acknowledged.get("trades"):
                problem = self.subscriptions.problem
                slow = Policy(policy.error_class, Effect.END_SLOWLY, policy.words)
                raise SessionEndedError(slow, problem[1] if problem else f"Alpaca error {number}: {policy.words}")
            self._settle()
            return
        raise SessionEndedError(policy, f"Alpaca error {number}: {policy.words}")

    def _ask_again(self, now: float) -> None:
        """Once all is answered, ask again for what was refused: a symbol is listed, an order of subscriptions grows."""
        if self.settled_at is None or self.subscriptions.asked is not None or not self.subscriptions.has_refused:
            return
        if self._asks_again_at is None:
            self._refusals += 1
            self._asks_again_at = now + self._slow_backoff.delay(self._refusals) * min(self._refusals, _LONGEST_AGAIN)
        elif now >= self._asks_again_at:
            self._asks_again_at = None
            self.subscriptions.ask_again()

    async def _tick(self, socket: ClientConnection) -> None:
        """Ask, ping, and notice what does not come."""
        pong: Any = None
        pinged_at = 0.0
        began = self._monotonic()
        while True:
            now = self._monotonic()
            self._ask_again(now)
            request = self.subscriptions.next_request()
            if request is not None:
                self._asked_at = now
                await self._send(socket, request.message())
            elif self.subscriptions.asked is not None and now - self._asked_at >= _ANSWER_SECONDS:
                if self.settled_at is None and now - began >= 4 * _ANSWER_SECONDS:
                    policy = Policy(ErrorClass.UNKNOWN, Effect.END, "")
                    raise SessionEndedError(policy, "subscriptions were not acknowledged within 20 s")
                self.subscriptions.unanswered()
            if pong is not None and pong.done():
                pong.result()  # a connection that broke says so here
                pong = None
            if pong is None and now - pinged_at >= _PING_SECONDS:
                pong, pinged_at = await socket.ping(), now
            elif pong is not None and now - pinged_at >= _PONG_SECONDS:
                raise _silent(f"a ping was not answered within {_PONG_SECONDS:.0f} s: the socket is mute")
            limit = self.silence.limit_seconds()
            if self.settled_at is not None and limit is not None:
                since = max(self.silence.heard_at, self.settled_at)
                if now - since >= limit:
                    raise _silent(f"no trade or quote of any symbol for {self.silence.seconds(now):.0f} s")
            await asyncio.sleep(_TICK_SECONDS)


async def _first(wanted: Any, other: Any) -> bool:
    """Tell whether `wanted` happened before `other`."""
    tasks = [asyncio.ensure_future(wanted), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return bool(tasks[0].done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _retry_after(header: str | None) -> float:
    """Return the seconds that `Retry-After` asks for, as a number or as a date; 0 when it says nothing usable."""
    if header is None:
        return 0.0
    if header.strip().isdigit():
        return float(header.strip())
    with suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    return 0.0
