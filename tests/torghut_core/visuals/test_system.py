"""The system's state: what is not known is said, never called healthy; who may read it, and from where."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.fakes.visuals_client import TOKEN, WRITER, Client
from torghut_core.clock import ManualClock
from torghut_core.market_calendar import MarketCalendar
from torghut_core.visuals.api import Stores
from torghut_core.visuals.stream import EventLog
from torghut_core.visuals.system import SystemState, Verdict
from torghut_core.visuals.system_api import Live

_NOON_NS = 1_767_632_400_000_000_000  # 2026-01-05 17:00 UTC, a Monday in regular hours
_STATUS = {"enabled": True, "mode": "paper", "live_enabled": False, "llm": {"enabled": True, "shadow_mode": True}}
_ANSWERS: dict[str, Any] = {
    "/trading/status": _STATUS,
    "/trading/account": {"equity": 101_000.5, "last_equity": 100_000, "cash": 5, "buying_power": 10},
    "/trading/positions": [{"symbol": "AAPL", "qty": 3}],
    "/trading/orders": [
        {"client_order_id": "a", "state": "accepted", "status": "new"},
        {"client_order_id": "b", "state": "accepted", "status": "filled"},
        {"client_order_id": "c", "state": "unknown", "status": None},
        {"client_order_id": "d", "state": "never_arrived", "status": None},
    ],
    "/trading/executions": [],
    "/trading/decisions": [{"id": "1", "symbol": "AAPL", "status": "rejected", "risk_reasons": "cooldown"}],
    "/trading/pnl": {"realised": -2.5},
}
_REPORT = {
    "classification": "down",
    "observedAt": "2026-01-05T17:00:00Z",
    "topCause": {"component": "forwarder", "reason": "feed_silent", "message": "m", "since": None},
    "nextProcedure": {"name": "restart-ws", "command": "torghutctl restart-ws", "runbook": "r"},
    "components": [{"name": "forwarder", "status": "down", "findings": []}, {"name": "kafka", "status": "not present"}],
}


def _state(
    answers: Mapping[str, Any] | None = None,
    *,
    verdict: Verdict | None = None,
    url: str | None = "http://trading",
    trouble: str | None = None,
) -> SystemState:
    kept = dict(_ANSWERS if answers is None else answers)

    def answer(request: httpx.Request) -> httpx.Response:
        body = kept.get(request.url.path)
        return httpx.Response(404) if body is None else httpx.Response(200, json=body)

    clock = ManualClock(_NOON_NS)
    return SystemState(
        clock=clock,
        monotonic=clock.monotonic,
        calendar=MarketCalendar(),
        http=httpx.AsyncClient(transport=httpx.MockTransport(answer)),
        trading_url=lambda: url,
        verdict=verdict,
        store_trouble=lambda: trouble,
        log=EventLog("abc"),
    )


async def _report() -> Mapping[str, Any]:
    return _REPORT


async def test_system_when_everything_answers_then_verdict_account_and_open_orders_are_shown() -> None:
    """Paper by trading's own word; an order is open by the broker's word, else by its claim's state."""
    state = _state(verdict=_report)
    await state.refresh_trading()
    await state.refresh_verdict()
    body = state.answer()
    assert (body["verdict"]["classification"], body["verdict"]["nextProcedure"]["command"]) == (
        "down",
        "torghutctl restart-ws",
    )
    assert body["account"] == {
        "badge": "PAPER",
        "equity": 101_000.5,
        "dayProfit": 1000.5,
        "realised": -2.5,
        "cash": 5.0,
        "buyingPower": 10.0,
    }
    assert [order["client_order_id"] for order in body["openOrders"]] == ["a", "c"]
    assert {part["name"]: part["status"] for part in body["pipeline"]} == {
        "forwarder": "down",
        "Kafka": "not present",
        "TA": "not known",
        "ClickHouse": "answers",
        "trading": "answers",
        "AI": "shadow",
    }
    assert (body["marketSession"], body["serverTime"]) == ("regular", "2026-01-05T17:00:00Z")


async def test_system_when_no_rules_run_here_then_the_verdict_is_not_known() -> None:
    """`run visuals` alone judges nothing, and says so rather than healthy."""
    state = _state(url=None, trouble="clickhouse_unreachable")
    await state.refresh_trading()
    await state.refresh_verdict()
    body = state.answer()
    assert (body["verdict"]["known"], "classification" in body["verdict"]) == (False, False)
    assert body["account"]["badge"] == "not known"
    assert (body["positions"], body["openOrders"], body["decisions"], body["account"]["equity"]) == (None,) * 4
    words = {part["name"]: part["status"] for part in body["pipeline"]}
    assert words["ClickHouse"] == "down"
    assert "healthy" not in words.values()


async def test_system_when_the_rules_fail_or_trading_goes_away_then_nothing_old_is_kept() -> None:
    """Yesterday's verdict is no verdict; a part that does not answer is null, the others stay."""
    reports: list[Mapping[str, Any] | Exception] = [_REPORT, RuntimeError("hunter22")]

    async def verdict() -> Mapping[str, Any]:
        found = reports.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    state = _state({"/trading/status": _STATUS, "/trading/positions": {"detail": "?"}}, verdict=verdict)
    await state.refresh_trading()
    await state.refresh_verdict()
    assert state.answer()["positions"] is None
    assert state.answer()["account"]["badge"] == "PAPER"
    await state.refresh_verdict()
    told = state.answer()["verdict"]
    assert (told["known"], "hunter22" in str(told)) == (False, False)


@pytest.mark.parametrize(
    ("status", "badge"),
    [
        ({"mode": "paper", "live_enabled": False}, "PAPER"),
        ({"mode": "live", "live_enabled": False}, "LIVE"),
        ({"mode": "paper", "live_enabled": True}, "LIVE"),
        ({}, "not known"),
    ],
)
async def test_system_when_trading_says_its_mode_then_the_badge_errs_towards_live(
    status: Mapping[str, Any], badge: str
) -> None:
    """Paper is shown only where trading said paper and nothing says live."""
    state = _state({"/trading/status": status})
    await state.refresh_trading()
    assert state.answer()["account"]["badge"] == badge


async def test_system_when_a_decision_is_new_then_it_is_told_once() -> None:
    """What was there at the start is no news; a decision whose status changed is."""
    answers = dict(_ANSWERS)
    state = _state(answers)
    await state.refresh_trading()
    first = state.log.place_of(None)
    decisions = [{"id": "2", "symbol": "MSFT", "status": "planned"}, *_ANSWERS["/trading/decisions"]]

    def answer(request: httpx.Request) -> httpx.Response:
        body = {**answers, "/trading/decisions": decisions}.get(request.url.path)
        return httpx.Response(200, json=body)

    state.http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    await state.refresh_trading()
    await state.refresh_trading()
    assert (first, state.log.place_of(None)) == (1, 2)


_READERS: dict[str, tuple[str, str | None, dict[str, str], int]] = {
    "this machine": ("127.0.0.1", None, {}, 200),
    "this machine, v6": ("::1", None, {"Host": "[::1]:8090"}, 200),
    "this machine under another site's name": ("127.0.0.1", None, {"Host": "evil.example"}, 403),
    "another site's page on this machine": ("127.0.0.1", None, {"Origin": "https://evil.example"}, 403),
    "from afar, no token set": ("10.0.0.9", None, {}, 403),
    "from afar without the token": ("10.0.0.9", TOKEN, {}, 401),
    "from afar with another token": ("10.0.0.9", TOKEN, {"Authorization": "Bearer x"}, 401),
    "from afar with the token": ("10.0.0.9", TOKEN, WRITER, 200),
}


@pytest.mark.parametrize("case", _READERS)
def test_system_and_stream_when_read_then_off_loopback_only_with_the_token(case: str) -> None:
    """The account is nobody's business but the token bearer's; a name of another site never leads to it."""
    peer, token, headers, status = _READERS[case]
    log, stop = EventLog("abc"), asyncio.Event()
    stop.set()
    client = Client(Stores(live=Live(state=_state(), log=log, stop=stop)), token=token, peer=peer)
    paths = ("/api/torghut/system", "/api/torghut/stream")
    assert [client.get(path, headers=headers).status_code for path in paths] == [status, status]


def test_stream_when_a_parameter_is_wrong_then_400_names_it() -> None:
    """Field, value and rule."""
    client = Client(Stores(live=None))
    assert "window='PT9S'" in client.get("/api/torghut/stream?window=PT9S").json()["message"]
    assert "symbol='A/B'" in client.get("/api/torghut/stream?symbol=A/B").json()["message"]
    assert client.get("/api/torghut/stream").status_code == 503
