"""The HTTP of trading: OpenAPI, parameters that break their rule, and a process that only answers."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.fakes.signal_tables import SignalTables
from tests.fakes.trading_service import cross_up, eventually, running, service_environment
from torghut_core.engines.postgres import Postgres

pytestmark = pytest.mark.engine


async def test_openapi_when_asked_then_every_route_and_its_errors(postgres: Postgres, broker_server: Any) -> None:
    """Served, and what it says of a wrong parameter is what comes; a NUL is no symbol, not a database that is away."""
    async with running(service_environment(broker_server.url), SignalTables(), postgres) as client:
        document = (await client.get("/openapi.json")).json()
        for path in ("/trading/decisions", "/trading/executions", "/trading/orders"):
            assert "422" in document["paths"][path]["get"]["responses"]
            for query in (
                "limit=1&limit=2",
                "symbol=%00",
                "symbol=A%20B",
                "limit=501",
                "since=99999-01-01T00:00:00Z",
                "since=x",
            ):
                answer = await client.get(f"{path}?{query}")
                assert (answer.status_code, answer.json()["detail"][0]["field"]) == (422, query.split("=")[0])
        for path in ("/trading/positions", "/trading/pnl", "/trading/status", "/trading/health"):
            assert path in document["paths"]


async def test_account_when_asked_then_equity_now_and_before_and_never_its_number(
    postgres: Postgres, broker_server: Any
) -> None:
    """Exact text beside each number; what the broker does not say is null."""
    async with running(service_environment(broker_server.url), SignalTables(), postgres) as client:
        answer = await client.get("/trading/account")
        body = answer.json()
        assert (answer.status_code, body["equity"], body["equity_text"]) == (200, 100000.0, "100000")
        assert set(body) == {
            *(f"{name}{end}" for name in ("equity", "last_equity", "cash", "buying_power") for end in ("", "_text")),
            "is_blocked",
        }
        assert "PA" not in answer.text


async def test_api_role_when_a_scheduler_trades_then_its_state_is_told_and_nothing_is_traded(
    postgres: Postgres, broker_server: Any
) -> None:
    """Without a scheduler 503 says who is missing; with one, its status and rows; the role leads and stops nothing."""
    environment = service_environment(broker_server.url)
    tables = SignalTables()
    api = {**environment, "TORGHUT_PROCESS_ROLE": "api", "TRADING_ENABLED": "false"}
    async with running(api, tables, postgres) as client:
        await eventually(client, "/readyz", lambda body: body["ready"])
        missing = await client.get("/trading/status")
        assert (missing.status_code, missing.json()) == (
            503,
            {"detail": "scheduler_runtime_unavailable", "owner": "torghut-scheduler"},
        )
        async with running({**environment, "TORGHUT_PROCESS_ROLE": "scheduler"}, tables, postgres) as scheduler:
            cross_up(tables)
            await eventually(scheduler, "/trading/executions", bool)
            status = await eventually(client, "/trading/status", lambda body: body.get("leader") is True)
            assert (status["role"], status["enabled"], status["stop"]) == ("api", True, None)
            assert len((await client.get("/trading/executions")).json()) == 1
            assert (await client.get("/trading/orders")).json()[0]["events"][0]["source"] == "submit"
    assert len(broker_server.state.posts) == 1


_SINCE = ("/trading/decisions", "/trading/executions", "/trading/orders")
"""Routes with `since`: which texts are a time no pattern can say (the 30th of February)."""


def _break_the_contract(address: str, examples: int) -> int:
    """Ask every operation for `examples` requests drawn from its schema; return how many answers were held to it."""
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    asked = 0
    for operation in (found.ok() for found in schema.get_all_operations()):

        @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            excluded = [positive_data_acceptance] if case.operation.path in _SINCE else []
            case.call_and_validate(excluded_checks=excluded)

        ask()
    return asked


# The runtime in this process draws its back-off meanwhile, and hypothesis takes that for a draw of the strategy's.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
async def test_openapi_when_it_is_asked_anything_then_every_answer_is_as_it_says(
    postgres: Postgres, broker_server: Any
) -> None:
    """Schemathesis: no 5xx that is not told of, no shape that is not the document's; good and bad requests alike."""
    examples = int(os.environ.get("API_EXAMPLES", "12"))
    tables = SignalTables()
    async with running(service_environment(broker_server.url), tables, postgres) as client:
        cross_up(tables)
        await eventually(client, "/trading/executions", bool)
        assert await asyncio.to_thread(_break_the_contract, str(client.base_url).rstrip("/"), examples) > examples
