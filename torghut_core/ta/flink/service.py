"""`run ta --engine flink`: checks, health, and the driver with its cluster as a process of its own beside them."""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from torghut_core.engines import embedded_folder
from torghut_core.errors import ConfigurationError, UpstreamError
from torghut_core.logs import event
from torghut_core.settings import load
from torghut_core.ta.flink.installation import Installation, find_installation
from torghut_core.ta.flink.metrics import FILE_VARIABLE, FileCollector
from torghut_core.ta.health import check_ports, serving_health
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.wiring import assert_has_kafka_password

_logger = logging.getLogger("torghut.ta.flink")
_END_SECONDS = 28.0
"""What the driver may take to end with a savepoint; a pod has 30."""
_JVM_ARGS = "-XX:+UseSerialGC -Xmn512m"
"""As a task manager of one CPU has it: the concurrent collectors' threads cost more than they save here."""
_DIE_WITH_PARENT = 1
"""prctl's PR_SET_PDEATHSIG."""


class FlinkService:
    """The driver's process, and what it says of the job."""

    def __init__(self, settings: TaSettings, installation: Installation, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.reason: str | None = "starting"
        self._installation = installation
        self._environment = dict(environment)
        self._failure: Exception | None = None
        """What the driver said that it could not begin with."""

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the job runs, and `/readyz`'s body."""
        body = {
            "status": "ready" if self.reason is None else "not_ready",
            "ready": self.reason is None,
            "reason": self.reason,
            "group": self.settings.group_id,
            "delivery": self.settings.delivery_guarantee,
            "engine": "flink",
            "parallelism": self.settings.parallelism,
        }
        return self.reason is None, body

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises what the driver could not begin with, UpstreamError when it ends by itself."""
        process = await asyncio.create_subprocess_exec(
            str(self._installation.python),
            "-m",
            "torghut_core.ta.flink",
            *map(str, self._installation.jars),
            env={"JVM_ARGS": _JVM_ARGS, **self._environment},
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        assert process.stdout is not None
        told = asyncio.create_task(self._listen(process.stdout))
        stopped = asyncio.create_task(stop.wait())
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait([stopped, ended], return_when=asyncio.FIRST_COMPLETED)
            was_told_to_stop = not ended.done()
            if was_told_to_stop:
                self.reason = "stopping"
                process.terminate()
                await asyncio.wait([ended], timeout=_END_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code = await process.wait()
            stopped.cancel()
            await told
        if not was_told_to_stop or code != 0:
            raise self._failure or UpstreamError(
                f"Flink: the job's driver ended with exit code {code}",
                hint=f"read what is newest in {self._installation.log_folder}",
            )

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # the client's own talk
            if not isinstance(said, dict):
                continue
            if said.get("event") == "state":
                self.reason = None if said["state"] == "RUNNING" else f"flink_{said['state'].lower()}"
                event(_logger, "job_state", state=said["state"])
            elif said.get("event") == "failed":
                kind = ConfigurationError if said["exit_code"] == ConfigurationError.exit_code else UpstreamError
                self._failure = kind(said["message"], hint=said["hint"])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def check(settings: TaSettings) -> None:
    """Raise ConfigurationError for what Flink cannot do: engines inside this process are not reached from its JVM."""
    for variable, address in (
        ("TA_KAFKA_BOOTSTRAP", settings.kafka_bootstrap),
        ("TA_CLICKHOUSE_URL", settings.clickhouse_url or ""),
    ):
        if embedded_folder(address, variable) is not None:
            raise ConfigurationError(
                f"{variable}={address!r}: must be a server's address with --engine flink",
                hint="an embedded engine belongs to one process; `run ta` without --engine uses it",
            )
    if not settings.checkpoint_dir.startswith("file:"):
        raise ConfigurationError(
            f"TA_CHECKPOINT_DIR={settings.checkpoint_dir!r}: must be file:DIR with --engine flink on one machine",
            hint="on a cluster the FlinkDeployment's own configuration names the bucket",
        )


async def run(
    environment: Mapping[str, str],
    *,
    on_ready: Callable[[int, int], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run the TA on Flink from its environment until `stop` is set; `on_ready` gets the health and metrics ports."""
    settings = load(TaSettings, environment)
    check(settings)
    check_ports(settings)
    assert_has_kafka_password(settings)
    installation = await asyncio.to_thread(find_installation, Path(settings.flink_dir), environment)
    with tempfile.TemporaryDirectory(prefix="torghut-ta-") as told:
        metrics = Path(told) / "metrics"
        service = FlinkService(settings, installation, {**environment, FILE_VARIABLE: str(metrics)})
        registry = CollectorRegistry()
        registry.register(FileCollector(metrics))
        async with serving_health(settings, service.readiness, registry, on_ready):
            await service.run(stop or asyncio.Event())
