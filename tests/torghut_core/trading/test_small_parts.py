"""Universe, encoder, metrics, schema."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

import httpx
import pytest
from prometheus_client import generate_latest

from tests.fakes.trading_values import make_settings
from torghut_core.clock import ManualClock
from torghut_core.engines.postgres import Postgres
from torghut_core.trading.encoding import dumps
from torghut_core.trading.inputs.universe import Universe
from torghut_core.trading.metrics import Metrics
from torghut_core.trading.store.schema import SchemaError, migrate, read_schema


def _universe(answers: list[httpx.Response], clock: ManualClock) -> Universe:
    settings = make_settings(TRADING_UNIVERSE_SOURCE="jangar", JANGAR_SYMBOLS_URL="http://127.0.0.1:1/symbols")
    return Universe(settings, clock, transport=httpx.MockTransport(lambda _: answers.pop(0)))


async def test_universe_when_service_fails_then_last_list_until_too_old_then_none() -> None:
    """Stale is bounded, an empty answer is a failure, and unknown means none rather than all."""
    clock = ManualClock()
    failures = [httpx.Response(500), httpx.Response(200, json={"symbols": []}), httpx.Response(200, text="x")]
    universe = _universe([httpx.Response(200, json={"symbols": ["aapl", "T"]}), *failures], clock)
    assert await universe.symbols() == {"AAPL", "T"}
    clock.advance(300)
    assert (await universe.symbols(), universe.error is None) == ({"AAPL", "T"}, False)
    clock.advance(600)
    assert await universe.symbols() == {"AAPL", "T"}
    clock.advance(10)
    assert await universe.symbols() == frozenset()


async def test_universe_when_never_read_then_none() -> None:
    """A service that never answered allows nothing."""
    assert await _universe([httpx.Response(500)], ManualClock()).symbols() == frozenset()


async def test_universe_when_full_format_then_enabled_ones() -> None:
    """The service's longer answer is read too."""
    items = [{"symbol": "A", "enabled": True}, {"symbol": "B", "enabled": False}]
    assert await _universe([httpx.Response(200, json={"items": items})], ManualClock()).symbols() == {"A"}


class _Colour(Enum):
    RED = "red"


def test_encoder_when_given_the_types_of_a_row_then_json() -> None:
    """UUID, decimal, datetime and enum have one form each."""
    value = {
        "id": uuid.UUID(int=1),
        "whole": Decimal("20.00000000"),
        "part": Decimal("0.1"),
        "at": datetime(2026, 1, 5, 15, 0, 0, 250000, UTC),
        "colour": _Colour.RED,
        "set": {"b", "a"},
    }
    assert dumps(value) == (
        '{"id":"00000000-0000-0000-0000-000000000001","whole":20,"part":0.1,'
        '"at":"2026-01-05T15:00:00.250Z","colour":"red","set":["a","b"]}'
    )


@pytest.mark.parametrize("value", [object(), {"x": b"bytes"}, [1, float("nan")]])
def test_encoder_when_type_is_unexpected_then_it_refuses(value: object) -> None:
    """An unexpected type fails here, not in a database far away."""
    with pytest.raises((TypeError, ValueError)):
        dumps(value)


def test_metrics_when_counted_then_json_and_prometheus_agree() -> None:
    """One count, two shapes; a misspelt name is an error."""
    metrics = Metrics()
    metrics.add("decisions_total")
    metrics.add_labelled("decision_reject_reason_total", "not_leader")
    metrics.put("leader", 1.0)
    assert (metrics.as_json()["decisions_total"], metrics.as_json()["leader"]) == (1, 1)
    text = generate_latest(metrics.registry).decode()
    assert "torghut_trading_decisions_total 1.0" in text
    assert 'torghut_trading_decision_reject_reason_total{reason="not_leader"} 1.0' in text
    with pytest.raises(KeyError):
        metrics.add("misspelt_total")


@pytest.mark.engine
def test_schema_when_migrated_twice_then_current_and_when_newer_then_refused(postgres: Postgres) -> None:
    """Migrating again changes nothing; a schema from the future stops this program."""
    assert migrate(postgres).is_current is True
    with postgres.connect(autocommit=True) as connection:
        connection.execute("UPDATE torghut_schema_version SET version_num = '9999'")
    assert read_schema(postgres).is_current is False
    with pytest.raises(SchemaError, match="does not know"):
        migrate(postgres)
