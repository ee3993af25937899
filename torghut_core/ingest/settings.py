"""Settings of the forwarder, by the names of its environment variables."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from torghut_core import topics
from torghut_core.market_calendar import CalendarName
from torghut_core.settings import Settings

_SYMBOL = re.compile(r"[A-Z0-9._:/-]{1,32}")


def parse_symbols(text: str) -> tuple[str, ...]:
    """Return distinct upper-case symbols of a comma-separated list, sorted. Raises ValueError for what is none."""
    found = sorted({part.strip().upper() for part in text.split(",") if part.strip()})
    for symbol in found:
        if not _SYMBOL.fullmatch(symbol):
            raise ValueError(f"{symbol[:40]!r} is not a symbol (A-Z, 0-9 and ._:/-, at most 32 characters)")
    return tuple(found)


class IngestSettings(Settings):
    """What `run ws` reads once at start."""

    key_id: SecretStr = Field(alias="ALPACA_KEY_ID")
    secret_key: SecretStr = Field(alias="ALPACA_SECRET_KEY")
    feed: Literal["iex", "sip", "delayed_sip", "overnight", "test"] = Field(default="iex", alias="ALPACA_FEED")
    stream_url: str = Field(default="wss://stream.data.alpaca.markets", alias="ALPACA_STREAM_URL")
    """Without path; `/v2/{feed}` is added."""
    symbols_url: str | None = Field(default=None, alias="JANGAR_SYMBOLS_URL")
    """Answers `{"symbols": […]}`; polled. A failure or an empty answer keeps the last known universe."""
    symbols: str = Field(default="", alias="SYMBOLS")
    """Comma-separated; the universe until the URL answers."""
    symbols_poll_ms: int = Field(default=30_000, alias="SYMBOLS_POLL_INTERVAL_MS", gt=0)
    subscribe_batch_size: int = Field(default=200, alias="SUBSCRIBE_BATCH_SIZE", gt=0)
    enable_trade_updates: bool = Field(default=False, alias="ENABLE_TRADE_UPDATES")
    enable_bars_backfill: bool = Field(default=False, alias="ENABLE_BARS_BACKFILL")
    reconnect_base_ms: int = Field(default=500, alias="RECONNECT_BASE_MS", gt=0)
    reconnect_max_ms: int = Field(default=30_000, alias="RECONNECT_MAX_MS", gt=0)
    dedup_ttl_seconds: float = Field(default=5, alias="DEDUP_TTL_SEC", gt=0)
    dedup_max_entries: int = Field(default=100_000, alias="DEDUP_MAX_ENTRIES", gt=0)
    read_idle_timeout_ms: int = Field(default=180_000, alias="ALPACA_MARKET_DATA_READ_IDLE_TIMEOUT_MS", ge=1000)
    """Silence, in the feed's session, after which the socket is opened again."""
    health_port: int = Field(default=8080, alias="HEALTH_PORT", ge=0, le=65_535)
    metrics_port: int = Field(default=9090, alias="METRICS_PORT", ge=0, le=65_535)
    http_host: str = Field(default="0.0.0.0", alias="TORGHUT_HTTP_HOST")  # noqa: S104  a pod serves its own network
    topic_trades: str = Field(default=topics.TRADES.name, alias="TOPIC_TRADES")
    topic_quotes: str = Field(default=topics.QUOTES.name, alias="TOPIC_QUOTES")
    topic_bars: str = Field(default=topics.BARS_1M.name, alias="TOPIC_BARS_1M")
    topic_status: str = Field(default=topics.STATUS.name, alias="TOPIC_STATUS")
    kafka_bootstrap: str = Field(default="localhost:9093", alias="KAFKA_BOOTSTRAP")
    kafka_client_id: str = Field(default="torghut-ws", alias="KAFKA_CLIENT_ID")
    kafka_linger_ms: int = Field(default=30, alias="KAFKA_LINGER_MS", ge=0, le=10_000)
    kafka_batch_size: int = Field(default=262_144, alias="KAFKA_BATCH_SIZE", ge=1024)
    kafka_buffer_bytes: int = Field(default=16 << 20, alias="KAFKA_BUFFER_MEMORY_BYTES", ge=1 << 20)
    """Bytes that wait for Kafka before reading from the socket pauses."""
    kafka_compression: Literal["lz4", "gzip", "none"] = Field(default="lz4", alias="KAFKA_COMPRESSION")
    kafka_acks: Literal["all"] = Field(default="all", alias="KAFKA_ACKS")
    kafka_request_timeout_ms: int = Field(default=15_000, alias="KAFKA_REQUEST_TIMEOUT_MS", ge=1000)
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="SASL_SSL", alias="KAFKA_SECURITY_PROTOCOL"
    )
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", alias="KAFKA_SASL_MECH"
    )
    kafka_user: str = Field(default="torghut-ws", alias="KAFKA_SASL_USER")
    kafka_password: SecretStr | None = Field(default=None, alias="KAFKA_SASL_PASSWORD")
    clock: str = Field(default="system", alias="TORGHUT_CLOCK")
    market_calendar: CalendarName = Field(default="XNYS", alias="TORGHUT_MARKET_CALENDAR")

    @field_validator("stream_url")
    @classmethod
    def _is_websocket(cls, value: str) -> str:
        if not re.fullmatch(r"wss?://[^/@\s]+/*", value):
            raise ValueError("must be ws(s)://HOST[:PORT], without path or credentials")
        return value.rstrip("/")

    @field_validator("symbols")
    @classmethod
    def _are_symbols(cls, value: str) -> str:
        return ",".join(parse_symbols(value))

    @model_validator(mode="after")
    def _fits_together(self) -> IngestSettings:
        if not self.symbols and not self.symbols_url:
            raise ValueError("SYMBOLS, JANGAR_SYMBOLS_URL: at least one must be set")
        if self.reconnect_max_ms < self.reconnect_base_ms:
            raise ValueError(f"RECONNECT_MAX_MS={self.reconnect_max_ms}: must be at least RECONNECT_BASE_MS")
        for name, is_on in (
            ("ENABLE_TRADE_UPDATES", self.enable_trade_updates),
            ("ENABLE_BARS_BACKFILL", self.enable_bars_backfill),
        ):
            if is_on:
                raise ValueError(f"{name}='true': this version does not do that; must be false")
        return self
