"""The symbol universe, the TA API and the page, on real engines."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from torghut_core.engines.clickhouse import ClickHouse, ClickHouseError, Trouble
from torghut_core.engines.postgres import open_postgres
from torghut_core.visuals.api import create_app
from torghut_core.visuals.guardrails import Guardrails
from torghut_core.visuals.ta_reader import TaReader
from torghut_core.visuals.universe import Universe

NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def universe() -> Iterator[Universe]:
    """A universe in a real PostgreSQL, in a folder outside pytest's (see `engine_folder`)."""
    with tempfile.TemporaryDirectory(prefix="torghut-engine-", ignore_cleanup_errors=True) as folder:
        postgres = open_postgres(f"embedded:{folder}")
        yield Universe(postgres, ["AAPL", "MSFT"])
        postgres.close()


WRITER = {"Authorization": "Bearer writer"}


class Client:
    """Asks the app through its ASGI door, one request at a time."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://visuals") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def patch(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PATCH", path, **options)


def _client(universe: Universe | None = None, reader: Any = None, token: str | None = None) -> Client:
    return Client(create_app(universe=universe, reader=reader, write_token=token, now=lambda: NOW))


@pytest.mark.engine
def test_symbols_when_posted_and_patched_then_listed(universe: Universe) -> None:
    """Upper-cased, by asset class, disabled ones only when asked for."""
    client = _client(universe, token="writer")
    assert client.get("/api/torghut/symbols").json() == {"symbols": ["AAPL", "MSFT"]}
    posted = client.post("/api/torghut/symbols", json={"symbolsText": "nvda, tsla"}, headers=WRITER)
    assert posted.json() == {"insertedOrUpdated": 2, "symbols": ["NVDA", "TSLA"]}
    assert client.patch("/api/torghut/symbols/TSLA", json={"enabled": False}, headers=WRITER).json() == {"ok": True}
    assert client.get("/api/torghut/symbols").json() == {"symbols": ["AAPL", "MSFT", "NVDA"]}
    full = client.get("/api/torghut/symbols?format=full&includeDisabled=true").json()["items"]
    assert [(item["symbol"], item["enabled"]) for item in full] == [
        ("AAPL", True),
        ("MSFT", True),
        ("NVDA", True),
        ("TSLA", False),
    ]
    client.post("/api/torghut/symbols", json={"symbols": ["BTC/USD"], "assetClass": "crypto"}, headers=WRITER)
    assert client.get("/api/torghut/symbols?assetClass=crypto").json() == {"symbols": ["BTC/USD"]}


@pytest.mark.engine
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"symbols": ["$$$"]}, "symbols='$$$': must be"),
        ({"symbols": []}, "symbols: must name at least one"),
        ({"symbols": [1]}, "symbols: must be an array of texts"),
        ({"symbols": ["A"], "enabled": "yes"}, "enabled='yes': must be true or false"),
        ([], "body: must be a JSON object"),
        ({"symbols": ["A"], "assetClass": "bogus"}, "assetClass='bogus': must be equity or crypto"),
    ],
)
def test_symbols_when_body_is_wrong_then_400_names_the_field(universe: Universe, body: Any, words: str) -> None:
    """A non-boolean never disables silently."""
    answer = _client(universe, token="writer").post("/api/torghut/symbols", json=body, headers=WRITER)
    assert answer.status_code == 400
    assert words in answer.json()["message"]


REFUSED: dict[str, tuple[dict[str, str], bytes, int]] = {
    "no token": ({"Content-Type": "application/json"}, b'{"symbols": ["A"]}', 401),
    "wrong token": (
        {**WRITER, "Authorization": "Bearer x", "Content-Type": "application/json"},
        b'{"symbols": ["A"]}',
        401,
    ),
    "no bearer": ({"Authorization": "writer", "Content-Type": "application/json"}, b'{"symbols": ["A"]}', 401),
    "plain text, as any page may send": ({**WRITER, "Content-Type": "text/plain"}, b'{"symbols": ["A"]}', 415),
    "no type": (dict(WRITER), b'{"symbols": ["A"]}', 415),
    "another site's page": (
        {**WRITER, "Content-Type": "application/json", "Origin": "https://evil.example"},
        b'{"symbols": ["A"]}',
        403,
    ),
    "too much": ({**WRITER, "Content-Type": "application/json"}, b" " * 70_000, 413),
}


@pytest.mark.engine
@pytest.mark.parametrize("case", REFUSED)
def test_symbols_when_a_write_is_not_allowed_then_nothing_changes(universe: Universe, case: str) -> None:
    """Token, type, origin and size, each by itself; reads stay open, and the page's own origin may write."""
    client = _client(universe, token="writer")
    before = client.get("/api/torghut/symbols?format=full&includeDisabled=true").json()
    headers, body, status = REFUSED[case]
    for method, path in (("POST", "/api/torghut/symbols"), ("PATCH", "/api/torghut/symbols/AAPL")):
        assert client.request(method, path, content=body, headers=headers).status_code == status
    assert client.get("/api/torghut/symbols?format=full&includeDisabled=true").json() == before
    own = {**WRITER, "Origin": "http://visuals"}
    assert client.post("/api/torghut/symbols", json={"symbols": ["AAPL"]}, headers=own).status_code == 200


@pytest.mark.engine
def test_symbols_when_no_token_is_set_then_the_api_is_read_only(universe: Universe) -> None:
    """Whatever a request carries."""
    client = _client(universe)
    answer = client.post("/api/torghut/symbols", json={"symbols": ["A"]}, headers=WRITER)
    assert (answer.status_code, "TORGHUT_API_TOKEN" in answer.json()["message"]) == (403, True)
    assert client.get("/api/torghut/symbols").status_code == 200


def test_readyz_when_a_store_is_missing_then_503_names_it() -> None:
    """Ready means that both stores are configured."""
    answer = _client().get("/readyz")
    assert (answer.status_code, answer.json()["lacking"]) == (503, ["DB_DSN", "TA_CLICKHOUSE_URL"])


def test_api_when_stores_are_missing_then_503_names_the_variable() -> None:
    """Unconfigured is not broken."""
    assert _client().get("/api/torghut/symbols").json() == {"error": "DB_DSN is not configured"}
    answer = _client().get("/api/torghut/ta/latest?symbol=A")
    assert (answer.status_code, answer.json()["message"]) == (503, "TA_CLICKHOUSE_URL is not configured")


class _Rows:
    """ClickHouse's answers, or its failure."""

    def __init__(self, rows: list[dict[str, Any]] | ClickHouseError) -> None:
        self.rows = rows
        self.asked: list[dict[str, Any]] = []

    def query(self, statement: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        self.asked.append({"statement": statement, **(parameters or {})})
        if isinstance(self.rows, ClickHouseError):
            raise self.rows
        return self.rows


def _reader(rows: list[dict[str, Any]] | ClickHouseError) -> TaReader:
    return TaReader(_Rows(rows))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/torghut/ta/latest", "symbol=''"),
        ("/api/torghut/ta/latest?symbol=BTC/USD", "symbol='BTC/USD'"),
        ("/api/torghut/ta/bars?symbol=A&limit=10abc", "limit='10abc'"),
        ("/api/torghut/ta/bars?symbol=A&limit=0", "limit='0'"),
        ("/api/torghut/ta/bars?symbol=A&from=noon", "from='noon'"),
        ("/api/torghut/ta/bars?symbol=A&from=2026-01-05&to=2026-01-04", "to='2026-01-04': must not be before from"),
        ("/api/torghut/ta/signals?symbol=A&from=1&to=2026-01-04", "must span at most 7 days"),
    ],
)
def test_ta_when_request_is_wrong_then_400_names_the_field(path: str, words: str) -> None:
    """Field, value and rule."""
    answer = _client(reader=_reader([])).get(path)
    assert (answer.status_code, answer.json()["ok"]) == (400, False)
    assert words in answer.json()["message"]


def test_ta_when_clickhouse_fails_then_500_without_its_text() -> None:
    """No raw upstream text; a missing table is no row yet."""
    failing = _client(reader=_reader(ClickHouseError(Trouble.MEMORY, "a query")))
    answer = failing.get("/api/torghut/ta/latest?symbol=A")
    assert (answer.status_code, answer.json()["message"]) == (
        500,
        "ClickHouse: a query failed: clickhouse_memory_limit",
    )
    missing = _client(reader=_reader(ClickHouseError(Trouble.MISSING, "a query")))
    assert missing.get("/api/torghut/ta/latest?symbol=A").json() == {
        "ok": True,
        "symbol": "A",
        "bars": None,
        "signals": None,
    }


def test_ta_when_row_has_times_and_nans_then_json_has_rfc3339_and_null() -> None:
    """Times in UTC with milliseconds, non-finite numbers as null."""
    row = {"symbol": "A", "event_ts": datetime(2026, 1, 5, 14, 30, 1), "rsi14": float("nan"), "macd": 0.0}
    body = _client(reader=_reader([row])).get("/api/torghut/ta/latest?symbol=a").json()
    assert body["signals"] == {"symbol": "A", "event_ts": "2026-01-05T14:30:01.000Z", "rsi14": None, "macd": 0.0}


def test_page_when_opened_then_served_with_its_script_and_a_policy() -> None:
    """The page loads nothing from elsewhere."""
    client = _client()
    page = client.get("/")
    assert page.status_code == 200
    assert "<table>" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert client.get("/page.js").headers["content-type"].startswith("text/javascript")


_GUARDRAILS = """
import sys; sys.path.insert(0, {root!r})
from datetime import datetime, timedelta, UTC
from torghut_core.clock import ManualClock
from torghut_core.engines.clickhouse import Address, open_clickhouse
from torghut_core.ta.outputs.clickhouse_sink import SchemaOptions, create_schema
from torghut_core.visuals.guardrails import Guardrails
from torghut_core.visuals.ta_reader import TaReader
c = open_clickhouse(Address(url="embedded:{folder}"))
g = Guardrails(clickhouse=c, clock=ManualClock(5_000_000_000), replica="r", data_path="/")
g.scrape()
assert "ta_signals_max_event_ts_seconds" not in g.figures, g.figures
create_schema(c, SchemaOptions(cluster=None, is_simulated=True))
for ingest, close in ((1, 10.0), (2, 11.0)):
    c.command("INSERT INTO torghut.ta_microbars (symbol, event_ts, ingest_ts, window_size, c)"
              f" VALUES ('A', '2026-01-05 14:30:0{{ingest}}', fromUnixTimestamp64Milli({{ingest}}), 'PT1S', {{close}})")
c.command("INSERT INTO torghut.ta_microbars (symbol, event_ts, ingest_ts, window_size, c)"
          " VALUES ('A', '2026-01-05 14:30:02', fromUnixTimestamp64Milli(9), 'PT1S', 12)")
g.scrape()
assert g.figures["ta_microbars_max_window_end_seconds"] == 1767623402.0, g.figures
assert (g.figures["last_scrape_success"], g.figures["any_replica_readonly"]) == (1.0, 0.0)
assert 0 < g.figures["disk_free_ratio"] < 1
assert "minute_volume_ratio" not in g.figures, g.figures
def row(symbol, size, at, v, ingest=1):
    c.command("INSERT INTO torghut.ta_microbars (symbol, event_ts, ingest_ts, window_size, v) VALUES"
              f" ('{{symbol}}', '2026-01-06 {{at}}', fromUnixTimestamp64Milli({{ingest}}), '{{size}}', {{v}})")
row("A", "PT1M", "14:40:00", 100, 1); row("A", "PT1M", "14:40:00", 200, 2)  # rewritten
row("A", "PT1S", "14:39:01", 60, 1); row("A", "PT1S", "14:39:01", 80, 2); row("A", "PT1S", "14:40:00", 40)
row("B", "PT1M", "14:39:00", 40)  # and nothing of our own
row("C", "PT1S", "14:39:30", 1000)  # no minute bar to compare with
for at in ("14:37:30", "14:38:30", "14:40:30"):
    row("C", "PT1S", at, 1)  # seconds came in these minutes, and in those beside them
row("A", "PT1M", "14:34:00", 900)  # of an outage, or from before the start: nobody's seconds came
row("A", "PT1M", "14:38:00", 900)  # the first minute in which seconds came, and not from its beginning
row("A", "PT1M", "14:41:00", 500)  # the newest: seconds of it may be on their way
row("A", "PT1M", "14:29:00", 500)  # older than ten minutes
g.scrape()
assert g.figures["minute_volume_ratio"] == 120 / 240, g.figures
late = Guardrails(clickhouse=c, clock=ManualClock(1767713000 * 10**9), replica="r", data_path="/")
late.scrape()
assert "minute_volume_ratio" not in late.figures, late.figures
c.command("DELETE FROM torghut.ta_microbars WHERE event_ts > '2026-01-06 00:00:00'")
r = TaReader(c)
assert r.latest("A", "bars")["c"] == 12.0
at = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)
rows = r.between("A", "bars", at, at + timedelta(minutes=1), 10)
assert [row["c"] for row in rows] == [10.0, 12.0], rows
old, effective, fallback = r.window("A", "bars", at + timedelta(days=1), at + timedelta(days=1, minutes=1), 10)
assert fallback and len(old) == 2, (old, effective)
c.close()
print("ok")
"""


@pytest.mark.engine
def test_reader_and_guardrails_when_rows_are_doubled_then_the_newest_counts(tmp_path: Path) -> None:
    """Duplicates are resolved by ingest time; gauges of rows that do not exist are absent; a fallback is said."""
    root = str(Path(__file__).resolve().parents[3])
    code = _GUARDRAILS.format(root=root, folder=tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr[-600:]) == ("ok", "")


def test_guardrails_when_clickhouse_is_away_then_only_that_is_said() -> None:
    """A figure that is not known is not shown as one."""
    from torghut_core.clock import ManualClock

    failing: ClickHouse = _Rows(ClickHouseError(Trouble.REFUSED, "a query"))  # type: ignore[assignment]
    guardrails = Guardrails(clickhouse=failing, clock=ManualClock(5_000_000_000), replica="r")
    guardrails.scrape()
    assert guardrails.figures == {"clickhouse_up": 0.0, "last_scrape_success": 0.0, "last_scrape_ts_seconds": 5.0}
    assert next(iter(guardrails.collect())).name == "torghut_clickhouse_guardrails_clickhouse_up"
