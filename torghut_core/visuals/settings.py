"""Settings of visuals and guardrails, by the names of their environment variables."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr

from torghut_core.errors import ConfigurationError
from torghut_core.market_calendar import CalendarName
from torghut_core.settings import Settings


class ClickHouseSettings(Settings):
    """Where the TA store is."""

    clickhouse_url: str | None = Field(default=None, alias="TA_CLICKHOUSE_URL")
    """Server, or `embedded:DIR`."""
    clickhouse_username: str = Field(default="torghut", alias="TA_CLICKHOUSE_USERNAME")
    """User of ClickHouse; an embedded engine has none."""
    clickhouse_password: SecretStr | None = Field(default=None, alias="TA_CLICKHOUSE_PASSWORD")
    """Password of TA_CLICKHOUSE_USERNAME."""
    clickhouse_timeout_seconds: float = Field(default=5, alias="TA_CLICKHOUSE_CONN_TIMEOUT_SECONDS", gt=0)
    """How long ClickHouse may take over one request."""
    http_host: str = Field(default="0.0.0.0", alias="TORGHUT_HTTP_HOST")  # noqa: S104  a pod serves its own network
    """The address that health, metrics and pages are served on."""
    clock: str = Field(default="system", alias="TORGHUT_CLOCK")
    """`system`, or `file:PATH` for a simulated market's clock, which its simulator writes."""


class VisualsSettings(ClickHouseSettings):
    """What `run visuals` reads once at start."""

    families = ("VISUALS_", "DATABASE_")
    elsewhere = frozenset({"DATABASE_URL"})
    port: int = Field(default=8090, alias="VISUALS_PORT", ge=0, le=65_535)
    """Where it is served; 0 takes a free one."""
    db_dsn: SecretStr | None = Field(default=None, alias="DB_DSN")
    """PostgreSQL of the symbol universe, or `embedded:DIR`."""
    symbols: str = Field(default="", alias="SYMBOLS")
    """Comma-separated; the universe's first content, used when the table is empty."""
    market_calendar: CalendarName = Field(default="XNYS", alias="TORGHUT_MARKET_CALENDAR")
    """Whose sessions count: `XNYS`, the New York exchange's, or `always-open` for a market that never closes."""
    write_token: SecretStr | None = Field(default=None, alias="TORGHUT_API_TOKEN")
    """What changes the universe needs it as a bearer token; without it the API is read-only. Off loopback the system's
    state and the stream need it too."""
    trading_url: str | None = Field(default=None, alias="VISUALS_TRADING_URL", pattern=r"^https?://[^\s/]+/?$")
    """Base URL of the trading API, whose account, orders and decisions the page shows; unset, they are not known."""


class GuardrailsSettings(ClickHouseSettings):
    """What `run guardrails` reads once at start."""

    families = ("GUARDRAILS_",)
    port: int = Field(default=9108, alias="GUARDRAILS_PORT", ge=0, le=65_535)
    """Where it is served; 0 takes a free one."""
    scrape_seconds: float = Field(default=15, alias="GUARDRAILS_SCRAPE_SECONDS", gt=0)
    """How often ClickHouse is looked at."""
    data_path: str | None = Field(default=None, alias="GUARDRAILS_DATA_PATH")
    """Folder whose file system counts as ClickHouse's disk, for an embedded engine."""
    replicas: str = Field(default="", alias="GUARDRAILS_REPLICAS")
    """Comma-separated NAME=URL, one per replica of ClickHouse, each with gauges of its own; unset, TA_CLICKHOUSE_URL alone."""

    def addresses(self) -> dict[str, str]:
        """Return the address of each replica by its name. Raises ConfigurationError naming the entry and the rule."""
        found: dict[str, str] = {}
        for entry in filter(None, (part.strip() for part in self.replicas.split(","))):
            name, _, url = entry.partition("=")
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name) or not re.fullmatch(r"https?://[^\s/@]+/?", url):
                raise ConfigurationError(
                    f"GUARDRAILS_REPLICAS: {name[:40]!r} must be NAME=URL, a name of letters, digits, . _ -, an http(s) address"
                )
            if name in found or url in found.values():
                raise ConfigurationError(f"GUARDRAILS_REPLICAS: {name} stands twice, or its address does")
            found[name] = url
        return found
