"""Settings of visuals and guardrails, by the names of their environment variables."""

from __future__ import annotations

from pydantic import Field, SecretStr

from torghut_core.market_calendar import CalendarName
from torghut_core.settings import Settings


class ClickHouseSettings(Settings):
    """Where the TA store is."""

    clickhouse_url: str | None = Field(default=None, alias="TA_CLICKHOUSE_URL")
    clickhouse_username: str = Field(default="torghut", alias="TA_CLICKHOUSE_USERNAME")
    clickhouse_password: SecretStr | None = Field(default=None, alias="TA_CLICKHOUSE_PASSWORD")
    clickhouse_timeout_seconds: float = Field(default=5, alias="TA_CLICKHOUSE_CONN_TIMEOUT_SECONDS", gt=0)
    http_host: str = Field(default="0.0.0.0", alias="TORGHUT_HTTP_HOST")  # noqa: S104  a pod serves its own network
    clock: str = Field(default="system", alias="TORGHUT_CLOCK")


class VisualsSettings(ClickHouseSettings):
    """What `run visuals` reads once at start."""

    families = ("VISUALS_", "DATABASE_")
    port: int = Field(default=8090, alias="VISUALS_PORT", ge=0, le=65_535)
    db_dsn: SecretStr | None = Field(default=None, alias="DB_DSN")
    """PostgreSQL of the symbol universe, or `embedded:DIR`."""
    symbols: str = Field(default="", alias="SYMBOLS")
    """Comma-separated; the universe's first content, used when the table is empty."""
    market_calendar: CalendarName = Field(default="XNYS", alias="TORGHUT_MARKET_CALENDAR")
    write_token: SecretStr | None = Field(default=None, alias="TORGHUT_API_TOKEN")
    """What changes the universe needs it as a bearer token; without it the API is read-only. Off loopback the system's
    state and the stream need it too."""
    trading_url: str | None = Field(default=None, alias="VISUALS_TRADING_URL", pattern=r"^https?://[^\s/]+/?$")
    """Base URL of the trading API, whose account, orders and decisions the page shows; unset, they are not known."""


class GuardrailsSettings(ClickHouseSettings):
    """What `run guardrails` reads once at start."""

    families = ("GUARDRAILS_",)
    port: int = Field(default=9108, alias="GUARDRAILS_PORT", ge=0, le=65_535)
    scrape_seconds: float = Field(default=15, alias="GUARDRAILS_SCRAPE_SECONDS", gt=0)
    data_path: str | None = Field(default=None, alias="GUARDRAILS_DATA_PATH")
    """Folder whose file system counts as ClickHouse's disk, for an embedded engine."""
