"""The job's graph, by PyFlink; what it has no wrapper for is called in the JVM."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError
from pyflink.common import Configuration, JobClient
from pyflink.common.typeinfo import Types
from pyflink.datastream import KeyedStream, StreamExecutionEnvironment
from pyflink.datastream.data_stream import DataStream
from pyflink.java_gateway import get_gateway

from torghut_core.logs import event
from torghut_core.settings import reveal
from torghut_core.ta.engine.engine import SOURCES, SourceName
from torghut_core.ta.flink.operator import PartitionOperator
from torghut_core.ta.flink.partition import output_topics
from torghut_core.ta.settings import TaSettings
from torghut_core.ta.wiring import input_topics

_logger = logging.getLogger("torghut.ta.flink")
MAX_PARALLELISM = 720
"""Key groups, for good: a savepoint is of this many. As a multiple of all small numbers it is shared out evenly."""
_LINGER_MS = 250
"""How long a record may wait for its block: a call of the engine costs a millisecond, however few records it is for."""
_BLOCK_BYTES = 4 << 20
_ANSWER_SECONDS = 10
_LONGEST_TRANSACTION_MS = 900_000  # Source: Kafka's broker setting transaction.max.timeout.ms, its default
_SHADED = "org.apache.flink.kafka.shaded.org.apache.kafka"

Starts = Mapping[int, Mapping[SourceName, int]]


def configuration(settings: TaSettings, *, is_local: bool, restored: str | None = None) -> Configuration:
    """Return what the job needs of Flink; on a cluster its own configuration says where state goes, and how often to retry."""
    found = Configuration()
    values: dict[str, str] = {
        "pipeline.name": settings.group_id,
        "pipeline.max-parallelism": str(MAX_PARALLELISM),
        # Kafka's own records go from operator to operator as they are: neither may be serialized in between.
        "pipeline.object-reuse": "true",
        "pipeline.operator-chaining.enabled": "true",
        "execution.checkpointing.mode": settings.delivery_guarantee,
        "execution.checkpointing.interval": f"{settings.checkpoint_interval_ms} ms",
        "execution.checkpointing.timeout": f"{settings.checkpoint_timeout_ms} ms",
        # A ClickHouse that is away holds the input up, and checkpoints with it: no reason to begin anew.
        "execution.checkpointing.tolerable-failed-checkpoints": str(2**31 - 1),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        # In the task's own thread: beside the JVM, records and rows would be copied from process to process.
        "python.execution-mode": "thread",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        # An interpreter within a JVM does not look for its environment's packages by itself.
        "python.pythonpath": os.pathsep.join(filter(None, sys.path)),
    }
    if is_local:
        values |= {
            "parallelism.default": str(settings.parallelism),
            "taskmanager.numberOfTaskSlots": str(settings.parallelism),
            "state.backend.type": "hashmap",
            "execution.checkpointing.storage": "filesystem",
            "execution.checkpointing.dir": folder_uri(settings, "checkpoints"),
            "execution.checkpointing.savepoint-dir": folder_uri(settings, "savepoints"),
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "1 s",
            "restart-strategy.exponential-delay.max-backoff": "30 s",
            "restart-strategy.exponential-delay.jitter-factor": "0.2",
        }
        if restored is not None:
            values |= {"execution.state-recovery.path": restored, "execution.state-recovery.claim-mode": "NO_CLAIM"}
    for key, value in values.items():
        found.set_string(key, value)
    return found


def transaction_timeout_ms(settings: TaSettings) -> int:
    """Return how long a transaction may stay open: as long as a broker allows, where nobody has said.

    Flink commits after its checkpoint, with a transaction that the next attempt goes on with. One that timed out meanwhile is
    gone, and the checkpoint does not write its rows again.
    """
    is_set = "transaction_timeout_ms" in settings.model_fields_set
    return settings.transaction_timeout_ms if is_set else _LONGEST_TRANSACTION_MS


def folder_uri(settings: TaSettings, kind: str) -> str:
    """Return where this group's checkpoints or savepoints go."""
    scheme, _, rest = settings.checkpoint_dir.partition(":")
    base = (
        Path(rest.removeprefix("//") if rest.startswith("///") else rest).absolute().as_uri()
        if scheme == "file"
        else (f"{scheme}:{rest}")
    )
    return f"{base.rstrip('/')}/flink/{settings.group_id}/{kind}"


def build(
    settings: TaSettings, partitions: int, starts: Starts, configured: Configuration, jars: list[Path]
) -> StreamExecutionEnvironment:
    """Return an environment that holds the job."""
    env = StreamExecutionEnvironment.get_execution_environment(configured)
    if jars:
        env.add_jars(*(jar.absolute().as_uri() for jar in jars))
    jvm: Any = get_gateway().jvm
    keys = list(jvm.torghut.ta.RecordBlocks.keys(partitions, MAX_PARALLELISM))
    blocks = _record_blocks(env, jvm, settings, keys, starts)
    operator = PartitionOperator({key: number for number, key in enumerate(keys)}, starts)
    key_type = Types.ROW([Types.INT()])
    selector = jvm.KeyByKeySelector()
    keyed = KeyedStream(
        blocks._j_data_stream.keyBy(selector, key_type.get_java_type_info()),
        Types.PRIMITIVE_ARRAY(Types.BYTE()),
        blocks,
    )
    # Of so many partitions: state of another count is another job's, whose symbols have other numbers.
    rows = keyed.process(operator, Types.PRIMITIVE_ARRAY(Types.BYTE())).uid(f"engines-of-{partitions}").name("engines")
    _sink(rows, jvm, settings)
    return env


def stop_with_savepoint(client: JobClient, settings: TaSettings, seconds: int) -> str | None:
    """End the job with a savepoint and return where it is; None where none came of it, and the newest checkpoint stands."""
    jvm: Any = get_gateway().jvm
    format_type = jvm.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
    try:
        # By itself, since the wrapper calls a method that this version does not have any more.
        ending = client._j_job_client.stopWithSavepoint(False, folder_uri(settings, "savepoints"), format_type)
        return str(ending.get(seconds, _seconds()))
    except Py4JError as error:
        event(_logger, "savepoint_failed", logging.WARNING, error=str(error).partition("\n")[0])
        return None


def cluster_of(client: JobClient) -> Any:
    """Return the cluster within this JVM, a Java object."""
    held = client._j_job_client.getClass().getDeclaredField("miniCluster")
    held.setAccessible(True)
    return held.get(client._j_job_client)


def has_task_manager(client: JobClient) -> bool | None:
    """Return whether the cluster within this JVM has a task manager, None where it does not say; none is ever replaced."""
    try:
        overview = cluster_of(client).requestClusterOverview().get(_ANSWER_SECONDS, _seconds())
    except Py4JError:
        return None
    return bool(overview.getNumTaskManagersConnected() > 0)


def _seconds() -> Any:
    return get_gateway().jvm.java.util.concurrent.TimeUnit.SECONDS


def _record_blocks(
    env: StreamExecutionEnvironment, jvm: Any, settings: TaSettings, keys: list[int], starts: Starts
) -> DataStream:
    inputs = input_topics(settings)
    names = _strings([inputs[source] for source in SOURCES])
    begin = [(inputs[source], number, offset) for number, its in starts.items() for source, offset in its.items()]
    topics, numbers, offsets = map(list, zip(*begin, strict=True))
    initial = jvm.torghut.ta.SourceRecords.starts(
        _strings(topics), _numbers(jvm.int, numbers), _numbers(jvm.long, offsets)
    )
    kafka = jvm.org.apache.flink.connector.kafka.source
    builder = (
        kafka.KafkaSource.builder()
        .setTopics(names)
        .setClientIdPrefix(f"{settings.client_id}-source")
        .setGroupId(settings.group_id)
        .setStartingOffsets(initial)
        .setDeserializer(jvm.torghut.ta.SourceRecords())
        .setProperties(_properties(jvm, settings))
        .setProperty("isolation.level", "read_committed")
        .setProperty("commit.offsets.on.checkpoint", "true")
        .setProperty("partition.discovery.interval.ms", "-1")
        .setProperty("max.poll.records", "10000")
        .setProperty("fetch.max.bytes", str(16 << 20))
        .setProperty("max.partition.fetch.bytes", str(4 << 20))
        .setProperty("fetch.max.wait.ms", "100")
    )
    source = env._j_stream_execution_environment.fromSource(
        builder.build(),
        jvm.org.apache.flink.api.common.eventtime.WatermarkStrategy.noWatermarks(),
        "records",
    ).uid("records")
    row = Types.ROW([Types.INT(), Types.PRIMITIVE_ARRAY(Types.BYTE())]).get_java_type_info()
    operator = jvm.torghut.ta.RecordBlocks(names, _numbers(jvm.int, keys), _LINGER_MS, _BLOCK_BYTES)
    return DataStream(source.transform("blocks", row, operator).uid("blocks"))


def _sink(rows: DataStream, jvm: Any, settings: TaSettings) -> None:
    sink = jvm.org.apache.flink.connector.kafka.sink.KafkaSink
    guarantee = jvm.org.apache.flink.connector.base.DeliveryGuarantee.valueOf(settings.delivery_guarantee)
    properties = _properties(jvm, settings)
    for name, value in (
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("compression.type", "lz4"),
        ("linger.ms", "5"),
        ("batch.size", "262144"),
        ("transaction.timeout.ms", str(transaction_timeout_ms(settings))),
        ("client.id", f"{settings.client_id}-sink"),
    ):
        properties.setProperty(name, value)
    built = (
        sink.builder()
        .setBootstrapServers(settings.kafka_bootstrap)
        .setKafkaProducerConfig(properties)
        .setRecordSerializer(jvm.torghut.ta.RowRecords())
        .setDeliveryGuarantee(guarantee)
        .setTransactionalIdPrefix(f"{settings.group_id}-flink")
        .build()
    )
    blocks = jvm.torghut.ta.RowBlocks(_strings(output_topics(settings)))
    records = rows._j_data_stream.flatMap(blocks).returns(jvm.torghut.ta.RowRecords.type()).uid("rows").name("rows")
    records.sinkTo(built).uid("kafka").name("kafka")


def _properties(jvm: Any, settings: TaSettings) -> Any:
    found = jvm.java.util.Properties()
    found.setProperty("bootstrap.servers", settings.kafka_bootstrap)
    found.setProperty("security.protocol", settings.kafka_security)
    if settings.kafka_security.startswith("SASL"):
        module = "plain.PlainLoginModule" if settings.kafka_mechanism == "PLAIN" else "scram.ScramLoginModule"
        found.setProperty("sasl.mechanism", settings.kafka_mechanism)
        found.setProperty(
            "sasl.jaas.config",
            f"{_SHADED}.common.security.{module} required username={_quoted(settings.kafka_username)}"
            f" password={_quoted(reveal(settings.kafka_password) or '')};",
        )
    return found


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _numbers(kind: Any, values: Sequence[int]) -> Any:
    array = get_gateway().new_array(kind, len(values))
    for place, value in enumerate(values):
        array[place] = value
    return array


def _strings(values: list[str]) -> Any:
    gateway = get_gateway()
    array = gateway.new_array(gateway.jvm.java.lang.String, len(values))
    for place, value in enumerate(values):
        array[place] = value
    return array
