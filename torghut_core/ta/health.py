"""The TA's two ports, health and metrics: the same whichever engine runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from torghut_core.errors import ConfigurationError
from torghut_core.http_server import Binding, Readiness, health_app, serving
from torghut_core.ta.settings import TaSettings


def check_ports(settings: TaSettings) -> None:
    """Raise ConfigurationError when both are one."""
    if settings.health_port and settings.health_port == settings.metrics_port:
        raise ConfigurationError(f"TA_METRICS_PORT={settings.metrics_port}: must differ from TA_HEALTH_PORT")


@asynccontextmanager
async def serving_health(
    settings: TaSettings,
    readiness: Readiness,
    registry: CollectorRegistry,
    on_ready: Callable[[int, int], None] | None,
) -> AsyncIterator[None]:
    """Serve both; `on_ready` gets the ports. Raises ConfigurationError when one is taken."""
    app = health_app(service="torghut-ta", readiness=readiness, registry=registry)
    metrics = health_app(service="torghut-ta-metrics", readiness=readiness, registry=registry)
    health_binding = Binding(port=settings.health_port, variable="TA_HEALTH_PORT", host=settings.http_host)
    metrics_binding = Binding(port=settings.metrics_port, variable="TA_METRICS_PORT", host=settings.http_host)
    async with serving(app, health_binding) as health_port, serving(metrics, metrics_binding) as metrics_port:
        if on_ready is not None:
            on_ready(health_port, metrics_port)
        yield
