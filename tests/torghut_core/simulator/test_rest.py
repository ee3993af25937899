"""REST as a plain HTTP client sees it: pages, wrong requests, odd bytes."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from torghut_core.simulator.process import KEY_ID, SECRET_KEY, SimulatorProcess

HEADERS = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": SECRET_KEY}
ORDER = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit", "time_in_force": "gtc", "limit_price": "1"}


@pytest.fixture(scope="module")
def held_simulator(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return one held market for all tests here; none of them moves it."""
    from torghut_core.simulator import process

    arguments = ["--hold", "--start", "2026-01-05T15:00:00Z", "--history-minutes", "10"]
    with process.running(tmp_path_factory.mktemp("simulator"), arguments) as simulator:
        yield simulator


def ask(
    simulator: SimulatorProcess, path: str, *, method: str = "GET", body: Any = None, headers: Any = HEADERS
) -> tuple[int, Any]:
    """Return status and JSON of an answer."""
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(simulator.http + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_trades_when_read_by_pages_then_they_are_those_of_one_page(held_simulator: SimulatorProcess) -> None:
    """Following next_page_token yields every trade once, in order, over several symbols."""
    path = "/v2/stocks/trades?symbols=AAPL,MSFT&start=2026-01-05T14:50:00Z"
    status, whole = ask(held_simulator, f"{path}&limit=10000")
    assert (status, whole["next_page_token"]) == (200, None)
    paged: dict[str, list[Any]] = {}
    token = ""
    while token is not None:
        _, page = ask(held_simulator, f"{path}&limit=700&page_token={token}")
        for symbol, trades in page["trades"].items():
            paged.setdefault(symbol, []).extend(trades)
        token = page["next_page_token"]
    assert paged == whole["trades"]


def test_bars_when_asked_for_five_minutes_then_they_are_the_minutes_together(held_simulator: SimulatorProcess) -> None:
    """A longer bar has the first open, the extremes, the last close and the sums."""
    path = "/v2/stocks/AAPL/bars?start=2026-01-05T14:50:00Z&end=2026-01-05T14:54:59Z&timeframe="
    _, minutes = ask(held_simulator, f"{path}1Min")
    _, merged = ask(held_simulator, f"{path}5Min")
    bars, [bar] = minutes["bars"], merged["bars"]
    assert (bar["t"], bar["o"], bar["c"]) == ("2026-01-05T14:50:00Z", bars[0]["o"], bars[-1]["c"])
    assert (bar["h"], bar["l"]) == (max(b["h"] for b in bars), min(b["l"] for b in bars))
    assert bar["v"] == pytest.approx(sum(b["v"] for b in bars), rel=1e-12)
    assert bar["n"] == sum(b["n"] for b in bars)


def test_bars_when_sorted_down_then_the_newest_comes_first(held_simulator: SimulatorProcess) -> None:
    """sort=desc with limit 1 is the newest bar."""
    _, page = ask(held_simulator, "/v2/stocks/bars?symbols=AAPL&timeframe=1Min&sort=desc&limit=1")
    assert [bar["t"] for bar in page["bars"]["AAPL"]] == ["2026-01-05T14:59:00Z"]


def test_clock_when_the_market_is_open_then_the_next_open_is_tomorrow(held_simulator: SimulatorProcess) -> None:
    """The clock follows the market's time and calendar, in New York time."""
    assert ask(held_simulator, "/v2/clock")[1] == {
        "timestamp": "2026-01-05T10:00:00-05:00",
        "is_open": True,
        "next_open": "2026-01-06T09:30:00-05:00",
        "next_close": "2026-01-05T16:00:00-05:00",
    }


def test_calendar_when_a_half_day_is_in_it_then_it_closes_early(held_simulator: SimulatorProcess) -> None:
    """Holidays are left out and early closes shown."""
    _, days = ask(held_simulator, "/v2/calendar?start=2026-11-26&end=2026-11-27")
    assert [(day["date"], day["open"], day["close"]) for day in days] == [("2026-11-27", "09:30", "13:00")]


def test_orders_when_filtered_by_time_then_the_bounds_are_left_out(start_simulator: Any) -> None:
    """after and until take RFC 3339 times and exclude themselves; limit counts from the newest."""
    simulator = start_simulator()
    orders = [ask(simulator, "/v2/orders", method="POST", body=ORDER)[1] for _ in range(3)]
    first, second, third = (order["id"] for order in orders)
    middle = quote(orders[1]["created_at"])
    listed = {
        query: [order["id"] for order in ask(simulator, f"/v2/orders?status=open&{query}")[1]]
        for query in (f"after={middle}", f"until={middle}", "limit=2", "direction=asc&limit=1", "symbols=MSFT")
    }
    assert list(listed.values()) == [[third], [first], [third, second], [first], []]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v2/nothing", None, 404),
        ("PATCH", "/v2/orders/x", {}, 405),
        ("GET", "/v2/orders/unknown", None, 404),
        ("GET", "/v2/positions/AAPL", None, 404),
        ("GET", "/v2/assets/ZZZ", None, 404),
        ("GET", "/v2/orders?status=odd", None, 422),
        ("GET", "/v2/orders?limit=" + "9" * 5000, None, 422),
        ("GET", "/v2/orders?limit=²", None, 422),
        ("GET", "/v2/orders?after=noon", None, 422),
        ("GET", "/v2/orders:by_client_order_id", None, 422),
        ("GET", "/v2/stocks/bars?symbols=AAPL&timeframe=7Min", None, 422),
        ("GET", "/v2/stocks/bars?timeframe=1Min", None, 400),
        ("GET", "/v2/stocks/trades?symbols=AAPL&page_token=x", None, 422),
        ("GET", "/v2/stocks/ZZZ/quotes/latest", None, 404),
        ("GET", "/v2/calendar?start=soon", None, 422),
        ("POST", "/v2/orders", b"no json", 400),
        ("POST", "/v2/orders", b'{"symbol": "\xff"}', 400),
        ("POST", "/v2/orders", [], 400),
        ("POST", "/v2/orders", {**ORDER, "qty": "1e400"}, 422),
        ("POST", "/v2/orders", {**ORDER, "qty": "0.0000000001", "time_in_force": "day"}, 422),
        ("POST", "/simulator/speed", {"speed": "fast"}, 422),
        ("POST", "/simulator/disconnect", {"stream": "odd"}, 422),
    ],
)
def test_request_when_it_is_wrong_then_json_says_so(
    held_simulator: SimulatorProcess, method: str, path: str, body: Any, status: int
) -> None:
    """A wrong request gets a status, a code and a message, and nothing else happens."""
    found, answer = ask(held_simulator, quote(path, safe="/?&=:"), method=method, body=body)
    assert found == status
    assert answer["message"]


def test_request_when_keys_are_missing_or_wrong_then_401_or_403(held_simulator: SimulatorProcess) -> None:
    """No keys are told apart from wrong ones."""
    assert ask(held_simulator, "/v2/account", headers={})[0] == 401
    assert ask(held_simulator, "/v2/account", headers={**HEADERS, "APCA-API-SECRET-KEY": "x"})[0] == 403


def test_server_when_bytes_make_no_sense_then_it_lives_on_without_a_traceback(
    start_simulator: Any, tmp_path: Path
) -> None:
    """Rubbish, half a request and a broken handshake end their connections and nothing else."""
    simulator = start_simulator("--hold")
    address = urlsplit(simulator.http)
    for sent in (
        b"\x16\x03\x01\x02rubbish\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost",
        b"GET /v2/iex HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        b"GET /v2/iex HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nbad header\r\n\r\n",
        b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"x" * 200_000,
    ):
        with (
            socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5) as client,
            suppress(ConnectionError),
        ):
            client.sendall(sent)
            with suppress(OSError):  # it may have hung up already
                client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
    assert ask(simulator, "/v2/clock")[0] == 200
    assert "Traceback" not in (tmp_path / "simulator0" / "simulator.log").read_text()


def test_activities_when_nothing_was_filled_then_empty_and_wrong_kinds_are_named(
    held_simulator: SimulatorProcess,
) -> None:
    """Both routes, with keys like every other."""
    assert ask(held_simulator, "/v2/account/activities?activity_types=FILL,FEE&page_size=100") == (200, [])
    assert ask(held_simulator, "/v2/account/activities/FILL") == (200, [])
    status, body = ask(held_simulator, "/v2/account/activities/FFFFF")
    assert (status, "invalid activity type: FFFFF" in body["message"]) == (422, True)
    assert ask(held_simulator, "/v2/account/activities", headers={})[0] == 401
