"""What OpenAPI says of the visuals API is what it does, asked good and bad requests alike."""

from __future__ import annotations

import asyncio
import os
import tempfile

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.fakes.visuals_client import NOW, TOKEN, WRITER, Rows
from torghut_core.clock import ManualClock
from torghut_core.engines.postgres import open_postgres
from torghut_core.market_calendar import MarketCalendar
from torghut_core.visuals.api import Stores, create_app
from torghut_core.visuals.newest import NewestRows
from torghut_core.visuals.stream import EventLog
from torghut_core.visuals.system import SystemState
from torghut_core.visuals.system_api import Live
from torghut_core.visuals.ta_reader import TaReader
from torghut_core.visuals.universe import Universe

_ENDLESS = "/api/torghut/stream"
"""A good request of it never ends; its bad ones are asked in test_system."""
_RANGES = "/api/torghut/ta/{kind}"
"""That `from` is before `to`, and within seven days of it, no schema can say."""


def _state() -> SystemState:
    """The state of a system whose trading does not answer, and of which no rules run here."""
    clock = ManualClock(1_767_632_400_000_000_000)
    return SystemState(
        clock=clock,
        monotonic=clock.monotonic,
        calendar=MarketCalendar(),
        http=httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(503))),
        trading_url=lambda: "http://trading",
        verdict=None,
        store_trouble=lambda: None,
        log=EventLog("abc"),
    )


def _break_the_contract(app: object, examples: int) -> int:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    asked = 0
    for operation in (found.ok() for found in schema.get_all_operations()):
        if operation.path == _ENDLESS:
            continue

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
            excluded = [positive_data_acceptance] if case.operation.path == _RANGES else []
            case.call_and_validate(headers=WRITER, excluded_checks=excluded)

        ask()
    return asked


@pytest.mark.engine
async def test_openapi_when_it_is_asked_anything_then_every_answer_is_as_it_says() -> None:
    """Schemathesis: no 5xx that is not told of, no shape or status that is not the document's."""
    examples = int(os.environ.get("API_EXAMPLES", "10"))
    with tempfile.TemporaryDirectory(prefix="torghut-engine-", ignore_cleanup_errors=True) as folder:
        postgres = await asyncio.to_thread(open_postgres, f"embedded:{folder}")
        reader = TaReader(Rows([]))
        newest = NewestRows(reader, lambda: 1.0)
        newest.refresh()
        live = Live(state=_state(), log=EventLog("abc"), stop=asyncio.Event())
        stores = Stores(universe=Universe(postgres, ["AAPL"]), reader=reader, newest=newest, live=live)
        app = create_app(stores, token=TOKEN, now=lambda: NOW)
        asked = await asyncio.to_thread(_break_the_contract, app, examples)
        postgres.close()
    assert asked >= 6 * examples
