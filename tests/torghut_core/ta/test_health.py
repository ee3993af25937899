"""The ports of health and metrics, whichever engine runs the TA."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest

from torghut_core.errors import ConfigurationError
from torghut_core.ta import service
from torghut_core.ta.flink import service as flink_service


@pytest.mark.parametrize("run", [service.run, flink_service.run], ids=["process", "flink"])
async def test_run_when_both_ports_are_one_then_the_variables_are_named(
    run: Callable[[Mapping[str, str]], Awaitable[None]],
) -> None:
    """Said before anything is opened, and not as a port in use."""
    environment = {
        "TA_KAFKA_BOOTSTRAP": "127.0.0.1:9", "TA_KAFKA_SECURITY": "PLAINTEXT", "TA_CHECKPOINT_DIR": "file:checkpoints",
        "TA_HEALTH_PORT": "18080", "TA_METRICS_PORT": "18080",
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="TA_METRICS_PORT=18080: must differ from TA_HEALTH_PORT"):
        await run(environment)
