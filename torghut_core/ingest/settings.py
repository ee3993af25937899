"""Settings of the forwarder, by the names of its environment variables.

Every variable that `run ws` reads stands here; `torghut_core.settings.known_variables(IngestSettings)` lists them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator

from torghut_core import topics
from torghut_core.engines import embedded_folder
from torghut_core.ingest.universe import parse_symbols
from torghut_core.market_calendar import CalendarName
from torghut_core.settings import Settings

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class IngestSettings(Settings):
    """What `run ws` reads once at start."""

    families = (
        "ALPACA_",
        "KAFKA_",
        "TOPIC_",
        "SYMBOLS_",
        "ENABLE_",
        "RECONNECT_",
        "DEDUP_",
        "SHARD_",
        "BARS_",
        "TRADES_",
    )

    key_id: SecretStr = Field(alias="ALPACA_KEY_ID")
    """Key of the market-data account: one connection at a time, whoever holds it."""
    secret_key: SecretStr = Field(alias="ALPACA_SECRET_KEY")
    """Secret of ALPACA_KEY_ID."""
    feed: Literal["iex", "sip", "delayed_sip", "overnight"] = Field(default="iex", alias="ALPACA_FEED")
    """Which feed is streamed; `iex` is the free one, and the plan must hold the others."""
    stream_url: str = Field(default="wss://stream.data.alpaca.markets", alias="ALPACA_STREAM_URL")
    """Without path; the feed's is added."""
    base_url: str = Field(default="https://data.alpaca.markets", alias="ALPACA_BASE_URL")
    """Of the historical data that backfill asks for."""
    trade_stream_url: str | None = Field(default=None, alias="ALPACA_TRADE_STREAM_URL")
    """Used verbatim."""
    codec: Literal["msgpack", "json"] = Field(default="msgpack", alias="ALPACA_CODEC")
    """How Alpaca encodes what it sends."""
    max_symbols: int | None = Field(default=None, alias="ALPACA_MAX_SYMBOLS", ge=2)
    """Subscriptions of the plan, trades and quotes together: each symbol takes two. None asks for everything."""
    symbols_url: str | None = Field(default=None, alias="JANGAR_SYMBOLS_URL")
    """Answers `{"symbols": […]}`; polled. A failure or an empty answer keeps the last known universe."""
    symbols: str = Field(default="", alias="SYMBOLS")
    """Comma-separated; the universe until the URL answers."""
    symbols_poll_ms: int = Field(default=30_000, alias="SYMBOLS_POLL_INTERVAL_MS", gt=0)
    """How often JANGAR_SYMBOLS_URL is asked."""
    subscribe_batch_size: int = Field(default=200, alias="SUBSCRIBE_BATCH_SIZE", gt=0)
    """Symbols in one subscription message."""
    shard_count: int = Field(default=1, alias="SHARD_COUNT", gt=0)
    """Into how many parts the universe is divided, each for a forwarder with an account of its own."""
    shard_index: int = Field(default=0, alias="SHARD_INDEX", ge=0)
    """This forwarder takes the symbols whose CRC-32 modulo SHARD_COUNT it is."""
    enable_trade_updates: bool = Field(default=False, alias="ENABLE_TRADE_UPDATES")
    """Whether the account's order events are forwarded too, as a connection of its own."""
    enable_bars_backfill: bool = Field(default=False, alias="ENABLE_BARS_BACKFILL")
    """Whether minute bars missing after an outage are asked for and sent."""
    bars_backfill_lookback_hours: float = Field(default=12, alias="BARS_BACKFILL_LOOKBACK_HOURS", gt=0, le=720)
    """How far back minute bars are asked for when nothing says from when on they are missing."""
    enable_trades_backfill: bool = Field(default=False, alias="ENABLE_TRADES_BACKFILL")
    """Whether trades missing after an outage are asked for and sent."""
    trades_backfill_lookback_hours: float = Field(default=24, alias="TRADES_BACKFILL_LOOKBACK_HOURS", gt=0, le=720)
    """How far back trades are asked for at most."""
    trades_backfill_max_records: int = Field(default=50_000, alias="TRADES_BACKFILL_MAX_RECORDS", gt=0, le=250_000)
    """Trades of one backfill at most; what is left out is told and counted."""
    reconnect_base_ms: int = Field(default=500, alias="RECONNECT_BASE_MS", gt=0)
    """The wait before the first attempt to connect again; it doubles from attempt to attempt."""
    reconnect_max_ms: int = Field(default=30_000, alias="RECONNECT_MAX_MS", gt=0)
    """The longest wait between two attempts."""
    reconnect_refused_ms: int = Field(default=30_000, alias="RECONNECT_REFUSED_MS", gt=0)
    """The least wait after 406, a refused key or a refused feed: who asks again at once keeps the slot taken."""
    dedup_ttl_seconds: float = Field(default=5, alias="DEDUP_TTL_SEC", gt=0)
    """How long a message is remembered, so that it is not sent twice."""
    dedup_max_entries: int = Field(default=100_000, alias="DEDUP_MAX_ENTRIES", gt=0, le=5_000_000)
    """Messages remembered at most; the oldest go first."""
    read_idle_timeout_ms: int = Field(
        default=30_000, alias="ALPACA_MARKET_DATA_READ_IDLE_TIMEOUT_MS", ge=1000, le=30_000
    )
    """Silence of the whole universe, in regular hours, after which it is not ready and connects again."""
    health_kill_after_ms: int = Field(default=180_000, alias="HEALTH_NOT_READY_KILL_AFTER_MS", ge=1000)
    """How long only a restart can cure something before `/healthz` fails."""
    health_port: int = Field(default=8080, alias="HEALTH_PORT", ge=0, le=65_535)
    """Where `/healthz`, `/readyz` and `/metrics` are served; 0 takes a free one."""
    metrics_port: int = Field(default=9090, alias="METRICS_PORT", ge=0, le=65_535)
    """The same as HEALTH_PORT: one server for both."""
    http_host: str = Field(default="0.0.0.0", alias="TORGHUT_HTTP_HOST")  # noqa: S104  a pod serves its own network
    """The address that health, metrics and pages are served on."""
    topic_trades: str = Field(default=topics.TRADES.name, alias="TOPIC_TRADES")
    """Where trades, cancels and corrections go."""
    topic_quotes: str = Field(default=topics.QUOTES.name, alias="TOPIC_QUOTES")
    """Where quotes go."""
    topic_bars: str = Field(default=topics.BARS_1M.name, alias="TOPIC_BARS_1M")
    """Where minute bars and their later versions go."""
    topic_status: str = Field(default=topics.STATUS.name, alias="TOPIC_STATUS")
    """Where the forwarder tells its own state."""
    topic_trade_updates: str | None = Field(default=None, alias="TOPIC_TRADE_UPDATES")
    """Where order events go; needed when ENABLE_TRADE_UPDATES is true."""
    kafka_bootstrap: str = Field(default="localhost:9093", alias="KAFKA_BOOTSTRAP")
    """Brokers as HOST:PORT, by commas, or `embedded:DIR`."""
    kafka_client_id: str = Field(default="torghut-ws", alias="KAFKA_CLIENT_ID")
    """The name that brokers log for this client."""
    kafka_linger_ms: int = Field(default=30, alias="KAFKA_LINGER_MS", ge=0, le=10_000)
    """How long messages are gathered before they are sent together."""
    kafka_batch_size: int = Field(default=524_288, alias="KAFKA_BATCH_SIZE", ge=1024, le=16 << 20)
    """Bytes of records in one batch, before compression."""
    kafka_buffer_bytes: int = Field(default=64 << 20, alias="KAFKA_BUFFER_MEMORY_BYTES", ge=1 << 20)
    """Bytes that may wait for Kafka. What is more is dropped, the oldest first, and counted; reading goes on."""
    kafka_record_bytes: int = Field(default=1 << 20, alias="KAFKA_MAX_REQUEST_SIZE_BYTES", ge=4096, le=64 << 20)
    """The longest record that is sent at all."""
    kafka_compression: Literal["lz4", "gzip", "none"] = Field(default="lz4", alias="KAFKA_COMPRESSION")
    """How batches are compressed."""
    kafka_acks: Literal["all"] = Field(default="all", alias="KAFKA_ACKS")
    """Replicas that must have a batch before it counts as sent: all of them, and nothing else is offered."""
    kafka_request_timeout_ms: int = Field(default=15_000, alias="KAFKA_REQUEST_TIMEOUT_MS", ge=1000)
    """How long a broker may take over one request."""
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="SASL_SSL", alias="KAFKA_SECURITY_PROTOCOL"
    )
    """How brokers are talked to. An embedded log asks for none of it."""
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", alias="KAFKA_SASL_MECH"
    )
    """How user and password are proven, where the protocol is one of SASL."""
    kafka_user: str = Field(default="torghut-ws", alias="KAFKA_SASL_USER")
    """User of Kafka."""
    kafka_password: SecretStr | None = Field(default=None, alias="KAFKA_SASL_PASSWORD")
    """Password of KAFKA_SASL_USER; needed where the protocol is one of SASL."""
    kafka_ca_file: str | None = Field(
        default=None, validation_alias=AliasChoices("KAFKA_SSL_CA_FILE", "KAFKA_TRUSTSTORE_PATH")
    )
    """PEM file of the authorities that may have signed the brokers' certificates; None for the machine's own."""
    clock: str = Field(default="system", alias="TORGHUT_CLOCK")
    """`system`, or `file:PATH` for a simulated market's clock, which its simulator writes."""
    market_calendar: CalendarName = Field(default="XNYS", alias="TORGHUT_MARKET_CALENDAR")
    """Whose sessions count: `XNYS`, the New York exchange's, or `always-open` for a market that never closes."""

    @field_validator("stream_url")
    @classmethod
    def _is_websocket(cls, value: str) -> str:
        if not re.fullmatch(r"wss?://[^/@\s]+/*", value):
            raise ValueError("must be ws(s)://HOST[:PORT], without path or credentials")
        return value.rstrip("/")

    @field_validator("trade_stream_url")
    @classmethod
    def _is_stream(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"wss?://[^@\s]+", value):
            raise ValueError("must be ws(s)://HOST[:PORT]/PATH, without credentials")
        return value

    @field_validator("base_url", "symbols_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^@\s]+", value):
            raise ValueError("must be http(s)://HOST[:PORT][/PATH], without credentials")
        return value.rstrip("/") if value is not None else None

    @field_validator("symbols")
    @classmethod
    def _are_symbols(cls, value: str) -> str:
        return ",".join(parse_symbols(value))

    @field_validator("topic_trades", "topic_quotes", "topic_bars", "topic_status", "topic_trade_updates")
    @classmethod
    def _is_topic(cls, value: str | None) -> str | None:
        if value is not None and not _TOPIC.fullmatch(value):
            raise ValueError("must be a topic's name: A-Z, a-z, 0-9 and ._-, at most 249 characters")
        return value

    @field_validator("kafka_ca_file")
    @classmethod
    def _is_readable(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                text = Path(value).read_bytes()
            except OSError as error:
                raise ValueError(f"must be a file that can be read: {error.strerror}") from error
            if b"-----BEGIN CERTIFICATE-----" not in text:
                raise ValueError("must be a PEM file with at least one certificate")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> IngestSettings:
        if not self.symbols and not self.symbols_url:
            raise ValueError("SYMBOLS, JANGAR_SYMBOLS_URL: at least one must be set")
        if self.reconnect_max_ms < self.reconnect_base_ms:
            raise ValueError(f"RECONNECT_MAX_MS={self.reconnect_max_ms}: must be at least RECONNECT_BASE_MS")
        if self.shard_index >= self.shard_count:
            raise ValueError(f"SHARD_INDEX={self.shard_index}: must be below SHARD_COUNT={self.shard_count}")
        if self.enable_trade_updates:
            for name, value in (
                ("ALPACA_TRADE_STREAM_URL", self.trade_stream_url),
                ("TOPIC_TRADE_UPDATES", self.topic_trade_updates),
            ):
                if value is None:
                    raise ValueError(f"{name}: must be set when ENABLE_TRADE_UPDATES is true")
        named = [self.topic_trades, self.topic_quotes, self.topic_bars, self.topic_status]
        named += [self.topic_trade_updates] if self.topic_trade_updates else []
        if len(set(named)) < len(named):
            raise ValueError(
                "TOPIC_TRADES, TOPIC_QUOTES, TOPIC_BARS_1M, TOPIC_STATUS, TOPIC_TRADE_UPDATES: must differ"
            )
        if self.kafka_record_bytes > self.kafka_buffer_bytes:
            raise ValueError("KAFKA_MAX_REQUEST_SIZE_BYTES: must be at most KAFKA_BUFFER_MEMORY_BYTES")
        is_cluster = embedded_folder(self.kafka_bootstrap, "KAFKA_BOOTSTRAP") is None
        if is_cluster and self.kafka_security.startswith("SASL") and self.kafka_password is None:
            raise ValueError(f"KAFKA_SASL_PASSWORD: must be set when KAFKA_SECURITY_PROTOCOL is {self.kafka_security}")
        return self
