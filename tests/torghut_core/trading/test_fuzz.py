"""Anything at all from outside: rows, catalogues, the answers of broker and model. Each thing fails alone, and the process goes on.

`FUZZ_SECONDS` is how long each source is fuzzed: a second or two in `make test`, a quarter of an hour in `make soak`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_values import make_settings
from tests.torghut_core.trading.test_broker import ORDER, REQUEST
from torghut_core.clock import ManualClock
from torghut_core.errors import InputError
from torghut_core.trading.encoding import dumps
from torghut_core.trading.inputs.signals import Cursor, SignalReader
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.orders.broker import Broker, BrokerUnavailableError, OrderRefusedError, OrderUnknownError
from torghut_core.trading.review.reviewer import Reviewer
from torghut_core.trading.strategies.catalogue import read_catalogue
from torghut_core.trading.strategies.judgement import ask
from torghut_core.trading.strategies.places import Place
from torghut_core.trading.strategies.rule import View
from torghut_core.trading.strategies.shipped import SHIPPED

T = 1_767_625_200_000
_GROWTH_KIB = 200_000
"""Far more than caches of a warm process, far less than a leak of an hour."""

_odd = st.sampled_from(
    [None, True, False, 0, -1, 2**63, -(2**63), 10**400, 1e308, -1e308, 1e-320, float("nan"), float("inf"), "", "\x00",
     "\ud800", "NaN", "1e400", "n/a", "9" * 500, "2026-99-99", "١٢", [], {}, [[]], {"": None}]
)  # fmt: skip
_any = _odd | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=15,
)


def _changed(good: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return things like `good` with some of its fields anything, or gone."""
    changes = st.dictionaries(st.sampled_from(sorted(good)), _any, max_size=3)
    gone = st.sets(st.sampled_from(sorted(good)), max_size=1)
    return st.builds(lambda new, less: {k: v for k, v in {**good, **new}.items() if k not in less}, changes, gone)


def _fuzz(source: st.SearchStrategy[Any], try_one: Callable[[Any], None]) -> int:
    """Try examples for as long as the environment says; return how many. What escapes from one fails the test."""
    ends, tried, round_number = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "1")), 0, 0
    while time.monotonic() < ends:
        round_number += 1

        @seed(round_number)
        @settings(
            max_examples=20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
        )
        @given(source)
        def one_round(example: Any) -> None:
            nonlocal tried
            tried += 1
            try_one(example)

        one_round()
    return tried


def _good_row() -> dict[str, Any]:
    tables = SignalTables()
    tables.add("AAPL", T + 5000, macd=1.0, rsi14=20.0)
    return tables.signals[0]


class _Rows:
    """A table that answers with one row that is anything and one that is good."""

    def __init__(self, bad: Any) -> None:
        self._bad = bad

    def query(self, _statement: str, _parameters: Any = None) -> list[Any]:
        return [self._bad, {**_good_row(), "symbol": "MSFT", "event_ms": T + 6000, "ingest_ms": T + 6000}]


_DEFINITIONS = [SHIPPED.get(name) for name in SHIPPED.names]
_RULES = [each.build(each.read({}, Place())) for each in _DEFINITIONS if each is not None]


def try_row(row: dict[str, Any]) -> None:
    """A bad row is counted and costs itself; the good one beside it is read, and every rule bears what was read."""
    skipped: list[str] = []
    reader = SignalReader(
        _Rows(row),
        table="torghut.ta_signals",
        overlap_ms=30_000,
        lookback_ms=900_000,
        batch_size=100,
        on_bad_row=skipped.append,
    )
    batch = reader.read(Cursor(), symbols=["AAPL", "MSFT"], timeframes=["1Sec"], since_ns=0)
    assert any(signal.symbol == "MSFT" and signal.event_ns == (T + 6000) * 1_000_000 for signal in batch.signals)
    assert len(batch.signals) + len(skipped) >= 1
    for signal in batch.signals:
        for rule in _RULES:
            ask(rule, View([signal, signal]))


def try_model(content: bytes) -> None:
    """Whatever a model answers, there is a review; it can be stored, and never lets more pass than was asked for."""
    reviewer = Reviewer(
        make_settings(LLM_ENABLED="true", LLM_SHADOW_MODE="false", LLM_ADJUSTMENT_ALLOWED="true"),
        fail_mode="veto",
        clock=ManualClock(),
        metrics=Metrics(),
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=content)),
    )
    review = asyncio.run(reviewer.review({}, qty=Decimal(10)))
    assert 0 <= review.qty <= 10
    assert (review.reason is None) == (review.qty > 0)
    if review.verdict is not None:
        stored = dumps({"flags": review.verdict.risk_flags, "why": review.verdict.rationale})
        assert "\\u0000" not in stored
        stored.encode()


def try_broker(answer: tuple[int, bytes]) -> None:
    """Whatever the broker answers, each question and the order end in a value or in one of our errors."""
    status, content = answer
    broker = Broker(
        base_url="http://127.0.0.1:1",
        key="k",
        secret="s",
        timeout_seconds=5,
        per_minute=1_000_000,
        transport=httpx.MockTransport(lambda _: httpx.Response(status, content=content)),
    )

    async def ask() -> None:
        for question in (broker.account, broker.snapshot, broker.open_orders, lambda: broker.asset("AAPL")):
            try:
                await question()
            except BrokerUnavailableError:
                continue
        for key in ("c" * 64, "o-1"):
            for find in (broker.find, broker.order):
                try:
                    await find(key)
                except BrokerUnavailableError:
                    continue
        with contextlib.suppress(OrderRefusedError, OrderUnknownError):
            await broker.submit(REQUEST)
        await broker.close()

    asyncio.run(ask())


_text = st.text(max_size=60) | st.builds(json.dumps, st.builds(lambda v: v, _any).filter(lambda v: _is_json(v)))
_completion = st.builds(
    lambda text, usage: json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode(),
    _text
    | _changed({"verdict": "adjust", "confidence": 0.9, "adjusted_qty": 5, "rationale": "x", "risk_flags": ["a"]})
    .filter(lambda v: _is_json(v))
    .map(json.dumps),
    _changed({"prompt_tokens": 1, "completion_tokens": 2}).filter(lambda v: _is_json(v)),
)
_bodies = st.binary(max_size=200) | st.sampled_from([b"[" * 5000, b'{"a":' * 5000, b"\xef\xbb\xbf{}", b"1e999999999"])


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value).encode()
    except (ValueError, TypeError):
        return False
    return True


_ACCOUNT = {"account_number": "PA1", "status": "ACTIVE", "equity": "1", "cash": "1", "buying_power": "1"}
_POSITION = {"symbol": "AAPL", "qty": "1", "qty_available": "1", "side": "long", "market_value": "1"}
_answers = st.tuples(
    st.sampled_from([200, 200, 200, 200, 201, 204, 301, 400, 403, 404, 422, 500, 503]),
    _bodies
    | (
        _changed(_ACCOUNT)
        | _changed(ORDER)
        | st.lists(_changed(ORDER), max_size=2)
        | st.lists(_changed(_POSITION), max_size=2)
        | _any
    )
    .filter(_is_json)
    .map(lambda value: json.dumps(value).encode()),
)


def _catalogue(folder: Path) -> Callable[[Any], None]:
    path = folder / "strategies.yaml"

    def try_catalogue(content: bytes) -> None:
        """A file is a catalogue, or an error that names it."""
        path.write_bytes(content)
        try:
            read_catalogue(path)
        except InputError as error:
            assert str(path) in str(error)

    return try_catalogue


_STRATEGY = {"name": "a", "enabled": True, "base_timeframe": "1Sec", "max_notional_per_trade": 5, "symbols": ["A"]}
_DECLARED = {
    "name": "a",
    "base_timeframe": "1Sec",
    "entry": ["close > 1", {"any": ["flat", {"not": "rsi14 crosses above 5 within 3 bars"}]}],
    "exit": "time after 10:00",
    "stop": {"percent": 1},
    "target": {"at": "boll_mid + 1"},
    "size": {"volatility": 5},
    "version": "1",
}
_files = (
    st.binary(max_size=120)
    | st.text(max_size=120).map(lambda text: text.encode(errors="surrogatepass"))
    | st.lists(_changed(_STRATEGY) | _changed(_DECLARED), max_size=3)
    .filter(_is_json)
    .map(lambda entries: json.dumps({"strategies": entries}).encode())
)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["rows", "catalogue", "model", "broker"])
def test_fuzz_when_anything_comes_from_outside_then_it_costs_itself_alone(source: str, tmp_path: Path) -> None:
    """No exit, and nothing of ours that is not an error of ours."""
    tried = _fuzz(*_sources(tmp_path)[source])
    assert tried > 0


@pytest.mark.soak
@pytest.mark.parametrize("source", ["rows", "catalogue", "model", "broker"])
def test_fuzz_when_it_goes_on_for_long_then_no_exit_no_stall_and_no_growth(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for long: after a warm-up the process keeps its size."""
    seconds = os.environ.get("FUZZ_SECONDS", "900")
    monkeypatch.setenv("FUZZ_SECONDS", "5")
    _fuzz(*_sources(tmp_path)[source])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setenv("FUZZ_SECONDS", seconds)
    tried = _fuzz(*_sources(tmp_path)[source])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"fuzz {source}: {tried} examples in {seconds} s, {grown} KiB more")
    assert tried > 0
    assert grown < _GROWTH_KIB


def _sources(folder: Path) -> dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], None]]]:
    return {
        "rows": (_changed(_good_row()), try_row),
        "catalogue": (_files, _catalogue(folder)),
        "model": (_completion | _bodies, try_model),
        "broker": (_answers, try_broker),
    }
