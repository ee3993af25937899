"""What follows from the settings alone, whoever runs the engine: addresses, arithmetic, topics, compiled kernels."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from torghut_core import topics
from torghut_core.engines import kafka_batches, kafka_columns
from torghut_core.engines.clickhouse import Address
from torghut_core.engines.kafka import KafkaAddress, Security, Tuning
from torghut_core.errors import ConfigurationError
from torghut_core.settings import load, reveal
from torghut_core.ta.decoding import scanner, verdicts
from torghut_core.ta.engine import indicators, outliers, prices, quotes, reduction
from torghut_core.ta.engine.engine import EngineSettings, SourceName
from torghut_core.ta.outputs import json_rows
from torghut_core.ta.settings import TaSettings

_VARIABLES: dict[SourceName, str] = {
    "trades": "TA_TRADES_TOPIC",
    "quotes": "TA_QUOTES_TOPIC",
    "bars": "TA_BARS1M_TOPIC",
}
_ARITHMETIC = (
    "TA_MAX_OUT_OF_ORDER_MS",
    "TA_QUOTE_STALE_AFTER_MS",
    "TA_VWAP_WINDOW_SECONDS",
    "TA_REALIZED_VOL_WINDOW",
    "TA_LATE_TRADES",
    "TA_TRADE_CONDITIONS",
    "TA_ODD_LOTS",
    "TORGHUT_MARKET_CALENDAR",
)
"""What `engine_settings` reads, of a stream or a file."""
_WRITE_SECONDS = 14.0
"""What ClickHouse may take over a batch before it is sent again. Twice, once a table, is less than a pod has to end."""


def engine_settings(settings: TaSettings) -> EngineSettings:
    """Return what an operator chose of the arithmetic."""
    return EngineSettings(
        max_out_of_order_ms=settings.max_out_of_order_ms,
        quote_stale_after_ms=settings.quote_stale_after_ms,
        vwap_window_seconds=settings.vwap_window_seconds,
        vol_window_seconds=settings.vol_window_seconds,
        revises_late_trades=settings.late_trades == "revise",
        trade_conditions=settings.trade_conditions,
        odd_lots=settings.odd_lots,
        calendar=settings.market_calendar,
        is_replay=settings.is_replay,
    )


def file_engine_settings(environment: Mapping[str, str], chosen: Mapping[str, object]) -> EngineSettings:
    """Return the arithmetic of a file: by variable what was `chosen` for it (None is not chosen), else the environment's.

    Of the environment nothing else is read. Raises ConfigurationError for a value that breaks its rule.
    """
    kept = {name: environment[name] for name in _ARITHMETIC if name in environment}
    given = {name: str(value) for name, value in chosen.items() if value is not None}
    return engine_settings(load(TaSettings, kept | given))


def input_topics(settings: TaSettings) -> dict[SourceName, str]:
    """Return the topic of each source."""
    return {"trades": settings.trades_topic, "quotes": settings.quotes_topic, "bars": settings.bars_topic}


def used_topics(settings: TaSettings) -> list[topics.Topic]:
    """Return every topic that is read or written, by its contract's shape."""
    return [
        topics.TRADES.renamed(settings.trades_topic),
        topics.QUOTES.renamed(settings.quotes_topic),
        topics.BARS_1M.renamed(settings.bars_topic),
        topics.TA_BARS_1S.renamed(settings.microbars_topic),
        topics.TA_SIGNALS.renamed(settings.signals_topic),
        topics.TA_STATUS.renamed(settings.status_topic),
    ]


def assert_same_partitions(settings: TaSettings, counts: Mapping[str, int]) -> None:
    """Refuse inputs of unequal size: a symbol's trades, quotes and bars would not have the same number."""
    inputs = input_topics(settings)
    found = [(_VARIABLES[source], topic, counts.get(topic)) for source, topic in inputs.items()]
    if len({count for *_, count in found if count is not None}) > 1:
        said = ", ".join(f"{variable}={topic!r} has {count}" for variable, topic, count in found)
        raise ConfigurationError(
            f"{said}: the inputs must have equally many partitions",
            hint="a symbol's trades, quotes and bars are joined by partition number; make the topics anew",
        )


def assert_has_kafka_password(settings: TaSettings) -> None:
    """Refuse settings under which Kafka would ask for a password that is not set."""
    if settings.lacks_kafka_password:
        raise ConfigurationError(
            f"TA_KAFKA_PASSWORD: must be set where TA_KAFKA_SECURITY is {settings.kafka_security!r}"
        )


def kafka_address(settings: TaSettings) -> KafkaAddress:
    """Return where Kafka is and how to talk to it."""
    return KafkaAddress(
        bootstrap=settings.kafka_bootstrap,
        client_id=settings.client_id,
        variable="TA_KAFKA_BOOTSTRAP",
        security=Security(
            protocol=settings.kafka_security,
            mechanism=settings.kafka_mechanism,
            username=settings.kafka_username,
            password=settings.kafka_password,
        ),
        tuning=Tuning(transaction_timeout_ms=settings.transaction_timeout_ms),
    )


def clickhouse_address(settings: TaSettings) -> Address:
    """Return where ClickHouse is and how to talk to it."""
    return Address(
        url=settings.clickhouse_url or "",
        username=settings.clickhouse_username,
        password=reveal(settings.clickhouse_password),
        connect_timeout=settings.clickhouse_timeout_seconds,
        answer_timeout=_WRITE_SECONDS,
    )


def s3_options(settings: TaSettings) -> Mapping[str, Any]:
    """Return what the checkpoint store needs to reach S3."""
    options: dict[str, Any] = {}
    if settings.s3_endpoint:
        options["client_kwargs"] = {"endpoint_url": settings.s3_endpoint}
    if settings.s3_access_key:
        options |= {"key": reveal(settings.s3_access_key), "secret": reveal(settings.s3_secret_key)}
    return options


def warm_up() -> None:
    """Compile every kernel, or load it from the cache; takes a minute the first time."""
    rooms = (indicators, outliers, prices, quotes, scanner, verdicts, reduction, json_rows)
    for module in (*rooms, kafka_batches, kafka_columns):
        module.warm_up()
    gc.freeze()  # what is loaded by now stays: looking through it for cycles took a tenth of the time
