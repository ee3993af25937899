"""Settings of the TA runtime, by the names of its environment variables."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, model_validator

from torghut_core import topics
from torghut_core.market_calendar import CalendarName
from torghut_core.settings import Settings

REPLAY_GROUP_PREFIX = "torghut-ta-replay-"


class TaSettings(Settings):
    """What `run ta` reads once at start."""

    families = ("TA_",)

    kafka_bootstrap: str = Field(default="kafka-kafka-bootstrap.kafka:9092", alias="TA_KAFKA_BOOTSTRAP")
    """Brokers, or `embedded:DIR`."""
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="SASL_PLAINTEXT", alias="TA_KAFKA_SECURITY"
    )
    """How brokers are talked to. An embedded log asks for none of it."""
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", alias="TA_KAFKA_SASL_MECH"
    )
    """How user and password are proven, where the protocol is one of SASL."""
    kafka_username: str = Field(default="torghut-ws", alias="TA_KAFKA_USERNAME")
    """User of Kafka."""
    kafka_password: SecretStr | None = Field(default=None, alias="TA_KAFKA_PASSWORD")
    """Password of TA_KAFKA_USERNAME; needed where the protocol is one of SASL."""
    client_id: str = Field(default="torghut-ta", alias="TA_CLIENT_ID")
    """The name that brokers log for this client."""
    group_id: str = Field(default="torghut-ta", alias="TA_GROUP_ID", min_length=1, max_length=200)
    """Steady group, or `torghut-ta-replay-*` for a replay, which holds back rows that could be worse."""
    auto_offset_reset: Literal["earliest", "latest", "none"] = Field(default="latest", alias="TA_AUTO_OFFSET_RESET")
    """Where a group without offsets starts."""
    trades_topic: str = Field(default=topics.TRADES.name, alias="TA_TRADES_TOPIC")
    """Read: trades, cancels and corrections."""
    quotes_topic: str = Field(default=topics.QUOTES.name, alias="TA_QUOTES_TOPIC")
    """Read: quotes."""
    bars_topic: str = Field(default=topics.BARS_1M.name, alias="TA_BARS1M_TOPIC")
    """Read: the provider's minute bars."""
    microbars_topic: str = Field(default=topics.TA_BARS_1S.name, alias="TA_MICROBARS_TOPIC")
    """Written: bars of one second."""
    signals_topic: str = Field(default=topics.TA_SIGNALS.name, alias="TA_SIGNALS_TOPIC")
    """Written: indicators and quotes beside each bar's close."""
    status_topic: str = Field(default=topics.TA_STATUS.name, alias="TA_STATUS_TOPIC")
    """Written: the TA's own state."""
    feed: Literal["iex", "sip", "delayed_sip", "overnight"] = Field(default="iex", alias="ALPACA_FEED")
    """Written into the records' envelopes; its hours and its delay are what ages are counted by."""
    delivery_guarantee: Literal["EXACTLY_ONCE", "AT_LEAST_ONCE"] = Field(
        default="EXACTLY_ONCE", alias="TA_KAFKA_DELIVERY_GUARANTEE"
    )
    """`EXACTLY_ONCE`: rows and offsets in one transaction; `AT_LEAST_ONCE`: after a crash rows may stand twice on Kafka."""
    transaction_timeout_ms: int = Field(default=120_000, alias="TA_KAFKA_TRANSACTION_TIMEOUT_MS", ge=1000, le=900_000)
    """With `--engine flink` 900000 where it is not set: an outage longer than this, that begins after a checkpoint and before
    its commit, loses what that checkpoint's rows were on Kafka (ClickHouse has them; `replay-ta` brings them back)."""
    checkpoint_dir: str = Field(default="file:/var/lib/torghut/checkpoints", alias="TA_CHECKPOINT_DIR")
    """`file:DIR` or `s3://BUCKET/PREFIX`."""
    checkpoint_interval_ms: int = Field(default=10_000, alias="TA_CHECKPOINT_INTERVAL_MS", ge=100)
    """How often the state is stored; after a crash about that much input is read again."""
    checkpoint_timeout_ms: int = Field(default=300_000, alias="TA_CHECKPOINT_TIMEOUT_MS", ge=1000)
    """With `--engine flink` alone: what a checkpoint may take."""
    parallelism: int = Field(default=1, alias="TA_PARALLELISM", ge=1, le=128)
    """With `--engine flink` alone, and on this machine: subtasks. On a cluster the FlinkDeployment says it."""
    flink_dir: str = Field(default=".flink", alias="TA_FLINK_DIR", min_length=1)
    """With `--engine flink` alone: what `make flink` made."""
    s3_endpoint: str | None = Field(default=None, alias="TA_S3_ENDPOINT")
    """Address of an S3 store that is not Amazon's."""
    s3_access_key: SecretStr | None = Field(default=None, alias="TA_S3_ACCESS_KEY")
    """Key of the S3 store; without it the machine's own role is used."""
    s3_secret_key: SecretStr | None = Field(default=None, alias="TA_S3_SECRET_KEY")
    """Secret of TA_S3_ACCESS_KEY."""
    max_out_of_order_ms: int = Field(default=2000, alias="TA_MAX_OUT_OF_ORDER_MS", ge=0, le=600_000)
    """How far behind the highest event time a trade may come and still count."""
    status_max_lag_ms: int = Field(default=120_000, alias="TA_STATUS_MAX_LAG_MS", ge=1000)
    """How old the newest trade, or the newest input, may be in the regular session before the status is degraded."""
    late_trades: Literal["drop", "revise"] = Field(default="drop", alias="TA_LATE_TRADES")
    """`drop`: a trade that comes after its second closed counts in nothing; `revise`: it corrects the bar, up to 300 s back."""
    trade_conditions: Literal["sip", "all"] = Field(default="sip", alias="TA_TRADE_CONDITIONS")
    """`sip`: a trade moves what the tape plans let its conditions move; `all`: every trade counts in everything."""
    odd_lots: Literal["count", "skip"] = Field(default="count", alias="TA_ODD_LOTS")
    """`count`: an odd lot is a regular sale; `skip`: it moves volume, count and vwap alone."""
    quote_stale_after_ms: int = Field(default=15_000, alias="TA_QUOTE_STALE_AFTER_MS", ge=0)
    """Age beyond which a quote is left out of a row."""
    vwap_window_seconds: int = Field(default=300, alias="TA_VWAP_WINDOW_SECONDS", ge=60, le=3600)
    """Span of the rolling VWAP."""
    vol_window_seconds: int = Field(default=60, alias="TA_REALIZED_VOL_WINDOW", ge=2, le=3600)
    """Span, in seconds, of the realized volatility."""
    clickhouse_url: str | None = Field(default=None, alias="TA_CLICKHOUSE_URL")
    """Server, or `embedded:DIR`; without it rows go to Kafka alone."""
    clickhouse_username: str = Field(default="torghut", alias="TA_CLICKHOUSE_USERNAME")
    """User of ClickHouse; an embedded engine has none."""
    clickhouse_password: SecretStr | None = Field(default=None, alias="TA_CLICKHOUSE_PASSWORD")
    """Password of TA_CLICKHOUSE_USERNAME."""
    clickhouse_cluster: str | None = Field(default=None, alias="TA_CLICKHOUSE_CLUSTER", pattern=r"^[A-Za-z0-9_.-]+$")
    """Create replicated tables on this cluster, and verify them on every replica."""
    clickhouse_batch_size: int = Field(default=10_000, alias="TA_CLICKHOUSE_BATCH_SIZE", ge=1, le=1_000_000)
    """Rows a batch holds at most: few large parts, never a storm of small ones."""
    clickhouse_flush_ms: int = Field(default=1000, alias="TA_CLICKHOUSE_FLUSH_MS", ge=10, le=60_000)
    """Age at which a smaller batch is written at the latest; rows that come in a burst are after a quarter of it."""
    clickhouse_buffer_rows: int = Field(default=500_000, alias="TA_CLICKHOUSE_BUFFER_ROWS", ge=1000)
    """Rows that wait for ClickHouse before the input pauses."""
    clickhouse_timeout_seconds: float = Field(default=30, alias="TA_CLICKHOUSE_CONN_TIMEOUT_SECONDS", gt=0, le=3600)
    """How long ClickHouse may take over one request."""
    health_port: int = Field(default=8080, alias="TA_HEALTH_PORT", ge=0, le=65_535)
    """Where `/healthz` and `/readyz` are served; 0 takes a free one."""
    metrics_port: int = Field(default=9090, alias="TA_METRICS_PORT", ge=0, le=65_535)
    """Where `/metrics` is served; 0 takes a free one."""
    http_host: str = Field(default="0.0.0.0", alias="TORGHUT_HTTP_HOST")  # noqa: S104  a pod serves its own network
    """The address that health, metrics and pages are served on."""
    clock: str = Field(default="system", alias="TORGHUT_CLOCK")
    """`system`, or `file:PATH` for a simulated market's clock, which its simulator writes."""
    market_calendar: CalendarName = Field(default="XNYS", alias="TORGHUT_MARKET_CALENDAR")
    """Whose sessions count: `XNYS`, the New York exchange's, or `always-open` for a market that never closes."""

    @property
    def lacks_kafka_password(self) -> bool:
        """Whether Kafka would ask for a password that is not set; an embedded log asks for none."""
        is_asked = self.kafka_security.startswith("SASL") and not self.kafka_bootstrap.startswith("embedded:")
        return is_asked and self.kafka_password is None

    @property
    def is_replay(self) -> bool:
        return self.group_id.startswith(REPLAY_GROUP_PREFIX)

    @model_validator(mode="after")
    def _replay_is_told_where_to_start(self) -> TaSettings:
        if self.is_replay and self.auto_offset_reset == "latest":
            raise ValueError(
                f"TA_GROUP_ID={self.group_id!r} is a replay, TA_AUTO_OFFSET_RESET='latest' would replay nothing:"
                " must be earliest"
            )
        return self

    @model_validator(mode="after")
    def _topics_differ(self) -> TaSettings:
        variables: dict[str, list[str]] = {}
        for name, field in type(self).model_fields.items():
            if name.endswith("_topic"):
                variables.setdefault(getattr(self, name), []).append(str(field.alias))
        same = [f"{' and '.join(names)} are both {topic!r}" for topic, names in variables.items() if len(names) > 1]
        if same:
            raise ValueError(f"{'; '.join(same)}: every topic must be another")
        return self

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> TaSettings:
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("TA_S3_ACCESS_KEY and TA_S3_SECRET_KEY: must be set both or neither")
        return self
