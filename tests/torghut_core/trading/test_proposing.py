"""Strategies in the whole runtime: declared ones trade and leave, outside ones that misbehave cost themselves alone."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_service import cross_up, eventually, running, service_environment
from tests.fakes.trading_values import make_signal
from torghut_core.engines.postgres import Postgres
from torghut_core.trading import isolation, loop
from torghut_core.trading.closing import Closer
from torghut_core.trading.decision.intents import Intent
from torghut_core.trading.inputs.history import SignalHistory
from torghut_core.trading.proposing import touched
from torghut_core.trading.strategies.rule import Held

pytestmark = pytest.mark.engine

DECLARED = """\
strategies:
  - name: dips
    base_timeframe: 1Sec
    entry: rsi14 < 30
    exit: rsi14 > 70
    stop: {at: imbalance_bid_px - 2}
    size: {budget: 1000}
    version: "2"
"""


def _write(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "strategies.yaml"
    path.write_text(text)
    return {"TRADING_STRATEGY_CONFIG_PATH": str(path), "TRADING_STRATEGY_RELOAD_SECONDS": "0.05"}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _filled(client: Any, count: int) -> list[dict[str, Any]]:
    rows = await eventually(
        client,
        "/trading/decisions",
        lambda body: len(body) >= count and all(row["status"] == "filled" for row in body),
    )
    return list(reversed(rows))


@pytest.mark.parametrize(
    ("leaving", "cause", "rationale"),
    [
        ({"rsi14": 80.0}, "signal", "exit: rsi14 > 70"),
        ({"rsi14": 50.0, "bid": 97.0, "ask": 97.1}, "stop_loss", "stop_loss 97.99 at 97.0"),
    ],
)
async def test_declared_when_entry_then_exit_or_stop_then_bought_once_and_sold(
    postgres: Postgres, broker_server: Any, tmp_path: Path, leaving: dict[str, float], cause: str, rationale: str
) -> None:
    """One position at a time, closed by its own words or its own stop; each decision says which strategy it was."""
    tables = SignalTables()
    tables.prices["AAPL"] = 100.0
    broker_server.state.order_status = "filled"
    environment = service_environment(broker_server.url, **_write(tmp_path, DECLARED))
    async with running(environment, tables, postgres) as client:
        tables.add("AAPL", _now_ms() - 3000, macd=0.0, rsi14=20.0)
        await _filled(client, 1)
        tables.add("AAPL", _now_ms() - 1000, macd=0.0, rsi14=20.0)
        tables.add("AAPL", _now_ms(), macd=0.0, **leaving)
        bought, sold = await _filled(client, 2)
        status = (await client.get("/trading/status")).json()
    assert (bought["leg"], bought["rationale"], bought["decision"]["qty"]) == ("entry", "entry: rsi14 < 30", "10")
    assert bought["decision"]["proposal"]["stop"] == "97.99"
    assert (sold["leg"], sold["cause"], sold["rationale"]) == ("exit", cause, rationale)
    [told] = status["strategies"]
    identity = {"name": "dips", "rule": "conditions", "version": "2", "digest": told["digest"]}
    assert len(told["digest"]) == 64
    assert told == {**identity, "enabled": True, "asked": True, "failures": 0, "fault": None, "error": None}
    assert bought["decision"]["identity"] == sold["decision"]["identity"] == identity
    assert len(broker_server.state.posts) == 2


OUTSIDE = """
import time
from torghut_core.trading.strategies import Proposal, strategy

@strategy(name="for-ever", version="1", lookback=1)
def for_ever(view):
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass

@strategy(name="raises", version="1", lookback=1)
def raises(view):
    raise ValueError("secret")

@strategy(name="nonsense", version="1", lookback=1)
def nonsense(view):
    return Proposal(side="buy", rationale="x", qty=float("nan"))
"""
PACKAGE = """\
[torghut.strategies]
for-ever = torghut_outside:for_ever
raises = torghut_outside:raises
nonsense = torghut_outside:nonsense
"""


def _install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, entry_points: str) -> str:
    """Install a package as an installer would, for this test alone; return the PYTHONPATH of processes that shall see it."""
    package = tmp_path / "site"
    facts = package / "torghut_outside-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: torghut-outside\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(entry_points)
    (package / "torghut_outside.py").write_text(source)
    monkeypatch.setattr(sys, "path", [*sys.path, str(package)])
    return os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])


async def test_outside_when_strategies_misbehave_then_each_is_named_and_the_others_trade(
    postgres: Postgres, broker_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence each in last_error and status, nothing traded by them, and one order by the strategy beside them."""
    python_path = _install(tmp_path, monkeypatch, OUTSIDE, PACKAGE)
    names = ("for-ever", "macd-rsi", "nonsense", "raises")
    catalogue = "strategies: [" + ", ".join(f"{{name: {n}, rule: {n}, base_timeframe: 1Sec}}" for n in names) + "]"
    tables = SignalTables()
    broker_server.state.order_status = "filled"
    environment = service_environment(
        broker_server.url,
        **_write(tmp_path, catalogue),
        PATH=os.environ["PATH"],
        PYTHONPATH=python_path,
        TRADING_STRATEGY_DEADLINE_SECONDS="0.5",
    )
    async with running(environment, tables, postgres) as client:
        cross_up(tables)
        await eventually(client, "/trading/executions", bool)
        status = await eventually(client, "/trading/status", lambda body: len(body["strategies"]) == 4)
        decisions = (await client.get("/trading/decisions")).json()
    assert [row["decision"]["strategy"] for row in decisions] == ["macd-rsi"]
    assert len(broker_server.state.posts) == 1
    told = {item["name"]: item for item in status["strategies"]}
    assert {name: item["failures"] > 0 for name, item in told.items()} == {name: name != "macd-rsi" for name in names}
    assert told["for-ever"]["failures"] == 1
    assert {name: (item["asked"], item["fault"]) for name, item in told.items()} == {
        "for-ever": (False, "deadline"),
        "macd-rsi": (True, None),
        "nonsense": (True, "nonsense"),
        "raises": (True, "raised"),
    }
    assert "for-ever: gave no answer within 0.5 s" in status["last_error"]
    assert "nonsense: qty=nan: must be a number above 0" in status["last_error"]
    assert "raises: raised ValueError at torghut_outside.py line 15 on AAPL" in status["last_error"]
    assert "secret" not in status["last_error"]
    metrics = status["metrics"]
    assert metrics["strategies_disabled"] == 1
    assert metrics["strategy_faults_total"]["deadline"] == 1
    assert {"raised", "nonsense"} < set(metrics["strategy_faults_total"])


async def test_catalogue_when_it_is_half_written_then_the_last_good_one_trades_on(
    postgres: Postgres, broker_server: Any, tmp_path: Path
) -> None:
    """The error says line and column; the file as it was stays in force, and one that is whole again takes its place."""
    tables = SignalTables()
    broker_server.state.order_status = "filled"
    tables.prices["AAPL"] = 100.0
    environment = service_environment(broker_server.url, **_write(tmp_path, DECLARED))
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: bool(body["strategies"]))
        _write(tmp_path, DECLARED.replace("rsi14 < 30", "rsi41 < 30"))
        refused = await eventually(client, "/trading/status", lambda body: body["last_error"] is not None)
        assert (
            "strategies.yaml: line 4, column 12: strategies[0].entry='rsi41 < 30': unknown column rsi41"
            in refused["last_error"]
        )
        tables.add("AAPL", _now_ms(), macd=0.0, rsi14=20.0)
        [bought] = await _filled(client, 1)
        assert bought["decision"]["identity"]["version"] == "2"
        _write(tmp_path, DECLARED.replace('"2"', '"3"'))
        await eventually(client, "/trading/status", lambda body: body["strategies"][0]["version"] == "3")
        status = await eventually(client, "/trading/status", lambda body: body["last_error"] is None)
    assert status["strategies"][0]["fault"] is None


@pytest.mark.parametrize(
    ("qty", "bid", "ask", "cause"),
    [
        (10, 98.0, 98.1, "stop_loss"),
        (10, 98.01, 98.1, None),
        (10, 103.0, 103.1, "take_profit"),
        (10, 102.99, 103.1, None),
        (-10, 102.9, 103.0, "stop_loss"),
        (-10, 98.5, 98.0, None),
    ],
)
def test_touched_when_a_quote_meets_a_level_then_its_cause(qty: int, bid: float, ask: float, cause: str | None) -> None:
    """The side that would be met counts: the bid of what is long, the ask of what is short."""
    from decimal import Decimal

    low, high = Decimal(98), Decimal(103)
    stop, target = (low, high) if qty > 0 else (high, Decimal(97))
    held = Held(qty=Decimal(qty), average_price=Decimal(100), bars=1, opened_ns=0, stop=stop, target=target)
    found = touched(held, make_signal(bid=bid, ask=ask, close=100.0))
    assert (None if found is None else found[0]) == cause


async def test_signal_when_it_comes_later_than_the_bars_that_are_kept_then_it_is_judged_still(
    postgres: Postgres, broker_server: Any
) -> None:
    """A row of eleven minutes ago among 600 kept seconds gets its window from the table, and its decision its reasons."""
    tables = SignalTables()
    start = _now_ms() // 1000 * 1000 - 700_000
    for second in range(650):
        tables.add("AAPL", start + second * 1000, macd=1.0, rsi14=80.0)
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: body["metrics"]["signals_total"] >= 650)
        tables.add("AAPL", start + 10_500, ingest_ms=start + 10_600, macd=-1.0, rsi14=60.0)
        [row] = await eventually(client, "/trading/decisions", bool)
        rejected = await eventually(client, "/trading/decisions", lambda rows: rows[0]["status"] == "rejected")
    assert (row["decision"]["action"], row["decision"]["params"]["signal"]["macd"]) == ("sell", -1.0)
    assert "signal_stale" in rejected[0]["risk_reasons"]


@pytest.mark.parametrize(("event_ns", "is_older"), [(99, True), (100, False), (101, False)])
def test_history_when_full_then_what_lies_before_it_is_older(event_ns: int, is_older: bool) -> None:
    """Only a full series has nothing before it; adding an older row to it gives no window."""
    history = SignalHistory(bars=2)
    history.add([make_signal(event_ns=100)])
    assert not history.is_older(make_signal(event_ns=99))
    history.add([make_signal(event_ns=200)])
    signal = make_signal(event_ns=event_ns)
    assert history.is_older(signal) is is_older
    assert (history.add([signal]) == []) is is_older


async def test_closing_when_what_was_held_is_gone_by_then_it_opens_nothing(
    postgres: Postgres, broker_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the rule and the book the position was closed elsewhere: the wish to sell it is no wish to be short."""

    async def take_none(_closer: Closer, intents: Sequence[Intent], _book: object) -> list[Intent]:
        return list(intents)

    monkeypatch.setattr(Closer, "take_signals", take_none)
    tables = SignalTables()
    tables.prices |= {"AAPL": 100.0, "MSFT": 100.0}
    broker_server.state.order_status = "filled"
    environment = service_environment(
        broker_server.url, **_write(tmp_path, DECLARED), TRADING_ALLOW_SHORTS="true", TRADING_ALLOW_MARGIN="true"
    )
    async with running(environment, tables, postgres) as client:
        tables.add("AAPL", _now_ms() - 3000, macd=0.0, rsi14=20.0)
        await _filled(client, 1)
        tables.add("AAPL", _now_ms() - 1, macd=0.0, rsi14=80.0)
        tables.add("MSFT", _now_ms(), macd=0.0, rsi14=20.0)
        rows = await _filled(client, 2)
    assert [(row["symbol"], row["decision"]["action"]) for row in rows] == [("AAPL", "buy"), ("MSFT", "buy")]


async def test_outside_when_a_package_loads_slowly_then_what_is_in_force_trades_meanwhile(
    postgres: Postgres, broker_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its author's import waits for the test, and so does nothing else; when it fails, the strategy alone is off."""
    monkeypatch.setattr(isolation, "_LOAD_SECONDS", 150.0)
    monkeypatch.setattr(loop, "_LOADING_SECONDS", 0.01)
    begun, go = tmp_path / "begun", tmp_path / "go"
    source = (
        "import pathlib, time\n"
        f"pathlib.Path({str(begun)!r}).touch()\n"
        f"while not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.01)\n"
        "raise OSError\n"
    )
    python_path = _install(tmp_path, monkeypatch, source, "[torghut.strategies]\nslow = torghut_outside:slow\n")
    known = "{name: macd-rsi, base_timeframe: 1Sec}"
    tables = SignalTables()
    broker_server.state.order_status = "filled"
    environment = service_environment(
        broker_server.url,
        **_write(tmp_path, f"strategies: [{known}]"),
        PATH=os.environ["PATH"],
        PYTHONPATH=python_path,
    )
    async with running(environment, tables, postgres) as client:
        await eventually(client, "/trading/status", lambda body: bool(body["strategies"]))
        _write(tmp_path, f"strategies: [{known}, {{name: slow, rule: slow}}]")
        while not begun.exists():
            await asyncio.sleep(0.01)
        cross_up(tables)
        await eventually(client, "/trading/executions", bool)
        before = (await client.get("/trading/status")).json()
        go.touch()
        status = await eventually(client, "/trading/status", lambda body: len(body["strategies"]) == 2)
    assert [item["name"] for item in before["strategies"]] == ["macd-rsi"]
    assert [(item["name"], item["asked"], item["fault"]) for item in status["strategies"]] == [
        ("macd-rsi", True, None),
        ("slow", False, "unloadable"),
    ]
    assert (
        "slow: rule 'slow': torghut_outside:slow: raised OSError at torghut_outside.py line 5" in status["last_error"]
    )


@pytest.mark.parametrize(("after", "is_sold"), [(2, False), (3, True)])
async def test_declared_when_it_leaves_after_bars_then_they_are_counted_from_the_entry(
    postgres: Postgres, broker_server: Any, tmp_path: Path, after: int, is_sold: bool
) -> None:
    """The third bar after the one it was bought on is the third, however many are kept."""
    tables = SignalTables()
    tables.prices |= {"AAPL": 100.0, "MSFT": 100.0}
    broker_server.state.order_status = "filled"
    text = DECLARED.replace("rsi14 > 70", "held for 3 bars")
    start = _now_ms() - 20_000
    for second in range(10):
        tables.add("AAPL", start + second * 1000, macd=0.0, rsi14=50.0)
    environment = service_environment(broker_server.url, **_write(tmp_path, text))
    async with running(environment, tables, postgres) as client:
        tables.add("AAPL", start + 10_000, macd=0.0, rsi14=20.0)
        await _filled(client, 1)
        for second in range(after):
            tables.add("AAPL", start + 11_000 + second * 1000, macd=0.0, rsi14=50.0)
        tables.add("MSFT", start + 15_000, macd=0.0, rsi14=20.0)
        rows = await _filled(client, 3 if is_sold else 2)
    sold = [(row["symbol"], row["rationale"]) for row in rows if row["leg"] == "exit"]
    assert sold == ([("AAPL", "exit: held for 3 bars")] if is_sold else [])


ADDING = """
from torghut_core.trading.strategies import Proposal, strategy

@strategy(name="adds", version="1", lookback=1)
def adds(view):
    held = view.position
    if held is None or held.qty < 3:
        return Proposal(side="buy", rationale="more", qty=1 if held is None else 2)
    return Proposal(side="sell", rationale=f"holds {held.qty.normalize()} at {held.average_price.normalize()}")
"""


async def test_outside_when_it_added_to_what_it_holds_then_it_is_shown_the_average_of_all_of_it(
    postgres: Postgres, broker_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One share at 100 and two at 103 are three at 102, not at the newest entry's 103."""
    python_path = _install(tmp_path, monkeypatch, ADDING, "[torghut.strategies]\nadds = torghut_outside:adds\n")
    tables = SignalTables()
    tables.prices["AAPL"] = 100.0
    broker_server.state.order_status = "filled"
    environment = service_environment(
        broker_server.url,
        **_write(tmp_path, "strategies: [{name: adds, rule: adds, base_timeframe: 1Sec}]"),
        PATH=os.environ["PATH"],
        PYTHONPATH=python_path,
    )
    start = _now_ms() - 4000
    async with running(environment, tables, postgres) as client:
        for count, price in enumerate(("100", "103", "104"), start=1):
            broker_server.state.fill_price = price
            tables.add("AAPL", start + count * 1000, macd=0.0, rsi14=50.0)
            rows = await _filled(client, count)
    assert [(row["leg"], row["decision"]["qty"]) for row in rows] == [("entry", "1"), ("entry", "2"), ("exit", "3")]
    assert rows[-1]["rationale"] == "holds 3 at 102"
