"""Alerts reach a person: stored, posted signed, tried again with pauses, and never twice for one."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.fakes.trading_values import NOW_NS, make_settings
from torghut_core.clock import ManualClock
from torghut_core.trading.alerts import Alerts, WebhookError
from torghut_core.trading.store.alerts import AlertStore
from torghut_core.trading.store.database import Database

pytestmark = pytest.mark.engine
URL = "https://hooks.test/torghut"
SECRET = "webhook-secret-000000"


def _alerts(database: Database, clock: ManualClock, **environment: str) -> Alerts:
    settings = make_settings(TRADING_WEBHOOK_URL=URL, TRADING_WEBHOOK_SECRET=SECRET, **environment)
    return Alerts(settings, AlertStore(database, account_label="paper"), clock=clock, wall=clock)


async def test_webhook_when_an_alert_is_told_then_posted_once_with_a_signature_over_the_body(
    database: Database, respx_mock: Any
) -> None:
    """The receiver can prove who wrote it: HMAC-SHA-256 of the very bytes; a second delivery posts nothing."""
    route = respx_mock.post(URL).mock(return_value=httpx.Response(204))
    alerts = _alerts(database, ManualClock(NOW_NS))
    alerts.tell("order_never_arrived", "k1", "buy 10 AAPL never arrived at the broker")
    for _ in range(2):
        await alerts.deliver()
    assert route.call_count == 1
    sent = route.calls.last.request
    assert sent.headers["content-type"] == "application/json"
    signed = hmac.new(SECRET.encode(), sent.content, hashlib.sha256).hexdigest()
    assert sent.headers["x-torghut-signature"] == signed
    body = json.loads(sent.content)
    assert (body["schemaVersion"], body["name"], body["text"]) == (
        "torghut.alert/v1",
        "order_never_arrived",
        "buy 10 AAPL never arrived at the broker",
    )
    assert SECRET not in sent.content.decode()


async def test_webhook_when_no_secret_is_set_then_unsigned(database: Database, respx_mock: Any) -> None:
    """Without a key there is no signature that only looks like one."""
    route = respx_mock.post(URL).mock(return_value=httpx.Response(200))
    settings = make_settings(TRADING_WEBHOOK_URL=URL)
    clock = ManualClock(NOW_NS)
    alerts = Alerts(settings, AlertStore(database, account_label="paper"), clock=clock, wall=clock)
    alerts.tell("a", "b", "c")
    await alerts.deliver()
    assert "x-torghut-signature" not in route.calls.last.request.headers


async def test_webhook_when_the_receiver_fails_then_tried_again_with_growing_pauses_and_the_same_id(
    database: Database, respx_mock: Any
) -> None:
    """Refused, silent, gone: the alert waits, its id stays, and no attempt is made before the pause is over."""
    route = respx_mock.post(URL).mock(
        side_effect=[httpx.Response(500), httpx.Response(302), httpx.ConnectError("refused"), httpx.Response(200)]
    )
    clock = ManualClock(NOW_NS)
    alerts = _alerts(database, clock)
    alerts.tell("order_missing", "o1", "the broker no longer knows it")
    for attempt, said in enumerate(("HTTP 500", "HTTP 302", "ConnectError"), start=1):
        with pytest.raises(WebhookError, match=said):
            await alerts.deliver()
        # Pauses of 1, 2, 4 s, each spread by a fifth.
        clock.advance(0.79 * 2 ** (attempt - 1))
        await alerts.deliver()
        assert route.call_count == attempt
        clock.advance(0.42 * 2 ** (attempt - 1))
    await alerts.deliver()
    ids = {json.loads(call.request.content)["id"] for call in route.calls}
    assert (route.call_count, len(ids)) == (4, 1)
    clock.advance(3600)
    await alerts.deliver()
    assert route.call_count == 4


async def test_webhook_when_told_twice_then_once_and_again_for_something_else(
    database: Database, respx_mock: Any
) -> None:
    """An alert is about one thing: the same again is no news, in this process and after a restart."""
    route = respx_mock.post(URL).mock(return_value=httpx.Response(200))
    clock = ManualClock(NOW_NS)
    for _ in range(2):
        alerts = _alerts(database, clock)
        for about in ("o1", "o1", "o2"):
            alerts.tell("order_missing", about, f"gone: {about}")
            clock.advance(1)
        await alerts.deliver()
    assert [json.loads(call.request.content)["text"] for call in route.calls] == ["gone: o1", "gone: o2"]


async def test_webhook_when_one_post_fails_after_another_then_only_the_failed_one_is_repeated(
    database: Database, respx_mock: Any
) -> None:
    """What was taken is not sent again with what was not."""
    route = respx_mock.post(URL).mock(side_effect=[httpx.Response(200), httpx.Response(503), httpx.Response(200)])
    clock = ManualClock(NOW_NS)
    alerts = _alerts(database, clock)
    alerts.tell("n", "1", "first")
    clock.advance(1)
    alerts.tell("n", "2", "second")
    with pytest.raises(WebhookError):
        await alerts.deliver()
    clock.advance(300)
    await alerts.deliver()
    assert [json.loads(call.request.content)["text"] for call in route.calls] == ["first", "second", "second"]


async def test_webhook_when_none_is_set_then_alerts_are_stored_alone(database: Database, respx_mock: Any) -> None:
    """Nothing is sent anywhere, and what waits stays on record."""
    clock = ManualClock(NOW_NS)
    store = AlertStore(database, account_label="paper")
    alerts = Alerts(make_settings(), store, clock=clock, wall=clock)
    alerts.tell("n", "1", "first")
    await alerts.deliver()
    assert [row["text"] for row in store.undelivered()] == ["first"]
    assert list(alerts.recent) == ["first"]


def test_webhook_when_settings_are_shown_then_the_secret_is_masked() -> None:
    """A status or an error never carries the signing key."""
    settings = make_settings(TRADING_WEBHOOK_URL=URL, TRADING_WEBHOOK_SECRET=SECRET)
    assert isinstance(settings.webhook_secret, SecretStr)
    assert SECRET not in repr(settings)
