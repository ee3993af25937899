"""The symbol universe over HTTP, in a real PostgreSQL: what it lists, who may change it, and what is recorded of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.visuals_client import TOKEN, WRITER, Client
from torghut_core.engines.postgres import open_postgres
from torghut_core.visuals.api import Stores
from torghut_core.visuals.universe import Universe

_SYMBOLS = "/api/torghut/symbols"
_EVERYTHING = f"{_SYMBOLS}?format=full&includeDisabled=true"


@pytest.fixture(scope="module")
def universe() -> Iterator[Universe]:
    """A universe in a real PostgreSQL, in a folder outside pytest's (see `engine_folder`)."""
    with tempfile.TemporaryDirectory(prefix="torghut-engine-", ignore_cleanup_errors=True) as folder:
        postgres = open_postgres(f"embedded:{folder}")
        yield Universe(postgres, ["AAPL", "MSFT"])
        postgres.close()


def _client(universe: Universe, token: str | None = TOKEN, **more: Any) -> Client:
    return Client(Stores(universe=universe), token=token, **more)


def _write(client: Client, method: str, path: str, body: Any, **headers: str) -> Any:
    return client.request(method, path, json=body, headers={**WRITER, **headers})


@pytest.mark.engine
def test_symbols_when_posted_switched_and_deleted_then_listed_and_every_change_is_recorded(universe: Universe) -> None:
    """Upper-cased, by asset class, disabled ones only when asked for; who, what and when of each change, once."""
    client = _client(universe)
    assert client.get(_SYMBOLS).json() == {"symbols": ["AAPL", "MSFT"]}
    posted = _write(client, "POST", _SYMBOLS, {"symbolsText": "nvda, tsla"}, **{"X-Torghut-Actor": "ann"})
    assert posted.json() == {"insertedOrUpdated": 2, "symbols": ["NVDA", "TSLA"]}
    assert _write(client, "PATCH", f"{_SYMBOLS}/TSLA", {"enabled": False}).json() == {"ok": True}
    assert _write(client, "PATCH", f"{_SYMBOLS}/TSLA", {"enabled": False}).json() == {"ok": True}
    assert client.get(_SYMBOLS).json() == {"symbols": ["AAPL", "MSFT", "NVDA"]}
    full = client.get(_EVERYTHING).json()["items"]
    assert [(item["symbol"], item["enabled"]) for item in full] == [
        ("AAPL", True),
        ("MSFT", True),
        ("NVDA", True),
        ("TSLA", False),
    ]
    pair = {"symbols": ["BTC/USD", "TSLA"], "assetClass": "crypto"}
    assert _write(client, "POST", _SYMBOLS, pair).status_code == 200
    assert client.get(f"{_SYMBOLS}?assetClass=crypto").json() == {"symbols": ["BTC/USD", "TSLA"]}
    deleted = client.request("DELETE", f"{_SYMBOLS}/btc/usd?assetClass=crypto", headers=WRITER)
    assert (deleted.status_code, deleted.json()) == (200, {"ok": True})
    assert client.request("DELETE", f"{_SYMBOLS}/TSLA", headers=WRITER).json() == {"ok": True}
    assert client.get(f"{_SYMBOLS}?assetClass=crypto").json() == {"symbols": ["TSLA"]}, "another class stays"
    gone = client.request("DELETE", f"{_SYMBOLS}/TSLA", headers=WRITER)
    assert (gone.status_code, gone.json()["message"]) == (404, "symbol='TSLA': is not in the universe")
    changes = client.get(f"{_SYMBOLS}/changes").json()["items"]
    assert [(c["who"], c["assetClass"], c["symbol"], c["was"], c["became"]) for c in reversed(changes)] == [
        ("ann", "equity", "NVDA", "absent", "enabled"),
        ("ann", "equity", "TSLA", "absent", "enabled"),
        ("token", "equity", "TSLA", "enabled", "disabled"),
        ("token", "crypto", "BTC/USD", "absent", "enabled"),
        ("token", "crypto", "TSLA", "absent", "enabled"),
        ("token", "crypto", "BTC/USD", "enabled", "absent"),
        ("token", "equity", "TSLA", "disabled", "absent"),
    ]
    assert {(c["address"], len(c["tokenId"])) for c in changes} == {("127.0.0.1", 8)}
    assert TOKEN not in str(changes).replace("'token'", "")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "", {"symbols": ["$$$"]}, "symbols='$$$': must be"),
        ("POST", "", {"symbols": ["A'; DROP TABLE torghut_symbols; --"]}, "must be 1 to 32 of"),
        ("POST", "", {"symbols": []}, "symbols: must name at least one"),
        ("POST", "", {"symbols": ["A"], "symbolsText": "B"}, "symbols, symbolsText: only one of them may be given"),
        ("POST", "", {"symbols": ["A", ""]}, "symbols='': must be"),
        ("POST", "", {"symbols": [1]}, "symbols: must be an array of texts"),
        ("POST", "", {"symbols": {"A": 1}}, "symbols: must be an array of texts"),
        ("POST", "", {"symbols": [f"S{n}" for n in range(2001)]}, "symbols: at most 2000 at once, 2001 given"),
        ("POST", "", {"symbols": ["A"], "enabled": "yes"}, "enabled='yes': must be true or false"),
        ("POST", "", {"symbols": ["A"], "enabled": 1}, "enabled='1': must be true or false"),
        ("POST", "", [], "body: must be a JSON object"),
        ("POST", "", {"symbols": ["A"], "assetClass": "bogus"}, "assetClass='bogus': must be equity or crypto"),
        ("PATCH", "/AAPL", {}, "enabled='None': must be true or false"),
        ("PATCH", "/A;B", {"enabled": True}, "symbol='A;B'"),
        ("DELETE", "/A?assetClass=bogus", {}, "assetClass='bogus': must be 'equity' or 'crypto'"),
        ("GET", "?assetClass=bogus", {}, "assetClass='bogus': must be 'equity' or 'crypto'"),
        ("GET", "?includeDisabled=maybe", {}, "includeDisabled='maybe': must be"),
        ("GET", "?format=xml", {}, "format='xml': must be 'compact' or 'full'"),
        ("GET", "/changes?limit=0", {}, "limit='0': must be greater than or equal to 1"),
    ],
)
def test_symbols_when_a_request_is_wrong_then_400_names_the_field_and_nothing_changes(
    universe: Universe, method: str, path: str, body: Any, words: str
) -> None:
    """Field, value and rule; a non-boolean never disables in silence."""
    client = _client(universe)
    before = client.get(_EVERYTHING).json()
    answer = _write(client, method, _SYMBOLS + path, body)
    assert (answer.status_code, answer.json()["ok"], words in answer.json()["message"]) == (400, False, True), (
        answer.text
    )
    assert client.get(_EVERYTHING).json() == before


_JSON = {"Content-Type": "application/json"}
_ONE = b'{"symbols": ["A"], "enabled": true}'
REFUSED: dict[str, tuple[dict[str, str], bytes, int]] = {
    "no token": (_JSON, _ONE, 401),
    "wrong token": ({**_JSON, "Authorization": "Bearer x"}, _ONE, 401),
    "a token beyond ASCII": ({**_JSON, "Authorization": b"Bearer \xff".decode("latin-1")}, _ONE, 401),
    "no bearer": ({**_JSON, "Authorization": "writer"}, _ONE, 401),
    "plain text, as any page may send": ({**WRITER, "Content-Type": "text/plain"}, _ONE, 415),
    "no type": (dict(WRITER), _ONE, 415),
    "another site's page": ({**WRITER, **_JSON, "Origin": "https://evil.example"}, _ONE, 403),
    "a sandboxed page": ({**WRITER, **_JSON, "Origin": "null"}, _ONE, 403),
    "another site's page, by the browser's word": ({**WRITER, **_JSON, "Sec-Fetch-Site": "cross-site"}, _ONE, 403),
    "10 MB": ({**WRITER, **_JSON}, b" " * 10_000_000, 413),
    "no length": ({**WRITER, **_JSON, "Transfer-Encoding": "chunked", "Content-Length": ""}, _ONE, 411),
    "no JSON": ({**WRITER, **_JSON}, b"{", 400),
    "nested without end": ({**WRITER, **_JSON}, b"[" * 60_000, 400),
    "a name of control characters": ({**WRITER, **_JSON, "X-Torghut-Actor": "a\tb"}, _ONE, 400),
}


@pytest.mark.engine
@pytest.mark.parametrize("case", REFUSED)
def test_symbols_when_a_write_is_not_allowed_then_nothing_changes(universe: Universe, case: str) -> None:
    """Token, type, origin and size, each by itself; reads stay open, and the page's own origin may write."""
    client = _client(universe)
    before = client.get(_EVERYTHING).json()
    headers, body, status = REFUSED[case]
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    for method, path in (("POST", _SYMBOLS), ("PATCH", f"{_SYMBOLS}/AAPL")):
        answer = client.request(method, path, content=body, headers=sent)
        assert (answer.status_code, answer.json()["ok"]) == (status, False), answer.text
    assert client.get(_EVERYTHING).json() == before
    own = _write(client, "POST", _SYMBOLS, {"symbols": ["AAPL"]}, Origin="http://localhost:8090")
    assert own.status_code == 200


@pytest.mark.engine
def test_symbols_when_no_token_is_set_then_the_api_is_read_only(universe: Universe) -> None:
    """Whatever a request carries, whatever it asks."""
    client = _client(universe, token=None)
    for method, path in (("POST", ""), ("PATCH", "/AAPL"), ("DELETE", "/AAPL")):
        answer = _write(client, method, _SYMBOLS + path, {"symbols": ["A"], "enabled": False})
        assert (answer.status_code, "TORGHUT_API_TOKEN" in answer.json()["message"]) == (403, True)
    assert "AAPL" in client.get(_SYMBOLS).json()["symbols"]


def test_symbols_when_the_store_is_missing_then_503_names_the_variable() -> None:
    """Unconfigured is not broken, and is said to whoever may ask."""
    client = Client(Stores(), token=TOKEN)
    assert client.get(_SYMBOLS).json() == {"ok": False, "error": "DB_DSN is not configured"}
    assert client.request("DELETE", f"{_SYMBOLS}/A", headers=WRITER).status_code == 503
    assert client.request("DELETE", f"{_SYMBOLS}/A").status_code == 401
