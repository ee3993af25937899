"""The TA API over HTTP: one window at a time, ranges that blame the right field, CSV, and nothing raw from upstream."""

from __future__ import annotations

import csv
import io
from datetime import datetime

import pytest

from tests.fakes.visuals_client import Client, Rows, reader_of
from torghut_core.engines.clickhouse import ClickHouseError, Trouble
from torghut_core.visuals.api import Stores
from torghut_core.visuals.rows import wants_csv
from torghut_core.visuals.ta_reader import TaReader

_ROW = {"symbol": "A", "event_ts": datetime(2026, 1, 5, 14, 30, 1), "rsi14": float("nan"), "macd": 0.0}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("latest", "symbol='': must be given"),
        ("latest?symbol=", "symbol='': must be 1 to 32 of A-Z, 0-9 and ._:-"),
        ("latest?symbol=BTC/USD", "symbol='BTC/USD': must be"),
        ("latest?symbol=%C3%84", "symbol='Ä': must be"),
        ("latest?symbol=A'%20OR%201=1", "must be 1 to 32 of"),
        ("latest?symbol=A&window=PT5S", "window='PT5S': must be 'PT1S' or 'PT1M'"),
        ("newest?window=1m", "window='1m': must be 'PT1S' or 'PT1M'"),
        ("bars?symbol=A&window=", "window='': must be 'PT1S' or 'PT1M'"),
        ("bars?symbol=A&limit=10abc", "limit='10abc': must be a whole number from 1 to 5000"),
        ("bars?symbol=A&limit=0", "limit='0': must be a whole number from 1 to 5000"),
        ("bars?symbol=A&limit=5001", "limit='5001': must be"),
        ("bars?symbol=A&limit=-1", "limit='-1': must be"),
        ("bars?symbol=A&limit=%D9%A3", "limit='٣': must be"),
        ("bars?symbol=A&from=noon", "from='noon': must be ISO 8601, epoch seconds or milliseconds"),
        ("bars?symbol=A&to=0001-01-01T00:00:00", "to='0001-01-01T00:00:00': must be from 1970 to 2261"),
        ("bars?symbol=A&from=9999-12-31T23:59:59-05:00", "from='9999-12-31T23:59:59-05:00': must be"),
        ("bars?symbol=A&to=99999999999999", "to='99999999999999': must be from 1970 to 2261"),
        ("bars?symbol=A&from=1e5", "from='1e5': must be ISO 8601"),
        ("bars?symbol=A&from=2027-01-01", "from='2027-01-01': lies in the future, and no to is given"),
        ("bars?symbol=A&from=2026-01-05&to=2026-01-04", "to='2026-01-04': must not be before from='2026-01-05'"),
        ("signals?symbol=A&from=1&to=2026-01-04", "from='1', to='2026-01-04': must span at most 7 days"),
        ("signals?symbol=A&from=2025-01-01", "from='2025-01-01': must be within 7 days of now, since no to is given"),
        ("trades?symbol=A", "kind='trades': must be 'bars' or 'signals'"),
    ],
)
def test_ta_when_request_is_wrong_then_400_names_the_field_that_is(path: str, words: str) -> None:
    """Field, value and rule; a field that was not given is never blamed."""
    answer = Client(Stores(reader=reader_of([]))).get(f"/api/torghut/ta/{path}")
    assert (answer.status_code, answer.json()["ok"]) == (400, False)
    assert words in answer.json()["message"]
    assert "None" not in answer.json()["message"]


@pytest.mark.parametrize("given", ["", "&window=PT1S", "&window=PT1M"])
@pytest.mark.parametrize("route", ["latest?", "bars?", "signals?limit=7&"])
def test_ta_when_a_window_is_asked_for_then_every_query_is_of_it_alone(route: str, given: str) -> None:
    """Seconds are the default, and no answer mixes a minute's volume into them."""
    rows = Rows([])
    answer = Client(Stores(reader=TaReader(rows))).get(f"/api/torghut/ta/{route}symbol=a{given}")
    wanted = "PT1M" if "PT1M" in given else "PT1S"
    assert (answer.status_code, answer.json()["window"], answer.json()["symbol"]) == (200, wanted, "A")
    assert [(query["window"], "window_size = {window:String}" in query["statement"]) for query in rows.asked] == [
        (wanted, True)
    ] * len(rows.asked)
    assert len(rows.asked) >= 1


def test_ta_when_clickhouse_fails_then_500_without_its_text() -> None:
    """No raw upstream text; a missing table is no row yet."""
    failing = Client(Stores(reader=reader_of(ClickHouseError(Trouble.MEMORY, "a query"))))
    answer = failing.get("/api/torghut/ta/latest?symbol=A")
    assert (answer.status_code, answer.json()["message"]) == (
        500,
        "ClickHouse: a query failed: clickhouse_memory_limit",
    )
    missing = Client(Stores(reader=reader_of(ClickHouseError(Trouble.MISSING, "a query"))))
    assert missing.get("/api/torghut/ta/latest?symbol=A").json() == {
        "ok": True,
        "symbol": "A",
        "window": "PT1S",
        "bars": None,
        "signals": None,
    }


def test_ta_when_row_has_times_and_nans_then_json_has_rfc3339_and_null() -> None:
    """Times in UTC with milliseconds, non-finite numbers as null."""
    body = Client(Stores(reader=reader_of([_ROW]))).get("/api/torghut/ta/latest?symbol=a").json()
    assert body["signals"] == {"symbol": "A", "event_ts": "2026-01-05T14:30:01.000Z", "rsi14": None, "macd": 0.0}


def test_ta_when_csv_is_accepted_then_rows_are_csv_and_the_fallback_is_a_header() -> None:
    """A header line, an empty field for what is not known; the range and whether it fell back beside it."""
    client = Client(Stores(reader=reader_of([_ROW])))
    answer = client.get("/api/torghut/ta/bars?symbol=A&limit=3", headers={"Accept": "text/csv"})
    assert (answer.headers["content-type"], answer.headers["x-torghut-fallback"]) == (
        "text/csv; charset=utf-8",
        "false",
    )
    assert list(csv.DictReader(io.StringIO(answer.text))) == [
        {"symbol": "A", "event_ts": "2026-01-05T14:30:01.000Z", "rsi14": "", "macd": "0.0"}
    ]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv", True),
        ("text/csv, application/json;q=0.5", True),
        ("application/json, text/csv;q=0.5", False),
        ("text/csv;q=0", False),
        ("text/csv;q=x", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_wants_csv_when_accept_weighs_types_then_the_heavier_one_wins(accept: str, expected: bool) -> None:
    """JSON is what anyone gets who does not ask."""
    assert wants_csv(accept) == expected


def test_ta_when_the_store_is_missing_then_503_names_the_variable() -> None:
    """Unconfigured is not broken."""
    answer = Client(Stores()).get("/api/torghut/ta/latest?symbol=A")
    assert (answer.status_code, answer.json()["message"]) == (503, "TA_CLICKHOUSE_URL is not configured")


def test_readyz_when_a_store_is_missing_then_503_names_it() -> None:
    """Ready means that both stores are configured."""
    answer = Client(Stores()).get("/readyz")
    assert (answer.status_code, answer.json()["lacking"]) == (503, ["DB_DSN", "TA_CLICKHOUSE_URL"])


def test_api_when_a_path_is_unknown_then_404_is_json() -> None:
    """An error is JSON wherever it comes from."""
    answer = Client(Stores()).get("/api/torghut/nothing")
    assert (answer.status_code, answer.json()["ok"]) == (404, False)


def test_page_when_opened_then_it_is_served_with_a_policy_that_keeps_it_to_itself() -> None:
    """Scripts from the own origin alone, no inline one, no frame; a favicon is there, and a file unchanged is 304."""
    client = Client(Stores())
    page = client.get("/")
    assert (page.status_code, "<script src=" in page.text, "<script>" in page.text) == (200, True, False)
    policy = page.headers["content-security-policy"]
    assert [
        part for part in ("default-src 'none'", "script-src 'self';", "frame-ancestors 'none'") if part not in policy
    ] == []
    for path in (
        "/assets/page.js",
        "/assets/page.css",
        "/favicon.ico",
        "/docs",
        "/assets/docs.js",
        "/assets/licences.txt",
    ):
        answer = client.get(path)
        assert answer.status_code == 200
        assert client.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert client.get("/assets/../api.py").status_code == 404
