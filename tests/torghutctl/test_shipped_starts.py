"""Every workload that is shipped starts with the environment that the tree gives it, and says that it is ready.

Only addresses are other ones: engines embedded in a folder and a simulated market stand where the cluster's are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.torghutctl.test_shipped_environment import SHIPPED
from torghut_core.engines.clickhouse import Address, open_clickhouse
from torghut_core.engines.kafka import KafkaAddress
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.engines.postgres import open_postgres
from torghut_core.ingest import service as ingest
from torghut_core.simulator import process as simulator
from torghut_core.ta import service as ta
from torghut_core.trading import service as trading
from torghut_core.visuals import service as visuals

pytestmark = [pytest.mark.e2e, pytest.mark.engine]
WORKLOADS = {name: values for name, runtime, values in SHIPPED}
READY_SECONDS = 90


def addresses(folder: Path, market: simulator.SimulatorProcess, port: int = 0) -> dict[str, str]:
    """Return what differs from the cluster."""
    manifests = Path(__file__).resolve().parents[2] / "manifests"
    catalogue = next(
        item["data"]["strategies.yaml"]
        for item in yaml.safe_load_all((manifests / "strategy-configmap.yaml").read_text())
    )
    (folder / "strategies.yaml").write_text(catalogue)
    return {
        "ALPACA_KEY_ID": simulator.KEY_ID,
        "ALPACA_SECRET_KEY": simulator.SECRET_KEY,
        "ALPACA_STREAM_URL": market.ws,
        "ALPACA_BASE_URL": market.http,
        "APCA_API_KEY_ID": simulator.KEY_ID,
        "APCA_API_SECRET_KEY": simulator.SECRET_KEY,
        "APCA_API_BASE_URL": market.http,
        "KAFKA_BOOTSTRAP": f"embedded:{folder / 'kafka'}",
        "TA_KAFKA_BOOTSTRAP": f"embedded:{folder / 'kafka'}",
        "TA_CHECKPOINT_DIR": f"file:{folder / 'checkpoints'}",
        "TA_CLICKHOUSE_URL": f"embedded:{folder / 'clickhouse'}",
        "DB_DSN": f"embedded:{folder / 'postgres'}",
        "JANGAR_SYMBOLS_URL": f"http://127.0.0.1:{port}/api/torghut/symbols",
        "TRADING_STRATEGY_CONFIG_PATH": str(folder / "strategies.yaml"),
        "TORGHUT_MARKET_CALENDAR": "always-open",
        "TORGHUT_HTTP_HOST": "127.0.0.1",
        "TRADING_HTTP_HOST": "127.0.0.1",
        **dict.fromkeys(("HEALTH_PORT", "METRICS_PORT", "TA_HEALTH_PORT", "TA_METRICS_PORT"), "0"),
        **dict.fromkeys(("TRADING_HTTP_PORT", "GUARDRAILS_PORT", "VISUALS_PORT"), "0"),
    }


async def test_workloads_when_started_with_the_shipped_environment_then_each_is_ready(tmp_path: Path) -> None:
    """All of them beside each other, as in the namespace: `/readyz` 200, or `/metrics` 200 where that is the probe."""
    market_of = ["--symbols", "AAPL,MSFT,NVDA,SPY", "--calendar", "always-open", "--history-minutes", "1"]
    with simulator.running(tmp_path, market_of) as market:
        given = addresses(tmp_path, market)
        kafka = open_kafka(KafkaAddress(bootstrap=given["KAFKA_BOOTSTRAP"], client_id="shipped"))
        clickhouse = await asyncio.to_thread(open_clickhouse, Address(url=given["TA_CLICKHOUSE_URL"]))
        postgres = await asyncio.to_thread(open_postgres, given["DB_DSN"])
        stop, tasks = asyncio.Event(), []
        ports: dict[str, int] = {}

        async def start(name: str, run: Callable[..., Any], **engines: Any) -> None:
            up = asyncio.Event()

            def note(*found: int) -> None:
                ports[name] = found[0]
                up.set()

            environment = WORKLOADS[name] | {key: value for key, value in given.items() if key in _meant(name)}
            environment.pop("TA_CLICKHOUSE_CLUSTER", None)  # one embedded store has no replicas to make tables on
            task = asyncio.create_task(run(environment, on_ready=note, stop=stop, **engines), name=name)
            tasks.append(task)
            waiting = asyncio.create_task(up.wait())
            await asyncio.wait([waiting, task], timeout=60, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if task.done():
                task.result()
            assert up.is_set(), name

        try:
            await start("torghut-visuals", visuals.run, clickhouse=clickhouse, postgres=postgres)
            given = addresses(tmp_path, market, ports["torghut-visuals"])
            guardrails = "torghut-clickhouse-guardrails-exporter"
            await start(guardrails, visuals.run_guardrails, clickhouse=clickhouse)
            await start("torghut-ta", ta.run, kafka=kafka, clickhouse=clickhouse)
            await start("torghut-scheduler", trading.run, clickhouse=clickhouse, postgres=postgres)
            await start("torghut", trading.run, clickhouse=clickhouse, postgres=postgres)
            await start("torghut-ws", ingest.run, kafka=kafka)
            probes = {name: "metrics" if name == guardrails else "readyz" for name in ports}
            async with httpx.AsyncClient(timeout=5) as client:
                said = {name: await _ready(client, ports[name], probe) for name, probe in probes.items()}
            assert {name: answer[0] for name, answer in said.items()} == dict.fromkeys(ports, 200), said
            assert set(ports) == set(WORKLOADS)
        finally:
            stop.set()
            await asyncio.gather(*tasks, return_exceptions=True)
            await kafka.close()
            clickhouse.close()
            postgres.close()


def _meant(name: str) -> set[str]:
    """Return the addresses that a workload's runtime reads, and no name of another's."""
    from torghut_core.settings import known_variables
    from torghutctl.commands.explain_config import settings_class

    runtime = next(runtime for workload, runtime, _ in SHIPPED if workload == name)
    return set(known_variables(settings_class(runtime)))


async def _ready(client: httpx.AsyncClient, port: int, probe: str) -> tuple[int, str]:
    """Ask until the answer is 200; the last answer otherwise."""
    said = (0, "")
    for _ in range(READY_SECONDS * 4):
        with contextlib.suppress(httpx.HTTPError):
            answer = await client.get(f"http://127.0.0.1:{port}/{probe}")
            said = answer.status_code, answer.text[:300]
            if answer.status_code == 200:
                break
        await asyncio.sleep(0.25)
    return said
